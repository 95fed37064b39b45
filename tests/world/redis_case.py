"""Tests of the Redis store: a server of their own, and stores on it."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue

from crowdai_broker.backends.redis_client import RedisClient
from crowdai_broker.backends.redis_store import RedisStore
from crowdai_broker.config import parse_redis_url
from crowdai_broker.core.model import LoggedEvent
from crowdai_broker.interfaces import IStore
from tests.contracts.store_case import StoreCase
from tests.redis_server import start_server


class RedisCase(StoreCase):
    """Makes stores, each with a connection of its own, on a server of the test's own."""

    timeout = 60

    def setUp(self) -> None:
        """Start an empty server."""
        super().setUp()
        self.server = start_server(self)
        self.client = self.a_client()

    def a_client(self) -> RedisClient:
        """Return a client that is closed with the test."""
        client = RedisClient(reactor, parse_redis_url(self.server.url))
        client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    def redis_store(self, node: str = "n1", keep: float = 3600, log_cap: int = 10_000) -> RedisStore:
        """Return a store that is closed with the test."""
        store = RedisStore(self.a_client(), "p", node, keep, log_cap)
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))
        return store

    def listen(self, store: RedisStore) -> DeferredQueue[str]:
        """Let the store listen; return a queue of what it tells: ``gap`` or ``<execution> <event_no>``."""
        told: DeferredQueue[str] = DeferredQueue()

        def listener(execution_id: str, events: Sequence[LoggedEvent]) -> None:
            for event in events:
                told.put(f"{execution_id} {event.event_no}")

        store.listen(listener, lambda: told.put("gap"), lambda name: told.put(f"work {name}"))
        return told

    async def make_store(self, node: str = "n1") -> IStore:
        """Return a node's store."""
        return self.redis_store(node)

    async def until_it_listens(self, begun: Deferred[None]) -> None:
        """Return when the subscription stands."""
        await begun

    async def list_of(self, key: str) -> list[bytes]:
        """Return a list of the server."""
        found: list[bytes] = await self.client.execute("LRANGE", key, 0, -1)
        return found

    async def push(self, key: str, *values: bytes) -> None:
        """Lengthen a list of the server."""
        await self.client.execute("RPUSH", key, *values)
