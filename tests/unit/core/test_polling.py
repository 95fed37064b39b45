"""Graders that put their grades on the leaderboard themselves: what the broker finds there is told."""

from __future__ import annotations

from msgspec.structs import replace

from crowdai_broker.core import polling
from crowdai_broker.core.model import EffectKind, JobState, Lane
from crowdai_broker.core.webapp_model import GradeFields, GradingStatus
from crowdai_broker.errors import WebappUnavailable
from crowdai_broker.interfaces import IGrader
from crowdai_broker.testing import LooseGraders

from .node_case import NodeCase
from .test_handing import EVENT, over_http
from .world import result_of


class PollingTests(NodeCase):
    def setUp(self) -> None:
        """Begin with such graders."""
        super().setUp()
        self.begin_with()

    def begin_with(self, **values: object) -> None:
        """Begin anew with some keys of the challenge."""
        self.graders = LooseGraders()
        graders: dict[str, IGrader] = {"http": self.graders}
        self.begin(over_http(**{"grades_posted_by": "grader", **values}), graders)

    def by_grader(self, status: GradingStatus, number: int = 1, message: str = "", **fields: float) -> None:
        """Let the grader change the submission."""
        fields_given = GradeFields(grading_status=status, grading_message=message, **fields)  # type: ignore[arg-type]
        self.world.webapp.rows[number].grades.append(fields_given)

    def looks(self) -> int:
        """Return how often the submission was looked at."""
        return self.world.webapp.count("submission_info")

    def test_graded(self) -> None:
        """A grade that the grader posted is the result, and the broker posts none."""
        execution_id = self.ada.execute().execution_id
        self.world.run(5)
        self.by_grader("initiated")
        self.world.run(10)
        self.by_grader("graded", message="Well done", score=0.25, score_secondary=3.0)
        self.world.run(15)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "RUNNING", "COMPLETE"])
        (outcome,) = self.ada.acks[0]
        self.assertEqual(outcome.data, {"score": 0.25, "score_secondary": 3.0, "submission_id": 1})
        self.assertEqual(outcome.message, "Well done")
        self.assertEqual((self.world.webapp.count("register"), self.world.webapp.count("grade")), (1, 0))
        self.assertEqual((self.world.redis.effects, len(self.node.node.relay.attempts)), ({}, 0))
        self.assertEqual(self.world.redis.executions[execution_id].execution.open, 0)

    def test_failed(self) -> None:
        """A failure that the grader posted fails the job with its words, or with ours if it had none."""
        for number, said, told in ((1, "Row 7", "Row 7"), (2, "", polling._FAILED)):
            self.ada.execute()
            self.by_grader("failed", number, said)
            self.world.run(4)
            (outcome,) = self.ada.acks[-1]
            self.assertEqual((outcome.message, outcome.data), (told, {}))
        self.assertEqual(self.world.webapp.count("grade"), 0)

    def test_waits_grow(self) -> None:
        """The submission is looked at after 2 s at first and every 30 s in the end."""
        self.ada.execute()
        self.world.run(1.5)
        self.assertEqual(self.looks(), 0)
        self.world.run(1)
        self.assertEqual(self.looks(), 1)
        self.world.run(297.5)
        early = self.looks()
        self.assertTrue(12 <= early <= 20, early)
        self.world.run(300)
        self.assertTrue(9 <= self.looks() - early <= 10, self.looks() - early)

    def test_webapp_away(self) -> None:
        """A webapp that is away, or asks to be left alone, is asked later."""
        self.ada.execute()
        busy = WebappUnavailable("busy", definitely_not_done=True, retry_after=100)
        self.world.webapp.fail_next("submission_info", "before", busy)
        self.by_grader("graded", score=1.0)
        self.world.run(90)
        self.assertEqual((self.looks(), self.ada.acks), (1, []))
        self.world.run(15)
        self.assertEqual(self.ada.acks[0][0].data["score"], 1.0)

    def test_submission_is_gone(self) -> None:
        """A submission that the webapp does not have any more leaves the job to its deadline."""
        self.begin_with(job_timeout=60, max_attempts=1)
        self.ada.execute()
        del self.world.webapp.rows[1]
        self.world.run(70)
        self.assertTrue(self.ada.acks[0][0].message.startswith("Platform error"))
        self.world.run(30)
        self.assertEqual(self.world.redis.effects, {})

    def test_events_and_polls(self) -> None:
        """Of a grader that also sends events the first end counts, whichever way it came."""
        execution_id = self.ada.execute().execution_id
        (job,) = self.world.jobs(execution_id)
        self.assertTrue(result_of(self.node.node.relay.apply(job.attempt, [EVENT % b"ERROR"])))
        self.by_grader("graded", score=1.0)
        self.world.run(10)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "ERROR"])
        self.assertEqual(self.world.redis.effects, {})
        self.ada.execute()
        self.by_grader("graded", 2, score=1.0)
        self.world.run(10)
        second = self.graders.given[1]
        self.assertFalse(result_of(self.node.node.relay.apply(second.job.attempt, [EVENT % b"ERROR"])))
        self.assertEqual(self.ada.kinds()[2:], ["ENQUEUED", "COMPLETE"])

    def test_next_attempt(self) -> None:
        """What watched an attempt that is over gives way to what watches the next."""
        self.begin_with(job_timeout=20)
        execution_id = self.ada.execute().execution_id
        self.world.run(45)
        self.assertEqual(len(self.graders.given), 3)
        (job,) = self.world.jobs(execution_id)
        (effect,) = self.world.redis.effects_of(job.job_id)
        self.assertEqual((effect.kind, effect.body), (EffectKind.POLL, job.attempt))
        self.by_grader("graded", score=1.0)
        self.world.run(15)
        self.assertEqual(self.ada.kinds()[-1], "COMPLETE")

    def test_another_node_goes_on(self) -> None:
        """The node that watched is gone: another one watches on."""
        execution_id = self.ada.execute().execution_id
        self.world.run(5)
        self.world.kill(self.node)
        self.world.make_node("n2")
        self.by_grader("graded", score=1.0)
        self.world.run(60)
        (job,) = self.world.jobs(execution_id)
        self.assertEqual((job.state, job.attempts), (JobState.COMPLETE, 1))

    def test_few_at_a_time(self) -> None:
        """No more than a few looks are under way at a time; the others wait a second, and none is lost."""
        self.patch(polling, "AT_ONCE", 0)
        self.ada.execute()
        self.by_grader("graded", score=1.0)
        self.world.run(10)
        self.assertEqual(self.looks(), 0)
        self.patch(polling, "AT_ONCE", 1)
        self.world.run(2)
        self.assertEqual(self.looks(), 1)
        self.assertEqual(self.ada.kinds()[-1], "COMPLETE")

    def test_old_grade(self) -> None:
        """A re-grade does not take the grade it is to replace for its own, unless it stays for a while."""
        for seen_open in (True, False):
            self.begin_with()
            execution_id = self.ada.execute().execution_id
            (job,) = self.world.jobs(execution_id)
            self.world.redis.jobs[job.job_id] = replace(job, lane=Lane.REGRADE)
            self.by_grader("graded", score=0.5)
            self.world.run(5)
            self.assertEqual(self.ada.acks, [])
            if seen_open:
                self.by_grader("submitted")
                self.world.run(5)
                self.by_grader("graded", score=0.75)
                self.world.run(8)
            else:
                self.world.run(30)
            self.assertEqual(self.ada.acks[0][0].data["score"], 0.75 if seen_open else 0.5)

    def test_who_is_watched(self) -> None:
        """Only submissions that their grader grades are watched: no dry run, none that the broker grades."""
        self.ada.execute(dry_run=True)
        self.ada.execute("evaluate")
        self.begin_with(grades_posted_by="broker")
        self.ada.execute()
        self.world.run(60)
        self.assertEqual(self.looks(), 0)
