"""Redis is killed while the broker runs, and comes back with its file: nothing is lost, no restart."""

from __future__ import annotations

from typing import ClassVar

from redis import RedisError

from .case import WorldCase
from .hands import JOB
from .programs import until
from .world import Plan

PLAIN = "Plain"
AUTHENTICATE = "authenticate"
QUESTIONS = ("resume", "execution_status", "cancel")


class RedisAwayTests(WorldCase):
    """Its death at several moments."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}})

    def setUp(self) -> None:
        """Have a broker that can do its work."""
        super().setUp()
        self.broker().ready()

    def bring_back(self) -> None:
        """Start Redis on its file, and wait until the broker uses it."""
        self.world.server.start()
        until(self._answers, "Redis answers")
        self.broker().ready()

    def _answers(self) -> bool:
        try:
            return bool(self.world.redis.ping())
        except RedisError:
            return False

    def test_while_a_job_is_graded(self) -> None:
        """A running submission finishes and is graded once; meanwhile the broker says that it cannot work."""
        participant = self.participant(PLAIN)
        execution = participant.execute("x", "submit")
        order = self.hands.take(PLAIN)
        order.progress(20)
        execution.expect("PROGRESS_UPDATE")
        self.world.server.kill()
        refused = participant.execute("y", "submit")
        self.broker().readyz(503, "redis")
        (item,) = refused.result()
        self.assertEqual(item["response_type"], JOB + "ERROR")
        self.assertIn("storage", item["message"])
        self.assertIn("try again", item["message"])
        self.bring_back()
        order.progress(60)
        order.complete({"score": 0.6})
        (outcome,) = execution.result(30)
        self.assertEqual(outcome["data"]["score"], 0.6)
        self.assertEqual([event["event_no"] for event in execution.events], [1, 2, 3, 4])
        (row,) = self.world.webapp.settled(1, id=outcome["data"]["submission_id"])
        self.assertEqual((row["posts"], row["patches"], row["score"]), (1, 1, 0.6))

    def test_a_redis_that_hangs(self) -> None:
        """With a Redis that hangs each request is answered with what to do, in its own shape."""
        participant = self.participant(PLAIN)
        self.world.server.freeze()
        self.addCleanup(self.world.server.freeze, frozen=False)
        asked = {event: participant.listen("") for event in (AUTHENTICATE, *QUESTIONS, "close_session")}
        for event, answer in asked.items():
            request = {"session_token": participant.token, "execution_id": "x", **participant.identity()}
            participant.client.emit(event, request, callback=answer.acknowledged)
        refused = asked[AUTHENTICATE].answer()
        self.assertEqual(refused["response_type"], "CrowdAI.Event.Authentication.ERROR")
        self.assertIn("try again", refused["message"])
        for event in QUESTIONS:
            refused = asked[event].answer()
            self.assertEqual(refused["response_type"], "CrowdAI.Event.ERROR")
            self.assertIn("try again", refused["message"])
        self.assertFalse(asked["close_session"].answer()["status"])
        self.broker().readyz(503, "redis")
        self.world.server.freeze(frozen=False)
        self.broker().ready()
        self.assertIn("session_token", participant.authenticate())
        self.world.secrets.add(participant.token)
        execution = participant.execute("x")
        self.hands.take(PLAIN).complete()
        execution.result()

    def test_while_an_order_waits(self) -> None:
        """An order that lies on a queue is there after Redis came back, once."""
        execution = self.participant(PLAIN).execute("x", "submit")
        execution.expect("INFO", saying="Nobody")
        self.world.server.kill()
        self.bring_back()
        self.hands.take(PLAIN).complete()
        (outcome,) = execution.result()
        self.assertEqual(self.hands.lying(PLAIN), 0)
        self.world.webapp.settled(1, id=outcome["data"]["submission_id"])
