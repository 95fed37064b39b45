"""Tests of the loop that keeps one connection to Redis, with an endpoint that never answers."""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from crowdai_broker.backends.redis_connection import RedisConnection

ADDRESS = UNIXAddress("/run/redis.sock")


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Remembers the attempts; one that is cancelled ends as Twisted's own do."""

    def __init__(self) -> None:
        self.attempts: list[Deferred[Any]] = []

    def connect(self, _factory: IProtocolFactory) -> Deferred[Any]:
        """Begin an attempt."""
        self.attempts.append(
            Deferred(lambda attempt: attempt.errback(error.ConnectingCancelledError(ADDRESS)))
        )
        return self.attempts[-1]


async def prepare(_protocol: object) -> None:
    """Nothing to prepare."""


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Begin to connect."""
        self.clock = Clock()
        self.endpoint = Endpoint()
        self.connection = RedisConnection(
            self.clock, self.endpoint, "unix /run/redis.sock", "commands", Protocol, prepare, 5.0
        )
        self.connection.start()

    def stop(self) -> None:
        """Stop, which must be done at once."""
        self.successResultOf(Deferred.fromCoroutine(self.connection.stop()))

    def test_failures_are_said_once(self) -> None:
        """The first failure names the connection and the reason; the next ones do not fill the log."""
        with capturedLogs() as said:
            for _ in range(3):
                self.endpoint.attempts[-1].errback(error.ConnectionRefusedError())
                self.clock.advance(5)
        self.assertEqual(len(self.endpoint.attempts), 4)
        (line,) = said
        self.assertEqual(line["where"], "unix /run/redis.sock, commands")
        self.assertIn("refused", line["reason"])
        self.stop()

    def test_our_own_end_is_no_failure(self) -> None:
        """Who stops while it tries to connect has nothing to warn of."""
        with capturedLogs() as said:
            self.stop()
        self.assertEqual([line for line in said if line["log_level"] is not LogLevel.debug], [])
        self.assertEqual((len(self.endpoint.attempts), self.clock.getDelayedCalls()), (1, []))
