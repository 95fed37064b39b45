"""The store in memory does what every store does, and fails when told to."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from crowdai_broker.core.model import Session
from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.interfaces import IStore
from crowdai_broker.testing import MemoryRedis, MemoryStore
from tests.contracts import store_case, store_dispatch, store_lifecycle, store_nodes, store_operators
from tests.contracts.making import COMPLETE, a_move, acceptance


class InMemory(store_case.StoreCase):
    """Makes memory stores that share one state."""

    def setUp(self) -> None:
        """Begin with an empty state."""
        super().setUp()
        self.state = MemoryRedis()

    async def make_store(self, node: str = "n1") -> IStore:
        """Return a node's view of the state."""
        return MemoryStore(self.state, node)

    async def until_it_listens(self, begun: Deferred[None]) -> None:
        """Return at once: it listens with the call."""

    async def list_of(self, key: str) -> list[bytes]:
        """Return a list of the state."""
        return list(self.state.lists[key])

    async def push(self, key: str, *values: bytes) -> None:
        """Lengthen a list of the state."""
        self.state.lists[key].extend(values)


class MemorySessionTests(InMemory, store_lifecycle.SessionContract): ...


class MemoryAcceptTests(InMemory, store_lifecycle.AcceptContract): ...


class MemoryKnownTests(InMemory, store_lifecycle.KnownContract): ...


class MemoryMoveTests(InMemory, store_lifecycle.MoveContract): ...


class MemoryInboxTests(InMemory, store_lifecycle.InboxContract): ...


class MemoryTakeTests(InMemory, store_dispatch.TakeContract): ...


class MemorySweepTests(InMemory, store_dispatch.SweepContract): ...


class MemoryOutboxTests(InMemory, store_dispatch.OutboxContract): ...


class MemoryNodesTests(InMemory, store_nodes.NodesContract): ...


class MemoryOperatorsTests(InMemory, store_operators.OperatorsContract): ...


class MemoryWatchTests(InMemory, store_nodes.WatchContract): ...


class MemoryStoreTests(TestCase):
    async def test_fails_before_or_after(self) -> None:
        """A failure that was ordered comes once: either nothing was done or all was."""
        store = MemoryStore()
        store.fail_next("accept", "before")
        store.fail_next("accept", "after")
        for stored in (False, True):
            failing = Deferred.fromCoroutine(store.accept(acceptance("x")))
            await self.assertFailure(failing, StoreUnavailable)
            self.assertEqual(await store.execution("x") is not None, stored)
        self.assertTrue((await store.accept(acceptance("x"))).fresh)

    def test_only_methods_of_a_store_fail(self) -> None:
        """Ordering the failure of a method that no store has is a mistake in the test."""
        self.assertRaises(ValueError, MemoryStore().fail_next, "acept", "before")

    async def test_gap_is_told(self) -> None:
        """A gap that was ordered reaches the listener of that node."""
        told: list[str] = []
        store = MemoryStore()
        store.listen(lambda about, events: None, lambda: told.append("gap"), told.append)
        store.gap()
        self.assertEqual(told, ["gap"])

    async def test_finished_executions_expire(self) -> None:
        """An execution is kept as long as anything of it is open, and then for as long as was said."""
        clock = Clock()
        state = MemoryRedis(clock.seconds, keep=100)
        store = MemoryStore(state)
        await store.accept(acceptance("x", idempotency="h"))
        clock.advance(1000)
        await store.move([a_move("x-0", to=COMPLETE)], "n1", 1)
        clock.advance(99)
        self.assertEqual(await store.idempotent("h"), "x")
        clock.advance(1)
        self.assertIsNone(await store.execution("x"))
        self.assertIsNone(await store.idempotent("h"))
        self.assertIsNone(await store.job("x-0"))

    async def test_sessions_expire(self) -> None:
        """A session ends with its time."""
        clock = Clock()
        store = MemoryStore(MemoryRedis(clock.seconds))
        await store.open_session("t", Session(1, "C", ""), 60)
        clock.advance(60)
        self.assertIsNone(await store.session("t"))

    async def test_log_is_capped(self) -> None:
        """Of a long log the newest events are kept."""
        store = MemoryStore(MemoryRedis(log_cap=3))
        await store.accept(acceptance("x", words=list("abcde")))
        self.assertEqual([e.event_no for e in await store.events("x", 0, 9)], [3, 4, 5])
