"""What the Redis store leaves behind, and what it keeps when the server is killed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from crowdai_broker.backends.redis_store import RedisStore
from crowdai_broker.core.model import Effect, EffectKind, EffectState, Inbox, Session
from crowdai_broker.errors import StoreUnavailable
from tests.contracts.making import (
    COMPLETE,
    QUEUED,
    REGISTERING,
    a_job,
    a_move,
    a_take,
    acceptance,
    draft,
    effect,
)

from .redis_case import RedisCase


async def live_through(store: RedisStore, name: str) -> None:
    """Let an execution of two jobs have everything that can happen to one happen to it."""
    jobs = [a_job(name, n, state=REGISTERING, due=10, participant_id=hash(name) % 5) for n in range(2)]
    register = effect(EffectKind.REGISTER)
    await store.accept(
        acceptance(name, jobs, [register], words=["in"], watcher="n1", idempotency=f"hash-{name}")
    )
    await store.watch(name, "n2")
    for leased in await store.lease_effects(1, 50, 10, "n1"):
        move = a_move(
            leased.job_id, to=QUEUED, done=leased.kind, fields={"submission_id": "7"}, extend=',"a":1'
        )
        await store.move([move], "n1", 2)
    numbers = [f"{name}{n}" for n in range(4)]
    taken = await store.take(a_take(*numbers[:2]))
    first = taken[0].job.job_id
    await store.move([a_move(first, hold=draft("50%")), a_move(first, to=QUEUED)], "n1", 3)
    await store.take(a_take(*numbers[2:]))
    grade = (effect(EffectKind.GRADE),)
    await store.move([a_move(job.job_id, "done", to=COMPLETE, effects=grade) for job in jobs], "n1", 4)
    held, leased = await store.lease_effects(5, 50, 10, "n1")
    await store.postpone_effect(held.kind, held.job_id, EffectState.HELD, 0, "in doubt", "n1")
    for settled in (held, leased):
        await store.move([a_move(settled.job_id, done=settled.kind)], "n1", 6)


class ExpiryTests(RedisCase):
    async def test_nothing_stays_behind(self) -> None:
        """After two hundred executions have lived and expired, the database is as it was after the first."""
        store = self.redis_store(keep=0.5)
        await store.beat("n1", 0, 10**12)
        await store.accept(acceptance("first", [a_job("first", submission_id=7, state=COMPLETE)]))
        async for size in self.sizes():
            if size == 2:  # the node, and that the submission was met
                break
        before = await self.client.execute("DBSIZE")
        for number in range(200):
            await live_through(store, f"e{number}")
        async for size in self.sizes():
            if size == before:
                break
        self.assertEqual(await store.idempotent("hash-e1"), None)

    async def sizes(self) -> AsyncIterator[int]:
        """Yield the number of keys again and again; the test's timeout bounds it."""
        while True:
            yield await self.client.execute("DBSIZE")

    async def test_all_of_an_execution_expires_together(self) -> None:
        """Every key of a finished execution has the time to live that was asked for; of an open one, none."""
        store = self.redis_store(keep=3600)
        await live_through(store, "over")
        await store.accept(acceptance("open", words=["in"], watcher="n1", idempotency="hash-open"))
        await store.watch("over", "n3")
        keys = [key for key in await self.client.execute("KEYS", "p:*") if b"over" in key]
        self.assertEqual(len(keys), 6)
        for key in keys:
            left = await self.client.execute("TTL", key)
            self.assertTrue(3500 < left <= 3600, (key, left))
        for key in await self.client.execute("KEYS", "p:*open*"):
            self.assertEqual(await self.client.execute("TTL", key), -1, key)

    async def test_first_event_after_the_end_expires_too(self) -> None:
        """A log that begins when its execution is over goes with the execution."""
        store = self.redis_store(keep=3600)
        await store.accept(acceptance("x"))
        await store.move([a_move("x-0", to=COMPLETE)], "n1", 1)
        await store.move([a_move("x-0", "late")], "n1", 1)
        self.assertGreater(await self.client.execute("TTL", "p:x:x:events"), 3500)

    async def test_effect_after_the_end_keeps_it(self) -> None:
        """An effect that is added when nothing was open any more keeps the execution until it is settled."""
        store = self.redis_store(keep=3600)
        await store.accept(acceptance("x", words=["in"], idempotency="h"))
        await store.move([a_move("x-0", to=COMPLETE)], "n1", 1)
        await store.move([a_move("x-0", effects=(effect(),))], "n1", 1)
        for key in ("p:x:x", "p:x:x:events", "p:job:x-0", "p:idem:h"):
            self.assertEqual(await self.client.execute("TTL", key), -1, key)
        await store.move([a_move("x-0", done=EffectKind.GRADE)], "n1", 1)
        self.assertGreater(await self.client.execute("TTL", "p:idem:h"), 3500)

    async def test_acceptance_with_nothing_open_expires(self) -> None:
        """An execution whose jobs are over when it is accepted expires from the start, without its key."""
        store = self.redis_store(keep=3600)
        await store.accept(acceptance("x", [a_job("x", state=COMPLETE)], words=["no"]))
        execution = await store.execution("x")
        assert execution is not None
        self.assertEqual((execution.open, execution.api_key), (0, ""))
        self.assertGreater(await self.client.execute("TTL", "p:x:x"), 3500)

    async def test_sessions_expire(self) -> None:
        """A session has the time to live that was asked for."""
        await self.redis_store().open_session("t", Session(1, "C", ""), 60)
        self.assertTrue(0 < await self.client.execute("TTL", "p:session:t") <= 60)

    async def test_log_is_capped(self) -> None:
        """Of a long log the newest events are kept, and not many more than the bound."""
        store = self.redis_store(log_cap=200)
        await store.accept(acceptance("x", words=["w"] * 1000))
        events = await store.events("x", 0, 2000)
        self.assertEqual(events[-1].event_no, 1000)
        self.assertTrue(200 <= len(events) <= 300, len(events))

    async def test_dropped_lists_are_looked_after_for_a_while(self) -> None:
        """The names of nodes that went are forgotten after two days."""
        store = self.redis_store()
        await store.beat("n1", 0, 1)
        await store.adopt("n2", 10)
        await store.drop_adopted("n2", "n1")
        await store.adopt("n2", 20)
        await store.adopt("n2", 20 + 172_800_000 - 1)
        self.assertEqual(await self.client.execute("EXISTS", "p:dropped"), 1)
        await store.adopt("n2", 20 + 172_800_000)
        self.assertEqual(await self.client.execute("DBSIZE"), 0)

    async def test_jobs_that_were_evicted_are_passed_over(self) -> None:
        """A server that threw a waiting job away makes no take, sweep or outbox fail."""
        store = self.redis_store()
        for name in ("lost", "kept"):
            await store.accept(acceptance(name, [a_job(name, due=5)], [effect()]))
        await self.client.execute("DEL", "p:job:lost-0", "p:effect:grade:lost-0")
        self.assertEqual([job.job_id for job in await store.due_jobs(9, 9)], ["kept-0"])
        self.assertEqual([taken.job.job_id for taken in await store.take(a_take("1", "2"))], ["kept-0"])
        self.assertEqual([leased.job_id for leased in await store.lease_effects(9, 9, 9, "n1")], ["kept-0"])
        self.assertEqual(await store.backlog(), {})


class DurabilityTests(RedisCase):
    async def again(self, store: RedisStore) -> None:
        """Kill the server, start it with its file, and return when the store is there again."""
        self.server.kill()
        self.server.start()
        while True:
            try:
                await store.counts()
            except StoreUnavailable:
                continue
            return

    async def test_what_was_answered_is_kept(self) -> None:
        """After a kill and a restart everything that a store said has happened is there; scripts too."""
        store = self.redis_store()
        key = store.response_list("n1")
        await store.accept(acceptance("x", [a_job("x", n) for n in range(3)], [effect()], words=["in"]))
        await self.again(store)
        (taken,) = await store.take(a_take("1"))
        await self.again(store)
        self.assertEqual(await store.attempts(["1"]), [taken.job])
        await self.push(key, b"a", b"b")
        await store.move([a_move(taken.job.job_id, "half")], "n1", 1, Inbox(key, 1, 0))
        await self.again(store)
        self.assertEqual(await self.list_of(key), [b"b"])
        refused = await store.move([a_move(taken.job.job_id, "half")], "n1", 1, Inbox(key, 1, 0))
        self.assertFalse(refused[0].applied)
        self.assertEqual([event.event_no for event in await store.events("x", 0, 9)], [1, 2])
        leased: list[Effect] = await store.lease_effects(1, 5, 1, "n1")
        await self.again(store)
        (other,) = await store.lease_effects(1, 5, 1, "n1")
        self.assertNotEqual(other.job_id, leased[0].job_id)
        self.assertEqual(await store.backlog(), {"C": 2})
        self.assertEqual(await store.unfinished("C"), 3)

    async def test_listener_learns_of_the_gap(self) -> None:
        """A listening store whose server was restarted tells of a gap, and hears again."""
        store = self.redis_store("n2")
        told = self.listen(store)
        self.assertEqual(await told.get(), "gap")
        await store.accept(acceptance("x", watcher="n2"))
        await self.again(store)
        self.assertEqual(await told.get(), "gap")
        await store.move([a_move("x-0", "a")], "n1", 1)
        self.assertEqual(await told.get(), "x 1")
