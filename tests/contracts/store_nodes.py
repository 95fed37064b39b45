"""What every store does for many nodes: who is alive, and who hears of what."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, DeferredQueue

from crowdai_broker.core.model import (
    EffectState,
    Inbox,
    LoggedEvent,
)
from crowdai_broker.interfaces import IStore

from .making import (
    COMPLETE,
    a_move,
    a_take,
    acceptance,
    effect,
    text,
)
from .store_case import StoreCase


class NodesContract(StoreCase):
    async def dispatched_by(self, store: IStore, node: str) -> None:
        """Let ``node`` dispatch the one job of execution ``x``."""
        await store.accept(acceptance("x"))
        await store.take(a_take("1", node=node, response_channel=store.response_list(node)))

    async def test_dead_node_is_adopted_by_one(self) -> None:
        """A node that is silent for longer than it said is adopted, by one node; the living are not."""
        store = await self.make_store()
        for node in ("n1", "n2", "n3"):
            await store.beat(node, 0, 100)
        await store.beat("n2", 50, 100)
        await store.beat("n3", 50, 100)
        self.assertEqual(await store.adopt("n2", 99), [])
        self.assertEqual(await store.adopt("n2", 100), ["n1"])
        self.assertEqual(await store.adopt("n3", 100), [])
        self.assertEqual(await store.adopt("n2", 100), ["n1"])

    async def test_adopter_dies_too(self) -> None:
        """Who adopts a node adopts what that node had adopted."""
        store = await self.make_store()
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 20)
        await store.adopt("n2", 10)
        await store.beat("n3", 0, 100)
        self.assertEqual(await store.adopt("n3", 20), ["n1", "n2"])

    async def test_node_that_comes_back_owns_its_list(self) -> None:
        """A node that was only slow takes its list back with its next beat."""
        store = await self.make_store()
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 100)
        await store.adopt("n2", 10)
        await store.beat("n1", 20, 10)
        self.assertEqual(await store.adopt("n2", 20), [])
        self.assertFalse(await store.drop_adopted("n2", "n1"))

    async def test_leaving_node_is_adopted_at_once(self) -> None:
        """A node that says it goes is adopted before its time is up."""
        store = await self.make_store()
        await store.beat("n1", 0, 1000)
        await store.leave("n1")
        await store.beat("n2", 1, 1000)
        self.assertEqual(await store.adopt("n2", 1), ["n1"])

    async def test_what_nodes_show(self) -> None:
        """What a node says of itself is there as long as it lives, the newest of it."""
        store = await self.make_store()
        for node in ("n1", "n2", "n3"):
            await store.beat(node, 0, 100)
            await store.show(node, "old")
            await store.show(node, f"{node} ü")
        self.assertEqual(await store.shown(), {"n1": "n1 ü", "n2": "n2 ü", "n3": "n3 ü"})
        await store.leave("n1")
        self.assertEqual(set(await store.shown()), {"n2", "n3"})
        await store.beat("n2", 50, 100)
        await store.adopt("n2", 100)
        self.assertEqual(set(await store.shown()), {"n2"})

    async def test_effects_of_the_dead_are_due(self) -> None:
        """What a dead node had leased is due at once for its adopter, as SENT; others' leases hold."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect(due=1)]))
        await store.accept(acceptance("y", effects=[effect(due=2)]))
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 100)
        await store.lease_effects(2, 5000, 1, "n1")
        await store.lease_effects(2, 5000, 1, "n2")
        self.assertEqual(await store.lease_effects(50, 5000, 9, "n2"), [])
        await store.adopt("n2", 50)
        (leased,) = await store.lease_effects(50, 5000, 9, "n2")
        self.assertEqual((leased.job_id, leased.state, leased.tries), ("x-0", EffectState.SENT, 2))

    async def test_effects_of_the_dead_may_have_to_wait(self) -> None:
        """What a dead node had leased is due only after the pause that its adopter asks for."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect(due=1)]))
        await store.beat("n1", 0, 10)
        await store.lease_effects(2, 5000, 1, "n1")
        await store.adopt("n2", 50, 20)
        await store.adopt("n2", 60, 20)
        self.assertEqual(await store.lease_effects(69, 5000, 9, "n2"), [])
        self.assertEqual(len(await store.lease_effects(70, 5000, 9, "n2")), 1)

    async def test_list_is_dropped_when_nobody_writes_to_it(self) -> None:
        """An adopted list stays while an attempt may write to it or entries are left, and goes then."""
        store = await self.make_store()
        await self.dispatched_by(store, "n1")
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 100)
        await store.adopt("n2", 10)
        self.assertFalse(await store.drop_adopted("n2", "n1"))
        key = store.response_list("n1")
        await self.push(key, b"late")
        await store.move([a_move("x-0", to=COMPLETE)], "n2", 11)
        self.assertFalse(await store.drop_adopted("n2", "n1"))
        await store.move([], "n2", 12, Inbox(key, 1, 0))
        self.assertFalse(await store.drop_adopted("n3", "n1"))
        self.assertTrue(await store.drop_adopted("n2", "n1"))
        self.assertEqual(await store.adopt("n2", 13), [])
        self.assertFalse(await store.drop_adopted("n2", "n1"))

    async def test_late_entries_for_a_dropped_list_go(self) -> None:
        """What a grader writes to a list that was dropped, after its attempt was over, is not kept."""
        store = await self.make_store()
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 100)
        await store.adopt("n2", 10)
        self.assertTrue(await store.drop_adopted("n2", "n1"))
        await self.push(store.response_list("n1"), b"late")
        await store.adopt("n2", 11)
        self.assertEqual(await self.list_of(store.response_list("n1")), [])

    async def test_dropped_list_that_is_written_to_again(self) -> None:
        """A node that was only cut off may give out jobs before it says that it lives: their events stay."""
        store = await self.make_store()
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 100)
        await store.adopt("n2", 10)
        self.assertTrue(await store.drop_adopted("n2", "n1"))
        await self.dispatched_by(store, "n1")
        await self.push(store.response_list("n1"), b"event")
        await store.adopt("n2", 11)
        self.assertEqual(await self.list_of(store.response_list("n1")), [b"event"])

    async def test_dropped_node_that_comes_back_starts_anew(self) -> None:
        """A node whose list was dropped while it was away uses it again, counted from nought."""
        store = await self.make_store()
        await store.beat("n1", 0, 10)
        await store.beat("n2", 0, 100)
        key = store.response_list("n1")
        await self.push(key, b"a")
        await store.move([], "n1", 1, Inbox(key, 1, 0))
        await store.adopt("n2", 10)
        await store.drop_adopted("n2", "n1")
        await store.beat("n1", 20, 10)
        await self.push(key, b"b")
        await store.adopt("n2", 21)
        await store.move([], "n1", 22, Inbox(key, 1, 0))
        self.assertEqual(await self.list_of(key), [])


class WatchContract(StoreCase):
    async def heard_by(self, store: IStore, execution_id: str) -> DeferredQueue[list[LoggedEvent]]:
        """Return a queue of what ``store`` hears of an execution."""
        heard: DeferredQueue[list[LoggedEvent]] = DeferredQueue()

        def listener(about: str, events: Sequence[LoggedEvent]) -> None:
            self.assertEqual(about, execution_id)
            heard.put(list(events))

        begun: Deferred[None] = Deferred()
        store.listen(listener, lambda: begun.callback(None), lambda challenge: None)
        await self.until_it_listens(begun)
        return heard

    async def test_work_is_announced_to_all(self) -> None:
        """Every node hears of work that one announces."""
        one, two = await self.make_store("n1"), await self.make_store("n2")
        told: DeferredQueue[str] = DeferredQueue()
        for name, store in (("n1", one), ("n2", two)):
            begun: Deferred[None] = Deferred()
            store.listen(
                lambda about, events: None,
                lambda begun=begun: begun.callback(None),  # type: ignore[misc]
                lambda challenge, name=name: told.put(f"{name} {challenge}"),  # type: ignore[misc]
            )
            await self.until_it_listens(begun)
            await store.beat(name, 0, 1000)
        await one.announce("C")
        self.assertEqual({await told.get(), await told.get()}, {"n1 C", "n2 C"})

    async def test_watchers_hear_what_others_log(self) -> None:
        """A watching node hears, in order, of events that another node logs, and of none it logs itself."""
        one, two = await self.make_store("n1"), await self.make_store("n2")
        heard, own = await self.heard_by(two, "x"), await self.heard_by(one, "x")
        await one.accept(acceptance("x", watcher="n1", words=["first"]))
        await one.accept(acceptance("y"))
        await two.watch("x", "n2")
        await one.move([a_move("x-0", "a"), a_move("y-0", "-"), a_move("x-0", "b", "c")], "n1", 1)
        await two.move([a_move("x-0", "d")], "n2", 1)
        await one.move([a_move("x-0", "e")], "n1", 1)
        said = await heard.get() + await heard.get()
        self.assertEqual(
            [e.text for e in said], [text(n, w) for n, w in ((2, "a"), (3, "b"), (4, "c"), (6, "e"))]
        )
        self.assertEqual(await own.get(), [LoggedEvent(5, text(5, "d"))])

    async def test_unwatched_is_not_heard(self) -> None:
        """After :meth:`unwatch` nothing more is heard; watching what does not exist is no error."""
        one, two = await self.make_store("n1"), await self.make_store("n2")
        heard = await self.heard_by(two, "x")
        await two.watch("x", "n2")
        await two.unwatch("x", "n2")
        await one.accept(acceptance("x"))
        await two.watch("x", "n2")
        await two.unwatch("x", "n2")
        await one.move([a_move("x-0", "a")], "n1", 1)
        await two.watch("x", "n2")
        await one.move([a_move("x-0", "b")], "n1", 1)
        self.assertEqual(await heard.get(), [LoggedEvent(2, text(2, "b"))])
