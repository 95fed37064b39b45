"""A participant takes an execution back."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import BrokerError
from ..interfaces import IGrader, IStore
from .attempts import Attempts
from .catalogue import Catalogue
from .delivery import Delivery
from .dispatch import Dispatcher
from .lifecycle import cancelled
from .model import IN_FLIGHT, OPEN, Execution, Handing, Job, JobState

AT_ONCE = 256  # jobs ended in one step


class Cancelling:
    """Ends the open jobs of an execution and takes their orders back where no grader has them yet."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        catalogue: Catalogue,
        graders: Mapping[str, IGrader],
        delivery: Delivery,
        dispatcher: Dispatcher,
        attempts: Attempts,
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._graders = graders
        self._delivery = delivery
        self._dispatcher = dispatcher
        self._attempts = attempts

    async def cancel(self, execution: Execution) -> list[str]:
        """Cancel what has not ended; return the ids of the jobs that were cancelled."""
        jobs = [job for job in await self._store.jobs(execution.execution_id) if job.state in OPEN]
        now = int(self._clock.seconds() * 1000)
        ended: list[Job] = []
        for start in range(0, len(jobs), AT_ONCE):
            some = jobs[start : start + AT_ONCE]
            moves = [cancelled(job) for job in some]
            for job, moved in zip(some, await self._delivery.move(moves, now), strict=True):
                if moved.applied:
                    ended.append(job)
        for job in ended:
            await self._take_back(job)
        self._dispatcher.poke(execution.challenge)
        return [job.job_id for job in ended]

    async def _take_back(self, job: Job) -> None:
        """Spare the graders an order that nobody waits for; one that is taken will be answered in vain."""
        self._attempts.forget(job.attempt)
        if job.state not in IN_FLIGHT:
            return
        try:
            config = await self._catalogue.get(job.challenge)
            grader = self._graders.get(config.grader.kind)
            # Only graders that are connected can be told of a job that they have begun.
            lies = job.state is JobState.DISPATCHED
            if grader is not None and (lies or grader.handing(config) is Handing.HERE):
                await grader.withdraw(config, job)
        except BrokerError as error:
            self.log.warn("the order of {job} stays with the graders: {error}", job=job.job_id, error=error)
