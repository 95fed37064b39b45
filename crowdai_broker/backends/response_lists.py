"""Reads what graders say: the lists that this node's attempts are answered on, and those it adopted.

Nothing is read on from a list before the store has stored and removed what was read: a grader that floods is
slowed by its list alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core.model import Inbox
from ..errors import StoreUnavailable
from ..interfaces import IStore
from .redis_client import RedisClient
from .redis_lists import Batch, RemoteList, ResponseList, StoredList
from .redis_servers import RedisServers

PAUSE = 0.5  #: s before Redis is asked again after a failure
LOOK = 0.25  #: s between looks at adopted lists

Handle = Callable[[Sequence[bytes | None], Inbox], Awaitable[None]]


class ResponseLists:
    """Hands each batch to ``handle``, which returns once the store has removed it; then reads on.

    A batch is handed in again after :class:`StoreUnavailable`. One that ``handle`` fails on otherwise is
    handed in entry by entry; an entry that it still fails on is removed and logged (not its content), for it
    would stop everything behind it.

    :param client: the store's Redis.
    :param prefix: what the store's keys begin with.
    :param servers: Redis servers of graders; a list of this node is read on each.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        client: RedisClient,
        store: IStore,
        prefix: str,
        node: str,
        handle: Handle,
        servers: RedisServers | None = None,
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._store = store
        self._prefix = prefix
        self._node = node
        self._handle = handle
        self._servers = servers or RedisServers(reactor)
        self._servers.on_new = self._follow_server
        self._adopted: tuple[str, ...] = ()
        self._running = False
        self._blocking: list[RedisClient] = []
        self._loops: list[Deferred[None]] = []
        self._naps: set[Deferred[None]] = set()

    async def start(self) -> None:
        """Begin to read."""
        self._running = True
        self._begin(self._every_look(self._here))
        self._begin(self._every_look(self._elsewhere))  # apart: a graders' Redis that is away delays no other
        self._follow(self._list(self._node), self._client)
        for name, client in self._servers.known():
            self._follow_server(name, client)

    async def stop(self) -> None:
        """Finish the batches in hand and end."""
        self._running = False
        for nap in tuple(self._naps):
            nap.cancel()
        for blocking in self._blocking:
            await blocking.close()
        for loop in self._loops:
            await loop

    def adopt(self, nodes: Sequence[str]) -> None:
        """Read the lists of these dead nodes too, and of no others from now on."""
        self._adopted = tuple(nodes)

    # -- which lists

    def _list(self, node: str) -> ResponseList:
        return StoredList(self._client, self._prefix, self._store.response_list(node))

    def _remote(self, node: str, name: str, client: RedisClient) -> RemoteList:
        return RemoteList(self._client, client, name, self._prefix, self._store.response_list(node))

    def _follow_server(self, name: str, client: RedisClient) -> None:
        if self._running:
            self._follow(self._remote(self._node, name, client), client)

    def _follow(self, lst: ResponseList, client: RedisClient) -> None:
        blocking = client.blocking()
        blocking.start()
        self._blocking.append(blocking)
        self._begin(self._own(lst, blocking))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._loops.append(Deferred.fromCoroutine(work))

    # -- the loops

    async def _own(self, lst: ResponseList, blocking: RedisClient) -> None:
        while self._running:
            try:
                # A server that is away is waited for where stopping ends the wait.
                if not blocking.connected or not await self._drain(lst):
                    await lst.wait(blocking)
            except StoreUnavailable as error:
                await self._pause(lst.name, error)

    async def _every_look(self, what: Callable[[str], Awaitable[None]]) -> None:
        while self._running:
            await self._nap(LOOK)
            for node in self._adopted:
                try:
                    await what(node)
                except StoreUnavailable as error:
                    await self._pause(f"the lists of {node}", error)

    async def _here(self, node: str) -> None:
        await self._drain_all(self._list(node))

    async def _elsewhere(self, node: str) -> None:
        remote = []
        for name, client in self._servers.known():
            if not client.connected:
                raise StoreUnavailable(f"no connection to {name}")
            remote.append(self._remote(node, name, client))
        for lst in remote:
            await self._drain_all(lst)
        if self._running and await self._store.drop_adopted(self._node, node):
            self._adopted = tuple(other for other in self._adopted if other != node)
            for lst in remote:
                await lst.forget()

    async def _drain_all(self, lst: ResponseList) -> None:
        while self._running and await self._drain(lst):
            continue

    async def _drain(self, lst: ResponseList) -> bool:
        """Hand in the head of a list; tell whether there was anything."""
        batch = await lst.read()
        if not batch.entries:
            return False
        try:
            await self._handle(batch.entries, batch.inbox)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - no grader's event may stop those behind it
            await self._one_by_one(lst, batch)
        return True

    async def _one_by_one(self, lst: ResponseList, batch: Batch) -> None:
        for part in batch.each():
            try:
                await self._handle(part.entries, part.inbox)
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - said, and left behind
                self.log.failure("an event on {name} is dropped: handling it failed", name=lst.name)
                await self._store.move([], self._node, int(self._reactor.seconds() * 1000), part.inbox)

    # -- waiting

    async def _pause(self, name: str, error: StoreUnavailable) -> None:
        if self._running:
            self.log.warn("graders' events wait ({name}): {error}", name=name, error=error)
            await self._nap(PAUSE)

    async def _nap(self, seconds: float) -> None:
        if not self._running:
            return
        nap: Deferred[None] = deferLater(self._reactor, seconds)
        self._naps.add(nap)
        try:
            await nap
        except CancelledError:
            return
        finally:
            self._naps.discard(nap)
