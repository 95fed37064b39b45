"""A whole node in memory: from a request to the leaderboard."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from twisted.internet.defer import Deferred

from crowdai_broker.config import ChallengeTable, LimitsConfig
from crowdai_broker.core.model import JobState, Take, Taken
from crowdai_broker.core.webapp_model import ChallengeInfo, Round
from crowdai_broker.errors import PeerError

from .node_case import NodeCase
from .world import BOB, START, Participant, a_config, result_of


class ScoredTests(NodeCase):
    def test_from_request_to_leaderboard(self) -> None:
        """A scored job is registered before the grader sees it, graded once, and answered with its result."""
        self.ada.execute(data={"x": 1})
        self.assertEqual(self.world.webapp.count("register"), 1)
        job = self.take()
        self.assertEqual(job.order["data"], {"x": 1})
        self.assertEqual(job.order["extra_params"]["submission_id"], 1)
        self.assertEqual(job.order["extra_params"]["api_key"], self.ada.api_key)
        job.say("RUNNING")
        job.progress(50)
        job.complete(score=0.25, secondary_score="7", comment="well done")
        self.world.pump()
        self.assertEqual(self.world.webapp.count("grade"), 1)
        self.assertEqual(len(self.node.node.delivery), 0)
        self.world.run(2)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "RUNNING", "PROGRESS_UPDATE", "COMPLETE"])
        self.whole(self.ada)
        ((outcome,),) = self.ada.acks
        self.assertEqual(outcome.data["submission_id"], 1)
        self.assertEqual(outcome.response_type, "CrowdAI.Event.Job.COMPLETE")
        self.assertEqual(self.ada.events[-1]["data"], outcome.data)
        (row,) = self.world.webapp.rows.values()
        ((grade,), status) = row.grades, row.status
        self.assertEqual((status, grade.score, grade.score_secondary), ("graded", 0.25, 7.0))
        self.assertEqual(grade.description_markdown, "well done")

    def test_code_is_dropped(self) -> None:
        """Code that comes with a submission is not kept, which is said, and the submission goes on."""
        self.ada.execute(code={"permission": True, "files": {"secret.py": "print()"}})
        self.assertIn("dropped unread", self.ada.messages("INFO")[0])
        self.assertEqual(self.ada.events[1]["data_sequence_no"], -1)
        self.take().complete(score=1)
        self.world.run(1)
        self.assertEqual(len(self.ada.acks), 1)
        for stored in self.world.redis.executions.values():
            self.assertNotIn("secret.py", repr(stored))
        self.assertNotIn("secret.py", repr(self.world.redis.jobs))

    def test_meta_keeps_the_marks(self) -> None:
        """A submission carries the marks it is found by as a string of JSON, before and after its grade."""
        subscription = self.ada.execute()
        marks = {
            "broker_execution_id": subscription.execution_id,
            "broker_job": f"{subscription.execution_id}-0",
        }
        row = self.world.webapp.rows[1]
        self.assertEqual(json.loads(row.meta or ""), marks)
        self.take().complete(score=1, meta='{"broker_job": "another", "rows": 3}')
        self.world.run(2)
        self.assertEqual(json.loads(row.meta or ""), marks | {"rows": 3})

    def test_key_is_erased_at_the_end(self) -> None:
        """Nothing of a finished execution holds the participant's key."""
        execution_id = self.ada.execute().execution_id
        self.take().complete(score=1)
        self.world.run(2)
        stored = self.world.redis.executions[execution_id]
        self.assertEqual((stored.execution.api_key, stored.execution.open), ("", 0))
        self.assertNotIn(self.ada.api_key, repr((stored, self.world.jobs(execution_id))))
        self.assertEqual(self.world.redis.effects, {})

    def test_failure_of_the_grader(self) -> None:
        """A grader's error reaches the participant and, as ``failed`` with its message, the leaderboard."""
        self.ada.execute()
        self.take().fail("Your file has no header")
        self.world.run(2)
        ((outcome,),) = self.ada.acks
        self.assertEqual((outcome.data, outcome.message), ({}, "Your file has no header"))
        self.assertEqual(outcome.response_type, "CrowdAI.Event.Job.ERROR")
        (grade,) = self.world.webapp.rows[1].grades
        self.assertEqual((grade.grading_status, grade.grading_message), ("failed", "Your file has no header"))

    def test_result_without_a_usable_score(self) -> None:
        """A result whose score is missing or no finite number fails the job with words that say so."""
        for data, word in (({}, "no score"), ({"score": float("nan")}, "nan"), ({"score": "high"}, "high")):
            peer = Participant(self.node)
            peer.execute()
            self.take().complete(**data)
            self.world.run(2)
            ((outcome,),) = peer.acks
            self.assertIn(word, outcome.message)
            self.assertEqual(outcome.response_type, "CrowdAI.Event.Job.ERROR")
        self.assertEqual([row.status for row in self.world.webapp.rows.values()], ["failed"] * 3)

    def test_parallel_items(self) -> None:
        """Each item is a job and a submission of its own; the answer lists them in the request's order."""
        self.ada.execute(data=["a", "b", "c"], parallel=True)
        jobs = self.world.grader.take_all()
        self.assertEqual([job.order["data"] for job in jobs], ["a", "b", "c"])
        self.assertEqual(self.world.webapp.count("register"), 3)
        jobs[2].complete(score=2)
        jobs[0].complete(score=0)
        self.world.run(1)
        self.assertEqual(self.ada.acks, [])
        jobs[1].fail("not that one")
        self.world.run(2)
        (outcomes,) = self.ada.acks
        self.assertEqual([outcome.data.get("submission_id") for outcome in outcomes], [1, None, 3])
        self.assertEqual([e["data_sequence_no"] for e in self.ada.events[:3]], [0, 1, 2])
        self.assertEqual([e["data"]["ahead"] for e in self.ada.events[:3]], [0, 1, 2])
        self.assertEqual(
            [row.status for row in self.world.webapp.rows.values()], ["graded", "failed", "graded"]
        )
        self.whole(self.ada)

    def test_no_slots_left(self) -> None:
        """The webapp's refusal is the participant's answer, with when a slot opens; no grader works."""
        self.world.webapp.challenges["C"].limit = 0
        self.ada.execute()
        self.assertEqual(self.world.grader.take_all(), [])
        ((outcome,),) = self.ada.acks
        self.assertIn("The participant has no submission slots remaining for today.", outcome.message)
        self.assertIn("2017-07-15 02:40:00 UTC", outcome.message)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "ERROR"])
        self.assertEqual(self.world.webapp.rows, {})

    def test_grades_posted_by_the_grader(self) -> None:
        """Where graders post their grades themselves, the broker neither registers nor grades."""
        self.begin(a_config(grades_posted_by="grader"))
        self.ada.execute()
        self.assertIsNone(self.take_and_complete()["submission_id"])
        self.assertEqual(self.world.webapp.rows, {})
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "COMPLETE"])

    def take_and_complete(self) -> dict[str, object]:
        """Let the next job be graded; return its ``extra_params``."""
        job = self.take()
        job.complete(score=1)
        self.world.run(2)
        params: dict[str, object] = job.order["extra_params"]
        return params


class UnscoredTests(NodeCase):
    def test_unscored_function(self) -> None:
        """A function whose result goes on no leaderboard leaves no trace at the webapp."""
        self.ada.execute("evaluate")
        job = self.take()
        self.assertIsNone(job.order["extra_params"]["submission_id"])
        job.say("COMPLETE", [1, 2])
        self.world.run(2)
        self.assertEqual(self.ada.acks[0][0].data, {"result": [1, 2]})
        self.assertEqual(self.world.webapp.rows, {})
        self.assertEqual(self.world.webapp.count("grade"), 0)

    def test_dry_run(self) -> None:
        """A dry run of a scored function leaves no trace either, and the grader knows that it is one."""
        self.ada.execute(dry_run=True)
        job = self.take()
        self.assertIs(job.order["dry_run"], True)
        job.complete(score=3)
        self.world.run(2)
        self.assertEqual(self.ada.acks[0][0].data, {"score": 3})
        self.assertEqual(self.world.webapp.rows, {})

    def test_key_is_not_shared(self) -> None:
        """An operator can keep participants' keys from the graders."""
        config = a_config({"C": ChallengeTable(grader={"share_api_key": False})})
        self.begin(config)
        self.ada.execute("evaluate")
        self.assertEqual(self.take().order["extra_params"]["api_key"], "")


class RefusalTests(NodeCase):
    def test_unknown_challenge(self) -> None:
        """A challenge that is nowhere is named as unknown."""
        stranger = Participant(self.node, challenge="X")
        with self.assertRaises(PeerError) as caught:
            stranger.authenticate()
        self.assertEqual(str(caught.exception), "Unrecognized Challenge: X")

    def test_wrong_key(self) -> None:
        """A key that nobody has opens no session, and is asked about each time."""
        stranger = Participant(self.node, "key-of-nobody")
        for _ in range(2):
            with self.assertRaises(PeerError) as caught:
                stranger.authenticate()
            self.assertIn("did not match any participant", str(caught.exception))
        self.assertEqual(self.world.webapp.count("participant"), 2)
        self.world.webapp.participants["key-of-nobody"] = 3
        stranger.authenticate()

    def test_many_wrong_keys(self) -> None:
        """An address from which wrong keys come is told to wait; a minute later it may try again."""
        self.begin(a_config(limits=LimitsConfig(auth_failures_per_minute=2)))
        stranger = Participant(self.node, "key-of-nobody")
        for _ in range(2):
            self.assertRaises(PeerError, stranger.authenticate)
        with self.assertRaises(PeerError) as caught:
            self.ada.authenticate()
        self.assertIn("try again in 60 s", str(caught.exception))
        self.world.clock.advance(60)
        self.ada.authenticate()

    def test_token_of_another(self) -> None:
        """A token serves neither another participant's key nor another challenge."""
        self.world.webapp.add_challenge("D")
        bob = Participant(self.node, BOB)
        self.ada.token = bob.authenticate()
        self.assertIn("another API key", self.refusal())
        self.ada.authenticate()
        self.assertIn("opened for the challenge C", self.refusal(challenge_id="D"))
        self.assertEqual(self.refusal(challenge_id="X"), "Unrecognized Challenge: X")
        self.ada.token = "made-up"
        self.assertIn("authenticate again", self.refusal())
        self.assertEqual(self.world.redis.executions, {})

    def test_closed_session(self) -> None:
        """A token is dead as soon as its session is closed; closing it again is no error."""
        self.ada.authenticate()
        for _ in range(2):
            result_of(self.node.node.participants.close_session([{"session_token": self.ada.token}]))
        self.assertIn("authenticate again", self.refusal())

    def test_tokens_are_stored_hashed(self) -> None:
        """Neither a token nor a key can be read off what is stored of a session."""
        self.ada.authenticate()
        stored = repr(self.world.redis.sessions)
        self.assertNotIn(self.ada.token, stored)
        self.assertNotIn(self.ada.api_key, stored)

    def test_what_a_challenge_does_not_allow(self) -> None:
        """Unknown functions, foreign queues and too many items are refused with what is allowed."""
        self.begin(a_config(functions=("submit", "evaluate"), max_parallel_jobs=2))
        self.ada.authenticate()
        self.assertIn("submit, evaluate", self.refusal("sumbit"))
        self.assertIn("grader_id", self.refusal(grader_id="mine"))
        self.assertIn("allows 2", self.refusal(data=[1, 2, 3], parallel=True))
        self.ada.execute(grader_id="crowdAI_GRADER_POOL")

    def test_too_many_executions(self) -> None:
        """A session that asks for too many executions a minute is told to wait; another one goes on."""
        self.begin(a_config(limits=LimitsConfig(executions_per_minute=2)))
        for _ in range(2):
            self.ada.execute("evaluate")
        self.assertIn("try again in 60 s", self.refusal("evaluate"))
        Participant(self.node, BOB).execute("evaluate")
        self.world.clock.advance(60)
        self.ada.execute("evaluate")

    def test_old_client(self) -> None:
        """A client older than the challenge demands is told which version it needs."""
        self.begin(a_config(min_client_version="1.0.9"))
        with self.assertRaises(PeerError) as caught:
            self.ada.authenticate(client_version="1.0.8")
        self.assertIn("1.0.9", str(caught.exception))
        self.ada.authenticate(client_version="1.0.22")

    def test_draining_node(self) -> None:
        """A node that is about to stop accepts nothing, and says what to do."""
        self.ada.authenticate()
        self.node.spawned("drain", self.node.node.drain())
        self.assertIn("submit again in a minute", self.refusal())

    def test_drain_waits_for_what_is_handed_out(self) -> None:
        """A job that a grader has, but that the store's answer has not named yet, is in hand all the same."""
        answered: Deferred[None] = Deferred()
        take = self.node.store.take

        async def slowly(asked: Take) -> list[Taken]:
            taken: list[Taken] = await take(asked)
            await answered
            return taken

        self.patch(self.node.store, "take", slowly)
        self.ada.execute("evaluate")
        drained: list[None] = []
        Deferred.fromCoroutine(self.node.node.drain()).addCallback(drained.append)
        job = self.take()
        self.world.run(2)
        self.assertEqual(drained, [])
        answered.callback(None)
        self.world.run(2)
        self.assertEqual(drained, [])
        job.complete()
        self.world.run(2)
        self.assertEqual((len(self.ada.acks), drained), (1, [None]))

    def test_grader_kind_that_is_not_served(self) -> None:
        """A challenge whose graders this broker cannot reach is refused instead of accepted for ever."""
        self.begin(graders={})
        self.assertIn("cannot reach", self.refusal())


class TimeTests(NodeCase):
    def test_deadline(self) -> None:
        """A job whose grader is silent goes to another, at the front; its late events count for nothing."""
        self.begin(a_config(job_timeout=100))
        first = self.ada.execute("evaluate", "first").execution_id
        silent = self.take()
        self.world.run(101, 10)
        self.assertIn("Attempt 1 of 3", self.ada.messages("INFO")[-1])
        again = self.take()
        self.assertEqual(again.order["data"], "first")
        self.assertNotEqual(again.order["data_sequence_no"], silent.order["data_sequence_no"])
        silent.progress(99)
        silent.complete(result="late")
        again.complete(result="good")
        self.world.run(1)
        self.assertEqual(self.ada.acks[0][0].data, {"result": "good"})
        self.assertEqual(self.node.tally.dropped["attempt_over"], 2)
        (job,) = self.world.jobs(first)
        self.assertEqual((job.state, job.attempts), (JobState.COMPLETE, 2))

    def test_given_up(self) -> None:
        """After its last attempt a job fails as the platform's fault, and the leaderboard is told so."""
        self.begin(a_config(job_timeout=100, max_attempts=2))
        self.ada.execute()
        for _ in range(2):
            self.take()
            self.world.run(102, 6)
        self.assertIsNone(self.world.grader.take())
        ((outcome,),) = self.ada.acks
        self.assertTrue(outcome.message.startswith("Platform error: "))
        self.world.run(2)
        (grade,) = self.world.webapp.rows[1].grades
        self.assertEqual(grade.grading_status, "failed")
        self.assertTrue(grade.grading_message.startswith("Platform error: "))
        self.whole(self.ada)

    def test_requeued_job_is_next(self) -> None:
        """A job that comes back is dispatched before the jobs that wait."""
        config = a_config({"C": ChallengeTable(grader={"max_in_flight": 1})}, job_timeout=10)
        self.begin(config)
        for item in ("first", "second"):
            self.ada.execute("evaluate", item)
        self.take()
        self.assertIsNone(self.world.grader.take())
        self.world.run(11)
        self.assertEqual(self.take().order["data"], "first")

    def test_closed_rounds(self) -> None:
        """Outside its rounds a scored function is refused with the date of the next one; others work."""
        self.round(START + 3600, START + 7200)
        self.assertIn("2017-07-14 03:40:00 UTC", self.refusal())
        self.ada.execute("evaluate")
        self.world.clock.advance(3600)
        self.ada.execute()
        self.world.clock.advance(3600)
        self.assertIn("last round is over", self.refusal())

    def round(self, start: float, end: float) -> None:
        """Give the challenge one round."""
        opens, closes = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
        only = Round(id=1, start=opens, end=closes)
        self.world.webapp.challenges["C"].info = ChallengeInfo(id=28, rounds=(only,))
