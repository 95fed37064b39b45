"""Starting and stopping in order, and work in the background that has a name.

Twisted's ``MultiService`` starts and stops everything at once. Here a stage starts when the one before it
has started, and stops when the one after it has stopped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

STOP_PATIENCE = 20.0  # seconds that a stage may take to stop, if it does not say otherwise
CANCEL_PATIENCE = 5.0  # seconds that cancelled background work may take to end

Step = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the process.

    :param start: done when the part can be used; raises
        :class:`~crowdai_broker.errors.StartupError` where the operator has to mend something. A start that
        fails or is cancelled leaves nothing behind: its ``stop`` is then not called.
    :param stop: done when the part has ended.
    :param patience: seconds that ``stop`` may take before it is cancelled and the next stage is stopped.
    :param drains: whether ``stop`` waits for work in hand, and may be told to hurry.
    """

    name: str
    start: Step
    stop: Step
    patience: float = STOP_PATIENCE
    drains: bool = False


class Lifecycle:
    """Takes stages up in their order and down in the reverse."""

    log = Logger()

    def __init__(self, clock: IReactorTime, stages: list[Stage]) -> None:
        self._clock = clock
        self._stages = stages
        self._started: list[Stage] = []
        self._stopping: tuple[Stage, Deferred[Any]] | None = None
        self._hurry = False

    async def start(self) -> None:
        """Start every stage; if one fails, stop those that had started and raise its error."""
        try:
            for stage in self._stages:
                await _begin(stage.start)
                self._started.append(stage)
                self.log.debug("started: {name}", name=stage.name)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop what was started; a stage that fails or takes too long is logged, and the next one follows."""
        while self._started:
            await self._stop(self._started.pop())

    def hurry(self) -> None:
        """Do not wait for work in hand any longer, neither now nor in a later stage."""
        self._hurry = True
        if self._stopping is not None and self._stopping[0].drains:
            self._stopping[1].cancel()

    async def _stop(self, stage: Stage) -> None:
        patience = 0 if stage.drains and self._hurry else stage.patience
        stopping = _begin(stage.stop).addTimeout(patience, self._clock)
        self._stopping = (stage, stopping)
        try:
            await stopping
        except (TookTooLong, CancelledError):
            self.log.warn("{name} did not stop in time and is left as it is", name=stage.name)
        except Exception:  # noqa: BLE001 - whatever it is, the stages below still have to stop
            self.log.failure("{name} could not stop", name=stage.name)
        else:
            self.log.debug("stopped: {name}", name=stage.name)
        finally:
            self._stopping = None


class Background:
    """Work that nobody waits for, until the process ends.

    A failure is logged with the work's name. It may be called as a function, ``background(name, work)``.

    :param limit: how much may run at once; what is above is a mistake of ours and raises.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, limit: int = 100_000) -> None:
        self._clock = clock
        self._limit = limit
        self._running: dict[Deferred[None], tuple[str, bool]] = {}
        self._stopped = False
        self._idle: Deferred[None] | None = None

    def __call__(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Run work that ends by itself; the stop waits for it."""
        self._run(name, work, endless=False)

    def endless(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Run work that goes on until it is cancelled, which the stop does at once."""
        self._run(name, work, endless=True)

    def names(self) -> list[str]:
        """Return the names of what runs now."""
        return [name for name, _ in self._running.values()]

    async def stop(self, grace: float) -> None:
        """Take no more work, wait ``grace`` seconds for what ends by itself, and cancel the rest.

        Cancelling this ends the wait, not the order: what still runs is then cancelled too.
        """
        self._stopped = True
        self._cancel([work for work, (_, endless) in self._running.items() if endless])
        try:
            await self._until_idle(grace)
        except CancelledError:
            self.log.info("not waiting any longer for what is in hand")
        if self._running:
            self.log.warn("cancelled with the stop: {names}", names=", ".join(sorted(set(self.names()))))
            self._cancel(list(self._running))
            await self._until_idle(CANCEL_PATIENCE)

    def _run(self, name: str, work: Coroutine[Any, Any, Any], *, endless: bool) -> None:
        if self._stopped or len(self._running) >= self._limit:
            work.close()
            if not self._stopped:
                raise RuntimeError(f"too much background work: {name} would be one more than {self._limit}")
            self.log.debug("{name} is not begun: the process is stopping", name=name)
            return
        running: Deferred[None] = Deferred.fromCoroutine(self._guarded(name, work))
        if not running.called:
            self._running[running] = (name, endless)
            running.addBoth(self._ended, running)

    async def _guarded(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except CancelledError:
            self.log.debug("cancelled: {name}", name=name)
        except Exception:  # noqa: BLE001 - nobody else would hear of it
            self.log.failure("background work failed: {name}", name=name)

    def _ended(self, _: object, running: Deferred[None]) -> None:
        del self._running[running]
        if not self._running and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _cancel(self, works: list[Deferred[None]]) -> None:
        for work in works:
            work.cancel()

    async def _until_idle(self, seconds: float) -> None:
        """Wait until nothing runs any more, but no longer than ``seconds``; cancels nothing."""
        if not self._running:
            return
        idle: Deferred[None] = Deferred()
        self._idle = idle
        try:
            await idle.addTimeout(seconds, self._clock)
        except TookTooLong:
            self.log.debug("still running: {names}", names=", ".join(sorted(set(self.names()))))
        finally:
            self._idle = None


def _begin(step: Step) -> Deferred[Any]:
    """Run a step that may be a coroutine function or return a Deferred; also one that raises at once."""

    async def run() -> Any:
        return await step()

    return ensureDeferred(run())
