"""Tests of opening ports."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.errors import StartupError
from crowdai_broker.web.listening import Listening, readable_address


class CrowdedReactor(MemoryReactor):
    """A reactor on which one port is in use."""

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Listen, unless it is port 2."""
        if port == 2:
            raise CannotListenError(interface, port, OSError(98, os.strerror(98)))
        return super().listenTCP(port, factory, backlog, interface)


class ListeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a reactor."""
        self.reactor = CrowdedReactor()

    def listening(self, *endpoints: str) -> Listening:
        """Make one on these endpoints."""
        return Listening(self.reactor, Factory(), endpoints)

    def test_every_endpoint_is_opened_and_closed(self) -> None:
        """All of ``listen`` serves the same site, and none stays after the stop."""
        listening = self.listening("tcp:1:interface=127.0.0.1", "tcp:3")
        self.successResultOf(Deferred.fromCoroutine(listening.start()))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [1, 3])
        self.assertEqual(self.reactor.tcpServers[0][3], "127.0.0.1")
        self.successResultOf(Deferred.fromCoroutine(listening.stop()))
        self.assertEqual(listening.ports, [])

    def test_one_that_is_in_use_opens_none(self) -> None:
        """The endpoint and the reason are told, and what was opened is closed again."""
        listening = self.listening("tcp:1", "tcp:2:interface=127.0.0.1", "tcp:3")
        failed = self.failureResultOf(Deferred.fromCoroutine(listening.start()), StartupError)
        self.assertEqual(
            str(failed.value),
            "broker.listen: tcp:2:interface=127.0.0.1: cannot listen: Address already in use",
        )
        self.assertEqual(listening.ports, [])

    def test_a_file_that_is_gone(self) -> None:
        """A certificate removed since the configuration was checked is told, too."""
        listening = self.listening("ssl:1:privateKey=/nowhere/key.pem")
        failed = self.failureResultOf(Deferred.fromCoroutine(listening.start()), StartupError)
        self.assertIn("No such file", str(failed.value))

    def test_addresses_are_written_as_people_write_them(self) -> None:
        """What the log names can be pasted into a browser; a port of the system's choice is found there."""
        for address, text in (
            (IPv4Address("TCP", "127.0.0.1", 5000), "127.0.0.1:5000"),
            (IPv6Address("TCP", "::1", 5000), "[::1]:5000"),
            (UNIXAddress("/run/broker.sock"), "/run/broker.sock"),
        ):
            self.assertEqual(text, readable_address(address))
