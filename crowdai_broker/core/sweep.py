"""What no event will ever move again, found in what is stored: deadlines, dead nodes, idle backlogs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..config import ChallengeConfig
from ..errors import BrokerError, StoreUnavailable
from ..interfaces import IGrader, IStore, Spawn
from .attempts import Attempts
from .catalogue import Catalogue
from .delivery import Delivery
from .dispatch import Dispatcher
from .leases import lease_over
from .lifecycle import overdue, still_waiting, taken_late
from .model import IN_FLIGHT, EffectKind, Handing, Job, JobState, Move

BEAT = 3.0  # s between signs of life
BEAT_LASTS = 12.0  # s after which a silent node counts as dead
DEADLINES = 1.0  # s between looks for jobs whose time is up
MEND = 1.0  # s between looks for what a failure of the store left undone
BACKLOG = 5.0  # s between looks at the backlog: an operator or a dead node may have put a job back
SWEEP = 30.0  # s between looks at the whole
AT_ONCE = 128  # overdue jobs moved in one step
SETTLING = 5.0  # s for which the store must have answered before a silent grader is blamed
ABANDONED = 20_000  # ms after its deadline at which a job of another node is looked at: it may have died
ATTEMPT_GRACE = 60_000  # ms after its deadline for which an attempt is kept in memory


class Sweep:
    """The regular work of a node.

    :param pause: seconds that the effects which a dead node had leased are left alone: what it had sent may
        still be worked on, and a node that was only cut off may have sent one last thing.
    :param on_adopted: called with the names of the dead nodes whose response lists are this node's now.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        node: str,
        catalogue: Catalogue,
        graders: Mapping[str, IGrader],
        delivery: Delivery,
        dispatcher: Dispatcher,
        attempts: Attempts,
        spawn: Spawn,
        pause: float,
        on_adopted: Callable[[list[str]], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._node = node
        self._catalogue = catalogue
        self._graders = graders
        self._delivery = delivery
        self._dispatcher = dispatcher
        self._attempts = attempts
        self._spawn = spawn
        self._pause = pause
        self._on_adopted = on_adopted
        self._loops = [
            self._every(BEAT, "beat", self._beat),
            self._every(DEADLINES, "deadlines", self._deadlines),
            self._every(MEND, "mend", self._mend),
            self._every(BACKLOG, "backlog", self._dispatcher.poke_all),
            self._every(SWEEP, "sweep", self._sweep),
        ]
        self._running: set[str] = set()
        self._well_since = clock.seconds()

    async def start(self) -> None:
        """Give the first sign of life, then begin."""
        await self._beat()
        for interval, loop in self._loops:
            loop.start(interval, now=loop is not self._loops[0][1])

    async def stop(self) -> None:
        """End, and leave what is stored to the other nodes."""
        for _, loop in self._loops:
            if loop.running:
                loop.stop()
        await self._store.leave(self._node)

    def _every(
        self, interval: float, name: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> tuple[float, LoopingCall]:
        loop = LoopingCall(self._begin, name, work)
        loop.clock = self._clock
        return interval, loop

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._running:
            self._running.add(name)
            self._spawn(name, self._guarded(name, work))

    async def _guarded(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except StoreUnavailable as error:
            self._well_since = self._clock.seconds()
            self.log.warn("{name} waits: {error}", name=name, error=error)
        finally:
            self._running.discard(name)

    async def _beat(self) -> None:
        now = self._now()
        await self._store.beat(self._node, now, int(BEAT_LASTS * 1000))
        self._on_adopted(await self._store.adopt(self._node, now, int(self._pause * 1000)))

    async def _mend(self) -> None:
        self._dispatcher.mend()
        await self._delivery.mend()

    async def _sweep(self) -> None:
        self._delivery.tidy()
        self._attempts.prune(self._now() - ATTEMPT_GRACE)

    async def _deadlines(self) -> None:
        """Move jobs whose grader was silent for too long, once all that it may have said was read.

        While the store is away graders cannot say anything, and what they say of a dead node's jobs lies
        there until that node is missed.
        """
        due = await self._store.due_jobs(self._now(), AT_ONCE)
        if self._clock.seconds() < self._well_since + SETTLING:
            return
        jobs = [job for job in due if job.state in IN_FLIGHT and self._is_read(job)]
        if not jobs:
            return
        moves = [await self._judged(job) for job in jobs]
        for job, move, moved in zip(jobs, moves, await self._delivery.move(moves, self._now()), strict=True):
            if move.due and moved.applied:
                self._attempts.restart(job.attempt, self._now(), move.due, move.to or job.state)
                continue
            self._attempts.forget(job.attempt)
            if moved.applied:
                self._dispatcher.poke(job.challenge)

    def _is_read(self, job: Job) -> bool:
        """Tell whether what graders have said of a job was read, as far as this node can know."""
        return job.node == self._node or job.due + ABANDONED <= self._now()

    async def _judged(self, job: Job) -> Move:
        try:
            config = await self._catalogue.get(job.challenge)
        except BrokerError:
            config = ChallengeConfig()
        grader = self._graders.get(config.grader.kind)
        if grader is not None and grader.handing(config) is Handing.HERE:
            await grader.withdraw(config, job)
            return lease_over(job, config, self._now())
        due = self._now() + int(config.job_timeout * 1000)
        if job.state is JobState.DISPATCHED and await self._is_to_be_handed_out(job):
            return still_waiting(job, due)
        if grader is not None and job.state is JobState.DISPATCHED:
            try:
                if await self._waits_its_turn(grader, config, job):
                    return still_waiting(job, due)
                if job.due - job.dispatched_at > config.job_timeout * 1000 * 1.5:
                    return taken_late(job, due)
                self._attempts.forget(job.attempt)
                # An order that still lies there must not be graded beside the next attempt's.
                await grader.withdraw(config, job)
            except BrokerError as error:
                self.log.warn("an order of {job} may lie there: {error}", job=job.job_id, error=error)
        return overdue(job, config.max_attempts, config.job_timeout, self._now())

    async def _is_to_be_handed_out(self, job: Job) -> bool:
        """Tell whether no grader has the order yet: then its time has not begun."""
        effects = await self._store.effects_of(job.job_id)
        return any(one.kind is EffectKind.DISPATCH and one.body == job.attempt for one in effects)

    async def _waits_its_turn(self, grader: IGrader, config: ChallengeConfig, job: Job) -> bool:
        """Tell whether the order lies there because the graders, who are there, have others before it."""
        lately = self._clock.seconds() - config.job_timeout
        return self._attempts.heard_since(job.challenge, lately) and await grader.lies(config, job)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
