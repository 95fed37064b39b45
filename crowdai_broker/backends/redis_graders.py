"""Graders that pop their orders off lists in Redis (the public job factories)."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..config import ChallengeConfig
from ..core.model import Job, Taken, order_text, queue_key, queue_of
from ..interfaces import IGrader, IStore
from .redis_client import RedisClient


@implementer(IGrader)
class RedisGraders:
    """Graders on the store's own Redis, which hands out their orders itself."""

    def __init__(self, client: RedisClient, store: IStore) -> None:
        self._client = client
        self._store = store

    def in_store(self, challenge: ChallengeConfig) -> bool:
        """Orders are pushed in the step that takes them."""
        return True

    async def dispatch(self, challenge: ChallengeConfig, orders: Sequence[Taken]) -> None:
        """Have nothing to do: the store has pushed them."""

    async def untaken(self, challenge: ChallengeConfig, queue: str) -> int:
        """Return how many orders lie on the queue."""
        return int(await self._client.execute("LLEN", queue_key(queue)))

    async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Remove the attempt's order from its queue."""
        order = order_text(job, job.attempt, self._store.response_list(job.node))
        queue = queue_of(job, challenge.grader.queue)
        return bool(await self._client.execute("LREM", queue_key(queue), 0, order))


verifyClass(IGrader, RedisGraders)
