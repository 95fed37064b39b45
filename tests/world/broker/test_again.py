"""Coming back: resume, receipts, requests sent twice, and taking an execution back."""

from __future__ import annotations

from typing import ClassVar

from .case import WorldCase
from .hands import JOB
from .participant import Execution
from .programs import until
from .world import Plan

PLAIN = "Plain"
OTHER = "Other"
SUCCESS = "CrowdAI.Event.SUCCESS"
ERROR = "CrowdAI.Event.ERROR"


class AgainTests(WorldCase):
    """Executions that are asked about later."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}, OTHER: {}})

    def test_resume_while_it_runs(self) -> None:
        """Another socket gets the missed events on the execution's channel, then those to come, once each."""
        first = self.participant(PLAIN)
        execution = first.execute("x")
        order = self.hands.take(PLAIN)
        order.progress(10)
        execution.expect("PROGRESS_UPDATE")
        execution_id = execution.execution_id
        first.leave()
        second = self.participant(PLAIN)
        followed = second.listen(execution.channel)
        answer = second.ask("resume", execution_id=execution_id, after_event_no=0)
        self.assertEqual((answer["response_type"], answer["state"]), (SUCCESS, "running"))
        self.assertEqual(followed.kinds(), ["ENQUEUED", "PROGRESS_UPDATE"])  # before the answer
        order.say("INFO", {}, "later")
        order.complete()
        followed.expect("COMPLETE")
        self.assertEqual([event["event_no"] for event in followed.events], [1, 2, 3, 4])

    def test_resume_after_some(self) -> None:
        """Only the events after the one that is named are sent again."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x")
        order = self.hands.take(PLAIN)
        order.running()
        order.complete()
        execution.result()
        again = self.participant(PLAIN)
        followed = again.listen(execution.channel)
        answer = again.ask("resume", execution_id=execution.execution_id, after_event_no=2)
        self.assertEqual((answer["state"], answer["event_no"]), ("finished", 3))
        self.assertEqual(followed.kinds(), ["COMPLETE"])

    def test_both_sockets_hear(self) -> None:
        """The socket that asked goes on getting events beside the one that resumed."""
        one, two = self.participant(PLAIN), self.participant(PLAIN)
        execution = one.execute("x")
        followed = two.listen(execution.channel)
        two.ask("resume", execution_id=execution.execution_id)
        self.hands.take(PLAIN).complete()
        execution.result()
        followed.expect("COMPLETE")
        self.assertEqual(followed.events, execution.events)

    def test_anothers_execution(self) -> None:
        """Nobody resumes, asks about or cancels what is another's, or another challenge's."""
        mine = self.participant(PLAIN).execute("x")
        order = self.hands.take(PLAIN)
        for other in (self.participant(PLAIN, 1), self.participant(OTHER)):
            followed = other.listen(mine.channel)
            for event in ("resume", "execution_status", "cancel"):
                answer = other.ask(event, execution_id=mine.execution_id)
                self.assertEqual(answer["response_type"], ERROR)
                self.assertIn("no such execution", answer["message"])
            self.assertEqual(followed.raw, [])
        order.complete()
        self.assertEqual(mine.result()[0]["response_type"], JOB + "COMPLETE")

    def test_without_a_session(self) -> None:
        """A token that is over does not resume."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x")
        self.hands.take(PLAIN).complete()
        execution.result()
        participant.ask("close_session")
        for event in ("resume", "execution_status", "cancel"):
            answer = participant.ask(event, execution_id=execution.execution_id)
            self.assertEqual(answer["response_type"], ERROR)
            self.assertIn("authenticate", answer["message"])

    def test_wrong_questions(self) -> None:
        """What is missing or wrong is named."""
        participant = self.participant(PLAIN)
        self.assertIn("execution_id", participant.ask("resume")["message"])
        self.assertIn("execution_id", participant.ask("execution_status")["message"])
        self.assertIn("execution_id", participant.ask("cancel")["message"])
        answer = participant.ask("resume", execution_id="x", after_event_no="many")
        self.assertIn("after_event_no", answer["message"])
        self.assertEqual(participant.ask("resume", execution_id="f" * 30)["response_type"], ERROR)

    def test_receipt(self) -> None:
        """``execution_status`` tells the state of each job, by the execution's id or the client's own key."""
        participant = self.participant(PLAIN)
        execution = participant.execute(["a", "b"], "submit", parallel=True, idempotency_key="key-1")
        orders = {order.data: order for order in (self.hands.take(PLAIN) for _ in range(2))}
        orders["a"].complete()
        execution.expect("COMPLETE")
        for asked in ({"execution_id": execution.execution_id}, {"idempotency_key": "key-1"}):
            answer = participant.ask("execution_status", **asked)
            self.assertEqual((answer["response_type"], answer["state"]), (SUCCESS, "running"))
            self.assertEqual(answer["execution_id"], execution.execution_id)
            self.assertEqual([job["state"] for job in answer["jobs"]], ["complete", "dispatched"])
            self.assertEqual([job["data_sequence_no"] for job in answer["jobs"]], [0, 1])
            self.assertTrue(all(isinstance(job["submission_id"], int) for job in answer["jobs"]))
        orders["b"].fail("no")
        execution.result()
        answer = participant.ask("execution_status", idempotency_key="key-1")
        self.assertEqual(answer["state"], "finished")
        self.assertEqual([job["state"] for job in answer["jobs"]], ["complete", "failed"])

    def test_sent_twice(self) -> None:
        """The same key is the same execution: its events again, from the first, and its result."""
        participant = self.participant(PLAIN)
        before = len(self.world.webapp.submissions())
        one = participant.execute("x", "submit", idempotency_key="key-2")
        order = self.hands.take(PLAIN)
        order.progress(50)
        one.expect("PROGRESS_UPDATE")
        two = self.participant(PLAIN).execute("x", "submit", idempotency_key="key-2")
        two.expect("PROGRESS_UPDATE")
        order.complete({"score": 0.7})
        self.assertEqual(two.result(), one.result())
        three = participant.execute("y", "submit", idempotency_key="key-2")
        self.assertEqual(three.result(), one.result())
        for again in (two, three):
            self.assertEqual(again.events, one.events)
            self.assertNotEqual(again.channel, one.channel)
        self.assertEqual(self.hands.lying(PLAIN), 0)
        self.assertEqual(len(self.world.webapp.submissions()), before + 1)

    def test_another_with_the_same_key(self) -> None:
        """Keys of other participants and other challenges are their own."""
        executions = [
            self.participant(PLAIN).execute("a", idempotency_key="key-3"),
            self.participant(PLAIN, 1).execute("b", idempotency_key="key-3"),
            self.participant(OTHER).execute("c", idempotency_key="key-3"),
        ]
        self.assertEqual(len({each.execution_id for each in executions}), 3)
        for queue in (PLAIN, PLAIN, OTHER):
            self.hands.take(queue).complete()
        for each in executions:
            each.result()

    def test_what_is_left(self) -> None:
        """Of what has ended everything in Redis expires, and the participant's key is nowhere in it."""
        participant = self.participant(PLAIN, 2)
        executions = [participant.execute(["a", "b"], "submit", parallel=True, idempotency_key="key-4")]
        for end in ("complete", "fail"):
            order = self.hands.take(PLAIN)
            order.complete() if end == "complete" else order.fail("no")
        executions.append(participant.execute("c", "submit"))
        executions[1].expect("INFO", saying="Nobody")
        participant.ask("cancel", execution_id=executions[1].execution_id)
        for execution in executions:
            execution.result()
        until(lambda: self._of(executions, lasting=True) == [], "everything expires")
        self.assertGreater(len(self._of(executions)), 4)
        everything = b"".join(self.world.raw.dump(key) or b"" for key in self.world.raw.scan_iter())
        self.assertNotIn(participant.api_key.encode(), everything)
        self.assertNotIn(participant.token.encode(), everything)

    def _of(self, executions: list[Execution], *, lasting: bool = False) -> list[str]:
        """Return the names of what Redis keeps of executions; on request only what would stay for ever."""
        ids = [execution.execution_id for execution in executions]
        names = [name for name in self.world.redis.scan_iter() if any(each in name for each in ids)]
        return [name for name in names if self.world.redis.ttl(name) == -1] if lasting else names

    def test_cancel_what_waits(self) -> None:
        """A job that no grader took leaves the queue; its participant is told, and nothing is graded."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x")
        execution.expect("INFO", saying="Nobody")  # its order lies on the queue
        answer = participant.ask("cancel", execution_id=execution.execution_id)
        self.assertEqual(answer["response_type"], SUCCESS)
        (outcome,) = execution.result()
        self.assertEqual((outcome["response_type"], outcome["data"]), (JOB + "ERROR", {}))
        self.assertIn("cancel", outcome["message"].lower())
        self.assertEqual(self.hands.lying(PLAIN), 0)
        status = participant.ask("execution_status", execution_id=execution.execution_id)
        self.assertEqual([job["state"] for job in status["jobs"]], ["cancelled"])

    def test_cancel_what_runs(self) -> None:
        """The late result of a cancelled job is ignored, and no score is posted for it."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x", "submit")
        order = self.hands.take(PLAIN)
        order.running()
        execution.expect("RUNNING")
        participant.ask("cancel", execution_id=execution.execution_id)
        (outcome,) = execution.result()
        order.complete({"score": 0.99}, "too late")
        behind = participant.execute("y")
        self.hands.take(PLAIN).complete()
        behind.result()
        self.assertNotIn("too late", str(execution.events))
        self.assertEqual(outcome["response_type"], JOB + "ERROR")
        self.assertEqual([row for row in self.world.webapp.submissions() if row["score"] == 0.99], [])

    def test_cancel_what_is_over(self) -> None:
        """What has ended stays as it is."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x")
        self.hands.take(PLAIN).complete()
        execution.result()
        participant.ask("cancel", execution_id=execution.execution_id)
        status = participant.ask("execution_status", execution_id=execution.execution_id)
        self.assertEqual([job["state"] for job in status["jobs"]], ["complete"])
        self.assertEqual(execution.kinds()[-1], "COMPLETE")
