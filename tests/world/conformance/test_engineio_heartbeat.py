"""Heartbeats: who pings, what counts as life, and when a silent peer is given up.

The server pings every 300 ms and gives up after 200 ms more, in Engine.IO 4; in Engine.IO 3 the client
pings and is given up after 500 ms of silence. These tests measure time, so their limits are wide.
"""

from __future__ import annotations

import contextlib
import time

from ..toolbox.websocket import Closed
from .engine import EngineCase
from .server import CALM, HASTY

LIFE = 0.5
"""Seconds of silence that both versions allow here."""

GENEROUS = 2.0
"""Seconds after which a busy machine is no excuse."""


class HeartbeatCase(EngineCase):
    """Measures how long a session lives."""

    timing = HASTY

    def assert_given_up(self, began: float) -> None:
        """What began then was given up in due time, not at once and not much later."""
        lived = time.monotonic() - began
        self.assertGreater(lived, LIFE - 0.1)
        self.assertLess(lived, GENEROUS)


class ServerPingsTests(HeartbeatCase):
    """Engine.IO 4."""

    def test_polling(self) -> None:
        """A GET that waits gets a ping; answered, the session lives on."""
        session = self.session()
        for _ in range(3):
            self.assertEqual(session.received(), ["2"])
            self.assertEqual(session.post("3").body, b"ok")

    def test_websocket(self) -> None:
        """A WebSocket gets pings; answered, the session lives on."""
        socket = self.opened_websocket()
        for _ in range(3):
            self.assertEqual(socket.receive(), "2")
            socket.send("3")

    def test_silent_poller(self) -> None:
        """A poller that answers no ping is given up."""
        session, began = self.session(), time.monotonic()
        self.assertEqual(session.received(), ["2"])
        self.assertIn(session.waiting_get().answer().status, (200, 400))
        self.assert_given_up(began)
        self.assert_over(session)

    def test_absent_poller(self) -> None:
        """A poller that never comes back is given up."""
        session = self.session()
        time.sleep(LIFE + 0.1)
        self.assert_over(session)

    def test_silent_websocket(self) -> None:
        """A WebSocket that answers no ping is closed."""
        socket, began = self.opened_websocket(), time.monotonic()
        self.assertEqual(socket.until_closed()[0], ["2"])
        self.assert_given_up(began)

    def test_messages_are_no_pongs(self) -> None:
        """Only a pong answers a ping: a peer that merely talks is given up."""
        socket, began = self.opened_websocket(), time.monotonic()
        with contextlib.suppress(Closed, OSError):
            while time.monotonic() - began < GENEROUS:
                socket.send("4x")
                socket.receive()
                time.sleep(0.02)
        self.assert_given_up(began)

    def test_unasked_pong(self) -> None:
        """A pong that answers nothing postpones the next ping."""
        socket, began = self.opened_websocket(), time.monotonic()
        time.sleep(0.2)
        socket.send("3")
        self.assertEqual(socket.receive(), "2")
        self.assertGreater(time.monotonic() - began, 0.4)

    def test_client_ping(self) -> None:
        """A client of this version must not ping."""
        socket = self.opened_websocket()
        socket.send("2")
        self.assertNotIn("3", socket.until_closed()[0])


class ClientPingsTests(HeartbeatCase):
    """Engine.IO 3."""

    eio = 3

    def test_polling(self) -> None:
        """Each ping is answered in the next poll."""
        session = self.session()
        for _ in range(3):
            self.assertEqual(session.post("2").body, b"ok")
            self.assertEqual(session.received(), ["3"])

    def test_websocket(self) -> None:
        """Each ping is answered at once."""
        socket = self.opened_websocket()
        for _ in range(3):
            socket.send("2")
            self.assertEqual(socket.receive(), "3")

    def test_silent_poller(self) -> None:
        """A poller that sends nothing is given up, even while its GET waits; the server never pings."""
        session, began = self.session(), time.monotonic()
        answer = session.get()
        self.assertNotIn(b"2", answer.body)
        self.assert_given_up(began)
        self.assert_over(session)

    def test_silent_websocket(self) -> None:
        """A WebSocket that sends nothing is closed; the server never pings."""
        socket, began = self.opened_websocket(), time.monotonic()
        self.assertEqual(socket.until_closed()[0], [])
        self.assert_given_up(began)

    def test_any_packet_is_life(self) -> None:
        """Messages keep a session alive as pings do."""
        socket, began = self.opened_websocket(), time.monotonic()
        while time.monotonic() - began < 3 * LIFE:
            socket.send("4x")
            self.assertEqual(socket.receive(), "4x")
            time.sleep(0.1)


class CalmTests(EngineCase):
    """What must not wait for a timeout."""

    timing = CALM

    def test_client_ping(self) -> None:
        """A ping from a client of Engine.IO 4 closes at once."""
        socket = self.opened_websocket()
        socket.send("2")
        self.assert_closes_now(socket)
