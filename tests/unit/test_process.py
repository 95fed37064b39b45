"""Tests of the broker as twistd's service: how it begins and with what status it ends."""

from __future__ import annotations

import signal
from typing import Any, cast

from twisted.application.service import Application, IService, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from crowdai_broker.errors import StartupError
from crowdai_broker.process import FAILED, BrokerService
from crowdai_broker.services import Lifecycle, Stage


class FakeReactor(Clock):
    """As much of a reactor as the service uses; ``stop`` stops the service as twistd arranges it."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0
        self.service: IService | None = None

    def callWhenRunning(self, call: Any, *args: Any) -> None:
        """Call in the next turn."""
        self.callLater(0, call, *args)

    def callFromThread(self, call: Any, *args: Any) -> None:
        """Call at once."""
        call(*args)

    def stop(self) -> None:
        """Count, and stop the service."""
        self.stops += 1
        if self.service is not None:
            self.service.stopService()


class Starting(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a service with one stage whose steps the test decides."""
        self.reactor = FakeReactor()
        self.started: Deferred[None] = Deferred()
        self.stopped: Deferred[None] = Deferred()
        self.stops = 0
        self.statuses: list[int] = []
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        stages = [
            Stage("ready", self.nothing, self.count),
            Stage("x", lambda: self.started, lambda: self.stopped, drains=True),
        ]
        self.service = BrokerService(
            self.reactor,
            Lifecycle(cast("Any", self.reactor), stages),
            take_signals=False,
            end_with=self.statuses.append,
        )
        self.reactor.service = self.service

    async def nothing(self) -> None:
        """Start at once."""

    async def count(self) -> None:
        """Note a stop."""
        self.stops += 1

    def begin(self) -> None:
        """Start the service and let the reactor run."""
        self.service.startService()
        self.reactor.advance(0)

    def texts(self, level: str) -> list[str]:
        """Return what was logged at a level."""
        return [
            str(event["log_format"]).format(**event)
            for event in self.observer
            if event["log_level"].name == level
        ]

    def test_it_begins_when_the_reactor_runs(self) -> None:
        """Nothing is opened before the process has its final user and its final descriptors."""
        self.service.startService()
        self.assertEqual(self.texts("info"), [])
        self.reactor.advance(0)
        self.started.callback(None)
        self.assertEqual(self.texts("info"), ["the broker serves"])
        self.assertEqual((self.statuses, self.reactor.stops), ([], 0))

    def test_a_start_that_fails_ends_the_process(self) -> None:
        """The reason is one line, without a traceback; the status is not 0; what had started is stopped."""
        self.begin()
        self.started.errback(StartupError("there is no Redis"))
        self.assertEqual(self.texts("critical"), ["cannot start: there is no Redis"])
        self.assertEqual((self.statuses, self.reactor.stops, self.stops), ([FAILED], 1, 1))

    def test_a_mistake_of_ours_shows_where_it_is(self) -> None:
        """An error that nobody foresaw ends the process too, with its traceback."""
        self.begin()
        self.started.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((self.statuses, self.reactor.stops), ([FAILED], 1))

    def test_a_stop_while_it_starts_is_no_failure(self) -> None:
        """SIGTERM during the start ends with status 0, and stops what had started."""
        self.begin()
        self.successResultOf(self.service.stopService())
        self.assertEqual((self.statuses, self.reactor.stops, self.stops), ([], 0, 1))

    def test_a_stop_before_the_reactor_runs(self) -> None:
        """A service that is stopped before its first turn does not start after all."""
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.reactor.advance(0)
        self.assertEqual((self.texts("info"), self.stops), ([], 0))

    def test_stopping_waits_for_the_stages(self) -> None:
        """Twistd is told that the service has stopped only when it has."""
        self.begin()
        self.started.callback(None)
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        self.stopped.callback(None)
        self.successResultOf(stopping)

    def test_the_second_signal_is_in_a_hurry(self) -> None:
        """The first SIGTERM drains; a second one does not wait for it; neither is an error."""
        self.begin()
        self.started.callback(None)
        self.service.signalled(signal.SIGTERM, None)
        self.assertEqual((self.reactor.stops, self.stops), (1, 0))
        self.service.signalled(signal.SIGINT, None)
        self.assertEqual((self.reactor.stops, self.stops), (1, 1))

    def test_signals_are_taken_from_twisted(self) -> None:
        """Twisted's own handlers would let the process die of the signal after an orderly stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.service.take_signals = True
        self.begin()
        self.assertEqual(signal.getsignal(signal.SIGTERM), self.service.signalled)
        self.assertEqual(signal.getsignal(signal.SIGINT), self.service.signalled)


@implementer(ILogObserver)
class Silent:
    """An observer."""

    def __call__(self, event: Any) -> None:
        """Say nothing."""


class Logging(SynchronousTestCase):
    def service(self, observer: ILogObserver | None) -> BrokerService:
        """Make a service."""
        return BrokerService(FakeReactor(), Lifecycle(cast("Any", Clock()), []), observer=observer)

    def test_the_application_is_told_where_to_log(self) -> None:
        """Twistd asks the application for an observer: it finds ours."""
        application, observer = Application("x"), Silent()
        self.service(cast("ILogObserver", observer)).setServiceParent(cast("Any", application))
        self.assertIs(application.getComponent(ILogObserver), observer)

    def test_without_an_observer_twistd_decides(self) -> None:
        """--logfile and --syslog work."""
        application = Application("x")
        self.service(None).setServiceParent(cast("Any", application))
        self.assertIs(application.getComponent(ILogObserver, None), None)

    def test_it_can_be_part_of_something_larger(self) -> None:
        """A parent that is no application has no say in logging."""
        parent = MultiService()
        service = self.service(cast("ILogObserver", Silent()))
        service.setServiceParent(parent)
        self.assertEqual(list(parent), [service])
