"""What graders on HTTP may post where their orders told them to."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from crowdai_broker.core.capabilities import Capabilities
from crowdai_broker.core.model import JobState
from crowdai_broker.testing import LooseGraders
from crowdai_broker.web import callbacks
from crowdai_broker.web.callbacks import MAX_EVENTS, Callbacks, grader_pages
from crowdai_broker.web.site import BoundedSite
from tests.unit.core.node_case import NodeCase
from tests.unit.core.test_handing import over_http
from tests.unit.core.world import Running, result_of
from tests.unit.web.memory import Answer, Connection


def event(kind: str, data: Any = None, message: str = "") -> dict[str, Any]:
    """Return an event."""
    return {"response_type": f"CrowdAI.Event.Job.{kind}", "data": data or {}, "message": message}


class CallbackTests(NodeCase):
    def setUp(self) -> None:
        """Hand out an order of a scored job."""
        super().setUp()
        self.begin(over_http(), {"http": LooseGraders()})
        self.execution_id = self.ada.execute().execution_id
        self.world.run(1)
        (job,) = self.world.jobs(self.execution_id)
        self.address = result_of(Capabilities(self.node.store).of(job.attempt))
        self.site = self.site_of(self.node)

    def site_of(self, running: Running) -> BoundedSite:
        """Return the site of a node."""
        root = Resource()
        events = Callbacks(Capabilities(running.store), running.node.relay, running.spawned)
        root.putChild(b"graders", grader_pages(events))
        return BoundedSite(root, Clock())

    def connect(self, body: Any, address: str | None = None, method: str = "POST") -> Connection:
        """Send a request."""
        connection = Connection(self.site)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, f"/graders/events/{self.address if address is None else address}", raw)
        return connection

    def post(self, body: Any, address: str | None = None, method: str = "POST") -> Answer:
        """Send a request; return its answer."""
        return self.connect(body, address, method).answer()

    def said(self, body: Any, address: str | None = None) -> tuple[int, str]:
        """Return status and message of an answer."""
        answer = self.post(body, address)
        return answer.status, json.loads(answer.body)["message"]

    def test_events(self) -> None:
        """One event, or some in order, are relayed as from any grader, and the grade is posted."""
        self.assertEqual(self.said(event("RUNNING")), (200, ""))
        progress = event("PROGRESS_UPDATE", {"percent_complete": 50})
        self.assertEqual(
            self.said([progress, event("INFO", message="half"), event("COMPLETE", {"score": 0.5})]), (200, "")
        )
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "RUNNING", "PROGRESS_UPDATE", "INFO", "COMPLETE"])
        self.world.run(2)
        self.assertEqual(self.world.webapp.rows[1].grades[-1].score, 0.5)

    def test_after_the_end(self) -> None:
        """Once the attempt is over, nothing more is heard of it: the first end holds."""
        self.said(event("COMPLETE", {"score": 1}))
        posts: tuple[object, ...] = (event("COMPLETE", {"score": 2}), event("INFO"), [])
        for late in posts:
            self.assertEqual(self.said(late), (410, callbacks.OVER))
        self.assertEqual(self.ada.acks[0][0].data["score"], 1)

    def test_another_attempt(self) -> None:
        """The address of an attempt that was given up is of no use for the next."""
        (job,) = self.world.jobs(self.execution_id)
        self.world.run(20_010, 30)
        self.assertEqual(self.said(event("COMPLETE", {"score": 1})), (410, callbacks.OVER))
        (again,) = self.world.jobs(self.execution_id)
        self.assertNotEqual((again.attempt, again.state), (job.attempt, JobState.COMPLETE))

    def test_any_node(self) -> None:
        """Another node takes what a grader posts there."""
        self.site = self.site_of(self.world.make_node("n2"))
        self.assertEqual(self.said(event("COMPLETE", {"score": 1})), (200, ""))
        self.assertEqual(self.ada.kinds()[-1], "COMPLETE")
        self.site = self.site_of(self.node)
        self.assertEqual(self.said(event("ERROR")), (410, callbacks.OVER))

    def test_forged(self) -> None:
        """An address that was not given out is nobody's, however it looks."""
        number, _, proof = self.address.partition("-")
        flipped = f"{number}-{'B' if proof[0] == 'A' else 'A'}{proof[1:]}"
        for wrong in (
            "",
            "x",
            number,
            flipped,
            f"{self.address}/more",
            f"more/{self.address}",
            "%FF%00",
            "9" * 5000,
        ):
            self.assertEqual(
                self.said(event("COMPLETE", {"score": 1}), wrong), (404, callbacks.UNKNOWN), wrong
            )
        self.assertEqual(self.ada.kinds(), ["ENQUEUED"])

    def test_no_event(self) -> None:
        """What is no event is refused; what is one of an unknown kind is dropped and counted as ever."""
        for body in (
            b"",
            b"{",
            b"1",
            b"null",
            b'"x"',
            b"[1]",
            b"[[]]",
            b"[" * 100_000,
            b"\xff",
            b'{"a": 1} x',
        ):
            self.assertEqual(self.said(body), (400, callbacks.NO_EVENT), body[:20])
        self.assertEqual(self.said({"response_type": "WAITING"}), (200, ""))
        self.assertEqual(self.node.tally.dropped, {"unknown_type": 1})

    def test_loose_json(self) -> None:
        """Numbers that are none, as Python writes them, break nothing."""
        for body in (
            b'{"response_type": "INFO", "data": {"x": NaN}, "message": "a"}',
            b'[{"response_type": "INFO", "data": {"x": -Infinity}}]',
        ):
            self.assertEqual(self.said(body), (200, ""))
        self.assertEqual(self.ada.kinds().count("INFO"), 2)

    def test_too_much(self) -> None:
        """A request has a bound in events and in bytes."""
        events = [event("INFO", message=str(number)) for number in range(MAX_EVENTS)]
        self.assertEqual(self.said([*events, event("INFO")]), (413, callbacks.TOO_MANY))
        self.assertEqual(self.ada.messages("INFO"), [])
        self.assertEqual(self.said(events), (200, ""))
        self.assertEqual(self.ada.messages("INFO"), [str(number) for number in range(MAX_EVENTS)])
        self.assertEqual(self.post(b" " * 1_000_001).status, 413)

    def test_store_away(self) -> None:
        """While the store is away the grader is told to come again, and then nothing is lost."""
        self.node.store.fail_next("move", "before")
        answer = self.post(event("COMPLETE", {"score": 1}))
        self.assertEqual((answer.status, answer.headers[b"retry-after"]), (503, [b"5"]))
        self.assertEqual(self.said(event("COMPLETE", {"score": 1})), (200, ""))

    def test_mistake_of_ours(self) -> None:
        """A mistake in the broker is answered and logged, without the address."""

        async def broken(number: str, batch: object) -> bool:
            raise RuntimeError

        self.patch(self.node.node.relay, "apply", broken)
        self.assertEqual(self.said(event("INFO")), (500, callbacks.BROKEN))
        (logged,) = self.flushLoggedErrors(RuntimeError)
        self.assertNotIn(self.address, logged.getTraceback())

    def test_grader_that_leaves(self) -> None:
        """Events of a grader that did not wait for the answer are kept."""
        waiting: list[Any] = []
        whole = self.node.store.move

        async def slow(*args: Any) -> Any:
            waiting.append(Deferred())
            await waiting[-1]
            return await whole(*args)

        self.patch(self.node.store, "move", slow)
        connection = self.connect(event("COMPLETE", {"score": 1}))
        connection.lose()
        self.patch(self.node.store, "move", whole)
        waiting[0].callback(None)
        self.assertEqual(self.ada.kinds()[-1], "COMPLETE")

    def test_other_methods(self) -> None:
        """Only POST means anything there."""
        self.assertEqual(self.post(b"", method="GET").status, 405)
        connection = Connection(self.site)
        connection.request("GET", "/graders/others")
        self.assertEqual(connection.answer().status, 404)
