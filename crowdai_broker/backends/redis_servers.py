"""Redis servers beside the store's own: those that some challenges' graders use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import Secret, parse_redis_url
from ..errors import StoreUnavailable
from .redis_client import RedisClient

MOST = 64  #: servers that one node connects to


class RedisServers:
    """Clients by URL, made and started when first asked for.

    :ivar on_new: called with each server that was not known before, as its name and client.
    """

    def __init__(self, reactor: Any) -> None:
        self.on_new: Callable[[str, RedisClient], None] = lambda name, client: None
        self._reactor = reactor
        self._clients: dict[str, tuple[str, RedisClient]] = {}
        self._closed = False

    def known(self) -> list[tuple[str, RedisClient]]:
        """Return the servers so far, each as its name (without a secret) and client."""
        return list(self._clients.values())

    def client(self, url: Secret) -> RedisClient:
        """Return the client of that server.

        :raises StoreUnavailable: too many servers already, or this is closed.
        """
        known = self._clients.get(url.reveal())
        if known is not None:
            return known[1]
        if self._closed or len(self._clients) >= MOST:
            raise StoreUnavailable(f"no more than {MOST} Redis servers of graders are connected to")
        address = parse_redis_url(url.reveal())
        client = RedisClient(self._reactor, address)
        name = f"{address.describe()}/{address.database}"
        self._clients[url.reveal()] = name, client
        client.start()
        self.on_new(name, client)
        return client

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        for _, client in self._clients.values():
            await client.close()
