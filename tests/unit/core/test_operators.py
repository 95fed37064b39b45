"""What operators see, and what they may do about it."""

from __future__ import annotations

from crowdai_broker.core.model import JobState
from crowdai_broker.core.operators import Operators
from crowdai_broker.errors import OperatorError, WebappRefused
from crowdai_broker.memory_store import MemoryStore
from crowdai_broker.testing.webapp import When

from .node_case import NodeCase
from .world import a_config, result_of


class OperatorsTests(NodeCase):
    def setUp(self) -> None:
        """Begin in a world where doubtful registrations cannot settle themselves; look in from beside."""
        super().setUp()
        self.begin(a_config())
        self.operators = Operators(self.world.clock, MemoryStore(self.world.redis, "operator"), "operator")

    def refused(self, work: object) -> str:
        """Return why an operator was refused."""
        return str(self.assertRaises(OperatorError, result_of, work))

    def test_status(self) -> None:
        """The whole at a glance: what waits, what is with graders, what is owed, who is alive."""
        self.ada.execute(data=[1, 2], parallel=True)
        self.world.run(3)
        status = result_of(self.operators.status())
        self.assertEqual((status.in_flight, status.waiting, status.effects, status.held), (2, {}, 0, 0))
        self.assertEqual(status.oldest, 3.0)
        self.assertEqual([(node.node, node.silent_for) for node in status.nodes], [("n1", 0.0)])

    def test_jobs(self) -> None:
        """Jobs are listed with what they wait for, by challenge and state, and shown with their events."""
        subscription = self.ada.execute()
        self.world.run(1)
        (job,) = result_of(self.operators.jobs())
        self.assertEqual((job.state, job.why, job.participant_id), ("dispatched", "a grader's first word", 1))
        self.assertEqual(result_of(self.operators.jobs(challenge="D")), [])
        self.assertEqual(result_of(self.operators.jobs(state="running")), [])
        view, effects, events = result_of(self.operators.job(job.job_id))
        self.assertEqual((view, effects), (job, []))
        self.assertIn("ENQUEUED", events[0])
        self.assertIn("There is no job", self.refused(self.operators.job(subscription.execution_id)))

    def test_retry_and_cancel(self) -> None:
        """A job with a grader goes to the next one; one that is cancelled gets no grade; ended ones stay."""
        self.ada.execute()
        self.world.run(1)
        (job,) = result_of(self.operators.jobs())
        result_of(self.operators.retry_job(job.job_id))
        self.world.run(6)
        (stored,) = self.world.jobs(job.job_id.rpartition("-")[0])
        self.assertEqual((stored.state, stored.attempts), (JobState.DISPATCHED, 2))
        result_of(self.operators.cancel_job(job.job_id))
        self.world.run(1)
        self.assertIn("Cancelled by an operator", self.ada.acks[0][0].message)
        self.assertEqual(self.world.webapp.count("grade"), 0)
        self.assertIn("cannot be cancelled any more", self.refused(self.operators.cancel_job(job.job_id)))
        self.assertIn("can be retried", self.refused(self.operators.retry_job(job.job_id)))

    def hold_registration(self, when: When) -> str:
        """Leave a registration in doubt, done or not; return the job's id."""
        self.world.webapp.fail_next("register", when)
        self.ada.execute()
        self.world.run(60)
        (held,) = result_of(self.operators.held())
        self.assertEqual((held.kind, held.state), ("register", "held"))
        return held.job_id

    def test_settled_with_its_submission(self) -> None:
        """A registration that the operator found is used, and the job goes to a grader with it."""
        job_id = self.hold_registration("after")
        (submission,) = self.world.webapp.rows
        result_of(self.operators.settle_registration(job_id, submission))
        self.world.run(6)
        self.assertEqual(result_of(self.operators.held()), [])
        self.assertEqual(result_of(self.operators.jobs())[0].submission_id, submission)
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.assertIn("nothing of", self.refused(self.operators.retry_grade(job_id)))
        self.assertIn("no grade of", self.refused(self.operators.settle_grade(job_id)))

    def test_settled_as_not_registered(self) -> None:
        """A registration that the operator did not find is made again, once."""
        job_id = self.hold_registration("before")
        result_of(self.operators.settle_registration(job_id, 0))
        self.world.run(6)
        self.assertEqual(len(self.world.webapp.rows), 1)
        self.assertEqual(result_of(self.operators.jobs())[0].state, "dispatched")

    def test_settled_after_the_job_was_cancelled(self) -> None:
        """The end of a doubt about a job that has ended meanwhile leaves nothing open and posts nothing."""
        job_id = self.hold_registration("after")
        result_of(self.operators.cancel_job(job_id))
        (submission,) = self.world.webapp.rows
        result_of(self.operators.settle_registration(job_id, submission))
        self.world.run(6)
        self.assertEqual(result_of(self.operators.jobs()), [])
        self.assertEqual(self.world.webapp.count("grade"), 0)

    def test_held_grade(self) -> None:
        """A grade that the webapp refused is tried again, or settled as it is."""
        for settle in (False, True):
            self.begin(a_config())
            self.operators = Operators(
                self.world.clock, MemoryStore(self.world.redis, "operator"), "operator"
            )
            self.world.webapp.fail_next("grade", "before", WebappRefused("Score is out of range."))
            self.ada.execute()
            self.world.run(1)
            self.take().complete(score=1)
            self.world.run(5)
            (held,) = result_of(self.operators.held())
            self.assertEqual(
                (held.kind, held.note), ("grade", "the webapp refused it: Score is out of range.")
            )
            self.assertEqual(result_of(self.operators.jobs())[0].why, f"grade: {held.note}")
            act = self.operators.settle_grade if settle else self.operators.retry_grade
            result_of(act(held.job_id))
            self.world.run(5)
            self.assertEqual(result_of(self.operators.jobs()), [])
            self.assertEqual(self.world.webapp.count("grade"), 1 if settle else 2)
