"""Tests of ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.web.health import KEPT_FOR, PATIENCE, Healthz, Readiness, Readyz


class HealthCase(SynchronousTestCase):
    """Asks a site whose Redis and webapp answer what the test says."""

    def setUp(self) -> None:
        """Have both ready."""
        self.clock = Clock()
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[], Any]] = {
            "redis": lambda: succeed(b"PONG"),
            "webapp": lambda: succeed(None),
        }
        self.readiness = Readiness(self.clock, {name: self.probe(name) for name in self.answers})
        root = Resource()
        root.putChild(b"healthz", Healthz())
        root.putChild(b"readyz", Readyz(self.readiness))
        self.site = Site(root, reactor=cast("Any", self.clock))

    def probe(self, name: str) -> Callable[[], Any]:
        """Return a probe that notes that it was asked."""

        def ask() -> Any:
            self.asked.append(name)
            return self.answers[name]()

        return ask

    def open(self, path: bytes) -> tuple[Any, StringTransport]:
        """Send a request."""
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return channel, transport

    def get(self, path: bytes = b"/readyz") -> tuple[int, str]:
        """Return status and body of an answer that is there already."""
        return self.read(self.open(path)[1])

    def read(self, transport: StringTransport) -> tuple[int, str]:
        """Return status and body."""
        head, _, body = transport.value().partition(b"\r\n\r\n")
        if b"chunked" in head:
            body = b"".join(body.split(b"\r\n")[1::2])
        return int(head.split()[1]), body.decode()

    def not_ready(self) -> dict[str, str]:
        """Return what ``/readyz`` names."""
        status, body = self.get()
        self.assertEqual(status, 503)
        named: dict[str, str] = json.loads(body)["not_ready"]
        return named


class HealthTests(HealthCase):
    def test_a_process_that_answers_is_healthy(self) -> None:
        """Whatever else is down: a restart would not help."""
        self.answers["redis"] = lambda: 1 / 0
        self.assertEqual((self.get(b"/healthz"), self.asked), ((200, "ok\n"), []))

    def test_ready(self) -> None:
        """With everything there it says so."""
        self.assertEqual(self.get(), (200, "ready\n"))
        self.assertEqual(self.asked, ["redis", "webapp"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_not_ready_is_named_with_the_reason(self) -> None:
        """An operator sees which server it is, and why."""

        async def refuse() -> None:
            raise StoreUnavailable("connection refused")

        self.answers["redis"] = refuse
        self.assertEqual(self.not_ready(), {"redis": "connection refused"})

    def test_a_probe_has_its_time(self) -> None:
        """A server that does not answer makes us not ready, soon, and leaves nothing behind."""
        cancelled: list[object] = []
        self.answers["webapp"] = lambda: Deferred(cancelled.append)
        _, transport = self.open(b"/readyz")
        self.clock.advance(PATIENCE - 0.1)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0.2)
        status, body = self.read(transport)
        self.assertEqual((status, len(cancelled)), (503, 1))
        self.assertIn("no answer within 2 s", body)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_broken_probe_tells_nothing(self) -> None:
        """An unforeseen error is logged; its text, that may hold anything, is not shown."""
        self.answers["redis"] = lambda: os.environ["HUNTER2"]
        self.assertEqual(self.not_ready(), {"redis": "the probe failed"})
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_an_answer_is_given_again_for_a_second(self) -> None:
        """Many who watch cost no more than one; and recovery shows without a restart."""
        self.answers["redis"] = lambda: Deferred[None]().addTimeout(0, self.clock)
        _, first = self.open(b"/readyz")
        self.clock.advance(0)
        self.assertEqual(self.read(first)[0], 503)
        self.answers["redis"] = lambda: succeed(None)
        self.assertEqual(self.get()[0], 503)
        self.assertEqual(len(self.asked), 2)
        self.clock.advance(KEPT_FOR)
        self.assertEqual(self.get(), (200, "ready\n"))

    def test_those_who_ask_meanwhile_share_the_answer(self) -> None:
        """A slow probe is not asked once for each who watches."""
        gate: Deferred[None] = Deferred()
        self.answers["redis"] = lambda: gate
        transports = [self.open(b"/readyz")[1] for _ in range(3)]
        gate.callback(None)
        self.assertEqual([self.read(one)[0] for one in transports], [200, 200, 200])
        self.assertEqual(self.asked, ["redis", "webapp"])

    def test_one_who_goes_away_harms_nobody(self) -> None:
        """A connection that is lost while the probes run is forgotten; the others get their answer."""
        gate: Deferred[None] = Deferred()
        self.answers["redis"] = lambda: gate
        gone, _ = self.open(b"/readyz")
        _, stays = self.open(b"/readyz")
        gone.connectionLost(Failure(ConnectionDone()))
        gate.callback(None)
        self.assertEqual(self.read(stays)[0], 200)
