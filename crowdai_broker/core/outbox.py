"""Outside effects: leased, done once, asked about before they are repeated, tried again for ever.

An effect is stored in the same step as the decision that caused it and is removed in the same step that
stores its answer. In between, whoever holds its lease works on it; a lease that ran out is taken by another
node, which finds the effect marked *sent* and so knows that it may have happened.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from ..errors import StoreUnavailable
from ..interfaces import IStore, Spawn
from .delivery import Delivery
from .model import Effect, EffectKind, EffectState, Job, Move

AT_ONCE = 32  # effects this node works on at a time
LOOK_AGAIN = 1.0  # s between looks for effects that became due
FIRST_WAIT = 1.0  # s before the first repetition
LONGEST_WAIT = 60.0  # s between repetitions, but for a longer Retry-After
LONGEST_RETRY_AFTER = 3600.0  # s
INSIST = 1.0  # s between tries to store an answer that is there


class Settled(Struct, frozen=True):
    """The effect has happened, or never will: this move says so."""

    move: Move


class Again(Struct, frozen=True):
    """Not done yet.

    :ivar state: ``NEW`` only if it is known that nothing happened.
    :ivar after: seconds until the next try; ``None``: growing waits.
    :ivar notice: tells the participant, once.
    """

    state: EffectState
    note: str
    notice: Move | None = None
    after: float | None = None


Verdict = Settled | Again
Handler = Callable[[Effect, Job], Awaitable[Verdict]]


class OutboxObserver(Protocol):
    """What the metrics want to know of effects."""

    def effect_tried(self, kind: str, outcome: str) -> None:
        """One try ended; ``outcome`` is ``settled``, ``again`` or ``held``."""


class Outbox:
    """Works on effects that are due.

    :param lease: seconds after which another node may take an effect; longer than any handler takes.
    :param on_settled: called with the job of each effect that was settled.
    :param jitter: returns a number from 0 to 1; waits are spread by it.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        node: str,
        delivery: Delivery,
        spawn: Spawn,
        observer: OutboxObserver,
        handlers: Mapping[EffectKind, Handler],
        lease: float,
        on_settled: Callable[[Job], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._store = store
        self._node = node
        self._delivery = delivery
        self._spawn = spawn
        self._observer = observer
        self._handlers = handlers
        self._lease = lease
        self._on_settled = on_settled
        self._jitter = jitter
        self._working = 0
        self._looking = False
        self._again = False
        self._looks = LoopingCall(self.poke)
        self._looks.clock = clock

    def start(self) -> None:
        """Begin to work."""
        self._looks.start(LOOK_AGAIN)

    def stop(self) -> None:
        """Begin nothing more; what is being worked on is the spawner's to wait for."""
        if self._looks.running:
            self._looks.stop()

    def poke(self) -> None:
        """Look for due effects now: one was just stored."""
        if self._looking:
            self._again = True
        elif self._looks.running and self._working < AT_ONCE:
            self._looking = True
            self._spawn("outbox", self._look())

    async def _look(self) -> None:
        try:
            self._again = True
            while self._again and self._working < AT_ONCE:
                self._again = False
                for effect in await self._store.lease_effects(
                    self._now(), int(self._lease * 1000), AT_ONCE - self._working, self._node
                ):
                    self._again = True
                    self._working += 1
                    self._spawn(effect.kind, self._work(effect))
        except StoreUnavailable as error:
            self.log.warn("the outbox waits: {error}", error=error)
        finally:
            self._looking = False

    async def _work(self, effect: Effect) -> None:
        try:
            job = await self._store.job(effect.job_id)
            if job is None:
                await self._hold(effect, "its job is gone")
                return
            verdict = await self._handlers[effect.kind](effect, job)
            if isinstance(verdict, Settled):
                await self._settle(effect, job, verdict.move)
            else:
                await self._try_again(effect, verdict)
        except StoreUnavailable as error:
            # The lease runs out, and whoever takes it next finds the effect marked as sent.
            self.log.warn("{kind} of {job} waits: {error}", kind=effect.kind, job=effect.job_id, error=error)
        finally:
            self._working -= 1
            self.poke()

    async def _settle(self, effect: Effect, job: Job, move: Move) -> None:
        moved = await self._insist(move)
        self._observer.effect_tried(effect.kind, "settled")
        if moved:
            self._on_settled(job)

    async def _insist(self, move: Move) -> bool:
        """Store an answer that must not be lost, as long as the lease is ours."""
        give_up = self._clock.seconds() + self._lease / 2
        while True:
            try:
                (moved,) = await self._store.move([move], self._node, self._now())
            except StoreUnavailable:
                if self._clock.seconds() >= give_up:
                    raise
                await deferLater(self._clock, INSIST)
                continue
            self._delivery.deliver(moved.execution_id, moved.events, moved.unfinished)
            return moved.applied

    async def _try_again(self, effect: Effect, verdict: Again) -> None:
        held = verdict.state is EffectState.HELD
        self._observer.effect_tried(effect.kind, "held" if held else "again")
        self.log.warn(
            "{kind} of {job}, try {tries}: {note}",
            kind=effect.kind,
            job=effect.job_id,
            tries=effect.tries,
            note=verdict.note,
        )
        if verdict.notice is not None and not effect.note:
            (moved,) = await self._store.move([verdict.notice], self._node, self._now())
            self._delivery.deliver(moved.execution_id, moved.events, moved.unfinished)
        wait = self._wait(effect.tries) if verdict.after is None else min(verdict.after, LONGEST_RETRY_AFTER)
        await self._store.postpone_effect(
            effect.kind,
            effect.job_id,
            verdict.state,
            self._now() + int(wait * 1000),
            verdict.note,
            self._node,
        )

    async def _hold(self, effect: Effect, note: str) -> None:
        await self._try_again(effect, Again(EffectState.HELD, note))

    def _wait(self, tries: int) -> float:
        """Return seconds until the next try: doubling, half of it random, so that retries spread."""
        wait: float = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 10))
        return wait * (0.5 + 0.5 * self._jitter())

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
