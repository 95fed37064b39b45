"""Submissions that exist already: graded without being registered, and again behind live work."""

from __future__ import annotations

from typing import Any

from crowdai_broker.config import ChallengeTable
from crowdai_broker.core.enqueuing import MAX_ITEMS, MAX_NUMBER, read
from crowdai_broker.core.intake import ENQUEUED, ENQUEUED_DRY
from crowdai_broker.core.model import Execution, JobState, Lane
from crowdai_broker.core.webapp_model import RegisterFields
from crowdai_broker.errors import NotNow, PeerError, StoreUnavailable, TooMuch
from crowdai_broker.testing import LooseGraders

from .node_case import NodeCase
from .test_handing import over_http
from .world import ADA, Participant, a_config, result_of


def asked(*submissions: int, **more: Any) -> dict[str, Any]:
    """Return a request as a form has it."""
    rows = [
        {"file_key": f"file-{n}", "submission_id": str(n), "participant_id": "7", "team_id": "undefined"}
        for n in submissions
    ]
    return {
        "response_channel": "na",
        "session_token": "na",
        "api_key": ADA,
        "challenge_client_name": "C",
        "function_name": "grade_submission",
        "data": rows,
        "dry_run": "false",
        "parallel": "false",
        "enqueue_only": "true",
        **more,
    }


class EnqueuingTests(NodeCase):
    def submit(self, count: int = 1) -> None:
        """Let submissions be made on the webapp's own pages."""
        for _ in range(count):
            result_of(self.world.webapp.register(RegisterFields(api_key=ADA, challenge_client_name="C")))

    def enqueue(self, *submissions: int, **more: Any) -> Execution:
        """Ask for them to be graded."""
        return result_of(self.node.node.enqueuing.enqueue(asked(*submissions, **more)))

    def refused(self, **wrong: Any) -> str:
        """Return why a request is refused; nothing of it is stored."""
        with self.assertRaises(PeerError) as caught:
            result_of(self.node.node.enqueuing.enqueue({**asked(1), **wrong}))
        self.assertEqual(self.world.redis.executions, {})
        return str(caught.exception)

    def test_graded(self) -> None:
        """A submission is graded under its own number: nothing is registered, one grade is posted."""
        self.submit()
        execution = self.enqueue(1)
        job = self.take()
        data = {"file_key": "file-1", "submission_id": 1, "participant_id": 7, "team_id": "undefined"}
        self.assertEqual(job.order["data"], data)
        self.assertEqual(job.order["extra_params"]["submission_id"], 1)
        self.assertEqual(job.order["extra_params"]["api_key"], ADA)
        job.complete(score=0.5)
        self.world.run(2)
        self.assertEqual(self.world.webapp.count("register"), 1)
        self.assertEqual([grade.score for grade in self.world.webapp.rows[1].grades], [0.5])
        self.assertEqual(self.world.redis.executions[execution.execution_id].execution.open, 0)

    def test_each_is_a_job(self) -> None:
        """Each item is a job of its own participant; one that fails is told so, the others go on."""
        self.submit(3)
        rows = [{"file_key": "x", "submission_id": n, "participant_id": n + 10} for n in (1, 2, 3)]
        execution = self.enqueue(data=rows)
        jobs = self.world.jobs(execution.execution_id)
        self.assertEqual(
            [(job.submission_id, job.participant_id) for job in jobs], [(1, 11), (2, 12), (3, 13)]
        )
        first, second, third = (self.take() for _ in range(3))
        first.complete(score=1)
        second.fail("Row 7")
        third.complete(score=3)
        self.world.run(2)
        self.assertEqual(
            [row.status for row in self.world.webapp.rows.values()], ["graded", "failed", "graded"]
        )

    def test_again(self) -> None:
        """The same submission again is a re-grade: it waits behind live work, its grade replaces the old."""
        self.begin(a_config({"C": ChallengeTable(grader={"max_in_flight": 1})}))
        self.submit(2)
        self.enqueue(1)
        self.take().complete(score=0.5)
        self.world.run(2)
        holding = self.enqueue(2)
        again = self.enqueue(1)
        (job,) = self.world.jobs(again.execution_id)
        self.assertEqual((job.lane, job.state), (Lane.REGRADE, JobState.QUEUED))
        live = Participant(self.node)
        live.execute("evaluate", "live")
        self.assertEqual(self.world.jobs(holding.execution_id)[0].lane, Lane.LIVE)
        self.take().complete(score=1)
        self.world.run(2)
        order = self.take()
        self.assertEqual(order.order["data"], "live")
        order.complete()
        self.world.run(2)
        self.take().complete(score=0.75)
        self.world.run(2)
        self.assertEqual([grade.score for grade in self.world.webapp.rows[1].grades], [0.5, 0.75])

    def test_again_what_was_submitted_here(self) -> None:
        """A submission that a participant made through the broker is known, too; so is one named twice."""
        self.ada.execute()
        self.take().complete(score=1)
        self.world.run(2)
        self.submit()
        jobs = self.world.jobs(self.enqueue(1, 2, 2).execution_id)
        self.assertEqual([job.lane for job in jobs], [Lane.REGRADE, Lane.LIVE, Lane.REGRADE])

    def test_dry_run(self) -> None:
        """A dry run reaches the grader, which is told that it is one, and nothing else."""
        self.submit()
        self.enqueue(1, dry_run="true")
        job = self.take()
        self.assertEqual((job.order["dry_run"], job.order["extra_params"]["submission_id"]), (True, None))
        job.complete(score=0.5)
        self.world.run(2)
        self.assertEqual(self.world.webapp.rows[1].grades, [])
        self.ada.execute(dry_run=True)
        self.ada.execute("evaluate")
        self.assertEqual(self.ada.messages("ENQUEUED"), [ENQUEUED_DRY, ENQUEUED])

    def test_graders_that_grade_themselves(self) -> None:
        """Where the grader puts the grade on the submission, the broker looks for it there."""
        graders = LooseGraders()
        self.begin(over_http(grades_posted_by="grader"), {"http": graders})
        self.submit()
        self.enqueue(1)
        self.world.run(10)
        self.assertEqual((len(graders.given), self.world.webapp.count("grade")), (1, 0))
        self.assertGreater(self.world.webapp.count("submission_info"), 1)

    def test_without_the_rest(self) -> None:
        """A request needs no more than challenge, function and submissions, and may be plain JSON."""
        row = {"submission_id": 5, "challenge_round_id": "9"}
        request = read({"challenge_client_name": "C", "function_name": "f", "data": row})
        self.assertEqual((request.api_key, request.grader_id, request.response_channel), ("", "", "na"))
        self.assertEqual(request.items[0].data, {"submission_id": 5, "challenge_round_id": 9})
        self.assertEqual((request.items[0].participant_id, request.dry_run), (0, False))
        self.assertNotIn("secret", repr(read(asked(1, api_key="secret"))))

    def test_refused(self) -> None:
        """What is missing or wrong is named, and nothing is stored."""
        self.assertIn("data must be a list", self.refused(data=[]))
        for data in ("x", None, ["x"], [{"submission_id": 1}, 2], 7):
            self.assertIn("data must be a list", self.refused(data=data))
        self.assertIn("submission_id of each", self.refused(data=[{"file_key": "x"}]))
        for number in ("x", "-1", "1.5", True, 1.5, [1], MAX_NUMBER + 1, "9" * 17, "٣"):
            self.assertIn("submission_id must be", self.refused(data=[{"submission_id": number}]))
        for name in ("participant_id", "challenge_round_id"):
            self.assertIn(f"{name} must be", self.refused(data=[{"submission_id": 1, name: "x"}]))
        self.assertIn("challenge_client_name", self.refused(challenge_client_name=""))
        self.assertIn("function_name", self.refused(function_name=None))
        self.assertIn("dry_run", self.refused(dry_run="maybe"))
        self.assertIn("api_key", self.refused(api_key=["x"]))
        self.assertIn("Unrecognized Challenge: D", self.refused(challenge_client_name="D"))

    def test_what_the_challenge_says(self) -> None:
        """Functions that it does not have and graders that are not served are refused; queues are not."""
        self.begin(a_config(functions=("other",)))
        self.assertIn("Unknown function", self.refused())
        self.begin(over_http())
        self.assertIn("of kind http", self.refused())
        self.begin()
        self.submit()
        execution = self.enqueue(1, grader_id="CLEFChallenges")
        self.assertEqual(self.world.jobs(execution.execution_id)[0].grader_id, "CLEFChallenges")

    def test_bound(self) -> None:
        """Submissions of one request have a bound."""
        self.assertEqual(len(read(asked(*range(1, MAX_ITEMS + 1))).items), MAX_ITEMS)
        self.assertRaises(TooMuch, read, asked(*range(1, MAX_ITEMS + 2)))

    def test_not_now(self) -> None:
        """What may be right can be asked again: the webapp or the store is away, or the node stops."""
        self.world.webapp.down = True
        with self.assertRaises(NotNow):
            self.enqueue(1, challenge_client_name="Another")
        self.world.webapp.down = False
        self.node.store.fail_next("submission_known", "before")
        with self.assertRaises(StoreUnavailable):
            self.enqueue(1)
        self.assertEqual(self.world.redis.executions, {})
        self.node.node.enqueuing.close()
        with self.assertRaises(NotNow):
            self.enqueue(1)
