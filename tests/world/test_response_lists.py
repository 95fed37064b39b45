"""What graders say is read once, in order, and no faster than it is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue

from crowdai_broker.backends import redis_lists
from crowdai_broker.backends.redis_servers import RedisServers
from crowdai_broker.backends.response_lists import ResponseLists
from crowdai_broker.core.model import Inbox
from crowdai_broker.errors import StoreUnavailable
from tests.contracts.making import COMPLETE, a_move, a_take, acceptance

from .redis_case import RedisCase

Entries = list[bytes | None]
Handle = Callable[[Sequence[bytes | None], Inbox], Awaitable[None]]


class ListsCase(RedisCase):
    """Reads the response list of node ``n1``."""

    def setUp(self) -> None:
        """Make the store that entries are consumed in."""
        super().setUp()
        self.store = self.redis_store()
        self.key = self.store.response_list("n1")
        self.handed: DeferredQueue[Entries] = DeferredQueue()

    async def consume(self, entries: Sequence[bytes | None], inbox: Inbox) -> None:
        """Note a batch and consume it, as the core does."""
        await self.store.move([], "n1", 1, inbox)
        self.handed.put(list(entries))

    async def reading(
        self, handle: Handle | None = None, servers: RedisServers | None = None
    ) -> ResponseLists:
        """Return a started reader that ends with the test."""
        lists = ResponseLists(
            reactor, self.a_client(), self.store, "p", "n1", handle or self.consume, servers
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(lists.stop()))
        await lists.start()
        return lists

    async def until_it_waits(self) -> None:
        """Return when the server has a client that waits for an entry."""
        while b"cmd=blmove" not in await self.client.execute("CLIENT", "LIST"):
            pass

    async def several(self, count: int) -> Entries:
        """Return the next ``count`` entries, however they were handed in."""
        found: Entries = []
        while len(found) < count:
            found += await self.handed.get()
        return found


class OwnListTests(ListsCase):
    async def test_entries_in_order_as_they_are(self) -> None:
        """Entries from before the reader began and from while it waits come in order, any bytes."""
        await self.push(self.key, b"1", b"\xff\x00")
        await self.reading()
        self.assertEqual(await self.several(2), [b"1", b"\xff\x00"])
        await self.until_it_waits()
        await self.push(self.key, b"3", b"4", b"5")
        self.assertEqual(await self.several(3), [b"3", b"4", b"5"])
        self.assertEqual(await self.list_of(self.key), [])

    async def test_waiting_changes_nothing(self) -> None:
        """An entry that wakes the reader stays where it was until it is consumed."""
        begun: Deferred[None] = Deferred()
        go_on: Deferred[None] = Deferred()

        async def slowly(entries: Sequence[bytes | None], inbox: Inbox) -> None:
            begun.callback(None)
            await go_on
            await self.consume(entries, inbox)

        await self.reading(slowly)
        await self.until_it_waits()
        await self.push(self.key, b"1", b"2")
        await begun
        self.assertEqual(await self.list_of(self.key), [b"1", b"2"])
        go_on.callback(None)
        await self.handed.get()
        self.assertEqual(await self.list_of(self.key), [])

    async def test_no_faster_than_it_is_stored(self) -> None:
        """While a batch is in hand nothing more is read; stopping waits for it."""
        calls: list[int] = []
        go_on: Deferred[None] = Deferred()

        async def slowly(entries: Sequence[bytes | None], inbox: Inbox) -> None:
            calls.append(len(entries))
            await go_on
            await self.consume(entries, inbox)

        await self.push(self.key, *[b"x"] * (redis_lists.AT_ONCE + 1))
        lists = await self.reading(slowly)
        while not calls:
            await self.client.execute("PING")
        stopping = Deferred.fromCoroutine(lists.stop())
        await self.client.execute("PING")
        self.assertFalse(stopping.called)
        go_on.callback(None)
        await stopping
        self.assertEqual(calls, [redis_lists.AT_ONCE])
        self.assertEqual(await self.list_of(self.key), [b"x"])

    async def test_batches_are_bounded(self) -> None:
        """A batch holds no more than its number of entries, and ends with the entry that fills its bytes."""
        large = b"x" * redis_lists.LARGEST
        await self.push(self.key, *[b"."] * 300)
        await self.push(self.key, *[large] * 6)
        await self.reading()
        sizes = [len(await self.handed.get()) for _ in range(3)]
        self.assertEqual(sizes, [redis_lists.AT_ONCE, 300 - redis_lists.AT_ONCE + 4, 2])

    async def test_entry_that_is_too_large(self) -> None:
        """An entry above the bound is not fetched; those around it are."""
        await self.push(self.key, b"1", b"x" * (redis_lists.LARGEST + 1), b"3")
        await self.reading()
        self.assertEqual(await self.several(3), [b"1", None, b"3"])
        self.assertEqual(await self.list_of(self.key), [])

    async def test_handed_in_again_after_a_failure(self) -> None:
        """A batch whose step failed is handed in again, whole and before anything newer."""
        failures = [True, True]

        async def failing(entries: Sequence[bytes | None], inbox: Inbox) -> None:
            if failures:
                failures.pop()
                await self.push(self.key, b"newer")
                raise StoreUnavailable("as it was told")
            await self.consume(entries, inbox)

        await self.push(self.key, b"1", b"2")
        await self.reading(failing)
        self.assertEqual(await self.several(4), [b"1", b"2", b"newer", b"newer"])

    async def test_answer_that_was_lost(self) -> None:
        """A batch that was consumed, although its handler failed, is not handed in again."""
        failures = [True]

        async def failing(entries: Sequence[bytes | None], inbox: Inbox) -> None:
            await self.consume(entries, inbox)
            if failures:
                failures.pop()
                raise StoreUnavailable("as it was told")

        await self.push(self.key, b"1")
        await self.reading(failing)
        self.assertEqual(await self.several(1), [b"1"])
        await self.push(self.key, b"2")
        self.assertEqual(await self.several(1), [b"2"])

    async def test_entry_that_cannot_be_handled(self) -> None:
        """An entry on which handling fails is left behind and logged; those around it are handled."""

        async def choking(entries: Sequence[bytes | None], inbox: Inbox) -> None:
            if b"bad" in entries:
                raise ZeroDivisionError
            await self.consume(entries, inbox)

        await self.push(self.key, b"1", b"bad", b"3")
        await self.reading(choking)
        self.assertEqual(await self.several(2), [b"1", b"3"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(await self.list_of(self.key), [])

    async def test_server_is_killed(self) -> None:
        """A reader whose server was killed while it waited reads on when the server is back."""
        await self.reading()
        await self.push(self.key, b"1")
        self.assertEqual(await self.several(1), [b"1"])
        await self.until_it_waits()
        self.server.kill()
        self.server.start()
        while True:
            try:
                await self.push(self.key, b"2")
                break
            except StoreUnavailable:
                continue
        self.assertEqual(await self.several(1), [b"2"])

    async def test_two_readers_of_one_list(self) -> None:
        """Two nodes that read the same list for a while store each entry once."""
        stored: list[bytes | None] = []
        await self.store.accept(acceptance("x"))

        async def storing(entries: Sequence[bytes | None], inbox: Inbox) -> None:
            moves = [a_move("x-0", (entry or b"").decode()) for entry in entries]
            moved = await self.store.move(moves, "n1", 1, inbox)
            stored.extend(entry for entry, move in zip(entries, moved, strict=True) if move.applied)

        for _ in range(2):
            await self.reading(storing)
        for number in range(100):
            await self.push(self.key, str(number).encode())
        while len(stored) < 100:
            await self.client.execute("PING")
        self.assertEqual(stored, [str(number).encode() for number in range(100)])


class AdoptedListTests(ListsCase):
    async def adopt(self, lists: ResponseLists) -> None:
        """Let ``n2`` die and its list be adopted."""
        await self.store.beat("n2", 0, 10)
        lists.adopt(await self.store.adopt("n1", 10))

    async def test_read_until_nobody_writes(self) -> None:
        """An adopted list is read, kept while an attempt may write to it, and dropped then."""
        key = self.store.response_list("n2")
        await self.store.accept(acceptance("x"))
        await self.store.take(a_take("1", node="n2"))
        await self.push(key, b"1")
        lists = await self.reading()
        await self.adopt(lists)
        self.assertEqual(await self.several(1), [b"1"])
        await self.push(key, b"2")
        self.assertEqual(await self.several(1), [b"2"])
        self.assertEqual(await self.store.adopt("n1", 11), ["n2"])
        await self.store.move([a_move("x-0", to=COMPLETE)], "n1", 12)
        while await self.store.adopt("n1", 13):
            pass
        self.assertEqual(await self.client.execute("HEXISTS", "p:consumed", key), 0)

    async def test_given_back(self) -> None:
        """A list whose node came back is not read any more."""
        await self.store.accept(acceptance("x"))
        await self.store.take(a_take("1", node="n2"))
        lists = await self.reading()
        await self.adopt(lists)
        await self.store.beat("n2", 20, 1000)
        lists.adopt(await self.store.adopt("n1", 20))
        await self.push(self.store.response_list("n2"), b"theirs")
        await self.push(self.key, b"ours")
        self.assertEqual(await self.several(1), [b"ours"])
        await lists.stop()
        self.assertEqual(await self.list_of(self.store.response_list("n2")), [b"theirs"])

    async def test_server_away(self) -> None:
        """Adopted lists are read on when the server is back."""
        lists = await self.reading()
        await self.store.accept(acceptance("x"))
        await self.store.take(a_take("1", node="n2"))
        await self.adopt(lists)
        self.server.kill()
        self.server.start()
        while True:
            try:
                await self.push(self.store.response_list("n2"), b"1")
                break
            except StoreUnavailable:
                continue
        self.assertEqual(await self.several(1), [b"1"])
