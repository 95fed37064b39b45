"""A whole node and a store that fails before or after a step: an answer, or the work goes on; once."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from crowdai_broker.core.delivery import Subscription
from crowdai_broker.core.intake import ACCEPT_TRIES
from crowdai_broker.core.model import EffectKind, Handing, JobState
from crowdai_broker.errors import BrokerError, GraderRefused, GraderUnreachable, PeerError, StoreUnavailable
from crowdai_broker.interfaces import IStore
from crowdai_broker.memory_store import MemoryStore, When
from crowdai_broker.testing import LooseGraders

from .node_case import NodeCase
from .world import Participant, a_config, result_of

#: Every step that a scored submission takes.
STEPS = (
    "session", "unfinished", "accept", "execution", "jobs", "job", "attempts", "events", "move", "take",
    "backlog", "due_jobs", "lease_effects", "postpone_effect", "beat", "adopt", "unwatch",
)  # fmt: skip
WHEN: tuple[When, When] = ("before", "after")


class StoreFailsTests(NodeCase):
    def later(self, function: str = "submit") -> list[Subscription | Failure]:
        """Ask for an execution that may have to wait for the store; return where its outcome will be."""
        self.ada.authenticate()
        outcome: list[Subscription | Failure] = []
        request = self.ada.request(function, "d")
        asked = self.node.node.participants.execute([request], self.ada.send, self.ada.finish)
        Deferred.fromCoroutine(asked).addBoth(outcome.append)
        return outcome

    def test_each_step_once(self) -> None:
        """Whichever step fails, once, before or after it was done: one submission, one grade, every event."""
        for step in STEPS:
            self.assertIn(step, IStore)
            for when in WHEN:
                for begin in (0, 1, 2):
                    with self.subTest(step=step, when=when, begin=begin):
                        self.submit_with_failure(step, when, begin)

    def submit_with_failure(self, step: str, when: When, begin: int) -> None:
        """Submit; the store fails from the request on (0), before the grader (1) or after it (2)."""
        self.begin()
        self.ada.authenticate()
        if begin == 0:
            self.node.store.fail_next(step, when)
        outcome = self.later()
        if outcome and isinstance(outcome[0], Failure):
            self.assertTrue(outcome[0].check(BrokerError))
            self.assertEqual(self.world.redis.executions, {})
            return
        if begin == 1:
            self.node.store.fail_next(step, when)
        self.wait_for_order()
        job = self.take()
        self.world.run(1)
        self.assertIsNone(self.world.grader.take())
        job.progress(5)
        job.progress(6)
        if begin == 2:
            self.node.store.fail_next(step, when)
        self.world.run(1)
        job.complete(score=0.5)
        self.world.run(80)
        self.assertEqual(len(self.ada.acks), 1)
        self.assertEqual(self.ada.acks[0][0].data["score"], 0.5)
        self.assertEqual([row.status for row in self.world.webapp.rows.values()], ["graded"])
        self.assertEqual(len(self.world.webapp.rows[1].grades), 1)
        self.assertEqual(self.world.redis.effects, {})
        self.assertIn(self.ada.events[-1]["data"].get("score"), (0.5, None))
        self.assertEqual(self.ada.kinds().count("COMPLETE"), 1)
        self.whole(self.ada)

    def wait_for_order(self) -> None:
        """Let time pass until an order lies there; a lease may have to run out."""
        for _ in range(80):
            if self.world.redis.lists["C::enqueue_job"]:
                return
            self.world.run(1, 1)

    def test_acceptance_is_repeated(self) -> None:
        """An acceptance whose answer is lost is asked for again, and is one execution with one job."""
        self.node.store.fail_next("accept", "after")
        outcome = self.later("evaluate")
        self.assertEqual(outcome, [])
        self.world.run(2)
        self.assertIsInstance(outcome[0], Subscription)
        self.assertEqual(len(self.world.redis.executions), 1)
        self.assertEqual(len(self.world.grader.take_all()), 1)
        self.assertEqual(self.ada.kinds().count("ENQUEUED"), 1)

    def test_acceptance_that_nobody_knows_of(self) -> None:
        """A store that stays away makes a clear answer: it is not known, and what to do about it."""
        for _ in range(ACCEPT_TRIES):
            self.node.store.fail_next("accept", "before")
        outcome = self.later()
        self.world.run(10)
        (failure,) = outcome
        assert isinstance(failure, Failure)
        self.assertIsInstance(failure.value, PeerError)
        self.assertIn("not known whether", failure.getErrorMessage())

    def test_store_away_for_long(self) -> None:
        """An answer of the webapp that cannot be stored for a minute is stored then, without another call."""
        self.begin(a_config())
        for _ in range(60):
            self.node.store.fail_next("move", "before")
        self.ada.execute()
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.world.run(65, 1)
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.take()

    def test_no_doubt_where_nothing_was_sent(self) -> None:
        """A registration that was leased but never begun is not in doubt."""
        self.begin(a_config())
        for _ in range(40):
            self.node.store.fail_next("job", "before")
        self.ada.execute()
        self.world.run(50, 1)
        self.assertEqual(self.world.redis.held_effects(1), [])
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.take()

    def test_watch_that_fails(self) -> None:
        """A resume that the store fails is refused whole: nothing is sent to that peer afterwards."""
        execution_id = self.ada.execute("evaluate").execution_id
        self.ada.events.clear()
        self.node.store.fail_next("watch", "after")
        self.assertRaises(StoreUnavailable, self.ada.resume, execution_id)
        self.assertEqual(len(self.node.node.delivery), 1)

    def test_receipt_that_fails(self) -> None:
        """A resume whose receipt cannot be read follows nothing: asked again, each event comes once."""
        execution_id = self.ada.execute("evaluate").execution_id
        again = Participant(self.node)
        again.token = self.ada.token
        self.node.store.fail_next("jobs", "before")
        self.assertRaises(StoreUnavailable, again.resume, execution_id)
        again.events.clear()
        again.resume(execution_id)
        self.take().complete()
        self.world.run(1)
        self.whole(again)

    def test_withdrawal_that_fails(self) -> None:
        """A deadline is kept although the order of the last attempt cannot be looked for."""

        class Stubborn(LooseGraders):
            async def withdraw(self, *args: object) -> bool:
                """Fail as a server that is away."""
                raise StoreUnavailable("away")

        graders = Stubborn()
        self.begin(a_config(job_timeout=5), {"redis": graders})
        self.ada.execute("evaluate")
        self.world.run(8)
        self.assertEqual([order.job.attempts for order in graders.given], [1, 2])


class LooseTests(NodeCase):
    """Graders that are given their orders outside of the store's step."""

    def setUp(self) -> None:
        """Begin with such graders."""
        super().setUp()
        self.graders = LooseGraders()
        self.begin(a_config(), {"redis": self.graders})

    def test_handed_out_once(self) -> None:
        """Each order is given once, with what the grader needs to answer."""
        self.ada.execute("evaluate", [1, 2], parallel=True)
        self.world.run(1)
        self.assertEqual([order.job.data_sequence_no for order in self.graders.given], [0, 1])
        self.assertIn(f'"data_sequence_no":{self.graders.given[0].job.attempt}', self.graders.given[0].order)

    def test_take_whose_answer_is_lost(self) -> None:
        """Jobs that were taken without an answer are learnt of at once and given out, once."""
        self.node.store.fail_next("take", "after")
        self.ada.execute("evaluate")
        self.assertEqual(self.graders.given, [])
        self.world.run(2)
        (taken,) = self.graders.given
        self.assertEqual(taken.job.attempts, 1)
        self.world.run(60, 5)
        self.assertEqual(len(self.graders.given), 1)

    def test_graders_that_cannot_be_reached(self) -> None:
        """An order that could not be handed out is handed out later, and its participant hears of both."""
        self.graders.fail_next(GraderUnreachable("away"))
        execution_id = self.ada.execute("evaluate").execution_id
        self.assertEqual(self.world.jobs(execution_id)[0].state, JobState.DISPATCHED)
        self.assertIn("Nobody is there", self.ada.messages("INFO")[0])
        self.world.run(5)
        (taken,) = self.graders.given
        self.assertEqual(taken.job.attempts, 1)
        self.assertIn("A grader is there again", self.ada.messages("INFO")[1])

    def test_grader_that_refuses(self) -> None:
        """A job that its grader will not grade fails with the grader's words."""
        self.graders.fail_next(GraderRefused("This grader knows no such file."))
        self.ada.execute("evaluate")
        self.world.run(1)
        self.assertEqual(self.ada.acks[0][0].message, "This grader knows no such file.")

    def test_node_that_dies_with_an_order_in_hand(self) -> None:
        """An order that may have been handed out is not handed out again: the job gets another attempt."""
        store = MemoryStore(self.world.redis, "n1")
        self.node.node.outbox.stop()
        execution_id = self.ada.execute("evaluate").execution_id
        (leased,) = result_of(store.lease_effects(int(self.world.clock.seconds() * 1000), 60_000, 9, "n1"))
        self.assertEqual(leased.kind, EffectKind.DISPATCH)
        self.world.kill(self.node)
        self.world.make_node("n2")
        self.world.run(32)
        (taken,) = self.graders.given
        self.assertEqual((taken.job.attempts, taken.job.node), (2, "n2"))
        self.assertEqual(self.world.jobs(execution_id)[0].attempt, taken.job.attempt)

    def test_cancelled_before_it_was_handed_out(self) -> None:
        """The order of a job that has ended is not handed out, and nothing of it stays open."""
        self.graders.fail_next(GraderUnreachable("away"))
        execution_id = self.ada.execute("evaluate").execution_id
        asked = {"session_token": self.ada.token, "execution_id": execution_id}
        result_of(self.node.node.participants.cancel([asked]))
        self.world.run(5)
        self.assertEqual(self.graders.given, [])
        self.assertEqual(self.world.redis.executions[execution_id].execution.open, 0)


class ConnectedTests(NodeCase):
    """Graders that are connected to nodes, and get jobs where they have room."""

    def setUp(self) -> None:
        """Begin with such graders."""
        super().setUp()
        self.graders = LooseGraders(Handing.HERE)
        self.begin(a_config(), {"redis": self.graders})

    def test_no_more_than_there_is_room_for(self) -> None:
        """Jobs wait in the backlog until a place is free."""
        self.graders.places = 1
        self.ada.execute("evaluate", [1, 2], parallel=True)
        self.assertEqual(len(self.graders.given), 1)
        self.graders.places = 5
        self.world.run(6)
        self.assertEqual(len(self.graders.given), 2)

    def test_grader_that_went_away(self) -> None:
        """An order that could not be handed out puts its job back at the front."""
        self.graders.fail_next(GraderUnreachable("gone"))
        execution_id = self.ada.execute("evaluate").execution_id
        self.assertEqual(self.world.jobs(execution_id)[0].state, JobState.QUEUED)
        self.world.run(6)
        self.assertEqual(len(self.graders.given), 1)

    def test_giving_back_that_fails(self) -> None:
        """Orders that could neither be handed out nor put back are put back when the store answers."""
        self.graders.fail_next(GraderUnreachable("gone"))
        self.node.store.fail_next("move", "before")
        execution_id = self.ada.execute("evaluate").execution_id
        self.assertEqual(self.world.jobs(execution_id)[0].state, JobState.DISPATCHED)
        self.world.run(7)
        self.assertEqual(len(self.graders.given), 1)

    def test_grader_of_another_node(self) -> None:
        """A node that has no grader for a job tells the others, and one that has takes it at once."""
        self.graders.places = 0
        there = LooseGraders(Handing.HERE)
        self.world.graders = {"redis": there}
        self.world.make_node("n2")
        self.ada.execute("evaluate")
        (taken,) = there.given
        self.assertEqual(taken.job.node, "n2")
