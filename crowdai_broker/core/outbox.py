"""Outside effects: leased, done once, asked about before they are repeated, tried again for ever.

An effect is stored in the same step as the decision that caused it and is removed in the same step that
stores its answer. In between, whoever holds its lease works on it; a lease that ran out is taken by another
node, which finds the effect marked *sent* and so knows that it may have happened.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Protocol, TypeVar

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from ..errors import StoreUnavailable, WebappUnavailable
from ..interfaces import IStore, Spawn
from .delivery import Delivery
from .model import Effect, EffectKind, EffectState, Job, Move

AT_ONCE = 32  # effects this node works on at a time
LOOK_AGAIN = 1.0  # s between looks for effects that became due
FIRST_WAIT = 1.0  # s before the first repetition
LONGEST_WAIT = 60.0  # s between repetitions, but for a longer Retry-After
LONGEST_RETRY_AFTER = 3600.0  # s
BEGIN_WITHIN = 5.0  # s after its lease within which work on an effect begins; later another node may have it
LATE = 3  # times the doubt for a call that was not answered in time
INSIST = 1.0  # s between tries to store an answer that is there
INSIST_FOR = 600.0  # s after which an answer that cannot be stored is given up, and found again by asking


T = TypeVar("T")


class Settled(Struct, frozen=True):
    """The effect has happened, or never will: this move says so.

    :ivar otherwise: says so if the job has moved meanwhile, and ``move`` is refused.
    """

    move: Move
    otherwise: Move | None = None


class Again(Struct, frozen=True):
    """Not done yet.

    :ivar state: ``NEW`` only if it is known that nothing happened.
    :ivar after: seconds until the next try; ``None``: growing waits.
    :ivar notice: tells the participant, once.
    :ivar insist: tells it even if something was noted before.
    :ivar quiet: this is as it should be: the log says nothing of it.
    """

    state: EffectState
    note: str
    notice: Move | None = None
    after: float | None = None
    insist: bool = False
    quiet: bool = False


Verdict = Settled | Again


def until_it_shows(doubt: float, error: WebappUnavailable) -> float:
    """Return seconds after which a call without an answer has shown its work, if it did any.

    :param doubt: for one that broke off; one that the webapp may still be at work on gets longer.
    """
    return doubt * LATE if error.still_at_work else doubt


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
        self._in_hand: set[tuple[EffectKind, str]] = set()
        self._calls = count(1)
        self._lost_call = ""  # a call for leases whose answer was lost
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
        elif self._looks.running and len(self._in_hand) < AT_ONCE:
            self._looking = True
            self._spawn("outbox", self._look())

    async def _look(self) -> None:
        try:
            self._again = True
            while self._again and len(self._in_hand) < AT_ONCE:
                self._again = False
                for effect in await self._lease_some():
                    self._again = True
                    self._begin(effect)
        except StoreUnavailable as error:
            self.log.warn("the outbox waits: {error}", error=error)
        finally:
            self._looking = False

    async def _lease_some(self) -> list[Effect]:
        """Lease what is due; a call whose answer was lost is repeated, so that no doubt comes of it."""
        repeated, call = bool(self._lost_call), self._lost_call or str(next(self._calls))
        self._lost_call = call
        room = AT_ONCE - len(self._in_hand)
        lease = int(self._lease * 1000)
        leased = await self._store.lease_effects(self._now(), lease, room, self._node, call, repeated)
        self._lost_call = ""
        return leased

    def _begin(self, effect: Effect) -> None:
        """Work on a leased effect, once: a lease may run out while its answer is being stored."""
        if (effect.kind, effect.job_id) not in self._in_hand:
            self._in_hand.add((effect.kind, effect.job_id))
            self._spawn(effect.kind, self._work(effect))

    async def _work(self, effect: Effect) -> None:
        since = self._clock.seconds()
        try:
            job = await self._insist(lambda: self._store.job(effect.job_id))
            if self._clock.seconds() - since > BEGIN_WITHIN:
                # Too late to begin, and nothing was sent: no doubt must come of it.
                await self._postpone(effect, effect.state, 0, effect.note)
            elif job is None:
                await self._try_again(effect, Again(EffectState.HELD, "its job is gone"))
            else:
                await self._carry_out(effect, job)
        except StoreUnavailable as error:
            # The lease runs out, and whoever takes it next finds the effect marked as sent.
            self.log.warn("{kind} of {job} waits: {error}", kind=effect.kind, job=effect.job_id, error=error)
        finally:
            self._in_hand.discard((effect.kind, effect.job_id))
            self.poke()

    async def _carry_out(self, effect: Effect, job: Job) -> None:
        verdict = await self._handlers[effect.kind](effect, job)
        if isinstance(verdict, Again):
            await self._try_again(effect, verdict)
            return
        for move in (verdict.move, verdict.otherwise):
            if move is not None and await self._moved(move):
                break
        self._observer.effect_tried(effect.kind, "settled")
        self._on_settled(job)

    async def _moved(self, move: Move) -> bool:
        """Store an answer; false if the job has moved meanwhile, or has this answer already."""
        (moved,) = await self._insist(lambda: self._delivery.move([move], self._now()))
        return moved.applied

    async def _insist(self, step: Callable[[], Awaitable[T]]) -> T:
        """Take a step of the store that must not be left out because the store is away for a while."""
        give_up = self._clock.seconds() + INSIST_FOR
        while True:
            try:
                return await step()
            except StoreUnavailable:
                if self._clock.seconds() >= give_up:
                    raise
                await deferLater(self._clock, INSIST)

    async def _try_again(self, effect: Effect, verdict: Again) -> None:
        held = verdict.state is EffectState.HELD
        self._observer.effect_tried(effect.kind, "held" if held else "again")
        if not verdict.quiet:
            self._say(effect, verdict.note)
        wait = self._wait(effect.tries) if verdict.after is None else min(verdict.after, LONGEST_RETRY_AFTER)
        await self._postpone(effect, verdict.state, wait, verdict.note)
        if verdict.notice is not None and (held or verdict.insist or not effect.note):
            await self._delivery.move([verdict.notice], self._now())

    def _say(self, effect: Effect, note: str) -> None:
        self.log.warn(
            "{kind} of {job}, try {tries}: {note}",
            kind=effect.kind,
            job=effect.job_id,
            tries=effect.tries,
            note=note,
        )

    async def _postpone(self, effect: Effect, state: EffectState, wait: float, note: str) -> None:
        """End the lease; until that is stored, the effect is in doubt."""
        due = self._now() + int(wait * 1000)
        await self._insist(
            lambda: self._store.postpone_effect(effect.kind, effect.job_id, state, due, note, self._node)
        )

    def _wait(self, tries: int) -> float:
        """Return seconds until the next try: doubling, half of it random, so that retries spread."""
        wait: float = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 10))
        return wait * (0.5 + 0.5 * self._jitter())

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
