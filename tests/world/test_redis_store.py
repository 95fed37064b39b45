"""The store in Redis does what every store does, on a real server."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from crowdai_broker.backends.redis_client import RedisClient
from crowdai_broker.backends.redis_store import RedisStore
from crowdai_broker.config import parse_redis_url
from crowdai_broker.interfaces import IStore
from tests.contracts import store_case, store_dispatch, store_lifecycle, store_nodes
from tests.redis_server import start_server


class InRedis(store_case.StoreCase):
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


class RedisSessionTests(InRedis, store_lifecycle.SessionContract): ...


class RedisAcceptTests(InRedis, store_lifecycle.AcceptContract): ...


class RedisMoveTests(InRedis, store_lifecycle.MoveContract): ...


class RedisInboxTests(InRedis, store_lifecycle.InboxContract): ...


class RedisTakeTests(InRedis, store_dispatch.TakeContract): ...


class RedisSweepTests(InRedis, store_dispatch.SweepContract): ...


class RedisOutboxTests(InRedis, store_dispatch.OutboxContract): ...


class RedisNodesTests(InRedis, store_nodes.NodesContract): ...


class RedisWatchTests(InRedis, store_nodes.WatchContract): ...
