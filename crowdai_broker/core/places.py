"""Where waiting jobs stand: their participants are told when it changes notably, and how long it may take."""

from __future__ import annotations

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..errors import StoreUnavailable
from ..interfaces import IStore, Spawn
from .delivery import Delivery
from .lifecycle import noted
from .model import JobState, Line, execution_of

LOOK = 5.0  # s between looks
LOOK_AT = 2000  # waiting jobs of a challenge that are placed; who stands behind them is told later
TOLD_AT_ONCE = 100  # participants told in one look
NOTABLE = 25  # places gained that are worth telling; half of them always is
SMOOTHING = 0.3  # weight of the newest speed

WAITING = frozenset({JobState.QUEUED})


class _Seen(Struct):
    """What is remembered of a challenge's line.

    :ivar told: how many were ahead when the participant was told last, by job.
    :ivar ahead: how many were ahead at the last look, by job.
    :ivar speed: places gained a second; 0: not known yet.
    """

    told: dict[str, int] = {}
    ahead: dict[str, int] = {}
    at: float = 0.0
    speed: float = 0.0

    def look(self, line: Line, now: float) -> None:
        """Take the line as it stands now."""
        ahead = {job_id: line.in_flight + place for place, job_id in enumerate(line.waiting)}
        gained = [self.ahead[job_id] - place for job_id, place in ahead.items() if job_id in self.ahead]
        if gained and now > self.at:
            newest = max(0.0, sum(gained) / len(gained) / (now - self.at))
            self.speed += (newest - self.speed) * (SMOOTHING if self.speed else 1)
        self.ahead, self.at = ahead, now
        self.told = {job_id: told for job_id, told in self.told.items() if job_id in ahead}

    def to_tell(self, job_id: str) -> bool:
        """Tell whether a job's place has changed notably since its participant heard of it."""
        told, ahead = self.told.get(job_id), self.ahead[job_id]
        return told is None or ahead * 2 <= told or told - ahead >= NOTABLE


class Places:
    """Tells the participants who are connected here where their waiting jobs stand."""

    log = Logger()

    def __init__(self, clock: IReactorTime, store: IStore, delivery: Delivery, spawn: Spawn) -> None:
        self._clock = clock
        self._store = store
        self._delivery = delivery
        self._spawn = spawn
        self._seen: dict[str, _Seen] = {}
        self._looking = False
        self._looks = LoopingCall(self._begin)
        self._looks.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(LOOK, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looks.running:
            self._looks.stop()

    def _begin(self) -> None:
        if self._delivery.waiting and not self._looking:
            self._looking = True
            self._spawn("places", self._look())

    async def _look(self) -> None:
        try:
            backlog = await self._store.backlog()
            self._seen = {name: self._seen.get(name, _Seen()) for name in backlog}
            for challenge, seen in self._seen.items():
                seen.look(await self._store.line(challenge, LOOK_AT), self._clock.seconds())
                await self._tell(seen)
        except StoreUnavailable as error:
            self.log.warn("nobody is told of places: {error}", error=error)
        finally:
            self._looking = False

    async def _tell(self, seen: _Seen) -> None:
        followed = (job_id for job_id in seen.ahead if self._delivery.follows(execution_of(job_id)))
        for job_id in [job_id for job_id in followed if seen.to_tell(job_id)][:TOLD_AT_ONCE]:
            job = await self._store.job(job_id)
            if job is None or job.state is not JobState.QUEUED:
                continue
            seen.told[job_id] = seen.ahead[job_id]
            move = noted(job, WAITING, place_text(seen.ahead[job_id], seen.speed))
            await self._delivery.move([move], int(self._clock.seconds() * 1000))


def place_text(ahead: int, speed: float) -> str:
    """Return what a participant is told.

    :param speed: places gained a second; 0: not known.
    """
    place = f"{ahead} ahead of you" if ahead else "You are next"
    return f"{place}, {duration_text(ahead / speed)}." if speed and ahead else f"{place}."


def duration_text(seconds: float) -> str:
    """Return an estimate as one would say it."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 3600)} h"
