"""Followers of an execution get each event once and in order, wherever it was logged."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core import delivery as deliveries
from crowdai_broker.core.delivery import NOT_KEPT, Delivery, Subscription
from crowdai_broker.core.model import JobState, LoggedEvent, Moved
from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.testing import MemoryRedis, MemoryStore, Peer, Spawned
from tests.contracts.making import a_move, acceptance, effect

from .world import result_of

RESULT = json.dumps({"data": {"score": 1}, "response_type": "CrowdAI.Event.Job.COMPLETE", "message": ""})


class DeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a node ``n1`` and an execution ``x`` of one event, which another node accepted."""
        super().setUp()
        self.redis = MemoryRedis()
        self.store = MemoryStore(self.redis, "n1")
        self.spawned = Spawned()
        self.delivery = Delivery(self.store, "n1", self.spawned)
        self.delivery.start(lambda challenge: None)
        self.peer = Peer()
        result_of(self.store.accept(acceptance("x", words=["a"])))

    def tearDown(self) -> None:
        """Look whether background work failed."""
        super().tearDown()
        self.spawned.raise_if_failed()

    def subscription(self, after: int = 0) -> Subscription:
        """Return a subscription of the peer."""
        return Subscription("x", "C::1", self.peer.send, self.peer.finish, after)

    def follow(self, after: int = 0) -> Subscription:
        """Let the peer follow the execution."""
        subscription = self.subscription(after)
        result_of(self.delivery.follow(subscription))
        return subscription

    def log(self, *words: str, end: bool = False) -> list[Moved]:
        """Log events at this node."""
        to = JobState.COMPLETE if end else None
        move = a_move("x-0", *words, to=to, fields={"result": RESULT} if end else {})
        return result_of(self.delivery.move([move], 1))

    def log_elsewhere(self, *words: str) -> None:
        """Log events at another node."""
        result_of(MemoryStore(self.redis, "n2").move([a_move("x-0", *words)], "n2", 1))

    @property
    def words(self) -> list[str]:
        """What the peer was told."""
        return [event["message"] for event in self.peer.events]

    def test_missed_then_live(self) -> None:
        """A follower gets what it missed, then what is logged here and elsewhere."""
        self.follow()
        self.log("b", "c")
        self.log_elsewhere("d")
        self.assertEqual(self.words, ["a", "b", "c", "d"])
        self.assertEqual(self.peer.numbers, [1, 2, 3, 4])

    def test_after(self) -> None:
        """Who has some events gets those after them."""
        self.log("b", "c")
        self.follow(after=2)
        self.assertEqual(self.words, ["c"])

    def test_each_event_once(self) -> None:
        """Events that come twice, late or before those that they follow are sent once, in order."""
        self.follow()
        self.log("b", "c")
        logged = result_of(self.store.events("x", 0, 9))
        self.delivery.deliver("x", logged)
        self.delivery.deliver("x", logged[1:2])
        self.assertEqual(self.words, ["a", "b", "c"])
        result_of(self.store.move([a_move("x-0", "d", "e")], "n1", 1))
        self.delivery.deliver("x", [LoggedEvent(5, "never sent: the log is read")])
        self.assertEqual(self.words, ["a", "b", "c", "d", "e"])

    def test_end(self) -> None:
        """When all jobs have ended the peer is told how, once, after the last event; then it is left."""
        subscription = self.follow()
        self.log("z", end=True)
        self.assertEqual(self.words, ["a", "z"])
        ((outcome,),) = self.peer.acks
        self.assertEqual(outcome.data, {"score": 1})
        self.assertTrue(subscription.over)
        self.assertEqual((len(self.delivery), self.redis.executions["x"].watchers), (0, set()))

    def test_end_before_the_grade_is_posted(self) -> None:
        """A peer is told the end at once, and what follows it until nothing can follow any more."""
        self.follow()
        move = a_move("x-0", to=JobState.COMPLETE, fields={"result": RESULT}, effects=(effect(),))
        result_of(self.delivery.move([move], 1))
        self.assertEqual((len(self.peer.acks), self.delivery.waiting), (1, 0))
        self.log("your result is safe")
        self.assertEqual(self.words[-1], "your result is safe")
        result_of(self.store.move([a_move("x-0", done=effect().kind)], "n1", 1))
        self.assertEqual(len(self.delivery), 1)
        self.delivery.tidy()
        self.assertEqual((len(self.delivery), len(self.peer.acks)), (0, 1))

    def test_muted(self) -> None:
        """A muted follower is sent nothing and told the end all the same."""
        self.follow().mute()
        self.log("z", end=True)
        self.assertEqual((self.words, len(self.peer.acks)), (["a"], 1))

    def test_left(self) -> None:
        """A follower that has left is sent nothing, and not told the end; others are."""
        self.delivery.leave(self.follow())
        self.assertEqual(self.redis.executions["x"].watchers, set())
        other = Peer()
        result_of(self.delivery.follow(Subscription("x", "C::1", other.send, other.finish)))
        self.log("z", end=True)
        self.assertEqual((self.words, self.peer.acks, len(other.acks)), (["a"], [], 1))

    def test_leaves_while_it_is_sent(self) -> None:
        """A peer whose connection ends at an event is sent no further one."""
        subscriptions: list[Subscription] = []

        def send(channel: str, text: str) -> None:
            self.peer.send(channel, text)
            self.delivery.leave(subscriptions[0])

        self.log("b", "c")
        subscriptions.append(Subscription("x", "C::1", send, self.peer.finish))
        result_of(self.delivery.follow(subscriptions[0]))
        self.assertEqual(self.words, ["a"])

    def test_capped_log(self) -> None:
        """Of a log whose beginning is gone a follower gets the rest, and goes on from there."""
        self.redis._log_cap = 3
        result_of(self.store.accept(acceptance("y", words=list("abcdef"))))
        subscription = Subscription("y", "C::1", self.peer.send, self.peer.finish)
        result_of(self.delivery.follow(subscription))
        self.assertEqual(self.peer.numbers, [4, 5, 6])

    def test_long_log(self) -> None:
        """A long log is read in pieces."""
        self.patch(deliveries, "READ_AT_ONCE", 2)
        self.log(*"bcdefg")
        self.follow()
        self.assertEqual(self.words, list("abcdefg"))

    def test_execution_that_is_gone(self) -> None:
        """A peer that waits for an execution which is no longer kept is told so instead of waiting on."""
        subscription = Subscription("gone", "C::1", self.peer.send, self.peer.finish)
        result_of(self.delivery.follow(subscription))
        self.assertEqual(self.peer.acks, [[NOT_KEPT]])
        self.assertTrue(subscription.over)

    def test_store_fails_while_reading(self) -> None:
        """A log that could not be read is read when the store is back, for all who wait for it."""
        other = Peer()
        for step in ("execution", "events"):
            self.store.fail_next(step, "before")
        self.follow()
        result_of(self.delivery.follow(Subscription("x", "C::1", other.send, other.finish)))
        self.assertEqual((self.words, other.events), ([], []))
        self.store.fail_next("execution", "before")
        result_of(self.delivery.mend())
        self.assertEqual((self.words, other.events), ([], []))
        result_of(self.delivery.mend())
        self.assertEqual((self.words, len(other.events)), (["a"], 1))

    def test_move_whose_answer_is_lost(self) -> None:
        """What was logged by a step whose answer was lost reaches the followers here, the end too."""
        self.follow()
        self.store.fail_next("move", "after")
        self.assertRaises(StoreUnavailable, self.log, "z", end=True)
        self.assertEqual(self.words, ["a"])
        result_of(self.delivery.mend())
        self.assertEqual((self.words, len(self.peer.acks)), (["a", "z"], 1))

    def test_nothing_to_mend(self) -> None:
        """Without a failure nothing is read again."""
        self.follow()
        self.store.fail_next("execution", "before")
        result_of(self.delivery.mend())
        self.log("b")
        self.assertEqual(self.words, ["a", "b"])

    def test_gap(self) -> None:
        """After a gap in what other nodes tell, every followed log is read."""
        self.follow()
        self.redis.executions["x"].watchers.clear()
        self.log_elsewhere("b")
        self.assertEqual(self.words, ["a"])
        self.store.gap()
        self.assertEqual(self.words, ["a", "b"])
