"""Graders in tests: one that a script plays on a memory store's lists, and the kinds that lead there."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..config import ChallengeConfig
from ..core.model import Handing, Job, Taken, queue_key, queue_of
from ..errors import BrokerError
from ..interfaces import IGrader
from ..memory_redis import MemoryRedis

COMPLETE, ERROR, PROGRESS = "COMPLETE", "ERROR", "PROGRESS_UPDATE"


class GraderJob:
    """An order that a scripted grader has taken.

    :ivar order: the decoded order.
    """

    def __init__(self, state: MemoryRedis, order: dict[str, Any]) -> None:
        self._state = state
        self.order = order

    def say(self, kind: str, data: Any = None, message: Any = "", **more: Any) -> None:
        """Report an event of this kind (the last word of its ``response_type``)."""
        event = {
            "job_id": "grader's own",
            "data_sequence_no": self.order["data_sequence_no"],
            "response_type": f"CrowdAI.Event.Job.{kind}",
            "data": {} if data is None else data,
            "message": message,
        }
        self.write(json.dumps(event | more).encode())

    def write(self, raw: bytes) -> None:
        """Put bytes on the list that the order names, as a broken grader might."""
        self._state.lists[self.order["broker_response_channel"]].append(raw)

    def progress(self, percent: float, message: str = "") -> None:
        """Report progress."""
        self.say(PROGRESS, {"percent_complete": percent}, message)

    def complete(self, **data: Any) -> None:
        """Report the result."""
        self.say(COMPLETE, data)

    def fail(self, message: str) -> None:
        """Report an error."""
        self.say(ERROR, message=message)


class ScriptedGrader:
    """Takes orders off a queue as public graders do: from the right, one at a time.

    :param queue: as configured; the list is ``<queue>::enqueue_job``.
    """

    def __init__(self, state: MemoryRedis, queue: str) -> None:
        self._state = state
        self._key = queue_key(queue)

    def take(self) -> GraderJob | None:
        """Take the next order, if there is one."""
        orders = self._state.lists[self._key]
        return GraderJob(self._state, json.loads(orders.pop())) if orders else None

    def take_all(self) -> list[GraderJob]:
        """Take every order that is there, first to last."""
        jobs = []
        while (job := self.take()) is not None:
            jobs.append(job)
        return jobs


@implementer(IGrader)
class QueueGraders:
    """Graders whose orders the store puts on their queues itself.

    :param state: where the queues are.
    """

    def __init__(self, state: MemoryRedis) -> None:
        self._state = state

    def handing(self, challenge: ChallengeConfig) -> Handing:
        """Leave every order to the store."""
        return Handing.IN_STORE

    def room(self, name: str, challenge: ChallengeConfig) -> int:
        """Have room for all."""
        return challenge.grader.max_in_flight

    async def dispatch(self, challenge: ChallengeConfig, order: Taken) -> None:
        """Refuse: the store has handed them out."""
        raise AssertionError("orders were handed out twice")

    async def untaken(self, challenge: ChallengeConfig, queue: str) -> int:
        """Count the orders on the queue."""
        return len(self._state.lists[queue_key(queue)])

    async def lies(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Look for the order on its queue."""
        return bool(self._lying(challenge, job))

    async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Take the order off its queue."""
        lying = self._lying(challenge, job)
        for order in lying:
            self._orders(challenge, job).remove(order)
        return bool(lying)

    def _orders(self, challenge: ChallengeConfig, job: Job) -> list[bytes]:
        return self._state.lists[queue_key(queue_of(job, challenge.grader.queue))]

    def _lying(self, challenge: ChallengeConfig, job: Job) -> list[bytes]:
        orders = self._orders(challenge, job)
        return [order for order in orders if str(json.loads(order)["data_sequence_no"]) == job.attempt]


@implementer(IGrader)
class LooseGraders:
    """Graders that are given their orders one call at a time; what they get is kept.

    :param how: they are handed out.
    :ivar given: the orders of the calls that succeeded.
    :ivar places: how many jobs they have room for, if they are connected.
    :ivar withdrawn: ids of the jobs whose orders were asked back.
    """

    def __init__(self, how: Handing = Handing.BY_EFFECT) -> None:
        self.how = how
        self.places = 100
        self.given: list[Taken] = []
        self.withdrawn: list[str] = []
        self._failures: deque[BrokerError] = deque()

    def fail_next(self, error: BrokerError) -> None:
        """Let the next call fail; calls add up."""
        self._failures.append(error)

    def handing(self, challenge: ChallengeConfig) -> Handing:
        """Return how they are handed out."""
        return self.how

    def room(self, name: str, challenge: ChallengeConfig) -> int:
        """Return how many places are left."""
        return self.places

    async def dispatch(self, challenge: ChallengeConfig, order: Taken) -> None:
        """Take the order."""
        if self._failures:
            raise self._failures.popleft()
        self.given.append(order)
        self.places -= 1

    async def untaken(self, challenge: ChallengeConfig, queue: str) -> int:
        """Say that nothing lies around."""
        return 0

    async def lies(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Say that every order was taken when it was given."""
        return False

    async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Note whose order is not wanted any more; it was taken when it was given."""
        self.withdrawn.append(job.job_id)
        return False


verifyClass(IGrader, QueueGraders)
verifyClass(IGrader, LooseGraders)
