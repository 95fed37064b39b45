"""The webapp's client and the small webapp on real sockets: the contract, and every way to fail."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from crowdai_broker.backends.webapp import Outcome, Webapp
from crowdai_broker.core.webapp_model import Graded, GradeFields, Lookup
from crowdai_broker.demo.webapp import DemoWebapp
from crowdai_broker.demo.webapp_faults import Fault
from crowdai_broker.errors import WebappDenied, WebappUnavailable
from tests.contracts import webapp_case
from tests.contracts.webapp_case import ADA, BROKER_KEY, register_fields

GRADE = GradeFields(grading_status="graded", score=0.5)


class OnAPort(TestCase):
    """A small webapp on a port and a client of it; nothing of either is left in the reactor."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        """Start both."""
        self.wall = webapp_case.Wall()
        self.webapp = webapp_case.filled(DemoWebapp(reactor, BROKER_KEY, clock=self.wall))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.webapp.stop()))
        await self.webapp.start()
        self.outcomes: list[tuple[str, Outcome]] = []
        self.client = self.connecting(self.webapp.url)

    def observe(self, call: str, outcome: Outcome) -> None:
        """Keep what the client tells its observer."""
        self.outcomes.append((call, outcome))

    def connecting(self, url: str, timeout: float = 10.0, **options: Any) -> Webapp:
        """Return a client that is closed at clean-up."""
        client = Webapp.connecting(
            reactor, url, BROKER_KEY, timeout=timeout, observer=self.observe, **options
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    async def unavailable(self, call: Any) -> WebappUnavailable:
        """Return the failure that a call must end with."""
        try:
            await call
        except WebappUnavailable as error:
            return error
        raise AssertionError("it was answered")


class OnAPortTests(OnAPort, webapp_case.WebappContract):
    """The contract, on sockets."""

    setUp = OnAPort.setUp  # type: ignore[assignment]  # trial awaits it
    observe = OnAPort.observe


class FaultTests(OnAPort):
    """What a registration is after each fault, on both sides."""

    async def _register(self, fault: Fault, seconds: float = 1.0) -> tuple[WebappUnavailable, int]:
        """Return how a registration under a fault failed, and how many rows there are."""
        self.webapp.faults.next("register", fault, seconds=seconds)
        client = self.connecting(self.webapp.url, 0.3)
        error = await self.unavailable(client.register(register_fields()))
        self.assertEqual(self.webapp.resource.counts["register"], 1)
        self.assertEqual(self.webapp.faults.met, {f"register/{fault}": 1})
        return error, len(self.webapp.state.submissions)

    async def _in_doubt(self, fault: Fault, rows: int) -> None:
        error, made = await self._register(fault)
        self.assertEqual((error.definitely_not_done, made), (False, rows))
        self.assertEqual(self.outcomes, [("register", Outcome.UNKNOWN)])

    async def test_error(self) -> None:
        """A 500 page before the work: in doubt, nothing made."""
        await self._in_doubt(Fault.ERROR, 0)

    async def test_error_after(self) -> None:
        """A 500 page after the work: in doubt, and a row is there."""
        await self._in_doubt(Fault.ERROR_AFTER, 1)

    async def test_empty(self) -> None:
        """A 502 without a body: in doubt."""
        await self._in_doubt(Fault.EMPTY, 0)

    async def test_drop(self) -> None:
        """A connection lost before the work: in doubt, one request and no more."""
        await self._in_doubt(Fault.DROP, 0)

    async def test_drop_after(self) -> None:
        """A connection lost after the work: in doubt, one row and no more."""
        await self._in_doubt(Fault.DROP_AFTER, 1)

    async def test_hang(self) -> None:
        """No answer in time: in doubt; the abandoned request does no work when it is released."""
        await self._in_doubt(Fault.HANG, 0)

    async def test_hang_after(self) -> None:
        """No answer in time though the work was done: in doubt, and a row is there."""
        await self._in_doubt(Fault.HANG_AFTER, 1)

    async def test_garbage(self) -> None:
        """A 202 that cannot be read: in doubt, and a row is there."""
        await self._in_doubt(Fault.GARBAGE, 1)

    async def test_slow(self) -> None:
        """An answer that comes after the timeout: in doubt, and a row is there."""
        await self._in_doubt(Fault.SLOW, 1)

    async def test_busy(self) -> None:
        """A 503 carries its ``Retry-After``, and is in doubt like every 5xx."""
        error, made = await self._register(Fault.BUSY, 7)
        self.assertEqual((error.definitely_not_done, error.retry_after, made), (False, 7.0, 0))

    async def test_too_many(self) -> None:
        """A 429 carries its ``Retry-After``; nothing was done."""
        error, made = await self._register(Fault.TOO_MANY, 9)
        self.assertEqual((error.definitely_not_done, error.retry_after, made), (True, 9.0, 0))

    async def test_denied(self) -> None:
        """A 401 is a denied key."""
        self.webapp.faults.next("register", Fault.DENIED)
        with self.assertRaises(WebappDenied):
            await self.client.register(register_fields())

    async def test_slow_but_in_time(self) -> None:
        """An answer that comes late but in time is an answer."""
        self.webapp.faults.next("participant", Fault.SLOW, seconds=0.05)
        self.assertEqual(await self.client.participant(ADA), 1)

    async def test_released(self) -> None:
        """A call that hangs is answered once it is released."""
        self.webapp.faults.next("grade", Fault.HANG_AFTER)
        made = await self.client.register(register_fields())
        running: Deferred[Graded] = Deferred.fromCoroutine(self.client.grade(made.submission_id, GRADE))
        await self.webapp.resource.arrival("grade")
        self.assertEqual(self.webapp.faults.release(), 1)
        self.assertEqual((await running).submission_id, made.submission_id)

    async def test_a_webapp_without_the_endpoint(self) -> None:
        """A webapp too old to know ``challenge_config`` answers with a page: that is not "unknown"."""
        self.webapp.faults.always("challenge_config", Fault.MISSING)
        lookup = await self.client.challenge_config("Penguins")
        self.assertIs(lookup.outcome, Lookup.UNSUPPORTED)
