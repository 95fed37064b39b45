"""One submission a scored job, whatever becomes of the answers; grades are compared before repeated."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.catalogue import Catalogue
from crowdai_broker.core.grading import Grading, shows
from crowdai_broker.core.lifecycle import marks_of, register_effect
from crowdai_broker.core.model import Effect, EffectKind, EffectState, Job, JobState
from crowdai_broker.core.outbox import Again, Settled, Verdict
from crowdai_broker.core.registering import Registering, find, refusal_text
from crowdai_broker.core.webapp_model import ChallengeInfo, GradeFields, RegisterFields, Submission
from crowdai_broker.errors import WebappDenied, WebappRefused, WebappUnavailable
from crowdai_broker.testing import StubWebapp
from tests.contracts.making import a_job

from .world import ADA, ORGANIZER, a_config, organized, result_of

JOB = a_job("x", state=JobState.REGISTERING)
NOT_DONE = WebappUnavailable("refused", definitely_not_done=True, retry_after=7.0)


class RegisteringTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a webapp with a challenge, whose organizer's key is known."""
        super().setUp()
        self.webapp = StubWebapp()
        self.webapp.participants = {ADA: 1}
        self.webapp.add_challenge("C", info=ChallengeInfo(id=28), organizer_api_key=ORGANIZER)
        self.registering = Registering(self.webapp, Catalogue(Clock(), organized(), self.webapp), 10.0)

    def handle(self, state: EffectState, job: Job = JOB) -> Verdict:
        """Handle the effect of a job, found in this state."""
        draft = register_effect(JOB, ADA, 0)
        return result_of(self.registering(Effect(draft.kind, JOB.job_id, draft.body, state, 1, 0), job))

    def again(self, state: EffectState) -> Again:
        """Handle an effect that cannot be settled now."""
        verdict = self.handle(state)
        assert isinstance(verdict, Again)
        return verdict

    def settled(self, state: EffectState, job: Job = JOB) -> Settled:
        """Handle an effect that is settled."""
        verdict = self.handle(state, job)
        assert isinstance(verdict, Settled)
        return verdict

    def register_elsewhere(self, job: Job = JOB) -> None:
        """Register a job without anybody hearing of it."""
        fields = RegisterFields(api_key=ADA, challenge_client_name="C", meta=marks_of(job))
        result_of(self.webapp.register(fields))
        self.webapp.calls.clear()

    def test_done(self) -> None:
        """A new one is registered and the job waits for its grader."""
        self.assertIs(self.settled(EffectState.NEW).move.to, JobState.QUEUED)
        self.assertEqual(len(self.webapp.rows), 1)

    def test_what_is_known_not_to_have_happened(self) -> None:
        """A call that cannot have done anything leaves no doubt."""
        for error, after in ((NOT_DONE, 7.0), (WebappDenied("denied"), None)):
            self.webapp.fail_next("register", "before", error)
            verdict = self.again(EffectState.NEW)
            self.assertEqual((verdict.state, verdict.after), (EffectState.NEW, after))

    def test_doubt(self) -> None:
        """A call that may have done something does: it is looked for after a while."""
        self.webapp.fail_next("register", "after")
        verdict = self.again(EffectState.NEW)
        self.assertEqual((verdict.state, verdict.after), (EffectState.SENT, 10.0))

    def test_doubt_settled(self) -> None:
        """A submission that carries the job's marks is the job's; without one it is registered now."""
        self.register_elsewhere(a_job("other"))
        self.register_elsewhere()
        self.assertEqual(self.settled(EffectState.SENT).move.fields["submission_id"], "2")
        self.assertEqual(self.webapp.count("register"), 0)
        self.webapp.rows.pop(2)
        self.assertEqual(self.settled(EffectState.SENT).move.fields["submission_id"], "2")
        self.assertEqual(self.webapp.count("register"), 1)

    def test_doubt_that_stays(self) -> None:
        """While the list cannot be read the doubt stays, and nothing is posted."""
        for error in (NOT_DONE, WebappDenied("denied"), WebappRefused("no")):
            self.webapp.fail_next("submissions", "before", error)
            self.assertIs(self.again(EffectState.SENT).state, EffectState.SENT)
        self.webapp.down = True
        self.registering = Registering(self.webapp, Catalogue(Clock(), a_config(), self.webapp), 10.0)
        self.assertIs(self.again(EffectState.SENT).state, EffectState.SENT)
        self.assertEqual(self.webapp.count("register"), 0)

    def test_doubt_without_the_key(self) -> None:
        """Without the organizer's key it is held, and its participant is told."""
        self.registering = Registering(self.webapp, Catalogue(Clock(), a_config(), self.webapp), 10.0)
        verdict = self.again(EffectState.SENT)
        self.assertIs(verdict.state, EffectState.HELD)
        self.assertIsNotNone(verdict.notice)
        self.assertEqual(self.webapp.count("register"), 0)

    def test_refused(self) -> None:
        """A refusal ends the job, also when it comes after a doubt."""
        self.webapp.challenges["C"].limit = 0
        for state in (EffectState.NEW, EffectState.SENT):
            self.assertIs(self.settled(state).move.to, JobState.FAILED)

    def test_job_that_has_ended(self) -> None:
        """A job that was taken back is not registered any more; a submission it has got is noted."""
        over = a_job("x", state=JobState.CANCELLED)
        for state in (EffectState.NEW, EffectState.SENT):
            move = self.settled(state, over).move
            self.assertEqual((move.to, move.fields, move.done), (None, {}, EffectKind.REGISTER))
        self.register_elsewhere()
        self.assertEqual(self.settled(EffectState.SENT, over).move.fields, {"submission_id": "1"})
        self.assertEqual(self.webapp.count("register"), 0)

    def test_find(self) -> None:
        """Only all marks together make a submission the job's."""
        half = Submission(id=1, meta={"broker_execution_id": "x"})
        none = Submission(id=2, meta=None)
        whole = Submission(id=3, meta={**marks_of(JOB), "rows": 4})
        self.assertIs(find([half, none, whole], JOB), whole)
        self.assertIsNone(find([half, none], JOB))

    def test_refusal_text(self) -> None:
        """The webapp's words come as they are, with when the next slot opens where that is known."""
        opens = datetime(2017, 10, 30, 6, 2, 2, tzinfo=UTC)
        self.assertEqual(refusal_text(WebappRefused("No.")), "No.")
        self.assertIn("opens at 2017-10-30 06:02:02 UTC", refusal_text(WebappRefused("No.", 0, opens)))


class GradingTests(SynchronousTestCase):
    FIELDS = GradeFields(grading_status="graded", score=0.1 + 0.2, score_secondary=2)

    def test_shows(self) -> None:
        """A grade is there if the status and both scores are; of a failure, the message."""
        there = Submission(id=1, grading_status="graded", score=0.3, score_secondary=2.0)
        self.assertTrue(shows(there, self.FIELDS))
        others = [
            Submission(id=1, grading_status="submitted"),
            Submission(id=1, grading_status="graded", score=0.3),
            Submission(id=1, grading_status="graded", score=0.31, score_secondary=2.0),
            Submission(id=1, grading_status="failed", score=0.3, score_secondary=2.0),
        ]
        self.assertFalse(any(shows(other, self.FIELDS) for other in others))
        failed = GradeFields(grading_status="failed", grading_message="m")
        self.assertTrue(shows(Submission(id=1, grading_status="failed", grading_message="m"), failed))
        self.assertFalse(shows(Submission(id=1, grading_status="failed", grading_message="n"), failed))

    def test_submission_that_is_gone(self) -> None:
        """A grade for a submission that is not there is held for an operator, doubtful or not."""
        job = a_job("x", state=JobState.COMPLETE, submission_id=99)
        for state in (EffectState.NEW, EffectState.SENT):
            body = '{"grading_status":"graded","score":1.0}'
            effect = Effect(EffectKind.GRADE, "x-0", body, state, 1, 0)
            verdict = result_of(Grading(StubWebapp(), 10.0)(effect, job))
            assert isinstance(verdict, Again)
            self.assertIs(verdict.state, EffectState.HELD)
            self.assertIn("Couldn't find Submission", verdict.note)
