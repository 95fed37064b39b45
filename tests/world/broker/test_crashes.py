"""The broker is killed, and told to stop: what was accepted goes on, and happens once."""

from __future__ import annotations

import os
import signal
from typing import ClassVar

from .case import WorldCase
from .hands import JOB, Hands, client
from .participant import Execution, Participant
from .programs import until
from .webapp import Row
from .world import Plan

PLAIN = "Plain"
KILLED = -signal.SIGKILL
ADOPTED = 30.0  # s within which another node takes over


class CrashTests(WorldCase):
    """One test in one world: a crash is shared by all that waits for its end."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}}, tables={"webapp": {"timeout": 1}})

    def row(self, execution: Execution) -> Row:
        """Return the one submission of an execution."""
        (row,) = [
            each for each in self.world.webapp.submissions() if execution.execution_id in str(each["meta"])
        ]
        return row

    def assert_graded_once(self, execution: Execution, score: float) -> None:
        """There is one submission, with one grade."""
        until(lambda: self.row(execution)["grading_status_cd"] == "graded", "the grade", 60)
        row = self.row(execution)
        self.assertEqual((row["score"], row["posts"], row["patches"]), (score, 1, 1))
        self.assertEqual([grade["grading_status"] for grade in row["grades"]], ["submitted", "graded"])

    def resumed(self, execution: Execution) -> tuple[Participant, Execution]:
        """Follow an execution at the broker that runs now."""
        participant = Participant(self.world.broker.port, self.world.keys[0], PLAIN)
        self.addCleanup(participant.leave)
        participant.token = self.token
        followed = participant.listen(execution.channel)
        answer = participant.ask("resume", execution_id=execution.execution_id, after_event_no=0)
        self.assertEqual(answer["response_type"], "CrowdAI.Event.SUCCESS", answer)
        return participant, followed

    def test_killed(self) -> None:
        """Killed with jobs in every state, the broker's successor finishes each of them, once."""
        participant = self.participant(PLAIN)
        self.token = participant.token
        webapp = self.world.webapp
        self.addCleanup(webapp.mend)
        held = participant.execute("held", "submit")
        in_hand = self.hands.take(PLAIN)
        in_hand.progress(50)
        held.expect("PROGRESS_UPDATE")
        webapp.fault("grade", "hang")
        grading = participant.execute("grading", "submit")
        self.hands.take(PLAIN).complete({"score": 0.2})
        until(lambda: webapp.met("grade", "hang"), "the PATCH")
        webapp.fault("register", "hang_after")
        registering = participant.execute("registering", "submit")
        registering.expect("ENQUEUED")
        until(lambda: webapp.met("register", "hang_after"), "the POST")
        self.broker().kill()
        self.assertEqual(self.broker().wait(), KILLED)
        in_hand.complete({"score": 0.1})  # nobody hears it now
        self.world.launch().ready()
        _, followed = self.resumed(held)
        ended = followed.expect("COMPLETE", ADOPTED)
        self.assertEqual(ended["data"]["score"], 0.1)
        self.assertEqual([event["event_no"] for event in followed.events], [1, 2, 3])
        order = self.hands.take(PLAIN, 60)
        self.assertEqual(order.data, "registering")
        order.complete({"score": 0.3})
        for execution, score in ((held, 0.1), (grading, 0.2), (registering, 0.3)):
            self.assert_graded_once(execution, score)
        status = self.resumed(registering)[0].ask("execution_status", execution_id=registering.execution_id)
        self.assertEqual(status["state"], "finished")


class EmbeddedTests(WorldCase):
    """The Redis that the broker starts itself."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}}, tables={"redis": {"url": "embedded:"}})

    def setUp(self) -> None:
        """Have the hands of a grader at that Redis."""
        super().setUp()
        self.embedded = client(self.world.directory / "var" / "redis.sock", decode_responses=True)
        self.addCleanup(self.embedded.close)
        self.hands = Hands(self.embedded)

    def test_killed(self) -> None:
        """Killed together with its Redis: sessions, results and what was graded are there after the start."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x", "submit", idempotency_key="once")
        order = self.hands.take(PLAIN)
        server = self.embedded.info("server")["process_id"]
        order.complete({"score": 0.4})
        result = execution.result()
        self.broker().kill()
        os.kill(server, signal.SIGKILL)
        self.world.launch().ready()
        again = self.participant(PLAIN, authenticate=False)
        again.token = participant.token
        repeated = again.execute("x", "submit", idempotency_key="once")
        self.assertEqual((repeated.result(), repeated.events), (result, execution.events))
        (row,) = self.world.webapp.settled(1)
        self.assertEqual((row["score"], row["posts"], row["patches"]), (0.4, 1, 1))
        behind = again.execute("y")
        self.hands.take(PLAIN).complete()
        behind.result()


class StopTests(WorldCase):
    """SIGTERM."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}}, tables={"broker": {"drain_timeout": 2}})

    def setUp(self) -> None:
        """Have a broker that runs, however the test before has ended."""
        super().setUp()
        if not self.broker().running:
            self.world.launch().ready()

    def test_at_rest(self) -> None:
        """With nothing in hand it ends at once, with status 0; clients see the connection end."""
        self.participant(PLAIN)
        broker = self.broker()
        self.assertEqual(broker.terminate(3.0), 0)

    def test_a_job_that_ends_in_time(self) -> None:
        """What graders hold and somebody waits for is finished first; new work is refused meanwhile."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x", "submit")
        order = self.hands.take(PLAIN)
        broker = self.broker()
        broker.signal(signal.SIGTERM)
        until(lambda: "stopping" in broker.errors(), "the log says so")
        (item,) = participant.execute("y").result()
        self.assertIn("restarted", item["message"])
        order.complete()
        (outcome,) = execution.result()
        self.assertEqual(outcome["response_type"], JOB + "COMPLETE")
        self.assertEqual(broker.wait(), 0)
        self.world.launch().ready()
        self.world.webapp.settled(1, id=outcome["data"]["submission_id"])

    def test_a_job_that_takes_longer(self) -> None:
        """The rest stays stored: the next broker finishes it, and it is graded once."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x", "submit")
        order = self.hands.take(PLAIN)
        broker = self.broker()
        self.assertEqual(broker.terminate(), 0)
        number = order.job["extra_params"]["submission_id"]
        order.complete({"score": 0.8})
        self.world.launch().ready()
        again = self.participant(PLAIN)
        followed = again.listen(execution.channel)
        again.ask("resume", execution_id=execution.execution_id)
        followed.expect("COMPLETE")  # at once: a node that leaves is taken over without waiting
        (row,) = self.world.webapp.settled(1, id=number)
        self.assertEqual((row["posts"], row["patches"], row["score"]), (1, 1, 0.8))

    def test_a_grade_that_cannot_be_posted(self) -> None:
        """A grade that waits for the webapp holds no stop up; the next broker posts it, once."""
        execution = self.participant(PLAIN).execute("x", "submit")
        order = self.hands.take(PLAIN)
        self.world.line.cut()
        self.addCleanup(self.world.line.mend)
        order.complete({"score": 0.4})
        (outcome,) = execution.result()
        execution.expect("INFO", saying="Your result is safe")
        self.assertEqual(self.broker().terminate(5.0), 0)
        self.world.launch()
        self.world.line.mend()
        self.broker().ready()
        (row,) = self.world.webapp.settled(1, id=outcome["data"]["submission_id"])
        self.assertEqual((row["posts"], row["patches"], row["score"]), (1, 1, 0.4))

    def test_twice(self) -> None:
        """A second SIGTERM does not wait for what is in hand."""
        execution = self.participant(PLAIN).execute("x")
        self.hands.take(PLAIN)
        broker = self.broker()
        broker.signal(signal.SIGTERM)
        until(lambda: "stopping" in broker.errors(), "the log says so")
        broker.signal(signal.SIGTERM)
        self.assertEqual(broker.wait(1.5), 0)
        self.assertEqual(execution.kinds(), ["ENQUEUED"])
