"""Which queue a job goes to, what the grader gets to see, and what is said while nobody is there."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from .case import WorldCase
from .participant import TERMINAL
from .world import Plan

NAMED = "ByName"
QUEUED = "ByQueue"
POOL = "crowdAI_GRADER_POOL"
BLIND = "Blind"
HASTY = "Hasty"
FEW = "Few"


class QueueTests(WorldCase):
    """Orders on their way to graders."""

    plan: ClassVar[Plan] = Plan(
        challenges={
            NAMED: {"grader_ids": [POOL, "SpecialGrader"]},
            QUEUED: {"grader": {"queue": "the-queue"}},
            BLIND: {"grader": {"share_api_key": False}},
            HASTY: {"job_timeout": 1.0, "max_attempts": 2},
            FEW: {"max_parallel_jobs": 6, "grader": {"max_in_flight": 2}},
        },
    )

    def test_by_the_challenges_name(self) -> None:
        """Where nothing else is said the queue is the challenge's name."""
        execution = self.participant(NAMED).execute("x")
        self.hands.take(NAMED).complete()
        execution.result()

    def test_by_the_requests_grader_id(self) -> None:
        """A ``grader_id`` that the challenge allows is the queue."""
        participant = self.participant(NAMED)
        for grader_id in (POOL, "SpecialGrader"):
            execution = participant.execute("x", grader_id=grader_id)
            self.hands.take(grader_id).complete()
            execution.result()

    def test_by_the_configuration(self) -> None:
        """A configured queue goes over the request's."""
        participant = self.participant(QUEUED)
        for grader_id in (..., POOL):
            execution = participant.execute("x", grader_id=grader_id)
            self.hands.take("the-queue").complete()
            execution.result()

    def test_the_key_is_kept_from_graders(self) -> None:
        """``share_api_key = false`` leaves the member there, for the graders that need it, but blank."""
        participant = self.participant(BLIND)
        execution = participant.execute("x")
        order = self.hands.take(BLIND)
        self.assertEqual(order.job["extra_params"]["api_key"], "")
        self.assertNotIn(participant.api_key, order.text)
        order.complete()
        execution.result()

    def test_nobody_there(self) -> None:
        """A participant whose job lies is told so within two seconds, and again when a grader comes."""
        execution = self.participant(NAMED).execute("x")
        execution.expect("ENQUEUED")
        before = time.monotonic()
        event = execution.expect("INFO", patience=2.0)
        self.assertLess(time.monotonic() - before, 2.0)
        self.assertIn("Nobody is there to grade", event["message"])
        self.assertIn("stored", event["message"])
        order = self.hands.take(NAMED)
        again = execution.expect("INFO", number=1)
        self.assertIn("again", again["message"])
        order.complete()
        execution.result()
        self.assertEqual(execution.kinds(), ["ENQUEUED", "INFO", "INFO", "COMPLETE"])

    def test_a_busy_grader_is_not_nobody(self) -> None:
        """While a grader is known to work, nobody is told that there is none."""
        participant = self.participant(NAMED)
        working = participant.execute("x")
        order = self.hands.take(NAMED)
        order.running()
        working.expect("RUNNING")
        waiting = participant.execute("y")
        waiting.expect("ENQUEUED")
        time.sleep(2.5)  # longer than after which it would be told
        self.assertNotIn("Nobody", waiting.messages())
        order.complete()
        self.hands.take(NAMED).complete()
        waiting.result()

    def test_graders_hold_few(self) -> None:
        """Graders are given no more than ``max_in_flight``; the rest follows as places become free."""
        execution = self.participant(FEW).execute(list(range(6)), parallel=True)
        done: list[Any] = []
        while len(done) < 6:
            order = self.hands.take(FEW)
            self.assertLessEqual(self.hands.lying(FEW), 1)
            order.complete({"is": order.data})
            done.append(order.data)
        self.assertEqual([outcome["data"]["is"] for outcome in execution.result()], [0, 1, 2, 3, 4, 5])

    def test_fair_among_participants(self) -> None:
        """Whoever comes behind somebody's many jobs does not wait for all of them."""
        many = self.participant(FEW).execute([f"many {n}" for n in range(6)], parallel=True)
        many.expect("ENQUEUED", number=5)
        one = self.participant(FEW, 1).execute("one")
        one.expect("ENQUEUED")
        graded: list[Any] = []
        while len(graded) < 7:
            order = self.hands.take(FEW)
            graded.append(order.data)
            order.complete()
        self.assertLess(graded.index("one"), 4, graded)
        many.result()
        one.result()

    def test_places(self) -> None:
        """A participant whose job waits in the broker is told how many are ahead of it."""
        ahead = self.participant(FEW).execute(list(range(4)), parallel=True)
        ahead.expect("ENQUEUED", number=3)
        behind = self.participant(FEW, 1).execute(["a", "b"], parallel=True)
        told = behind.expect("INFO", saying="ahead of you")
        self.assertRegex(told["message"], r"\b[1-5] ahead of you")
        for _ in range(6):
            self.hands.take(FEW).complete()
        ahead.result()
        behind.result()

    def test_a_silent_grader(self) -> None:
        """A job whose grader says nothing goes to another after its time, which the participant is told."""
        execution = self.participant(HASTY).execute("x")
        lost = self.hands.take(HASTY)
        event = execution.expect("INFO", saying="Attempt 1 of 2")
        self.assertIn("nothing was heard", event["message"])
        order = self.hands.take(HASTY)
        self.assertNotEqual(order.number, lost.number)
        lost.complete({"score": 0.0}, "too late")
        order.complete({"score": 1.0}, "in time")
        (outcome,) = execution.result()
        self.assertEqual(outcome["message"], "in time")
        self.assertNotIn("too late", str(execution.events))

    def test_the_last_attempt(self) -> None:
        """After the last attempt it is the platform's fault, and said so."""
        execution = self.participant(HASTY).execute("x", "submit")
        self.hands.take(HASTY)
        self.hands.take(HASTY).progress(10)
        (outcome,) = execution.result()
        self.assertTrue(outcome["message"].startswith("Platform error:"), outcome)
        self.assertIn("did not finish", outcome["message"])
        (row,) = self.world.webapp.settled(1, "failed")
        self.assertTrue(row["grading_message"].startswith("Platform error:"))
        self.assertIn(execution.kinds()[-1], TERMINAL)
