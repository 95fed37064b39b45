"""Each fact about a job becomes one move, and a fact that comes late changes nothing."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core import lifecycle
from crowdai_broker.core.events import JobEvent
from crowdai_broker.core.grader_events import GraderEvent
from crowdai_broker.core.model import (
    IN_FLIGHT,
    OPEN,
    TERMINAL,
    EffectKind,
    Job,
    JobState,
    Move,
    Place,
)
from crowdai_broker.core.webapp_model import Registered
from crowdai_broker.testing import MemoryStore
from tests.contracts.making import a_job, a_take, acceptance

from .world import result_of

RUNNING = a_job("x", state=JobState.RUNNING, attempt="7", attempts=1, scored=True, submission_id=12)
COMPLETE = GraderEvent("7", JobEvent.COMPLETE, {"score": 0.5}, "done")


def event_in(move: Move) -> dict[str, Any]:
    """Return the one event that a move logs."""
    (draft,) = move.events
    event: dict[str, Any] = json.loads("{" + draft.fragment)
    return event


class MovesTests(SynchronousTestCase):
    def test_register(self) -> None:
        """The effect that registers a job carries the key, and the marks that find it again."""
        draft = lifecycle.register_effect(RUNNING, "key", 5)
        body = json.loads(draft.body)
        self.assertEqual((draft.kind, draft.due, body["api_key"]), (EffectKind.REGISTER, 5, "key"))
        self.assertEqual(body["meta"], {"broker_execution_id": "x", "broker_job": "x-0"})

    def test_registered(self) -> None:
        """A registered job waits for a grader, who is told the submission."""
        move = lifecycle.registered(RUNNING, Registered(submission_id=12, submissions_remaining=3))
        self.assertEqual(
            (move.to, move.done, move.expect), (JobState.QUEUED, EffectKind.REGISTER, lifecycle.REGISTERING)
        )
        self.assertEqual((move.fields["submission_id"], move.extend), ("12", ',"submission_id":12'))

    def test_refused(self) -> None:
        """A refused job has failed with the webapp's words, and asks nothing more of it."""
        move = lifecycle.refused(RUNNING, "no slots")
        self.assertEqual((move.to, move.done, move.effects), (JobState.FAILED, EffectKind.REGISTER, ()))
        self.assertEqual(
            (event_in(move)["message"], json.loads(move.fields["result"])["data"]), ("no slots", {})
        )

    def test_complete(self) -> None:
        """A result ends the job and puts its score on the leaderboard, in one step."""
        move = lifecycle.finished(RUNNING, COMPLETE, 9)
        self.assertEqual((move.to, move.expect, move.attempt), (JobState.COMPLETE, IN_FLIGHT, "7"))
        (draft,) = move.effects
        self.assertEqual((draft.kind, draft.due, json.loads(draft.body)["score"]), (EffectKind.GRADE, 9, 0.5))
        outcome = json.loads(move.fields["result"])
        self.assertEqual(outcome["data"], {"score": 0.5, "submission_id": 12})
        self.assertEqual(event_in(move)["data"], outcome["data"])

    def test_complete_without_submission(self) -> None:
        """A job without a submission, or whose grader posts its grade, is graded nowhere by the broker."""
        for job, known in (
            (a_job("x", state=JobState.RUNNING), {}),
            (a_job("x", submission_id=3, grades_posted_by="grader"), {"submission_id": 3}),
        ):
            move = lifecycle.finished(job, GraderEvent("7", JobEvent.COMPLETE, {"rows": 1}, ""), 9)
            self.assertEqual((move.to, move.effects), (JobState.COMPLETE, ()))
            self.assertEqual(event_in(move)["data"], {"rows": 1} | known)

    def test_failures(self) -> None:
        """An error, a time-out and a result without a score fail the job, here and on the leaderboard."""
        events = [
            GraderEvent("7", JobEvent.ERROR, {"secret": 1}, "bad file"),
            GraderEvent("7", JobEvent.TIMEOUT, {}, "too long"),
            GraderEvent("7", JobEvent.COMPLETE, {}, ""),
        ]
        for event in events:
            move = lifecycle.finished(RUNNING, event, 9)
            self.assertEqual(move.to, JobState.FAILED)
            body = json.loads(move.effects[0].body)
            self.assertEqual(body["grading_status"], "failed")
            self.assertEqual(body["grading_message"], event_in(move)["message"])
            self.assertEqual(json.loads(move.fields["result"])["data"], {})

    def test_overdue(self) -> None:
        """An overdue job goes to the front of the line, until its attempts are used up."""
        silent = a_job("x", state=JobState.DISPATCHED, attempt="7", attempts=2, submission_id=12)
        move = lifecycle.overdue(silent, 3, 60, 9)
        self.assertEqual((move.to, move.place, move.attempt), (JobState.QUEUED, Place.FRONT, "7"))
        self.assertIn("Attempt 2 of 3 was given up: nothing was heard", event_in(move)["message"])
        move = lifecycle.overdue(RUNNING, 1, 60, 9)
        self.assertEqual(move.to, JobState.FAILED)
        message = event_in(move)["message"]
        self.assertTrue(message.startswith(lifecycle.PLATFORM_ERROR))
        self.assertIn("did not finish within 60 s", message)
        self.assertEqual(json.loads(move.effects[0].body)["grading_message"], message)

    def test_cancelled(self) -> None:
        """A job that is taken back ends whatever it waited for; no grade follows."""
        move = lifecycle.cancelled(RUNNING)
        self.assertEqual((move.to, move.expect, move.effects), (JobState.CANCELLED, OPEN, ()))

    def test_settled(self) -> None:
        """Effects are settled only of jobs that have ended, and say what was learnt."""
        self.assertEqual(lifecycle.registered_too_late(RUNNING, 5).fields, {"submission_id": "5"})
        self.assertEqual(lifecycle.registered_too_late(RUNNING, 0).fields, {})
        self.assertEqual(lifecycle.graded("x-0").expect, TERMINAL)


#: Facts as moves, and the states that a job they are about may be in.
MOVES: dict[str, tuple[Any, frozenset[JobState]]] = {
    "progressed": (lambda job: lifecycle.progressed(job, COMPLETE), IN_FLIGHT),
    "held_back": (lambda job: lifecycle.held_back(job, COMPLETE), IN_FLIGHT),
    "flushed": (lifecycle.flushed, IN_FLIGHT),
    "finished": (lambda job: lifecycle.finished(job, COMPLETE, 1), IN_FLIGHT),
    "overdue": (lambda job: lifecycle.overdue(job, 3, 1, 1), IN_FLIGHT),
    "returned": (lifecycle.returned, IN_FLIGHT),
    "cancelled": (lifecycle.cancelled, OPEN),
}


class LateFactsTests(SynchronousTestCase):
    """Every move against every state: only what the table of the lifecycle allows is applied."""

    def job_in(self, store: MemoryStore, state: JobState) -> Job:
        """Store a job that came to be in this state."""
        first = state if state is JobState.REGISTERING else JobState.QUEUED
        result_of(store.accept(acceptance("x", [a_job("x", state=first)])))
        if state in IN_FLIGHT or state is JobState.COMPLETE:
            result_of(store.take(a_take("7")))
        if state not in (first, JobState.DISPATCHED):
            move = Move(job_id="x-0", expect=OPEN, to=state, fields={"result": "{}"})
            result_of(store.move([move], "n", 1))
        job = result_of(store.job("x-0"))
        assert job is not None
        assert job.state is state
        return job

    def test_table(self) -> None:
        """A fact moves a job from the states it can be about, and from no other."""
        for name, (make, allowed) in MOVES.items():
            for state in JobState:
                store = MemoryStore()
                job = self.job_in(store, state)
                (moved,) = result_of(store.move([make(job)], "n", 1))
                self.assertEqual(moved.applied, state in allowed, f"{name} from {state}")

    def test_late_attempt(self) -> None:
        """What is said of an attempt that is over moves nothing of the next."""
        for make, allowed in MOVES.values():
            if allowed is not IN_FLIGHT:
                continue
            store = MemoryStore()
            late = self.job_in(store, JobState.DISPATCHED)
            result_of(store.move([lifecycle.returned(late)], "n", 1))
            result_of(store.take(a_take("8")))
            (moved,) = result_of(store.move([make(late)], "n", 1))
            self.assertFalse(moved.applied)
