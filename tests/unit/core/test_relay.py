"""Batches of graders' events become stored steps: nothing lost, nothing twice, nothing too large."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import ChallengeConfig
from crowdai_broker.core.delivery import Delivery, Subscription
from crowdai_broker.core.model import Inbox, Job, JobState
from crowdai_broker.core.presence import NOBODY, SOMEBODY
from crowdai_broker.core.relay import Relay
from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.testing import MemoryRedis, MemoryStore, Peer, QueueGraders, Spawned
from tests.contracts.making import a_take, acceptance

from .node_case import NodeCase
from .world import Participant, Tally, a_config, result_of

KEY = "responses"


class RelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a node whose job ``x-0`` is with a grader, under number 7, and a peer that follows it."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1000)
        self.redis = MemoryRedis(self.clock.seconds)
        self.store = MemoryStore(self.redis, "n1")
        self.spawned = Spawned()
        self.tally = Tally()
        self.ended: list[str] = []
        delivery = Delivery(self.store, "n1", self.spawned)
        self.relay = Relay(self.clock, self.store, delivery, self.spawned, self.tally, 10, self.note_end)
        self.relay.start()
        self.addCleanup(self.relay.stop)
        self.peer = Peer()
        result_of(self.store.accept(acceptance("x", watcher="n1")))
        self.taken = result_of(self.store.take(a_take("7", due=10**9)))
        subscription = Subscription("x", "C::1", self.peer.send, self.peer.finish)
        result_of(delivery.follow(subscription, watched=True))

    def note_end(self, job: Job) -> None:
        """Note whose attempt ended."""
        self.ended.append(job.job_id)

    def event(self, kind: str = "INFO", number: int = 7, **data: object) -> bytes:
        """Return a grader's event."""
        return json.dumps({"data_sequence_no": number, "response_type": kind, "data": data}).encode()

    def handle(self, *batch: bytes | None, first: int | None = None) -> None:
        """Hand in a batch that stands at the head of the list."""
        seen = self.redis.consumed[KEY] if first is None else first
        self.redis.lists[KEY] = [raw or b"" for raw in batch]
        result_of(self.relay.handle(batch, Inbox(KEY, len(batch), seen)))

    def test_attempt_of_another_node(self) -> None:
        """An attempt that this node never heard of is looked up, once."""
        self.handle(self.event())
        self.store.fail_next("attempts", "before")
        self.handle(self.event(), self.event("COMPLETE"))
        self.assertEqual(self.peer.kinds(), ["INFO", "INFO", "COMPLETE"])
        self.assertEqual((self.ended, len(self.relay.attempts)), (["x-0"], 0))

    def test_what_is_dropped_is_removed(self) -> None:
        """A batch of which nothing can be used is taken off its list all the same, and counted."""
        self.handle(b"x", None, self.event(number=8))
        self.assertEqual(self.redis.lists[KEY], [])
        self.assertEqual(self.tally.dropped, {"not_json": 1, "oversize": 1, "attempt_over": 1})

    def test_batch_whose_answer_is_lost(self) -> None:
        """A batch that is handed in again after it was applied changes nothing more."""
        batch = (self.event(), self.event("COMPLETE"))
        self.store.fail_next("move", "after")
        self.assertRaises(StoreUnavailable, self.handle, *batch)
        self.handle(*batch, first=0)
        log = result_of(self.store.events("x", 0, 9))
        self.assertEqual(len(log), 2)
        self.assertEqual(self.ended, ["x-0"])

    def test_batch_that_was_not_applied(self) -> None:
        """A batch that failed before it was applied is applied when it is handed in again."""
        batch = (self.event(), self.event("COMPLETE"))
        self.store.fail_next("move", "before")
        self.assertRaises(StoreUnavailable, self.handle, *batch)
        self.handle(*batch)
        self.assertEqual(self.peer.kinds(), ["INFO", "COMPLETE"])

    def test_full_batch(self) -> None:
        """The largest batch fits one step of the store, also when the wait of each of its jobs ends."""
        for number in range(100, 355):
            result_of(self.store.accept(acceptance(f"y{number}")))
            result_of(self.store.take(a_take(str(number), limit=1000, due=10**9)))
        numbers = [7, *range(100, 355)]
        for job in result_of(self.store.attempts([str(number) for number in numbers])):
            assert job is not None
            self.relay.attempts.add(job).told = True
        self.handle(*(self.event(number=number) for number in numbers))
        self.assertEqual(self.tally.relayed, {"INFO": 2 * len(numbers)})

    def test_first_event_means_running(self) -> None:
        """A job is running from its grader's first event on, a held one included."""
        self.handle(self.event("PROGRESS_UPDATE", percent_complete=1))
        self.assertIs(self.redis.jobs["x-0"].state, JobState.RUNNING)

    def test_held_progress_after_stop(self) -> None:
        """A relay that has stopped logs no held progress; it stays stored for whoever goes on."""
        self.handle(*(self.event("PROGRESS_UPDATE", percent_complete=p) for p in (1, 2)))
        self.relay.stop()
        self.clock.advance(5)
        self.assertIn("2.0", self.redis.jobs["x-0"].held)
        self.assertEqual(len(self.peer.events), 1)


class PresenceTests(NodeCase):
    def test_nobody_then_somebody(self) -> None:
        """A participant is told once that nobody is there, and that somebody came with the first event."""
        self.ada.execute("evaluate")
        self.world.run(30)
        self.assertEqual(self.ada.messages("INFO"), [NOBODY])
        self.take().say("RUNNING")
        self.world.run(1)
        self.assertEqual(self.ada.messages("INFO"), [NOBODY, SOMEBODY])
        self.assertEqual(self.ada.kinds()[-1], "RUNNING")

    def test_somebody_who_says_nothing(self) -> None:
        """An order that was taken says that somebody came, before any event does."""
        self.ada.execute("evaluate")
        self.world.run(3)
        self.take()
        self.world.run(2)
        self.assertEqual(self.ada.messages("INFO"), [NOBODY, SOMEBODY])

    def test_order_that_was_withdrawn(self) -> None:
        """Nobody came when an order is gone because its attempt was given up."""
        test = self

        class Looking(QueueGraders):
            async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
                """Withdraw, and let a look at the queue fall between that and what is decided."""
                found = await super().withdraw(challenge, job)
                test.node.node.presence.look()
                return found

        self.begin(a_config(job_timeout=3, max_attempts=2))
        self.world.graders = {"redis": Looking(self.world.redis)}
        self.node = self.world.make_node("n2")
        self.ada = Participant(self.node)
        self.ada.execute("evaluate")
        self.world.run(8)
        self.assertNotIn(SOMEBODY, self.ada.messages("INFO"))
        self.assertIn("Platform error", self.ada.messages("ERROR")[0])

    def test_busy_graders(self) -> None:
        """While a grader that was heard of works, nobody is told that nobody is there."""
        self.ada.execute("evaluate")
        self.take().progress(1)
        self.world.run(1)
        self.ada.execute("evaluate")
        self.world.run(30)
        self.assertEqual(self.ada.messages("INFO"), [])
