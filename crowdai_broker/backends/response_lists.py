"""Reads what graders say: the lists that this node's attempts are answered on, and those it adopted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core.model import Inbox
from ..errors import StoreUnavailable
from ..interfaces import IStore
from .redis_client import RedisClient

AT_ONCE = 256  # entries of one batch
WAIT = 5.0  # s that one blocking read waits
PAUSE = 0.5  # s before Redis is asked again after a failure
LOOK = 0.25  # s between looks at adopted lists

Handle = Callable[[Sequence[bytes | None], Inbox], Awaitable[None]]


class ResponseLists:
    """Hands each batch to ``handle``, which returns once the store has removed it; then reads on."""

    log = Logger()

    def __init__(
        self, reactor: Any, client: RedisClient, store: IStore, prefix: str, node: str, handle: Handle
    ) -> None:
        self._reactor = reactor
        self._blocking = client.blocking()
        self._client = client
        self._store = store
        self._consumed = f"{prefix}:consumed"
        self._node = node
        self._handle = handle
        self._adopted: set[str] = set()
        self._stopped = False
        self._ended: list[Deferred[None]] = []

    async def start(self) -> None:
        """Begin to read."""
        self._blocking.start()
        self._ended = [Deferred.fromCoroutine(self._own()), Deferred.fromCoroutine(self._others())]

    async def stop(self) -> None:
        """Finish the batch in hand and end."""
        self._stopped = True
        await self._blocking.close()
        for ended in self._ended:
            await ended

    def adopt(self, nodes: Sequence[str]) -> None:
        """Read the lists of these dead nodes too."""
        self._adopted.update(nodes)

    async def _own(self) -> None:
        key = self._store.response_list(self._node)
        while not self._stopped:
            try:
                # The head is put back where it was: this waits for an entry and changes nothing.
                if await self._blocking.execute("BLMOVE", key, key, "LEFT", "LEFT", str(WAIT), wait=WAIT):
                    await self._batch(key)
            except StoreUnavailable as error:
                await self._pause(error)

    async def _others(self) -> None:
        while not self._stopped:
            await deferLater(self._reactor, LOOK)
            for node in tuple(self._adopted):
                try:
                    while await self._batch(self._store.response_list(node)) and not self._stopped:
                        continue
                    if await self._store.drop_adopted(self._node, node):
                        self._adopted.discard(node)
                except StoreUnavailable as error:
                    await self._pause(error)

    async def _batch(self, key: str) -> int:
        first = int(await self._client.execute("HGET", self._consumed, key) or 0)
        entries = await self._client.execute("LRANGE", key, 0, AT_ONCE - 1)
        if entries:
            await self._handle(entries, Inbox(key, len(entries), first))
        return len(entries)

    async def _pause(self, error: StoreUnavailable) -> None:
        if not self._stopped:
            self.log.warn("graders' events wait: {error}", error=error)
            await deferLater(self._reactor, PAUSE)
