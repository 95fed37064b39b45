"""Is anybody there to grade? A participant whose job lies untaken is told so, and told when that ends.

A grader that waits takes an order the moment it is put on its queue. So orders that lie there mean that all
graders are busy, if one of the queue's jobs was heard of lately, or that there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..config import ChallengeConfig
from ..errors import BrokerError
from ..interfaces import IGrader, Spawn
from .attempts import Attempt, Attempts
from .catalogue import Catalogue
from .delivery import Delivery
from .lifecycle import noted
from .model import IN_FLIGHT, Move, queue_of

LOOK = 1.0  # s between looks
LIES_FOR = 500  # ms for which an order lies before it is said that nobody takes it
BUSY_FOR = 600.0  # s for which a grader that was heard of counts as busy rather than gone
AT_ONCE = 256  # participants told in one step

NOBODY = (
    "Nobody is there to grade this challenge right now. Your job is stored and will be graded as soon as a "
    "grader comes; you need not submit again."
)
SOMEBODY = "A grader is there again; your job goes on."


def somebody_came(attempt: Attempt) -> Move:
    """Take back that nobody is there."""
    attempt.told = False
    return noted(attempt.job, IN_FLIGHT, SOMEBODY)


class Presence:
    """Looks after the orders that this node handed out."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        catalogue: Catalogue,
        graders: Mapping[str, IGrader],
        attempts: Attempts,
        delivery: Delivery,
        spawn: Spawn,
    ) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._graders = graders
        self._attempts = attempts
        self._delivery = delivery
        self._spawn = spawn
        self._looking = False
        self._looks = LoopingCall(self.look)
        self._looks.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._looks.start(LOOK, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looks.running:
            self._looks.stop()

    def look(self) -> None:
        """Look at the orders that nobody was heard of about."""
        waiting = {
            challenge: attempts
            for challenge, attempts in self._attempts.by_challenge().items()
            if any(not attempt.heard for attempt in attempts)
        }
        if waiting and not self._looking:
            self._looking = True
            self._spawn("presence", self._judge_all(waiting))

    async def _judge_all(self, waiting: Mapping[str, Sequence[Attempt]]) -> None:
        try:
            for challenge, attempts in waiting.items():
                await self._judge(await self._catalogue.get(challenge), attempts)
        except BrokerError as error:
            self.log.warn("whether graders are there is not known: {error}", error=error)
        finally:
            self._looking = False

    async def _judge(self, config: ChallengeConfig, attempts: Sequence[Attempt]) -> None:
        """Tell the participants of each queue what its orders say."""
        grader = self._graders.get(config.grader.kind)
        queues: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            queues.setdefault(queue_of(attempt.job, config.grader.queue), []).append(attempt)
        for queue, members in queues.items():
            unheard = [attempt for attempt in members if not attempt.heard]
            if grader is None or not unheard:
                continue
            if not await grader.untaken(config, queue):
                taken = [attempt for attempt in unheard if attempt.told and self._is_kept(attempt)]
                await self._tell([somebody_came(attempt) for attempt in taken])
            elif not self._busy(members):
                await self._tell([self._nobody(attempt) for attempt in unheard if self._to_tell(attempt)])

    def _is_kept(self, attempt: Attempt) -> bool:
        """Tell whether the attempt goes on: the order of one that was given up is gone, too."""
        return self._attempts.get(attempt.job.attempt) is attempt

    def _busy(self, members: Sequence[Attempt]) -> bool:
        since = self._clock.seconds() - BUSY_FOR
        return any(attempt.heard > since for attempt in members)

    def _to_tell(self, attempt: Attempt) -> bool:
        lay = self._clock.seconds() * 1000 - attempt.job.dispatched_at
        return not attempt.told and not attempt.heard and lay >= LIES_FOR

    @staticmethod
    def _nobody(attempt: Attempt) -> Move:
        attempt.told = True
        return noted(attempt.job, IN_FLIGHT, NOBODY)

    async def _tell(self, moves: list[Move]) -> None:
        now = int(self._clock.seconds() * 1000)
        for start in range(0, len(moves), AT_ONCE):
            await self._delivery.move(moves[start : start + AT_ONCE], now)
