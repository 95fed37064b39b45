"""Leases of jobs that connected graders hold.

The time at which the sweep looks at such a job is moved on while its grader is there. When nobody does so
any more, because the grader is lost or the node that it was connected to, the sweep of any node gives the
job to another grader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..config import ChallengeConfig
from ..errors import BrokerError
from .attempts import Attempts
from .catalogue import Catalogue
from .connected_grader import Held
from .delivery import Delivery
from .lifecycle import given_up, leased, overdue, unseen
from .model import Job, Move

LEASE = 30.0  # s for which a job stays with a grader whose connection, or whose node, is lost
EXTEND = 10.0  # s after which a lease is extended
MOVES_AT_ONCE = 256
LOST = "the connection to its grader was lost"


def lease_end(now: int, deadline: int) -> int:
    """Return until when (ms) a lease goes that begins now; none goes beyond the job's own deadline."""
    return min(now + int(LEASE * 1000), deadline)


def lease_over(job: Job, challenge: ChallengeConfig, now: int) -> Move:
    """Take a job whose lease has ended from its grader: its time was up, or nobody extended it."""
    if job.due - job.dispatched_at >= challenge.job_timeout * 1000:
        return overdue(job, challenge.max_attempts, challenge.job_timeout, now)
    return given_up(job, challenge.max_attempts, LOST, now)


class Leases:
    """Extends leases, and ends them before their time."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        catalogue: Catalogue,
        delivery: Delivery,
        attempts: Attempts,
        poke: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._delivery = delivery
        self._attempts = attempts
        self._poke = poke

    async def extend(self, held: Sequence[Held]) -> list[bool]:
        """Extend the leases of jobs; return of which the attempt is not over.

        :raises StoreUnavailable: some may have been extended.
        """
        kept: list[bool] = []
        for start in range(0, len(held), MOVES_AT_ONCE):
            some = held[start : start + MOVES_AT_ONCE]
            now = self._now()
            ends = [lease_end(now, one.deadline) for one in some]
            moves = [leased(one.job, end) for one, end in zip(some, ends, strict=True)]
            kept += [moved.applied for moved in await self._delivery.move(moves, now)]
            for one, end in zip(some, ends, strict=True):
                one.extend_at = now / 1000 + EXTEND
                self._extended(one.job.attempt, end)
        return kept

    def _extended(self, number: str, end: int) -> None:
        attempt = self._attempts.get(number)
        if attempt is not None:
            self._attempts.restart(number, attempt.job.dispatched_at, end, attempt.job.state)

    async def give_back(self, jobs: Sequence[Job], why: str | None) -> None:
        """Give jobs to other graders now; what cannot be stored comes back when its lease is over.

        :param why: for the participant; ``None``: no grader had the job in hand, so it does not count.
        """
        try:
            moves = [await self._given_back(job, why) for job in jobs]
            await self._delivery.move(moves, self._now())
        except BrokerError as error:
            self.log.warn("{count} jobs come back later: {error}", count=len(jobs), error=error)
        for challenge in {job.challenge for job in jobs}:
            self._poke(challenge)

    async def _given_back(self, job: Job, why: str | None) -> Move:
        if why is None:
            return unseen(job)
        config = await self._catalogue.get(job.challenge)
        return given_up(job, config.max_attempts, why, self._now())

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
