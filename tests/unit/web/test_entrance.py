"""The bound of open TCP connections, over memory transports."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.web.engineio import EngineIOServer
from crowdai_broker.web.entrance import MAX_REFUSALS, REFUSAL_SECONDS
from crowdai_broker.web.site import BoundedSite
from crowdai_broker.web.socketio_settings import SocketIOSettings
from tests.unit.web.memory import Connection, Site, WebSocket
from tests.unit.web.test_engineio import POLL, SOCKET, Echo


class EntranceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Let two in."""
        self.clock = Clock()
        server = EngineIOServer(self.clock, lambda connection: Echo(connection, []), SocketIOSettings())
        self.site = Site(self.clock, engine_io=server)
        self.limit(2)

    def limit(self, max_open: int) -> None:
        """Have an entrance with this bound."""
        self.door = BoundedSite(self.site.site.resource, self.clock, max_connections=max_open)
        self.entrance = self.door.entrance

    def connect(self) -> Connection:
        """A client connects."""
        return Connection(self.door)

    def test_politely(self) -> None:
        """One above the bound is answered 503 when it asks; what it sends is read to its end."""
        inside = [self.connect(), self.connect()]
        refused = self.connect()
        self.assertFalse(refused.answered)
        refused.request("POST", POLL, b"x" * 100_000)
        answer = refused.answer()
        self.assertEqual((answer.status, answer.body), (503, b""))
        self.assertEqual(answer.headers[b"connection"], [b"close"])
        self.assertEqual(answer.headers[b"retry-after"], [b"10"])
        refused.send(b"x" * 100_000)
        self.assertFalse(refused.answered)
        refused.lose()
        self.assertEqual((self.entrance.refused, self.entrance.open_now), (set(), 2))
        inside[0].request("GET", POLL)
        self.assertEqual(inside[0].answer().status, 200)

    def test_room_again(self) -> None:
        """Who leaves makes room, a WebSocket that took its connection over, too."""
        socket = WebSocket(self.door, SOCKET).opened()
        plain = self.connect()
        for leaver in (socket, plain):
            refused = self.connect()
            refused.request("GET", POLL)
            self.assertEqual(refused.answer().status, 503)
            leaver.lose()
            welcome = self.connect()
            welcome.request("GET", POLL)
            self.assertEqual(welcome.answer().status, 200)
        self.assertEqual(self.entrance.open_now, 2)

    def test_silent_ones(self) -> None:
        """A refusal has its time; then it is cut, and no timer is left."""
        for _ in range(2):
            self.connect().lose()
        self.limit(1)
        self.connect()
        silent, slow = self.connect(), self.connect()
        self.clock.advance(REFUSAL_SECONDS / 2)
        slow.send(b"GET")
        self.clock.advance(REFUSAL_SECONDS / 2)
        self.assertTrue(silent.transport.gone and slow.transport.gone)
        self.assertEqual((len(self.entrance.refused), len(self.clock.getDelayedCalls())), (0, 1))

    def test_crowd(self) -> None:
        """Refusals are bounded, too: above that nobody is heard."""
        refused = [self.connect() for _ in range(2 + MAX_REFUSALS)][2:]
        self.assertFalse(any(one.transport.gone for one in refused))
        self.assertTrue(self.connect().transport.gone)
        refused[0].lose()
        self.assertFalse(self.connect().transport.gone)

    def test_idle(self) -> None:
        """Who asks nothing has to leave, before a first request or after one, and is cut if it does not."""
        silent, kept = self.connect(), self.connect()
        kept.request("GET", POLL)
        self.assertEqual(kept.answer().status, 200)
        self.clock.advance(59)
        self.assertFalse(silent.transport.disconnecting or kept.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(silent.transport.disconnecting and kept.transport.disconnecting)
        self.assertEqual(self.entrance.open_now, 2)
        self.clock.advance(15)
        self.assertEqual(self.entrance.open_now, 0)

    def test_no_limit(self) -> None:
        """Zero means none."""
        self.limit(0)
        crowd = [self.connect() for _ in range(300)]
        crowd[-1].request("GET", POLL)
        self.assertEqual((crowd[-1].answer().status, self.entrance.open_now), (200, 300))

    def test_said_once(self) -> None:
        """The log says that it is crowded, and again only after it was not."""
        self.limit(4)
        with capturedLogs() as said:
            inside = [self.connect() for _ in range(6)][:4]
            inside.pop().lose()  # makes room for one, who is no reason to say it again
            inside = [self.connect(), self.connect(), *inside]
            for one in inside:
                one.lose()
            self.assertEqual(len(said), 1)
            for _ in range(6):
                self.connect()
        texts = [formatEvent(event) for event in said]
        self.assertEqual(texts, ["4 TCP connections are open: no more are let in"] * 2)
