"""Tests of starting and stopping in order, and of background work."""

from __future__ import annotations

from collections.abc import Callable
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.errors import StartupError
from crowdai_broker.services import CANCEL_PATIENCE, Background, Lifecycle, Stage


class Recorder:
    """Makes stages that note what is done to them; each waits if it has a Deferred."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def stage(
        self,
        name: str,
        start: Callable[[], Any] | None = None,
        stop: Callable[[], Any] | None = None,
        **options: Any,
    ) -> Stage:
        """Make a stage that notes ``+name`` and ``-name``, and then does what ``start`` or ``stop`` do."""

        async def started() -> None:
            self.done.append(f"+{name}")
            if start is not None:
                await start()

        async def stopped() -> None:
            self.done.append(f"-{name}")
            if stop is not None:
                await stop()

        return Stage(name, started, stopped, **options)


class Order(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a clock and a recorder."""
        self.clock = Clock()
        self.recorder = Recorder()

    def start(self, *stages: Stage) -> tuple[Lifecycle, Deferred[None]]:
        """Start a lifecycle."""
        lifecycle = Lifecycle(self.clock, list(stages))
        return lifecycle, Deferred.fromCoroutine(lifecycle.start())

    def stop(self, lifecycle: Lifecycle) -> Deferred[None]:
        """Stop a lifecycle."""
        return Deferred.fromCoroutine(lifecycle.stop())

    def test_each_stage_waits_for_the_one_before(self) -> None:
        """Nothing is started before what it stands on is there, nor stopped before what stands on it."""
        gates: dict[str, Deferred[None]] = {"+a": Deferred(), "-b": Deferred()}
        a = self.recorder.stage("a", start=lambda: gates["+a"])
        b = self.recorder.stage("b", stop=lambda: gates["-b"])
        lifecycle, starting = self.start(a, b)
        self.assertEqual(self.recorder.done, ["+a"])
        gates["+a"].callback(None)
        self.successResultOf(starting)
        stopping = self.stop(lifecycle)
        self.assertEqual(self.recorder.done, ["+a", "+b", "-b"])
        self.assertNoResult(stopping)
        gates["-b"].callback(None)
        self.successResultOf(stopping)
        self.assertEqual(self.recorder.done, ["+a", "+b", "-b", "-a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stage_that_cannot_start_stops_those_below(self) -> None:
        """A failed start leaves nothing running, and its error is told."""

        async def fail() -> None:
            raise StartupError("no")

        _, starting = self.start(
            self.recorder.stage("a"), self.recorder.stage("b", start=fail), self.recorder.stage("c")
        )
        self.failureResultOf(starting, StartupError)
        self.assertEqual(self.recorder.done, ["+a", "+b", "-a"])

    def test_a_start_that_is_cancelled_stops_what_has_started(self) -> None:
        """SIGTERM while it starts takes down what is up."""
        _, starting = self.start(self.recorder.stage("a"), self.recorder.stage("b", start=Deferred))
        starting.cancel()
        self.failureResultOf(starting)
        self.assertEqual(self.recorder.done, ["+a", "+b", "-a"])

    def test_a_stage_that_cannot_stop_keeps_nobody_from_stopping(self) -> None:
        """An error in one stop is logged, with the stage's name, and the next stage is stopped."""

        async def fail() -> None:
            raise ValueError("broken")

        lifecycle, _ = self.start(self.recorder.stage("a"), self.recorder.stage("b", stop=fail))
        self.successResultOf(self.stop(lifecycle))
        self.assertEqual(self.recorder.done[-1], "-a")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_stop_has_its_time(self) -> None:
        """A stage that hangs is left after its patience, and no earlier."""
        lifecycle, _ = self.start(
            self.recorder.stage("a"),
            self.recorder.stage("b", stop=Deferred, patience=7.0),
        )
        stopping = self.stop(lifecycle)
        self.clock.advance(6.9)
        self.assertNoResult(stopping)
        self.clock.advance(0.2)
        self.successResultOf(stopping)
        self.assertEqual(self.recorder.done[-1], "-a")

    def test_steps_may_return_deferreds(self) -> None:
        """What Twisted's own objects return can be used as it is."""
        lifecycle, starting = self.start(Stage("x", lambda: succeed(1), lambda: succeed(None)))
        self.successResultOf(starting)
        self.successResultOf(self.stop(lifecycle))

    def test_hurry_ends_draining_now_and_later(self) -> None:
        """A second signal ends the wait for work in hand; what must be orderly still is."""
        never: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
        lifecycle, _ = self.start(
            self.recorder.stage("orderly", stop=lambda: never[0]),
            self.recorder.stage("later", stop=lambda: never[1], patience=30.0, drains=True),
            self.recorder.stage("now", stop=lambda: never[2], patience=30.0, drains=True),
        )
        stopping = self.stop(lifecycle)
        self.assertEqual(self.recorder.done[-1], "-now")
        lifecycle.hurry()
        self.clock.advance(0)
        self.assertEqual(self.recorder.done[-2:], ["-later", "-orderly"])
        lifecycle.hurry()
        self.assertNoResult(stopping)
        never[0].callback(None)
        self.successResultOf(stopping)


class BackgroundWork(SynchronousTestCase):
    def setUp(self) -> None:
        """Have background work."""
        self.clock = Clock()
        self.background = Background(self.clock, limit=3)
        self.ended: list[str] = []

    async def work(self, name: str, gate: Deferred[None]) -> None:
        """Wait for ``gate``; note the end, whichever way."""
        try:
            await gate
        finally:
            self.ended.append(name)

    def stop(self, grace: float = 5.0) -> Deferred[None]:
        """Stop the background work."""
        return Deferred.fromCoroutine(self.background.stop(grace))

    def test_a_failure_is_logged_with_the_name(self) -> None:
        """Work that nobody waits for does not fail unheard."""
        gate: Deferred[None] = Deferred()
        self.background("sweep", self.work("sweep", gate))
        self.assertEqual(self.background.names(), ["sweep"])
        gate.errback(ValueError("broken"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.background.names(), [])

    def test_the_stop_waits_for_work_that_ends(self) -> None:
        """What is in hand may finish within its grace."""
        gate: Deferred[None] = Deferred()
        self.background("grade", self.work("grade", gate))
        stopping = self.stop()
        self.clock.advance(4.9)
        self.assertNoResult(stopping)
        gate.callback(None)
        self.successResultOf(stopping)
        self.assertEqual((self.ended, self.clock.getDelayedCalls()), (["grade"], []))

    def test_the_grace_has_an_end(self) -> None:
        """What does not finish is cancelled."""
        self.background("grade", self.work("grade", Deferred()))
        stopping = self.stop()
        self.clock.advance(5.1)
        self.successResultOf(stopping)
        self.assertEqual(self.ended, ["grade"])

    def test_work_that_ignores_its_cancellation_is_left(self) -> None:
        """A stop comes to its end whatever the work does."""
        stubborn: Deferred[None] = Deferred()

        async def ignore() -> None:
            try:
                await Deferred[None]()
            finally:
                await stubborn

        self.background("stubborn", ignore())
        stopping = self.stop(1.0)
        self.clock.advance(1.1)
        self.assertNoResult(stopping)
        self.clock.advance(CANCEL_PATIENCE)
        self.successResultOf(stopping)
        stubborn.callback(None)

    def test_endless_work_is_cancelled_at_once(self) -> None:
        """A loop has nothing to finish: it costs the stop no time."""
        self.background.endless("loop", self.work("loop", Deferred()))
        self.successResultOf(self.stop())
        self.assertEqual(self.ended, ["loop"])

    def test_a_hurried_stop_cancels_what_is_left(self) -> None:
        """A stop that is itself cancelled does not leave the work unattended: only the wait is over."""
        self.background("grade", self.work("grade", Deferred()))
        stopping = self.stop()
        stopping.cancel()
        self.successResultOf(stopping)
        self.assertEqual((self.ended, self.clock.getDelayedCalls()), (["grade"], []))

    def test_nothing_begins_after_the_stop(self) -> None:
        """Work that comes too late is not begun, nor left as a coroutine that was never awaited."""
        self.successResultOf(self.stop())
        late = self.work("late", Deferred())
        self.background("late", late)
        self.assertEqual((self.background.names(), getcoroutinestate(late)), ([], CORO_CLOSED))

    def test_there_is_a_limit(self) -> None:
        """Work without bound would be a leak: it is an error in the place that begins it."""
        for number in range(3):
            self.background("x", self.work(str(number), Deferred()))
        self.assertRaises(RuntimeError, self.background, "x", self.work("one too many", Deferred()))
        stopping = self.stop(0)
        self.clock.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(len(self.ended), 3)
