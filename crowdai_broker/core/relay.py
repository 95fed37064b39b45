"""From graders' events to stored moves to the peers that follow.

A batch read off a response list becomes one step of the store, which also removes the batch from the list:
whatever dies in between, an event is neither lost nor counted twice. Progress is thinned here: an event that
comes too early is stored as *held*, the newest over the older, and logged when its time comes or when its
job ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..errors import StoreUnavailable
from ..interfaces import IStore, Spawn
from .attempts import Attempt, Attempts
from .delivery import Delivery
from .events import JobEvent
from .grader_events import TERMINAL_EVENTS, GraderEvent, Unusable, read
from .lifecycle import finished, flushed, held_back, progressed
from .model import Inbox, Job, JobState, Move, Moved
from .presence import somebody_came

FLUSHES_AT_ONCE = 256


class RelayObserver(Protocol):
    """What the metrics want to know of graders' events."""

    def event_relayed(self, kind: str) -> None:
        """One event was applied; ``kind`` is a member name of ``JobEvent``."""

    def event_dropped(self, why: str) -> None:
        """One event was dropped; ``why`` is one of a few words."""


class Relay:
    """Applies graders' events.

    :param progress_per_second: progress events of one job that are relayed a second; 0: all.
    :param on_ended: called with each job whose attempt ended, after it did.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        delivery: Delivery,
        spawn: Spawn,
        observer: RelayObserver,
        progress_per_second: float,
        on_ended: Callable[[Job], None],
    ) -> None:
        self.attempts = Attempts()
        self._clock = clock
        self._store = store
        self._delivery = delivery
        self._spawn = spawn
        self._observer = observer
        self._interval = 1 / progress_per_second if progress_per_second else 0.0
        self._on_ended = on_ended
        self._flushing = LoopingCall(self._flush)
        self._flushing.clock = clock

    def start(self) -> None:
        """Begin to log held progress when its time has come."""
        if self._interval:
            self._flushing.start(self._interval, now=False)

    def stop(self) -> None:
        """Log no more held progress; what is held stays stored."""
        if self._flushing.running:
            self._flushing.stop()

    async def handle(self, batch: Sequence[bytes | None], inbox: Inbox) -> None:
        """Apply a batch of events as graders wrote them; ``None`` stands for one too large to be read.

        :raises StoreUnavailable: nothing or all of it was applied; the batch is to be handed in again.
        """
        events = self._read(batch)
        await self._look_up(event.number for event in events)
        await self._apply(events, inbox)

    async def apply(self, number: str, batch: Sequence[bytes]) -> bool:
        """Apply events of one attempt that did not come over a response list.

        :param number: the attempt's; what the events say of it does not count.
        :returns: false if the attempt is over, and nothing was applied.
        :raises StoreUnavailable: nothing or all of it was applied.
        """
        await self._look_up([number])
        if self.attempts.get(number) is None:
            for _ in batch:
                self._drop("attempt_over")
            return False
        events = self._read(batch, number)
        return not events or await self._apply(events, None)

    async def _apply(self, events: Sequence[GraderEvent], inbox: Inbox | None) -> bool:
        """Store what the events mean; tell whether any of them was applied."""
        moves, kinds = self._moves(events)
        moved = await self._delivery.move(moves, self._now(), inbox)
        for move, kind, answer in zip(moves, kinds, moved, strict=True):
            self._settle(move, kind, answer)
        return any(answer.applied for answer in moved)

    def _read(self, batch: Sequence[bytes | None], number: str | None = None) -> list[GraderEvent]:
        events = []
        for raw in batch:
            event = Unusable("oversize") if raw is None else read(raw, number)
            if isinstance(event, Unusable):
                self._drop(event.why)
            else:
                events.append(event)
        return events

    async def _look_up(self, numbers: Iterable[str]) -> None:
        """Learn of attempts that another node dispatched."""
        unknown = [number for number in dict.fromkeys(numbers) if self.attempts.get(number) is None]
        if unknown:
            for job in await self._store.attempts(unknown):
                if job is not None:
                    self.attempts.add(job)

    def _moves(self, events: Sequence[GraderEvent]) -> tuple[list[Move], list[JobEvent]]:
        """Return the moves of a batch, in order, and what kind of event each stands for."""
        moves: list[Move] = []
        kinds: list[JobEvent] = []
        held: dict[str, int] = {}  # where the held progress of an attempt stands in ``moves``
        ended: set[str] = set()
        now = self._clock.seconds()
        for event in events:
            attempt = self.attempts.get(event.number)
            if attempt is None or event.number in ended:
                self._drop("attempt_over")
                continue
            if attempt.told:
                moves.append(somebody_came(attempt))
                kinds.append(JobEvent.INFO)
            self.attempts.heard(attempt, now)
            if event.kind is JobEvent.PROGRESS_UPDATE and self._too_early(attempt, now):
                move = held_back(attempt.job, event)
                self.attempts.hold(attempt)
                if event.number in held:
                    moves[held[event.number]] = move
                    continue
                held[event.number] = len(moves)
            elif event.kind in TERMINAL_EVENTS:
                move = finished(attempt.job, event, self._now())
                ended.add(event.number)
            else:
                move = progressed(attempt.job, event, self._new_deadline(attempt))
            moves.append(move)
            kinds.append(event.kind)
        return moves, kinds

    def _new_deadline(self, attempt: Attempt) -> int | None:
        """Return the deadline of a job whose grader has just been heard of first: its order may have lain."""
        job = attempt.job
        begins = job.state is JobState.DISPATCHED and job.due and job.dispatched_at
        return self._now() + job.due - job.dispatched_at if begins else None

    def _too_early(self, attempt: Attempt, now: float) -> bool:
        """Tell whether a progress event must wait; if not, note that one goes now."""
        if attempt.holding or now < attempt.next_progress:
            return bool(self._interval)
        attempt.next_progress = now + self._interval
        return False

    def _settle(self, move: Move, kind: JobEvent, answer: Moved) -> None:
        if answer.applied:
            self._observer.event_relayed(kind.name)
            if move.due:
                self.attempts.restart(move.attempt or "", self._now(), move.due, JobState.RUNNING)
        else:
            self._drop("attempt_over")
        if kind in TERMINAL_EVENTS or not answer.applied:
            # One that is refused may have been applied by a step whose answer was lost.
            attempt = self.attempts.get(move.attempt or "")
            self.attempts.forget(move.attempt or "")
            if attempt is not None:
                self._on_ended(attempt.job)

    def _drop(self, why: str) -> None:
        self._observer.event_dropped(why)

    def _flush(self) -> None:
        """Log held progress whose time has come."""
        now = self._clock.seconds()
        due = self.attempts.release_due(now)
        for attempt in due:
            attempt.next_progress = now + self._interval
        for start in range(0, len(due), FLUSHES_AT_ONCE):
            self._spawn("progress", self._log_held(due[start : start + FLUSHES_AT_ONCE]))

    async def _log_held(self, attempts: Sequence[Attempt]) -> None:
        moves = [flushed(attempt.job) for attempt in attempts]
        try:
            await self._delivery.move(moves, self._now())
        except StoreUnavailable as error:
            self.log.warn("held progress waits: {error}", error=error)
            for attempt in attempts:
                if self.attempts.get(attempt.job.attempt) is attempt:
                    self.attempts.hold(attempt)
        else:
            for attempt in attempts:
                self.attempts.released(attempt)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
