"""Two brokers on one Redis: a client may ask one and be answered by the other, and either may die."""

from __future__ import annotations

from typing import ClassVar

from .case import WorldCase
from .hands import JOB
from .programs import Broker
from .world import Plan, World

PLAIN = "Plain"


class NodeTests(WorldCase):
    """The nodes are called one and two."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {"max_parallel_jobs": 15}})
    one: Broker
    two: Broker

    @classmethod
    def begin(cls, world: World) -> None:
        """Start both."""
        cls.one, cls.two = (world.launch() for _ in range(2))
        for node in (cls.one, cls.two):
            node.ready()

    def test_authenticated_at_the_other(self) -> None:
        """A session that one opened is good at two, until it is closed there."""
        here = self.participant(PLAIN, at=self.one)
        there = self.participant(PLAIN, authenticate=False, at=self.two)
        there.token = here.token
        execution = there.execute("x")
        self.hands.take(PLAIN).complete()
        execution.result()
        self.assertTrue(there.ask("close_session")["status"])
        (item,) = here.execute("x").result()
        self.assertIn("Not authenticated", item["message"])

    def test_resumed_at_the_other(self) -> None:
        """Events of a job that runs at one come at two as well, in the same order, and live."""
        here, there = (self.participant(PLAIN, at=node) for node in (self.one, self.two))
        execution = here.execute("x", "submit")
        order = self.hands.take(PLAIN)
        order.running()
        execution.expect("RUNNING")
        followed = there.listen(execution.channel)
        answer = there.ask("resume", execution_id=execution.execution_id)
        self.assertEqual((answer["state"], followed.kinds()), ("running", ["ENQUEUED", "RUNNING"]))
        order.say("INFO", {}, "half")
        followed.expect("INFO")
        order.complete()
        execution.result()
        followed.expect("COMPLETE")
        self.assertEqual(followed.events, execution.events)
        status = there.ask("execution_status", execution_id=execution.execution_id)
        self.assertEqual(status["state"], "finished")

    def test_sent_to_both(self) -> None:
        """The same request with the same key at both nodes is one execution, answered at both."""
        people = [self.participant(PLAIN, at=node) for node in (self.one, self.two)]
        before = len(self.world.webapp.submissions())
        executions = [each.execute("x", "submit", idempotency_key="same") for each in people]
        order = self.hands.take(PLAIN)
        order.complete({"score": 0.9})
        results = [execution.result() for execution in executions]
        self.assertEqual(results[0], results[1])
        self.assertEqual(executions[0].events, executions[1].events)
        self.assertEqual(len(self.world.webapp.submissions()), before + 1)

    def test_cancelled_at_the_other(self) -> None:
        """Two can take back what runs at one, whose client hears of it."""
        here, there = (self.participant(PLAIN, at=node) for node in (self.one, self.two))
        execution = here.execute("x")
        self.hands.take(PLAIN).running()
        execution.expect("RUNNING")
        answer = there.ask("cancel", execution_id=execution.execution_id)
        self.assertEqual(answer["response_type"], "CrowdAI.Event.SUCCESS")
        self.assertEqual(execution.result()[0]["response_type"], JOB + "ERROR")

    def test_side_by_side(self) -> None:
        """Both at work on the same challenge: each job is registered once, handed out once, graded once."""
        people = [
            self.participant(PLAIN, number, at=node) for number in (0, 1) for node in (self.one, self.two)
        ]
        before = len(self.world.webapp.submissions())
        executions = [
            each.execute([[n, m] for m in range(15)], "submit", parallel=True)
            for n, each in enumerate(people)
        ]
        orders = [self.hands.take(PLAIN) for _ in range(60)]
        self.assertEqual(len({tuple(order.data) for order in orders}), 60)
        self.assertEqual(self.hands.lying(PLAIN), 0)
        for order in orders:
            order.complete({"score": sum(order.data) / 100})
        for n, execution in enumerate(executions):
            scores = [outcome["data"]["score"] for outcome in execution.result()]
            self.assertEqual(scores, [(n + m) / 100 for m in range(15)])
        rows = self.world.webapp.settled(before + 60)
        self.assertEqual(len(rows), before + 60)
        self.assertEqual({row["posts"] for row in rows}, {1})
