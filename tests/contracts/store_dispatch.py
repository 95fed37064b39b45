"""What every store hands out: waiting jobs, jobs that are due, effects."""

from __future__ import annotations

import json
from itertools import count

from crowdai_broker.core.model import (
    TAKE_BYTES,
    EffectKind,
    EffectState,
    Line,
    Place,
)
from crowdai_broker.interfaces import IStore

from .making import (
    CANCELLED,
    COMPLETE,
    DISPATCHED,
    ORDER,
    QUEUED,
    RUNNING,
    Lane,
    a_job,
    a_move,
    a_take,
    acceptance,
    effect,
)
from .store_case import StoreCase


class TakeContract(StoreCase):
    def setUp(self) -> None:
        """Count attempt numbers from a large one."""
        super().setUp()
        self.fresh = count(2**45)

    async def fill(self, store: IStore, *rows: tuple[str, int, Lane]) -> None:
        """Accept one queued job a row: name, participant, lane."""
        for name, participant, lane in rows:
            job = a_job(name, participant_id=participant, lane=lane)
            await store.accept(acceptance(name, [job]))

    async def names(self, store: IStore, number: int) -> list[str]:
        """Take jobs and return their executions' names, in the order they were taken."""
        numbers = [str(next(self.fresh)) for _ in range(number)]
        return [taken.job.execution_id for taken in await store.take(a_take(*numbers))]

    async def test_participants_take_turns(self) -> None:
        """One with many jobs waits behind one with few; a participant's own jobs keep their order."""
        store = await self.make_store()
        rows = [("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("b2", 2), ("c1", 3)]
        await self.fill(store, *((name, who, Lane.LIVE) for name, who in rows))
        self.assertEqual(await self.names(store, 4), ["a1", "b1", "c1", "a2"])
        self.assertEqual(await store.backlog(), {"C": 2})
        self.assertEqual(await self.names(store, 9), ["b2", "a3"])
        self.assertEqual(await store.backlog(), {})

    async def test_order_as_an_effect(self) -> None:
        """An order can be an effect, stored with the step that takes its job; it keeps the execution open."""
        store = await self.make_store()
        await self.fill(store, ("a1", 1, Lane.LIVE))
        await store.take(a_take("7", effect=True))
        (leased,) = await store.lease_effects(5000, 100, 9, "n1")
        self.assertEqual((leased.kind, leased.job_id, leased.body), (EffectKind.DISPATCH, "a1-0", "7"))
        self.assertEqual((await self.execution_of(store, "a1")).open, 2)
        await store.move([a_move("a1-0", to=QUEUED)], "n1", 1)
        await store.take(a_take("8", effect=True))
        (again,) = await store.effects_of("a1-0")
        self.assertEqual((again.body, again.tries), ("8", 0))
        await store.move([a_move("a1-0", to=COMPLETE), a_move("a1-0", done=EffectKind.DISPATCH)], "n1", 1)
        self.assertEqual((await self.execution_of(store, "a1")).open, 0)

    async def test_line_is_the_order_of_turns(self) -> None:
        """Waiting jobs stand in the line in the order in which they are taken, behind those in flight."""
        store = await self.make_store()
        live, regrade = Lane.LIVE, Lane.REGRADE
        rows = [("a1", 1, live), ("r1", 3, regrade), ("a2", 1, live), ("b1", 2, live), ("r2", 3, regrade)]
        await self.fill(store, *rows)
        self.assertEqual(await self.names(store, 1), ["a1"])
        line = await store.line("C", 100)
        self.assertEqual(line, Line(1, ("b1-0", "a2-0", "r1-0", "r2-0")))
        self.assertEqual((await store.line("C", 2)).waiting, ("b1-0", "a2-0"))
        self.assertEqual(await self.names(store, 9), [job_id[:2] for job_id in line.waiting])
        self.assertEqual(await store.line("C", 100), Line(5, ()))
        self.assertEqual(await store.line("D", 100), Line(0, ()))

    async def test_regrades_wait_behind_live_jobs(self) -> None:
        """A re-grade is taken only when no live job of the challenge waits."""
        store = await self.make_store()
        await self.fill(store, ("r1", 1, Lane.REGRADE), ("r2", 2, Lane.REGRADE), ("a1", 1, Lane.LIVE))
        self.assertEqual(await self.names(store, 1), ["a1"])
        await self.fill(store, ("a2", 9, Lane.LIVE))
        self.assertEqual(await self.names(store, 9), ["a2", "r1", "r2"])

    async def test_job_that_comes_back_goes_first(self) -> None:
        """A job put back at the front is taken before other jobs; at the back, after its participant's."""
        store = await self.make_store()
        await self.fill(store, ("a1", 1, Lane.LIVE), ("b1", 2, Lane.LIVE), ("a2", 1, Lane.LIVE))
        self.assertEqual(await self.names(store, 1), ["a1"])
        await store.move([a_move("a1-0", to=QUEUED, place=Place.FRONT)], "n1", 1)
        job = await self.job_of(store, "a1-0")
        self.assertEqual((job.state, job.attempt, job.attempts, job.node), (QUEUED, "", 1, ""))
        self.assertEqual(await self.names(store, 1), ["b1"])
        self.assertEqual(await self.names(store, 1), ["a1"])
        await store.move([a_move("b1-0", to=QUEUED, place=Place.FRONT)], "n1", 1)
        await store.move([a_move("a1-0", to=QUEUED)], "n1", 1)
        self.assertEqual(await self.names(store, 9), ["b1", "a2", "a1"])

    async def test_attempt_that_does_not_count(self) -> None:
        """A job whose order nobody has seen comes back with as many attempts as before."""
        store = await self.make_store()
        await self.fill(store, ("a1", 1, Lane.LIVE))
        await self.names(store, 1)
        uncounted = a_move("a1-0", to=QUEUED, place=Place.FRONT, fields={"attempts": "0"})
        await store.move([uncounted], "n1", 1)
        self.assertEqual((await self.job_of(store, "a1-0")).attempts, 0)
        await self.names(store, 1)
        self.assertEqual((await self.job_of(store, "a1-0")).attempts, 1)

    async def test_waiting_job_can_be_cancelled(self) -> None:
        """A job that is cancelled while it waits is never taken, and its participant's others are."""
        store = await self.make_store()
        await self.fill(store, ("a1", 1, Lane.LIVE), ("a2", 1, Lane.LIVE), ("b1", 2, Lane.LIVE))
        moved = await store.move([a_move(f"{n}-0", to=CANCELLED) for n in ("a1", "b1")], "n1", 1)
        self.assertTrue(all(m.applied for m in moved))
        self.assertEqual(await store.backlog(), {"C": 1})
        self.assertEqual(await self.names(store, 9), ["a2"])

    async def test_long_line(self) -> None:
        """The line of a participant with very many jobs is in order, too, and ends where it was asked to."""
        store = await self.make_store()
        rows = [(f"a{n}", 1, Lane.LIVE) for n in range(130)] + [("b1", 2, Lane.LIVE), ("b2", 2, Lane.LIVE)]
        await self.fill(store, *rows)
        line = await store.line("C", 99)
        taken = [f"{name}-0" for name in await self.names(store, 99)]
        self.assertEqual(list(line.waiting), taken)

    async def test_no_more_than_graders_hold(self) -> None:
        """Jobs in flight count against the limit, of this challenge alone; a job that ends makes room."""
        store = await self.make_store()
        await self.fill(store, *((f"a{n}", 1, Lane.LIVE) for n in range(4)))
        await store.accept(acceptance("z", [a_job("z", challenge="D")]))
        self.assertEqual(len(await store.take(a_take("1", "2", "3", limit=2))), 2)
        self.assertEqual(await store.take(a_take("3", limit=2)), [])
        self.assertEqual(len(await store.take(a_take("4", limit=1, challenge="D"))), 1)
        await store.move([a_move("a0-0", to=COMPLETE)], "n1", 1)
        self.assertEqual(len(await store.take(a_take("5", "6", limit=2))), 1)

    async def test_order_is_whole(self) -> None:
        """The order is the job's text completed with its attempt and its list; the record says who has it."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        (taken,) = await store.take(a_take("70368744177663", push=True, queue="q", response_channel="list"))
        order = json.loads(taken.order)
        self.assertEqual(order["data_sequence_no"], 70368744177663)
        self.assertEqual((order["broker_response_channel"], order["respond_to_me_at"]), ("list", "list"))
        self.assertEqual((order["extra_params"], order["data"]), ({"api_key": "k"}, [1]))
        self.assertEqual(await self.list_of("q::enqueue_job"), [taken.order.encode()])
        job = await self.job_of(store, "x-0")
        self.assertEqual(job, taken.job)
        self.assertEqual((job.state, job.attempt, job.attempts), (DISPATCHED, "70368744177663", 1))
        self.assertEqual((job.node, job.due, job.dispatched_at), ("n1", 9000, 5000))

    async def test_queue_is_found_by_rank(self) -> None:
        """An order goes to the configured queue, else to the job's grader's, else to the challenge's."""
        store = await self.make_store()
        await store.accept(acceptance("x", [a_job("x", grader_id="pool")]))
        await store.accept(acceptance("y"))
        await store.take(a_take("1", "2", push=True))
        self.assertEqual(len(await self.list_of("pool::enqueue_job")), 1)
        self.assertEqual(len(await self.list_of("C::enqueue_job")), 1)

    async def test_first_taken_is_first_popped(self) -> None:
        """Graders pop from the right what is pushed at the left, so the first taken is graded first."""
        store = await self.make_store()
        await self.fill(store, ("a", 1, Lane.LIVE), ("b", 1, Lane.LIVE))
        await store.take(a_take("1", "2", push=True))
        numbers = [json.loads(order)["data_sequence_no"] for order in await self.list_of("C::enqueue_job")]
        self.assertEqual(numbers, [2, 1])

    async def test_repeated_take_answers_the_same(self) -> None:
        """The same take again, because the first answer was lost, names the same jobs and pushes nothing."""
        store = await self.make_store()
        await self.fill(store, ("a", 1, Lane.LIVE), ("b", 1, Lane.LIVE), ("c", 1, Lane.LIVE))
        first = await store.take(a_take("1", "2", push=True))
        self.assertEqual(await store.take(a_take("1", "2", push=True)), first)
        self.assertEqual(len(await self.list_of("C::enqueue_job")), 2)

    async def test_number_in_use_is_passed_over(self) -> None:
        """A number that another job's attempt has is not given a second time."""
        store = await self.make_store()
        await self.fill(store, ("a", 1, Lane.LIVE), ("b", 1, Lane.LIVE))
        await store.take(a_take("1"))
        await store.move([a_move("a-0", to=RUNNING)], "n1", 1)
        taken = await store.take(a_take("1", "2"))
        self.assertEqual([(t.job.job_id, t.job.attempt) for t in taken], [("b-0", "2")])

    async def test_take_is_bounded_in_bytes(self) -> None:
        """A take ends after the order that brings it to its bound; the rest waits for the next."""
        store = await self.make_store()
        large = ORDER + ',"x":"' + "y" * (TAKE_BYTES // 2) + '"'
        for name in ("a", "b", "c"):
            await store.accept(acceptance(name, [a_job(name, order=large)]))
        self.assertEqual(len(await store.take(a_take("1", "2", "3"))), 2)
        self.assertEqual(await store.backlog(), {"C": 1})


class SweepContract(StoreCase):
    async def test_due_jobs_longest_first(self) -> None:
        """Jobs whose time has passed come longest first, no more than asked for, and again until moved."""
        store = await self.make_store()
        for name, due in (("a", 30), ("b", 10), ("c", 20), ("d", 99), ("e", 0)):
            await store.accept(acceptance(name, [a_job(name, due=due)]))
        for _ in range(2):
            self.assertEqual([job.job_id for job in await store.due_jobs(30, 2)], ["b-0", "c-0"])
        self.assertEqual(len(await store.due_jobs(30, 9)), 3)


class OutboxContract(StoreCase):
    async def test_lease_says_sent_before_anything_leaves(self) -> None:
        """A leased effect tells its state before, is SENT from then on, and comes again after it."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect(EffectKind.REGISTER, '{"a":"é"}')]))
        (leased,) = await store.lease_effects(1000, 500, 9, "n1")
        self.assertEqual((leased.kind, leased.job_id, leased.body), (EffectKind.REGISTER, "x-0", '{"a":"é"}'))
        self.assertEqual((leased.state, leased.tries, leased.since), (EffectState.NEW, 1, 1000))
        self.assertEqual(await store.lease_effects(1499, 500, 9, "n2"), [])
        (leased,) = await store.lease_effects(1500, 500, 9, "n2")
        self.assertEqual((leased.state, leased.tries), (EffectState.SENT, 2))

    async def test_earliest_first_and_bounded(self) -> None:
        """Effects are leased by their time, no more than asked for; what is not due is left."""
        store = await self.make_store()
        for name, due in (("a", 30), ("b", 10), ("c", 20), ("d", 99)):
            await store.accept(acceptance(name, effects=[effect(due=due)]))
        self.assertEqual([e.job_id for e in await store.lease_effects(50, 100, 2, "n1")], ["b-0", "c-0"])
        self.assertEqual([e.job_id for e in await store.lease_effects(50, 100, 9, "n1")], ["a-0"])

    async def test_postponed(self) -> None:
        """An effect postponed as NEW is known not to have happened; its note says why."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect()]))
        await store.lease_effects(1, 500, 9, "n1")
        self.assertTrue(
            await store.postpone_effect(EffectKind.GRADE, "x-0", EffectState.NEW, 40, "webapp is down", "n1")
        )
        self.assertEqual(await store.lease_effects(39, 500, 9, "n1"), [])
        (leased,) = await store.lease_effects(40, 500, 9, "n1")
        self.assertEqual((leased.state, leased.tries, leased.note), (EffectState.NEW, 2, "webapp is down"))

    async def test_lease_whose_answer_was_lost(self) -> None:
        """A call that is made again answers what it leased as it did at first, and leases on."""
        store = await self.make_store()
        for name, due in (("x", 1), ("y", 2)):
            await store.accept(acceptance(name, effects=[effect(due=due)]))
        (first,) = await store.lease_effects(1, 500, 1, "n1", "one")
        self.assertEqual(await store.lease_effects(1, 500, 9, "n2", "one", again=True), [])
        again = await store.lease_effects(400, 500, 9, "n1", "one", again=True)
        self.assertEqual([leased.job_id for leased in again], ["x-0", "y-0"])
        self.assertEqual(again[0], first)
        self.assertEqual(again[1].state, EffectState.NEW)
        self.assertEqual(await store.lease_effects(899, 500, 9, "n1", "two", again=True), [])
        (second, _) = await store.lease_effects(900, 500, 9, "n2", "one")
        self.assertEqual((second.state, second.tries), (EffectState.SENT, 2))
        self.assertEqual(await store.lease_effects(901, 500, 9, "n1", "one", again=True), [])

    async def test_lease_of_another_is_left_alone(self) -> None:
        """Who lost its lease cannot say any more how far the effect is."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect()]))
        await store.lease_effects(1, 10, 9, "n1")
        await store.lease_effects(11, 10, 9, "n2")
        self.assertFalse(await store.postpone_effect(EffectKind.GRADE, "x-0", EffectState.NEW, 0, "", "n1"))
        self.assertFalse(await store.postpone_effect(EffectKind.GRADE, "no", EffectState.NEW, 0, "", "n1"))
        (leased,) = await store.lease_effects(21, 10, 9, "n1")
        self.assertEqual(leased.state, EffectState.SENT)

    async def test_held_waits_for_an_operator(self) -> None:
        """A held effect is never due, is listed, and goes on when somebody says how."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect()]))
        await store.lease_effects(1, 500, 9, "n1")
        await store.postpone_effect(EffectKind.GRADE, "x-0", EffectState.HELD, 0, "in doubt", "n1")
        self.assertEqual(await store.lease_effects(10**12, 500, 9, "n1"), [])
        (held,) = await store.held_effects(9)
        self.assertEqual((held.job_id, held.state, held.note), ("x-0", EffectState.HELD, "in doubt"))
        self.assertEqual(await store.held_effects(0), [])
        counts = await store.counts()
        self.assertEqual((counts["effects"], counts["effects_held"]), (1, 1))
        await store.postpone_effect(EffectKind.GRADE, "x-0", EffectState.NEW, 5, "", "operator")
        self.assertEqual(await store.held_effects(9), [])
        self.assertEqual(len(await store.lease_effects(5, 500, 9, "n1")), 1)

    async def test_settled_once(self) -> None:
        """The move that settles an effect removes it, leased or held; a second one is refused."""
        store = await self.make_store()
        kinds = [effect(EffectKind.REGISTER), effect(EffectKind.GRADE)]
        await store.accept(acceptance("x", effects=kinds))
        await store.lease_effects(1, 500, 1, "n1")
        await store.postpone_effect(EffectKind.REGISTER, "x-0", EffectState.HELD, 0, "", "n1")
        for kind in (EffectKind.REGISTER, EffectKind.GRADE):
            moved = await store.move([a_move("x-0", "done", done=kind)] * 2, "n1", 1)
            self.assertEqual([m.applied for m in moved], [True, False])
        counts = await store.counts()
        self.assertEqual((counts["effects"], counts["effects_held"]), (0, 0))
        self.assertEqual((await self.execution_of(store, "x")).open, 1)

    async def test_stored_with_the_move(self) -> None:
        """An effect added by a move dates from the move; one added again replaces the earlier one."""
        store = await self.make_store()
        await store.accept(acceptance("x"))
        for body in ("1", "2"):
            await store.move([a_move("x-0", effects=(effect(body=body, due=3),))], "n1", 700)
        (leased,) = await store.lease_effects(3, 500, 9, "n1")
        self.assertEqual((leased.body, leased.since, leased.tries), ("2", 700, 1))
        self.assertEqual((await self.execution_of(store, "x")).open, 2)

    async def test_replaced_while_leased_or_held(self) -> None:
        """An effect that replaces a leased or held one is new, and due when it says."""
        store = await self.make_store()
        await store.accept(acceptance("x", effects=[effect()]))
        await store.lease_effects(1, 500, 9, "n1")
        await store.move([a_move("x-0", effects=(effect(body="2"),))], "n1", 2)
        (leased,) = await store.lease_effects(2, 500, 9, "n2")
        self.assertEqual((leased.state, leased.body), (EffectState.NEW, "2"))
        await store.postpone_effect(EffectKind.GRADE, "x-0", EffectState.HELD, 0, "", "n2")
        await store.move([a_move("x-0", effects=(effect(body="3"),))], "n1", 2)
        self.assertEqual(await store.held_effects(9), [])
        self.assertEqual([e.body for e in await store.lease_effects(2, 500, 9, "n1")], ["3"])
