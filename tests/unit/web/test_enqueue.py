"""What the webapp posts to the broker, and what it is answered."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from crowdai_broker.config import Secret
from crowdai_broker.core.enqueuing import MAX_ITEMS
from crowdai_broker.core.nested_form import encode
from crowdai_broker.web import enqueue
from crowdai_broker.web.enqueue import MAX_BODY, PATH, EnqueueGradingJob, watch_body
from crowdai_broker.web.site import BoundedSite
from tests.unit.core.node_case import NodeCase
from tests.unit.core.test_enqueuing import asked
from tests.unit.web.memory import Answer, Connection

KEY = "key-of-the-broker"
FORM = "application/x-www-form-urlencoded"


class EnqueueTests(NodeCase):
    def setUp(self) -> None:
        """Have a site."""
        super().setUp()
        root = Resource()
        served = EnqueueGradingJob(self.node.node.enqueuing, Secret(KEY), self.node.spawned)
        root.putChild(PATH[1:], served)
        self.site = BoundedSite(root, Clock())
        self.site.add_watcher(PATH, watch_body)

    def connect(self, body: bytes, content_type: str) -> Connection:
        """Send a request."""
        connection = Connection(self.site)
        connection.request("POST", PATH.decode(), body, {"Content_Type": content_type})
        return connection

    def post(self, body: bytes, content_type: str = FORM) -> tuple[Answer, dict[str, Any]]:
        """Send a request; return its answer and what that says."""
        answer = self.connect(body, content_type).answer()
        said = json.loads(answer.body)
        self.assertEqual(list(said), ["response_type", "message", "data"])
        self.assertEqual(answer.headers[b"content-type"], [b"application/json"])
        good = answer.status == 200
        self.assertEqual(said["response_type"], "CrowdAI.Event.SUCCESS" if good else "CrowdAI.Event.ERROR")
        self.assertEqual(bool(said["data"]), good)
        return answer, said

    def refused(self, status: int, body: bytes, content_type: str = FORM) -> str:
        """Return the message of a refusal; nothing was stored."""
        answer, said = self.post(body, content_type)
        self.assertEqual(answer.status, status, said)
        self.assertEqual(self.world.redis.executions, {})
        message: str = said["message"]
        return message

    def test_form(self) -> None:
        """A form as the public webapp writes it is accepted once it is stored."""
        fields = [
            ("response_channel", "na"),
            ("session_token", "na"),
            ("api_key", "key-of-ada"),
            ("grader_id", "CLEFChallenges"),
            ("challenge_client_name", "C"),
            ("function_name", "grade_submission"),
            ("data[][file_key]", "submissions/a b"),
            ("data[][submission_id]", "12"),
            ("data[][participant_id]", "7"),
            ("data[][challenge_round_id]", ""),
            ("dry_run", "false"),
            ("parallel", "false"),
            ("enqueue_only", "true"),
            ("grader_api_key", KEY),
        ]
        answer, said = self.post(urlencode(fields).encode())
        self.assertEqual((answer.status, said["message"]), (200, "Successfully enqueued 1 Job"))
        (job,) = self.world.jobs(said["data"]["execution_id"])
        self.assertEqual((job.submission_id, job.participant_id, job.grader_id), (12, 7, "CLEFChallenges"))
        self.assertNotIn(KEY, job.order)

    def test_json(self) -> None:
        """The same as JSON; each item is a job, and the answer says how many there are."""
        body = json.dumps({**asked(1, 2, 3), "grader_api_key": KEY, "dry_run": False}).encode()
        answer, said = self.post(body, "Application/JSON; charset=utf-8")
        self.assertEqual((answer.status, said["message"]), (200, "Successfully enqueued 3 Jobs"))
        self.assertEqual(len(self.world.jobs(said["data"]["execution_id"])), 3)

    def test_somebody_else(self) -> None:
        """Whoever does not have the key is told nothing but that."""
        for key in ("", KEY[:-1], f"{KEY}x", KEY.upper(), "é", None, 1, [KEY], {"a": KEY}, "\ud800"):
            for more in ({}, {"challenge_client_name": "nobody-knows-it"}):
                body = json.dumps({**asked(1), "grader_api_key": key, **more}).encode()
                if key == "\ud800":
                    self.assertIn(self.refused(400, body, "application/json"), enqueue.NO_OBJECT)
                else:
                    self.assertEqual(self.refused(401, body, "application/json"), enqueue.NOT_THE_WEBAPP)
        self.assertEqual(self.refused(401, encode(asked(1))), enqueue.NOT_THE_WEBAPP)

    def test_wrong(self) -> None:
        """What is wrong is named."""
        good = {**asked(1), "grader_api_key": KEY}
        self.assertIn("Unrecognized", self.refused(400, encode({**good, "challenge_client_name": "D"})))
        self.assertIn("cannot be read", self.refused(400, b"a[=1"))
        for body in (b"", b"[]", b"1", b"{", b"[" * 5000, b"\xff"):
            self.assertEqual(self.refused(400, body, "application/json"), enqueue.NO_OBJECT)
        self.assertEqual(self.refused(401, b""), enqueue.NOT_THE_WEBAPP)

    def test_too_much(self) -> None:
        """Too many submissions and too long a body are refused in the same shape."""
        many = {**asked(*range(1, MAX_ITEMS + 2)), "grader_api_key": KEY}
        self.assertIn("this one has", self.refused(413, json.dumps(many).encode(), "application/json"))
        self.assertIn(str(MAX_BODY), self.refused(413, b"x" * (MAX_BODY + 1)))

    def test_not_now(self) -> None:
        """While it cannot be stored, or not be looked up, the webapp is told to come again."""
        good = encode({**asked(1), "grader_api_key": KEY})
        self.node.store.fail_next("submission_known", "before")
        self.assertEqual(self.refused(503, good), enqueue.NOT_STORED)
        self.world.webapp.down = True
        answer, said = self.post(encode({**asked(1), "grader_api_key": KEY, "challenge_client_name": "E"}))
        self.assertEqual((answer.status, answer.headers[b"retry-after"]), (503, [b"30"]))
        self.assertIn("cannot be checked right now", said["message"])

    def test_stored_before_it_is_said(self) -> None:
        """Nothing is said while the store has not answered; who leaves meanwhile is accepted all the same."""
        waiting: list[Deferred[None]] = []
        whole = self.node.store.accept

        async def slow(acceptance: Any) -> Any:
            waiting.append(Deferred())
            await waiting[-1]
            return await whole(acceptance)

        self.patch(self.node.store, "accept", slow)
        connections = [self.connect(encode({**asked(n), "grader_api_key": KEY}), FORM) for n in (1, 2)]
        self.assertFalse(any(connection.answered for connection in connections))
        connections[1].lose()
        for one in waiting:
            one.callback(None)
        self.assertEqual(connections[0].answer().status, 200)
        self.assertEqual(len(self.world.redis.executions), 2)

    def test_mistake_of_ours(self) -> None:
        """A mistake in the broker is answered and logged, without a key."""

        async def broken(asked: object) -> None:
            raise RuntimeError

        self.patch(self.node.node.enqueuing, "enqueue", broken)
        self.assertEqual(self.refused(503, encode({**asked(1), "grader_api_key": KEY})), enqueue.BROKEN)
        (logged,) = self.flushLoggedErrors(RuntimeError)
        self.assertNotIn(KEY, logged.getTraceback())

    def test_other_methods(self) -> None:
        """Only POST means anything there."""
        connection = Connection(self.site)
        connection.request("GET", PATH.decode())
        self.assertEqual(connection.answer().status, 405)
