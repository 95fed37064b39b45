"""Is a grader connected? Participants whose jobs wait for one are told that none is, and when one comes.

(Jobs of other kinds of graders are handed out all the same; :mod:`.presence` looks after these.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..errors import BrokerError
from ..interfaces import IGrader, IStore, Spawn
from .catalogue import Catalogue
from .delivery import Delivery
from .lifecycle import noted
from .model import OPEN, Handing, JobState, execution_of
from .presence import NOBODY, SOMEBODY
from .roster import Roster

LOOK = 1.0  # s between looks
LOOK_AT = 2000  # waiting jobs of a challenge that are looked at
AT_ONCE = 256  # participants told in one step

WAITING = frozenset({JobState.QUEUED})


class Absence:
    """Tells the participants who are connected here."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        catalogue: Catalogue,
        graders: Mapping[str, IGrader],
        roster: Roster,
        delivery: Delivery,
        spawn: Spawn,
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._graders = graders
        self._roster = roster
        self._delivery = delivery
        self._spawn = spawn
        # By challenge, jobs whose participants know that nobody is there.
        self._told: dict[str, set[str]] = {}
        self._looking = False
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(LOOK, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looks.running:
            self._looks.stop()

    def came(self, challenges: Collection[str]) -> None:
        """A grader of these challenges is about to get its first job."""
        for challenge in challenges:
            told = self._told.pop(challenge, None)
            if told:
                self._spawn("presence", self._guarded_tell(told))

    def _look(self) -> None:
        if (self._delivery.waiting or self._told) and not self._looking:
            self._looking = True
            self._spawn("presence", self._look_at_all())

    async def _look_at_all(self) -> None:
        try:
            backlog = await self._store.backlog()
            for challenge in {*backlog, *self._told}:
                if challenge in self._told and await self._roster.somebody(challenge):
                    self.came([challenge])
                elif challenge in backlog and await self._waits_for_nobody(challenge):
                    await self._tell_waiting(challenge)
        except BrokerError as error:
            self.log.warn("whether graders are there is not known: {error}", error=error)
        finally:
            self._looking = False

    async def _waits_for_nobody(self, challenge: str) -> bool:
        config = await self._catalogue.get(challenge)
        grader = self._graders.get(config.grader.kind)
        here = grader is not None and grader.handing(config) is Handing.HERE
        return here and not await self._roster.somebody(challenge)

    async def _tell_waiting(self, challenge: str) -> None:
        waiting = (await self._store.line(challenge, LOOK_AT)).waiting
        followed = {job_id for job_id in waiting if self._delivery.follows(execution_of(job_id))}
        told = self._told.setdefault(challenge, set())
        told &= followed
        new = followed - told
        told |= new
        await self._tell(new, WAITING, NOBODY)
        if self._told.get(challenge) is not told:  # somebody came meanwhile
            await self._tell(new, OPEN, SOMEBODY)
        elif not told:
            del self._told[challenge]

    async def _guarded_tell(self, told: Collection[str]) -> None:
        try:
            await self._tell(told, OPEN, SOMEBODY)
        except BrokerError as error:
            self.log.warn("nobody is told that a grader came: {error}", error=error)

    async def _tell(self, job_ids: Collection[str], expect: frozenset[JobState], message: str) -> None:
        ids = sorted(job_ids)
        now = int(self._clock.seconds() * 1000)
        for start in range(0, len(ids), AT_ONCE):
            jobs = [await self._store.job(job_id) for job_id in ids[start : start + AT_ONCE]]
            moves = [noted(job, expect, message) for job in jobs if job is not None]
            await self._delivery.move(moves, now)
