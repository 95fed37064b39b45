"""Graders by somebody else, as processes of their own and of several tempers."""

from __future__ import annotations

from typing import Any, ClassVar

from .case import WorldCase
from .hands import JOB
from .participant import Execution
from .world import Plan, World

HARD = "HardLife"
HASTY = "Hasty"
LATE = "Late"


class GraderTests(WorldCase):
    """What they do wrong costs no participant a grade."""

    plan: ClassVar[Plan] = Plan(
        challenges={HARD: {}, LATE: {}, HASTY: {"job_timeout": 1.0, "max_attempts": 3}}
    )

    @classmethod
    def begin(cls, world: World) -> None:
        """Have two graders."""
        super().begin(world)
        for _ in range(2):
            world.grader(HARD)

    def scored(self, temper: str, **data: Any) -> tuple[Execution, dict[str, Any]]:
        """Submit to a grader of that temper; return the execution and its only outcome."""
        execution = self.participant(HARD).execute({"temper": temper, **data}, "submit")
        (outcome,) = execution.result()
        return execution, outcome

    def assert_graded(self, outcome: dict[str, Any], score: float) -> None:
        """The submission has exactly that grade, once."""
        (row,) = self.world.webapp.settled(1, id=outcome["data"]["submission_id"])
        self.assertEqual((row["score"], row["posts"], row["patches"]), (score, 1, 1))

    def test_good(self) -> None:
        """One that does everything as it should be done."""
        execution, outcome = self.scored("good", score=0.6)
        progress = [event["data"]["percent_complete"] for event in execution.of("PROGRESS_UPDATE")]
        self.assertEqual((progress[0], progress[-1]), (25, 75))
        others = [kind for kind in execution.kinds() if kind != "PROGRESS_UPDATE"]
        self.assertEqual(others, ["ENQUEUED", "RUNNING", "INFO", "COMPLETE"])
        self.assert_graded(outcome, 0.6)

    def test_old(self) -> None:
        """One of 2017 that says ``job_state`` and knows the list's older name."""
        execution, outcome = self.scored("old", score=0.4)
        self.assertEqual(execution.kinds(), ["ENQUEUED", "RUNNING", "PROGRESS_UPDATE", "COMPLETE"])
        self.assert_graded(outcome, 0.4)

    def test_broken(self) -> None:
        """One that makes every mistake: what can be repaired is, the rest is dropped, the first end holds."""
        execution, outcome = self.scored("broken", score=0.8)
        self.assertEqual((outcome["response_type"], outcome["data"]["score"]), (JOB + "COMPLETE", 0.8))
        self.assertEqual(outcome["message"], '{"said":"done"}')
        self.assert_graded(outcome, 0.8)
        kinds = execution.kinds()
        self.assertEqual(kinds[-1], "COMPLETE")
        self.assertLessEqual(set(kinds), {"ENQUEUED", "RUNNING", "INFO", "PROGRESS_UPDATE", "COMPLETE"})
        for event in execution.events:
            self.assertIsInstance(event["job_id"], str)
            self.assertIsInstance(event["message"], str)
            self.assertIsInstance(event["data"], dict)
            self.assertEqual(event["data_sequence_no"], 0)
        told = execution.messages()
        self.assertIn('{"text":"an object"}', told)
        self.assertIn("a number in a string", told)
        self.assertIn("a note that is not a number", told)
        self.assertNotIn("too much", told)
        self.assertLessEqual(max(map(len, told.splitlines())), 10_000)
        seen = [event["data"]["percent_complete"] for event in execution.of("PROGRESS_UPDATE")]
        self.assertEqual((seen[0], seen[-1]), (60.0, 100.0))
        followup, outcome = self.scored("good", score=0.9)
        self.assertNotIn("after the end", str(execution.events) + str(followup.events))
        self.assert_graded(outcome, 0.9)

    def test_dropped_events_are_counted(self) -> None:
        """Operators see in the metrics what graders do wrong."""
        self.scored("broken")
        answer = self.broker().get("/metrics")
        assert answer is not None
        dropped = [
            line for line in answer.text.splitlines() if "dropped" in line and not line.startswith("#")
        ]
        for why in ("not_json", "no_number", "unknown_type", "no_percent", "oversize", "attempt_over"):
            counts = [float(line.rpartition(" ")[2]) for line in dropped if why in line]
            self.assertTrue(counts and counts[0] >= 1, (why, dropped))

    def test_slow(self) -> None:
        """Two graders work side by side; a slow one holds nobody up."""
        slow = self.participant(HARD).execute({"temper": "slow", "seconds": 3, "times": 6}, "submit")
        slow.expect("RUNNING")
        quick, outcome = self.scored("good")
        self.assertNotIn("COMPLETE", slow.kinds())
        self.assertIn("COMPLETE", quick.kinds())
        slow.result()
        self.assertEqual(len(slow.of("PROGRESS_UPDATE")), 6)
        self.assert_graded(outcome, 0.5)

    def test_failing(self) -> None:
        """One that reports an error has its message passed on."""
        execution, outcome = self.scored("fails", message="Line 7: not a number")
        self.assertEqual(outcome["message"], "Line 7: not a number")
        self.assertEqual(execution.kinds(), ["ENQUEUED", "RUNNING", "ERROR"])

    def test_dying(self) -> None:
        """One that dies with the order in its hands: another gets the job, which is graded once."""
        first = self.world.grader(HASTY)
        execution = self.participant(HASTY).execute({"temper": "dies"}, "submit")
        self.assertEqual(first.wait(), 3)
        execution.expect("INFO", saying="Attempt 1 of 3")
        order = self.hands.take(HASTY)
        order.complete({"score": 0.3})
        (outcome,) = execution.result()
        self.assert_graded(outcome, 0.3)

    def test_appearing(self) -> None:
        """A grader that comes later takes what has waited for it."""
        execution = self.participant(LATE).execute({"score": 0.2}, "submit")
        execution.expect("INFO", saying="Nobody")
        self.world.grader(LATE)
        (outcome,) = execution.result()
        self.assert_graded(outcome, 0.2)
