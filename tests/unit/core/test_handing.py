"""Orders that are handed out by calls: tried until a grader takes them, and no attempt lost meanwhile."""

from __future__ import annotations

from crowdai_broker.config import ChallengeTable, Config
from crowdai_broker.core import handing
from crowdai_broker.core.lifecycle import outdated, pointless, returned
from crowdai_broker.core.model import EffectKind, JobState
from crowdai_broker.errors import GraderBusy, GraderUnreachable, StoreUnavailable
from crowdai_broker.interfaces import IGrader
from crowdai_broker.testing import LooseGraders, MemoryStore

from .node_case import NodeCase
from .world import a_config, result_of

EVENT = b'{"response_type": "CrowdAI.Event.Job.%s", "data": {}}'


def over_http(**values: object) -> Config:
    """Return a configuration whose challenge has graders on HTTP."""
    own = ChallengeTable(values=values, grader={"kind": "http", "url": "http://grader.example"})
    return a_config({"C": own})


class HandingTests(NodeCase):
    def setUp(self) -> None:
        """Begin with graders that are called."""
        super().setUp()
        self.graders = LooseGraders()
        self.begin_with()

    def begin_with(self, **values: object) -> None:
        """Begin anew with some keys of the challenge."""
        graders: dict[str, IGrader] = {"http": self.graders}
        self.begin(over_http(**values), graders)

    def away(self, tries: int) -> None:
        """Let the grader be away for the next tries."""
        for _ in range(tries):
            self.graders.fail_next(GraderUnreachable("away"))

    def test_away_for_an_hour(self) -> None:
        """A grader that is away for an hour costs no attempt; it is asked often enough to be found soon."""
        self.begin_with(job_timeout=60, max_attempts=1)
        self.away(3600 // 15)
        execution_id = self.ada.execute("evaluate").execution_id
        self.world.run(3550, 5)
        self.assertEqual(self.graders.given, [])
        self.assertEqual(self.world.jobs(execution_id)[0].state, JobState.DISPATCHED)
        self.world.run(70)
        (taken,) = self.graders.given
        self.assertEqual(taken.job.attempts, 1)
        told = self.ada.messages("INFO")
        self.assertEqual([message[:6] for message in told], ["Nobody", "A grad"])

    def test_time_begins_with_the_grader(self) -> None:
        """A job's time begins when a grader took its order, however long that was tried."""
        self.begin_with(job_timeout=60, max_attempts=1)
        self.away(5)
        self.ada.execute("evaluate")
        self.world.run(40)
        self.assertEqual(len(self.graders.given), 1)
        self.world.run(45)
        self.assertEqual(self.ada.acks, [])
        self.world.run(60)
        self.assertIn("nothing was heard", self.ada.acks[0][0].message)

    def test_not_for_ever(self) -> None:
        """A job that nobody would take for two days fails as the platform's fault, at the webapp, too."""
        self.patch(handing, "FOR_HOURS", 1)
        self.away(10_000)
        self.ada.execute()
        self.world.run(3700, 5)
        self.assertTrue(self.ada.acks[0][0].message.startswith("Platform error: no grader"))
        self.world.run(5)
        self.assertEqual(self.world.webapp.rows[1].status, "failed")
        self.assertEqual(self.world.redis.effects, {})

    def test_busy(self) -> None:
        """Orders that stand in each other's way are tried again at once, and nobody is told of it."""
        for _ in range(4):
            self.graders.fail_next(GraderBusy("busy"))
        self.ada.execute("evaluate")
        self.world.run(5)
        self.assertEqual(len(self.graders.given), 1)
        self.assertEqual(self.ada.messages("INFO"), [])

    def test_store_fails_while_handing_out(self) -> None:
        """A failure that is not the grader's is not told as if it were."""
        self.graders.fail_next(StoreUnavailable("away"))
        self.ada.execute("evaluate")
        self.world.run(5)
        self.assertEqual(len(self.graders.given), 1)
        self.assertEqual(self.ada.messages("INFO"), [])

    def test_heard_of_before_the_node_died(self) -> None:
        """An order in doubt whose grader was heard of was handed out: the attempt goes on."""
        store = MemoryStore(self.world.redis, "n1")
        self.node.node.outbox.stop()
        execution_id = self.ada.execute("evaluate").execution_id
        result_of(store.lease_effects(int(self.world.clock.seconds() * 1000), 60_000, 9, "n1", "x", False))
        (job,) = self.world.jobs(execution_id)
        other = self.world.make_node("n2")
        self.assertTrue(result_of(other.node.relay.apply(job.attempt, [EVENT % b"RUNNING"])))
        self.world.kill(self.node)
        self.world.run(40)
        self.assertEqual((self.graders.given, self.world.redis.effects), ([], {}))
        self.assertTrue(result_of(other.node.relay.apply(job.attempt, [EVENT % b"COMPLETE"])))
        self.assertEqual(self.world.jobs(execution_id)[0].state, JobState.COMPLETE)

    def test_late_answer(self) -> None:
        """A grader's answer that comes when the job has another attempt does not settle that one's order."""
        execution_id = self.ada.execute("evaluate").execution_id
        self.world.run(1)
        (job,) = self.world.jobs(execution_id)
        self.node.node.outbox.stop()
        moves = [returned(job)]
        result_of(self.node.store.move(moves, "n1", 1))
        self.node.node.dispatcher.poke("C")
        (again,) = self.world.jobs(execution_id)
        self.assertNotEqual(again.attempt, job.attempt)
        for late in (outdated(job, EffectKind.DISPATCH), pointless(job, EffectKind.DISPATCH)):
            (moved,) = result_of(self.node.store.move([late], "n1", 1))
            self.assertFalse(moved.applied)
        self.node.node.outbox.start()
        self.world.run(1)
        self.assertEqual([order.job.attempt for order in self.graders.given], [job.attempt, again.attempt])
