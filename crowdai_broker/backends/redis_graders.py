"""Graders that pop their orders off lists in Redis (the public job factories)."""

from __future__ import annotations

from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..config import ChallengeConfig
from ..core.model import Handing, Job, Taken, order_text, queue_key, queue_of
from ..errors import GraderUnreachable, StoreUnavailable
from ..interfaces import IGrader, IStore
from .redis_client import RedisClient
from .redis_servers import RedisServers


@implementer(IGrader)
class RedisGraders:
    """Graders on the store's own Redis, which hands out their orders itself, or on one of their own.

    :param client: the store's Redis.
    :param servers: the others; a challenge's ``redis_url`` says which.
    """

    def __init__(self, client: RedisClient, store: IStore, servers: RedisServers) -> None:
        self._client = client
        self._store = store
        self._servers = servers

    def handing(self, challenge: ChallengeConfig) -> Handing:
        """On the store's own Redis, orders are pushed in the step that takes them."""
        return Handing.BY_EFFECT if challenge.grader.redis_url else Handing.IN_STORE

    def room(self, name: str, challenge: ChallengeConfig) -> int:
        """Return that a queue has room for what the configuration allows."""
        return challenge.grader.max_in_flight

    async def dispatch(self, challenge: ChallengeConfig, order: Taken) -> None:
        """Push an order to its queue on the graders' Redis."""
        queue = queue_of(order.job, challenge.grader.queue)
        try:
            await self._redis(challenge).execute("LPUSH", queue_key(queue), order.order)
        except StoreUnavailable as error:
            raise GraderUnreachable(f"the graders' Redis: {error}") from None

    async def untaken(self, challenge: ChallengeConfig, queue: str) -> int:
        """Return how many orders lie on the queue."""
        return int(await self._redis(challenge).execute("LLEN", queue_key(queue)))

    async def lies(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Tell whether the attempt's order is on its queue."""
        place = await self._redis(challenge).execute("LPOS", *self._entry(challenge, job))
        return place is not None

    async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Remove the attempt's order from its queue."""
        queue, order = self._entry(challenge, job)
        return bool(await self._redis(challenge).execute("LREM", queue, 0, order))

    def _entry(self, challenge: ChallengeConfig, job: Job) -> tuple[str, str]:
        """Return the list that the attempt's order was put on, and the order."""
        order = order_text(job, job.attempt, self._store.response_list(job.node))
        return queue_key(queue_of(job, challenge.grader.queue)), order

    def _redis(self, challenge: ChallengeConfig) -> RedisClient:
        url = challenge.grader.redis_url
        return self._servers.client(url) if url else self._client


verifyClass(IGrader, RedisGraders)
