"""What no event will ever move again is found in what is stored."""

from __future__ import annotations

from crowdai_broker.config import ChallengeTable
from crowdai_broker.core.model import JobState

from .node_case import NodeCase
from .world import Participant, a_config, result_of


class SweepTests(NodeCase):
    def test_sign_of_life_that_fails(self) -> None:
        """A sign of life that the store did not take is followed by the next: the node is not adopted."""
        other = self.world.make_node("n2")
        for _ in range(2):
            self.node.store.fail_next("beat", "before")
        self.world.run(60)
        self.assertEqual((self.node.adopted, other.adopted), ([], []))

    def test_backlog_of_a_dead_node(self) -> None:
        """Jobs that were accepted by a node which died before it gave them out are given out by another."""
        self.node.store.fail_next("take", "before")
        self.ada.execute("evaluate")
        self.world.kill(self.node)
        self.assertIsNone(self.world.grader.take())
        self.world.make_node("n2")
        self.world.run(1)
        self.take()

    def test_many_overdue_at_once(self) -> None:
        """More overdue jobs than one step takes are all moved, a step after the other."""
        self.begin(a_config(max_parallel_jobs=400, job_timeout=10, max_attempts=1))
        self.ada.execute("evaluate", list(range(300)), parallel=True)
        for _ in range(12):
            self.world.grader.take_all()
            self.world.run(5)
        (outcomes,) = self.ada.acks
        self.assertEqual(len(outcomes), 300)
        self.assertTrue(all(outcome.message.startswith("Platform error: ") for outcome in outcomes))

    def test_two_nodes_see_the_same_deadline(self) -> None:
        """A job that two nodes find overdue is given up once."""
        self.begin(a_config(job_timeout=10))
        self.world.make_node("n2")
        execution_id = self.ada.execute("evaluate").execution_id
        self.take()
        self.world.run(12)
        (job,) = self.world.jobs(execution_id)
        self.assertEqual((job.state, job.attempts), (JobState.DISPATCHED, 2))
        self.assertEqual(sum("was given up" in text for text in self.ada.messages("INFO")), 1)

    def test_attempt_that_another_node_ended(self) -> None:
        """A node forgets attempts that it heard no end of, some time after their deadline."""
        self.begin(a_config(job_timeout=10))
        execution_id = self.ada.execute("evaluate").execution_id
        other = self.world.make_node("n2")
        asked = {"session_token": self.ada.token, "execution_id": execution_id}
        result_of(other.node.participants.cancel([asked]))
        self.assertEqual(len(self.node.node.relay.attempts), 1)
        self.world.run(110, 5)
        self.assertEqual(len(self.node.node.relay.attempts), 0)

    def test_order_that_lay_too_long(self) -> None:
        """An order that nobody took in time is taken back before the job is given out again."""
        self.begin(a_config(job_timeout=10))
        self.ada.execute("evaluate")
        self.world.run(12)
        self.assertEqual(len(self.world.grader.take_all()), 1)

    def test_order_that_waits_its_turn(self) -> None:
        """An order behind others that busy graders take is no failed attempt, however long it lies."""
        self.begin(a_config(job_timeout=10))
        execution_id = self.ada.execute("evaluate", list(range(6)), parallel=True).execution_id
        for _ in range(6):
            job = self.take()
            job.say("RUNNING")
            self.world.run(8)
            job.complete()
            self.world.run(1)
        self.assertEqual([job.attempts for job in self.world.jobs(execution_id)], [1] * 6)
        self.assertEqual(len(self.ada.acks), 1)

    def test_taken_late_by_a_quiet_grader(self) -> None:
        """An order that lay beyond its time leaves its grader time, even if that only says its end."""
        self.begin(a_config(job_timeout=10))
        execution_id = self.ada.execute("evaluate", [1, 2], parallel=True).execution_id
        first = self.take()
        first.say("RUNNING")
        self.world.run(9)
        first.complete()
        self.world.run(8)
        second = self.take()
        self.world.run(9)
        second.complete()
        self.world.run(1)
        self.assertEqual([job.attempts for job in self.world.jobs(execution_id)], [1, 1])

    def test_grader_that_dies_after_a_long_wait(self) -> None:
        """The time of a job begins with its grader's first event, and ends after its grader's last one."""
        self.begin(a_config(job_timeout=10))
        execution_id = self.ada.execute("evaluate").execution_id
        job = self.take()
        self.world.run(9)
        job.progress(1)
        self.world.run(5)
        job.progress(2)
        self.world.run(4)
        self.assertEqual(self.world.jobs(execution_id)[0].attempts, 1)
        self.world.run(3)
        self.assertEqual(self.world.jobs(execution_id)[0].attempts, 2)

    def test_result_that_a_dead_node_left_unread(self) -> None:
        """A job whose result lies on a dead node's list is not taken for silent before that list was read."""
        self.begin(a_config(job_timeout=5))
        execution_id = self.ada.execute("evaluate").execution_id
        self.world.run(2)
        self.world.kill(self.node)
        self.world.make_node("n2")
        self.take().complete(score=1)
        self.world.run(20)
        (job,) = self.world.jobs(execution_id)
        self.assertEqual((job.state, job.attempts), (JobState.COMPLETE, 1))

    def test_silent_job_of_a_dead_node(self) -> None:
        """A job that a dead node gave to a silent grader goes to another one in the end."""
        self.begin(a_config(job_timeout=5))
        execution_id = self.ada.execute("evaluate").execution_id
        self.take()
        self.world.kill(self.node)
        self.world.make_node("n2")
        self.world.run(28)
        self.assertEqual(self.world.jobs(execution_id)[0].attempts, 2)

    def test_no_grader_is_blamed_for_a_store_that_was_away(self) -> None:
        """After the store was away, graders have some seconds to say what they could not say meanwhile."""
        self.begin(a_config(job_timeout=5))
        execution_id = self.ada.execute("evaluate").execution_id
        job = self.take()
        self.world.run(4)
        self.node.store.fail_next("due_jobs", "before")
        self.node.store.fail_next("due_jobs", "before")
        self.world.run(4)
        job.complete(score=1)
        self.world.run(10)
        self.assertEqual(self.world.jobs(execution_id)[0].attempts, 1)

    def test_challenge_that_is_gone(self) -> None:
        """The deadline of a job whose challenge nobody can look up any more is kept by the defaults."""
        self.begin(a_config(job_timeout=70))
        execution_id = self.ada.execute("evaluate").execution_id
        self.take()
        del self.world.webapp.challenges["C"]
        self.world.run(75)
        self.assertIs(self.world.jobs(execution_id)[0].state, JobState.QUEUED)

    def test_one_participant_does_not_starve_another(self) -> None:
        """Of two participants the one with few jobs is served in turn, not behind the other's many."""
        self.begin(a_config({"C": ChallengeTable(grader={"max_in_flight": 2})}))
        self.ada.execute("evaluate", list(range(10)), parallel=True)
        bob = Participant(self.node, "key-of-bob")
        bob.execute("evaluate", "b")
        served = []
        while (job := self.world.grader.take()) is not None:
            served.append(job.order["data"])
            job.complete()
            self.world.run(0.5)
        self.assertLess(served.index("b"), 5)
        self.assertEqual(len(served), 11)
