"""Graders on the wire: who is let in, what is answered, and what a flood or a store that is away costs."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.grader_events import MAX_EVENT
from crowdai_broker.core.grader_hello import MOST_NAMED, MOST_SLOTS
from crowdai_broker.core.model import JobState
from crowdai_broker.web import graders
from crowdai_broker.web.graders import MOST_WAITING, OVER, GraderEvents
from crowdai_broker.web.socketio import SocketIOServer, SocketIOSettings
from tests.unit.core.test_connected import with_sockets
from tests.unit.core.world import Participant, World, result_of

from .memory import APART, Site, WebSocket

HELLO = {"grader_id": "g", "token": "token", "challenges": ["C"], "slots": 1}
SOCKET = "/socket.io/?EIO=4&transport=websocket"


class GradersCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a node with the namespace, and a participant."""
        self.world = World(with_sockets())
        self.node = self.world.make_node()
        self.ada = Participant(self.node)
        self.server = SocketIOServer(self.world.clock, SocketIOSettings())
        events = GraderEvents(
            self.world.clock, self.node.node.connected, self.node.node.door, self.node.spawned
        )
        events.bind(self.server.namespace("/grader"))
        self.site = Site(self.world.clock, socket_io=self.server)

    def tearDown(self) -> None:
        """Look whether background work failed."""
        self.assertEqual(self.world.problems(), [])

    def say(self, socket: WebSocket, frame: str) -> list[Any]:
        """Send a frame; return what comes back."""
        socket.send_frame(frame)
        self.world.clock.pump([APART] * 4)
        return socket.frames()

    def connect(self, auth: Any) -> tuple[WebSocket, list[Any]]:
        """Connect to the namespace; return the connection and what came back."""
        socket = self.site.websocket(SOCKET)
        self.world.clock.pump([APART] * 2)
        socket.frames()
        return socket, self.say(socket, f"40/grader,{json.dumps(auth)}")

    def refusal(self, **changes: Any) -> str:
        """Return why a grader is not let in."""
        auth = {name: value for name, value in {**HELLO, **changes}.items() if value is not None}
        _, (reply,) = self.connect(auth)
        self.assertTrue(str(reply).startswith("44/grader,"), reply)
        message: str = json.loads(str(reply).removeprefix("44/grader,"))["message"]
        return message

    def grader(self, **changes: Any) -> WebSocket:
        """Return the connection of a grader that was let in."""
        socket, (reply, *_) = self.connect({**HELLO, **changes})
        self.assertTrue(str(reply).startswith("40/grader,"), reply)
        return socket

    def ask(self, socket: WebSocket, name: str, argument: Any) -> dict[str, Any]:
        """Send an event; return its acknowledgement."""
        replies = self.say(socket, f"42/grader,7{json.dumps([name, argument])}")
        (reply,) = [str(each) for each in replies if str(each).startswith("43/grader,7")]
        (answer,) = json.loads(reply.removeprefix("43/grader,7"))
        assert isinstance(answer, dict)
        return answer

    def order(self, socket: WebSocket) -> tuple[str, str]:
        """Submit; return what the acknowledgement begins with, and the name of the attempt."""
        self.ada.execute()
        self.world.clock.pump([APART] * 4)
        (frame,) = [str(each) for each in socket.frames() if str(each).startswith("42/grader,")]
        number, _, text = frame.removeprefix("42/grader,").partition("[")
        name, job = json.loads(f"[{text}")
        self.assertEqual(name, "job")
        return f"43/grader,{number}", job["attempt_id"]

    def state(self) -> JobState:
        """Return where the newest job is."""
        return list(self.world.redis.jobs.values())[-1].state


class ConnectTests(GradersCase):
    def test_let_in(self) -> None:
        """The token of the challenge opens the door."""
        self.grader()
        (grader,) = self.node.node.connected.graders
        self.assertEqual((grader.hello.grader_id, grader.slots), ("g", 1))

    def test_wrong(self) -> None:
        """A wrong token, an unknown challenge and one with other graders are refused in the same words."""
        texts = {
            self.refusal(token="wrong"),
            self.refusal(challenges=["C", "D"]),
            self.refusal(challenges=["nowhere"]),
        }
        self.assertEqual(len(texts), 1)
        self.assertIn("The token is not that of every challenge named", texts.pop())
        self.assertEqual(self.node.node.connected.graders, ())

    def test_malformed(self) -> None:
        """What is missing or of a wrong kind is named."""
        for changes, words in (
            ({"grader_id": None}, "'grader_id' must be a text"),
            ({"token": 5}, "'token' must be a text"),
            ({"token": "x" * 1000}, "'token' must be a text"),
            ({"challenges": []}, "at least one challenge"),
            ({"challenges": "C"}, "'challenges' must be a list"),
            ({"challenges": [["C"]]}, "'challenges' must be a list"),
            ({"challenges": ["C"] * (MOST_NAMED + 1)}, "'challenges' must be a list"),
            ({"functions": {}}, "'functions' must be a list"),
            ({"running": ["x"] * (MOST_SLOTS + 1)}, "'running' must be a list"),
            ({"slots": 0}, "'slots' must be a whole number from 1"),
            ({"slots": MOST_SLOTS + 1}, "'slots' must be a whole number from 1"),
            ({"slots": True}, "'slots' must be a whole number from 1"),
        ):
            self.assertIn(words, self.refusal(**changes), changes)

    def test_many_wrong_tokens(self) -> None:
        """Guessing is limited by address."""
        for _ in range(self.world.config.limits.auth_failures_per_minute):
            self.refusal(token="wrong")
        self.assertIn("Too many wrong tokens came from your address", self.refusal())
        self.world.run(61)
        self.grader()

    def test_gone_before_it_was_let_in(self) -> None:
        """A grader that is gone before it has an answer is not waited for."""
        socket = self.site.websocket(SOCKET)
        self.world.clock.pump([APART] * 2)
        socket.send_frame(f"40/grader,{json.dumps(HELLO)}")
        socket.lose()
        self.world.run(1)
        self.assertEqual(self.node.node.connected.graders, ())

    def test_disconnected(self) -> None:
        """The end of the connection is seen."""
        socket = self.grader()
        socket.lose()
        self.assertEqual(self.node.node.connected.graders, ())


class JobTests(GradersCase):
    def test_graded(self) -> None:
        """A job comes with an acknowledgement to be given; events are acknowledged once they are stored."""
        socket = self.grader()
        ack, attempt_id = self.order(socket)
        self.say(socket, f"{ack}[]")
        event = {
            "attempt_id": attempt_id,
            "response_type": "CrowdAI.Event.Job.COMPLETE",
            "data": {"score": 1},
        }
        self.assertEqual(self.ask(socket, "event", event), {"status": True, "message": ""})
        self.assertEqual(self.state(), JobState.COMPLETE)
        self.assertEqual(self.ask(socket, "event", event), {"status": False, "message": OVER})

    def test_declined(self) -> None:
        """False declines a job, and so does an object whose status is false."""
        for answer in ("false", '{"status": false}'):
            self.setUp()
            socket = self.grader()
            ack, _ = self.order(socket)
            self.say(socket, f"{ack}[{answer}]")
            self.assertEqual(self.state(), JobState.QUEUED)

    def test_malformed_events(self) -> None:
        """What is no event is answered, not believed."""
        socket = self.grader()
        for argument, words in (
            ("x", "exactly one argument"),
            ({"response_type": "COMPLETE"}, "attempt_id"),
            ({"attempt_id": 5}, "attempt_id"),
            ({"attempt_id": "5"}, OVER),
        ):
            answer = self.ask(socket, "event", argument)
            self.assertFalse(answer["status"])
            self.assertIn(words, answer["message"])

    def test_largest_event(self) -> None:
        """An event as large as events may be passes, though its packet is larger than others may be."""
        socket = self.grader()
        ack, attempt_id = self.order(socket)
        self.say(socket, f"{ack}[]")
        message = {"attempt_id": attempt_id, "response_type": "INFO", "message": ""}
        message["message"] = "x" * (MAX_EVENT - len(json.dumps(message)))
        self.assertTrue(self.ask(socket, "event", message)["status"])

    def test_store_away(self) -> None:
        """Events wait until they are stored, in order; nothing is acknowledged before."""
        socket = self.grader()
        ack, attempt_id = self.order(socket)
        self.say(socket, f"{ack}[]")
        for _ in range(3):
            self.node.store.fail_next("move", "before")
        for number, kind in enumerate(("RUNNING", "INFO", "COMPLETE")):
            event = {"attempt_id": attempt_id, "response_type": kind, "data": {"score": 1}, "message": "m"}
            self.assertEqual(self.say(socket, f"42/grader,{number}{json.dumps(['event', event])}"), [])
        self.world.run(4 * graders.AGAIN)
        self.assertEqual(self.state(), JobState.COMPLETE)
        self.assertEqual(self.ada.kinds(), ["ENQUEUED", "RUNNING", "INFO", "COMPLETE"])
        acks = [str(frame) for frame in socket.frames() if str(frame).startswith("43/grader,")]
        self.assertEqual([ack.removeprefix("43/grader,")[0] for ack in acks], ["0", "1", "2"])

    def test_gone_while_the_store_is_away(self) -> None:
        """Events of a grader that is gone are not kept: it sends them again."""
        socket = self.grader()
        ack, attempt_id = self.order(socket)
        self.say(socket, f"{ack}[]")
        for _ in range(9):
            self.node.store.fail_next("move", "before")
        event = {"attempt_id": attempt_id, "response_type": "COMPLETE", "data": {"score": 1}}
        self.say(socket, f"42/grader,1{json.dumps(['event', event])}")
        socket.lose()
        self.world.run(10)
        self.assertEqual(self.state(), JobState.DISPATCHED)

    def test_flood(self) -> None:
        """A grader that says more than can be stored is cut off."""
        socket = self.grader()
        ack, attempt_id = self.order(socket)
        self.say(socket, f"{ack}[]")
        sent = MOST_WAITING // 900_000 + 1
        for _ in range(2 * sent):
            self.node.store.fail_next("move", "before")
        event = {"attempt_id": attempt_id, "response_type": "INFO", "message": "x" * 900_000}
        for _ in range(sent):
            self.say(socket, f"42/grader,1{json.dumps(['event', event])}")
        self.world.clock.pump([APART] * 4)
        self.assertEqual(self.node.node.connected.graders, ())

    def test_slots(self) -> None:
        """A grader may change how many jobs it takes."""
        socket = self.grader()
        self.assertEqual(self.ask(socket, "slots", 0), {"status": True, "message": ""})
        self.assertIn("from 0 to 256", self.ask(socket, "slots", -1)["message"])
        self.ada.execute()
        self.assertEqual(self.state(), JobState.QUEUED)

    def test_leaves(self) -> None:
        """A grader that says that it leaves gives back what it has at once."""
        socket = self.grader()
        ack, _ = self.order(socket)
        self.say(socket, f"{ack}[]")
        self.say(socket, '42/grader,7["leave"]')
        self.assertEqual(self.state(), JobState.QUEUED)

    def test_disconnects_from_the_namespace(self) -> None:
        """So does one that disconnects from the namespace."""
        socket = self.grader()
        ack, _ = self.order(socket)
        self.say(socket, f"{ack}[]")
        self.say(socket, "41/grader,")
        self.assertEqual(self.state(), JobState.QUEUED)

    def test_dismissed(self) -> None:
        """A grader that is replaced is told so, and put out of the namespace."""
        first = self.grader()
        self.grader()
        self.assertEqual(
            [str(frame) for frame in first.frames()],
            ['42/grader,["dismissed","another grader with this grader_id has connected"]', "41/grader,"],
        )

    def test_cancelled(self) -> None:
        """A grader is told of a job that nobody waits for any more."""
        socket = self.grader()
        ack, attempt_id = self.order(socket)
        self.say(socket, f"{ack}[]")
        (job,) = self.world.redis.jobs.values()
        asked = {"session_token": self.ada.token, "execution_id": job.execution_id}
        result_of(self.node.node.participants.cancel([asked]))
        self.world.clock.pump([APART] * 4)
        self.assertEqual(socket.frames(), [f'42/grader,["cancel",{{"attempt_id":"{attempt_id}"}}]'])
