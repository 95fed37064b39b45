"""What the webapp sees of the broker: each scored job registered once and graded once, nothing else."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from .case import WorldCase
from .hands import JOB
from .programs import until
from .webapp import Row
from .world import Plan

PLAIN = "Plain"
NARROW = "Narrow"
ALONE = "OneAtATime"
MINE = "OwnScores"
SELF = "GradesItself"
CONFIGURED = "ConfiguredAtTheWebapp"
USED_UP = (
    r"^The participant has no submission slots remaining for today\."
    r".* \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
)


class LeaderboardTests(WorldCase):
    """Submissions and their grades."""

    plan: ClassVar[Plan] = Plan(
        challenges={
            PLAIN: {},
            NARROW: {},
            ALONE: {},
            MINE: {"scored_functions": ["judge"]},
            SELF: {"grades_posted_by": "grader"},
        },
        at_webapp={
            NARROW: {"rounds": [{"submission_limit": 1}]},
            ALONE: {"rounds": [{"submission_limit": 100, "parallel_submissions": 1}]},
            CONFIGURED: {
                "config": {"functions": ["judge"], "max_parallel_jobs": 2, "grader": {"queue": "q"}}
            },
        },
    )

    def rows(self, challenge: str) -> list[Row]:
        """Return the submissions of a challenge."""
        return self.world.webapp.submissions(challenge_id=self.world.numbers[challenge])

    def graded(self, result: Any, status: str = "graded") -> tuple[dict[str, Any], Row]:
        """Have a job graded so; return its outcome and its submission."""
        execution = self.participant(PLAIN).execute("x", "submit")
        order = self.hands.take(PLAIN)
        order.say("COMPLETE", result)
        (outcome,) = execution.result()
        number = order.job["extra_params"]["submission_id"]
        until(lambda: self.world.webapp.submissions(id=number, grading_status_cd=status), f"a {status} one")
        (row,) = self.world.webapp.submissions(id=number)
        return outcome, row

    def test_one_registration_one_grade(self) -> None:
        """One POST, one PATCH, and the participant is told the submission's number."""
        outcome, row = self.graded(
            {"score": 0.625, "secondary_score": "2.5", "comment": "*fine*", "meta": {"rows": 3}}
        )
        self.assertEqual(outcome["data"]["submission_id"], row["id"])
        self.assertEqual((row["posts"], row["patches"]), (1, 1))
        self.assertEqual([grade["grading_status"] for grade in row["grades"]], ["submitted", "graded"])
        self.assertEqual((row["score"], row["score_secondary"]), (0.625, 2.5))
        self.assertEqual(row["description_markdown"], "*fine*")
        self.assertEqual(row["participant_id"], 1)
        self.assertEqual(row["meta"]["rows"], 3)

    def test_score_in_a_string(self) -> None:
        """A number in a string counts."""
        _, row = self.graded({"score": "0.375", "score_secondary": "", "media_large": None, "comment": ""})
        self.assertEqual((row["score"], row["score_secondary"]), (0.375, None))

    def test_no_score(self) -> None:
        """NaN, infinity, text, nothing: the job fails with a message that says so, here and there."""
        for score in (float("nan"), float("inf"), "high", None, True, [1]):
            outcome, row = self.graded({"score": score}, "failed")
            self.assertEqual((outcome["response_type"], outcome["data"]), (JOB + "ERROR", {}), score)
            self.assertIn("score", outcome["message"])
            self.assertEqual(row["grading_message"], outcome["message"])
            self.assertIsNone(row["score"])

    def test_media(self) -> None:
        """All three media fields go on; some of them alone do not cost the grade."""
        media = {"media_large": "a.png", "media_thumbnail": "b.png", "media_content_type": "image/png"}
        _, row = self.graded({"score": 1, **media})
        self.assertEqual({name: row[name] for name in media}, media)
        _, row = self.graded({"score": 1, "media_large": "a.png"})
        self.assertEqual((row["score"], row["media_large"]), (1.0, None))

    def test_failed(self) -> None:
        """A grader's error is a failed submission with its message."""
        execution = self.participant(PLAIN).execute("x", "submit")
        order = self.hands.take(PLAIN)
        order.fail("column 'id' is missing")
        execution.result()
        number = order.job["extra_params"]["submission_id"]
        (row,) = self.world.webapp.settled(1, "failed", id=number)
        self.assertEqual((row["grading_message"], row["score"]), ("column 'id' is missing", None))

    def test_meta_is_a_string(self) -> None:
        """At registration ``meta`` is a string of JSON that names the execution and the job."""
        execution = self.participant(PLAIN).execute("x", "submit")
        order = self.hands.take(PLAIN)
        (row,) = self.world.webapp.submissions(id=order.job["extra_params"]["submission_id"])
        self.assertIsInstance(row["meta"], str)
        self.assertEqual(
            json.loads(row["meta"]),
            {
                "broker_execution_id": execution.execution_id,
                "broker_job": execution.expect("ENQUEUED")["job_id"],
            },
        )
        self.assertEqual(row["grading_status_cd"], "submitted")
        order.complete()
        execution.result()

    def test_registered_before_a_grader_sees_it(self) -> None:
        """While the webapp has not answered the POST no order is on the queue."""
        self.addCleanup(self.world.webapp.mend)
        self.world.webapp.fault("register", "hang")
        execution = self.participant(PLAIN).execute("x", "submit")
        until(lambda: self.world.webapp.met("register", "hang"), "the POST")
        unscored = self.participant(PLAIN).execute("y", "evaluate")
        self.hands.take(PLAIN).complete()  # the one that is not scored overtakes it
        unscored.result()
        self.assertEqual(self.hands.lying(PLAIN), 0)
        self.world.webapp.release()
        self.assertEqual(self.hands.take(PLAIN).data, "x")
        self.assertEqual(execution.kinds(), ["ENQUEUED"])

    def test_no_trace(self) -> None:
        """Functions that are not scored, and dry runs, leave no trace at the webapp."""
        calls = self.world.webapp.state()["calls"]
        participant = self.participant(PLAIN)
        for function, dry_run in (("evaluate", False), ("submit", True), ("submit", "true")):
            execution = participant.execute("x", function, dry_run=dry_run)
            order = self.hands.take(PLAIN)
            self.assertEqual(order.job["dry_run"], bool(dry_run))
            order.complete()
            self.assertNotIn("submission_id", execution.result()[0]["data"])
        after = self.world.webapp.state()["calls"]
        for call in ("register", "grade"):
            self.assertEqual(after.get(call, 0), calls.get(call, 0))

    def test_scored_functions_are_configured(self) -> None:
        """A challenge says which of its functions are scored."""
        participant = self.participant(MINE)
        for function, rows in (("submit", 0), ("judge", 1)):
            execution = participant.execute("x", function)
            self.hands.take(MINE).complete()
            execution.result()
            self.assertEqual(len(self.rows(MINE)), rows)

    def test_graders_that_grade_themselves(self) -> None:
        """Where graders tell the webapp themselves the broker registers nothing and grades nothing."""
        execution = self.participant(SELF).execute("x", "submit")
        order = self.hands.take(SELF)
        self.assertIsNone(order.job["extra_params"]["submission_id"])
        order.complete({"score": 0.5})
        execution.result()
        self.assertEqual(self.rows(SELF), [])

    def test_no_slot_left(self) -> None:
        """The webapp's refusal reaches the participant as it is, with when the next slot opens."""
        participant = self.participant(NARROW)
        execution = participant.execute(["a", "b"], "submit", parallel=True)
        order = self.hands.take(NARROW)
        order.complete()
        outcomes = execution.result()
        kinds = sorted(outcome["response_type"].removeprefix(JOB) for outcome in outcomes)
        self.assertEqual(kinds, ["COMPLETE", "ERROR"])
        (refused,) = execution.messages("ERROR").splitlines()
        self.assertRegex(
            refused,
            USED_UP,
        )
        self.assertEqual(len(self.rows(NARROW)), 1)
        self.assertEqual(self.hands.lying(NARROW), 0)

    def test_one_at_a_time(self) -> None:
        """Another refusal of the webapp's is passed on in its words."""
        participant = self.participant(ALONE)
        one = participant.execute("a", "submit")
        order = self.hands.take(ALONE)
        (outcome,) = participant.execute("b", "submit").result()
        self.assertIn("exceeded the allowed number of parallel submissions", outcome["message"])
        order.complete()
        one.result()

    def test_configured_at_the_webapp(self) -> None:
        """What the webapp says about a challenge holds, without a word in the broker's file."""
        participant = self.participant(CONFIGURED)
        (item,) = participant.execute("x", "dance").result()
        self.assertIn("judge", item["message"])
        (item,) = participant.execute([1, 2, 3], "judge", parallel=True).result()
        self.assertIn("2", item["message"])
        execution = participant.execute("x", "judge")
        self.hands.take("q").complete()
        execution.result()

    def test_no_secret_in_a_query(self) -> None:
        """No key and no token is in any query string that the webapp was sent."""
        execution = self.participant(PLAIN).execute("x", "submit")
        self.hands.take(PLAIN).complete()
        execution.result()
        queries = self.world.webapp.state()["queries"]
        self.assertTrue(queries)
        for secret in self.world.secrets:
            self.assertFalse([query for query in queries if secret in query])
