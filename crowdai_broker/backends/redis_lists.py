"""Response lists: where graders put their events, on the store's own Redis and on others.

An entry has a position: how many were ever removed before it. The store counts what it consumed, in the step
that stores what it means, so an entry is consumed once, whoever reads the list and however often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..core.model import Inbox
from .redis_client import RedisClient
from .redis_scripts import Scripts

AT_ONCE = 256  #: entries of one batch
BATCH_BYTES = 4_000_000  #: a batch ends once its entries come to this
LARGEST = 1_000_000  #: bytes of an entry; a larger one is not read
WAIT = 5.0  #: s that one blocking read waits

_BOUNDS = {"limit": AT_ONCE, "bytes": BATCH_BYTES, "largest": LARGEST}


class Batch:
    """Entries at the head of a list, from position ``first`` on; ``None`` stands for one too large."""

    __slots__ = ("_key", "_remote", "entries", "first")

    def __init__(self, key: str, remote: bool, first: int, entries: Sequence[bytes | None]) -> None:
        self._key = key
        self._remote = remote
        self.first = first
        self.entries = entries

    @property
    def inbox(self) -> Inbox:
        """What a step of the store removes with the moves that these entries stand for."""
        return Inbox(self._key, len(self.entries), self.first, self._remote)

    def each(self) -> list[Batch]:
        """Return batches of one entry each."""
        parts = enumerate(self.entries, self.first)
        return [Batch(self._key, self._remote, first, [entry]) for first, entry in parts]


class ResponseList(Protocol):
    """A list that can be read without changing it."""

    @property
    def name(self) -> str:
        """What it is called in logs."""

    async def read(self) -> Batch:
        """Return the head of the list.

        :raises StoreUnavailable: a server does not answer.
        """

    async def wait(self, blocking: RedisClient) -> None:
        """Return when there is an entry, or after :data:`WAIT`; ``blocking`` is used by nobody else."""


async def _until_there_is_one(blocking: RedisClient, key: str) -> None:
    # The head is put back where it was: this waits for an entry and changes nothing.
    await blocking.execute("BLMOVE", key, key, "LEFT", "LEFT", str(WAIT), wait=WAIT)


class StoredList:
    """A list on the store's own Redis: entries go in the step that consumes them."""

    def __init__(self, client: RedisClient, prefix: str, key: str) -> None:
        self.name = key
        self._scripts = Scripts(client, prefix)

    async def read(self) -> Batch:
        """Return the head of the list."""
        first, *entries = await self._scripts.raw("unread", [self.name], **_BOUNDS)
        return Batch(self.name, False, first, entries)

    async def wait(self, blocking: RedisClient) -> None:
        """Wait for an entry."""
        await _until_there_is_one(blocking, self.name)


class RemoteList:
    """A list on a Redis of the graders: the store counts what it consumed, which goes with the next read.

    If that server loses what it had not yet removed, and is given back an old state of itself, as many newer
    entries may go with it.

    :param server: where the list is, as its name in the store's count.
    """

    def __init__(self, store: RedisClient, remote: RedisClient, server: str, prefix: str, key: str) -> None:
        self.name = f"{key} on {server}"
        self._key = key
        self._store = store
        self._remote = remote
        self._consumed = f"{prefix}:consumed"
        self._removed = f"{prefix}:removed"
        self._scripts = Scripts(remote, prefix)

    async def read(self) -> Batch:
        """Remove what was consumed and return the head of the rest."""
        upto = int(await self._store.execute("HGET", self._consumed, self.name) or 0)
        first, *entries = await self._scripts.raw("elsewhere", [self._key], upto=upto, **_BOUNDS)
        return Batch(self.name, True, first, entries)

    async def wait(self, blocking: RedisClient) -> None:
        """Wait for an entry."""
        await _until_there_is_one(blocking, self._key)

    async def forget(self) -> None:
        """Forget both counts, and what was written since: its node is gone, and no attempt writes to it."""
        await self._store.execute("HDEL", self._consumed, self.name)
        await self._remote.execute("DEL", self._key)
        await self._remote.execute("HDEL", self._removed, self._key)
