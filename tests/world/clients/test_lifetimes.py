"""How connections live on and end: heartbeats, restarts of the server, clients that leave or die."""

from __future__ import annotations

import time

from ..toolbox.ports import free_port
from .agents import libraries
from .cases import ClientCase

BRISK = (400, 2500)
"""Ping interval and timeout, in ms. socketIO-client-2 pings once a second while it waits: allow more."""


class HeartbeatTests(ClientCase):
    """Connections over which nothing but heartbeats goes."""

    def test_idle(self) -> None:
        """No client is lost or takes us for dead within more time than silence is allowed."""
        port = free_port()
        server = self.server(port, BRISK)
        agents = list(self.everybody(port))
        time.sleep(sum(BRISK) / 1000 + 0.6)
        for agent in agents:
            self.assertEqual(agent.unread(saw="disconnect"), [], agent.name)
            self.assert_echoes(agent, "still here")
        self.assertEqual(server.unread(saw="disconnect"), [])


class RestartTests(ClientCase):
    """A server that goes away and comes back at its old address."""

    def test_crash(self) -> None:
        """Every client finds the server again after it was killed."""
        port = free_port()
        server = self.server(port)
        agents = list(self.everybody(port))
        server.kill()
        self.server(port)
        for agent in agents:
            agent.expect(saw="connect", nsp="/")
            self.assert_echoes(agent, "again")

    def test_shutdown(self) -> None:
        """So it does after the server was stopped in order: that is no dismissal for good."""
        port = free_port()
        server = self.server(port)
        agents = list(self.everybody(port))
        server.stop()
        self.server(port)
        for agent in agents:
            agent.expect(saw="connect", nsp="/")
            self.assert_echoes(agent, "again")


class EndTests(ClientCase):
    """Clients that go: the server notices at once, not by a heartbeat that is missed."""

    def setUp(self) -> None:
        """Have a server whose lines are this test's alone."""
        self.port = free_port()
        self.watched = self.server(self.port)

    def test_closed(self) -> None:
        """A client that disconnects is gone."""
        for agent in self.everybody(self.port):
            sid = self.watched.expect(saw="connect")["sid"]
            agent.close()
            self.watched.expect(patience=5, saw="disconnect", sid=sid)

    def test_killed(self) -> None:
        """A client whose process dies is gone."""
        for agent in self.everybody(self.port):
            sid = self.watched.expect(saw="connect")["sid"]
            time.sleep(0.2)  # between two polls there is no connection whose end could be noticed
            agent.kill()
            self.watched.expect(patience=5, saw="disconnect", sid=sid)

    def test_protocols(self) -> None:
        """Each library speaks the protocol version that it is known for."""
        for library in libraries().values():
            self.agent(library).open(self.port, "polling")
            self.assertEqual(self.watched.expect(saw="connect")["protocol"], library.protocol)
