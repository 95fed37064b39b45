"""An Engine.IO server over memory transports: what the codecs' and the machine's tests cannot see."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.web.connection import Connection
from crowdai_broker.web.engineio import EngineIOServer
from crowdai_broker.web.observer import Counters
from crowdai_broker.web.socketio_settings import SocketIOSettings
from crowdai_broker.wire.eio_packet import Packet, PacketType, message
from tests.unit.web import memory
from tests.unit.web.memory import Site, WebSocket

PATH = "/engine.io/"
POLL = f"{PATH}?EIO=4&transport=polling"
POLL3 = f"{PATH}?EIO=3&transport=polling"
SOCKET = f"{PATH}?EIO=4&transport=websocket"


class Echo:
    """Sends everything back, and remembers how it ended."""

    deadline: float | None = None

    def __init__(self, connection: Connection, ends: list[str]) -> None:
        self.connection = connection
        self.ends = ends

    def opened(self) -> None:
        """Nothing to say."""

    def message(self, data: bytes, *, binary: bool) -> None:
        """Send it back."""
        self.connection.send([Packet(PacketType.MESSAGE, data, binary)])

    def closed(self, reason: str) -> None:
        """Remember why."""
        self.ends.append(reason)

    def tick(self, now: float) -> None:
        """Nothing is timed."""


class EngineIOTestCase(SynchronousTestCase):
    """One server with its clock."""

    def setUp(self) -> None:
        """Start with default settings."""
        self.ends: list[str] = []
        self.echoes: list[Echo] = []
        self.start()

    def start(self, address_of: Callable[[Any], str] | None = None, **settings: Any) -> None:
        """Start a server with these settings."""
        self.clock = Clock()
        self.observer = Counters()
        options: dict[str, Any] = {} if address_of is None else {"address_of": address_of}
        self.server = EngineIOServer(
            self.clock, self.echo, SocketIOSettings(**settings), self.observer, **options
        )
        self.site = Site(self.clock, engine_io=self.server)

    def echo(self, connection: Connection) -> Echo:
        """The application's side of a connection."""
        made = Echo(connection, self.ends)
        self.echoes.append(made)
        return made

    def open(self, target: str = POLL, **headers: str) -> str:
        """Open a polling session; answers its sid."""
        body = self.site.ask("GET", target, None, **headers).body
        found: str = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["sid"]
        return found

    def assert_over(self, sid: str, target: str = POLL) -> None:
        """The session is unknown."""
        answer = self.site.ask("GET", f"{target}&sid={sid}")
        self.assertEqual((answer.status, json.loads(answer.body)["code"]), (400, 1))


class AnswerTests(EngineIOTestCase):
    def test_headers(self) -> None:
        """Content types are the reference's; version 4 is not to be stored."""
        answer = self.site.ask("GET", POLL)
        self.assertEqual(answer.headers[b"content-type"], [b"text/plain; charset=UTF-8"])
        self.assertEqual(answer.headers[b"cache-control"], [b"no-store"])
        self.assertNotIn(b"cache-control", self.site.ask("GET", POLL3).headers)
        sid = self.open()
        answer = self.site.ask("POST", f"{POLL}&sid={sid}", b"4a")
        self.assertEqual((answer.status, answer.body), (200, b"ok"))
        self.assertEqual(answer.headers[b"content-type"], [b"text/html"])
        answer = self.site.ask("GET", f"{POLL}&sid={sid}")
        self.assertEqual(answer.body, b"4a")

    def test_errors(self) -> None:
        """JSON with the code."""
        answer = self.site.ask("GET", f"{PATH}?EIO=4")
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.headers[b"content-type"], [b"application/json"])
        self.assertEqual(answer.body, b'{"code":0,"message":"Transport unknown"}')
        self.assertEqual(self.observer.refusals["Transport unknown"], 1)

    def test_other_method(self) -> None:
        """500, empty; the session goes on."""
        sid = self.open()
        answer = self.site.ask("PUT", f"{POLL}&sid={sid}", b"")
        self.assertEqual((answer.status, answer.body), (500, b""))
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", b"4a").status, 200)

    def test_another_version(self) -> None:
        """A later request with another EIO, known or not: 400, code 3; the session goes on."""
        sid = self.open(POLL3)
        for eio in (4, 7):
            for method, body in (("GET", None), ("POST", b"2:4a")):
                target = f"{PATH}?EIO={eio}&transport=polling&sid={sid}"
                answer = self.site.ask(method, target, body)
                self.assertEqual((answer.status, json.loads(answer.body)["code"]), (400, 3))
            socket = WebSocket(self.site.site, f"{PATH}?EIO={eio}&transport=websocket&sid={sid}")
            self.assertEqual(socket.answer().body, b"Bad request")
        self.assertEqual(self.site.ask("POST", f"{POLL3}&sid={sid}", b"2:4a").status, 200)

    def test_websocket_without_upgrade(self) -> None:
        """Code 3, with and without sid."""
        for target in (SOCKET, f"{SOCKET}&sid={self.open()}"):
            self.assertEqual(json.loads(self.site.ask("GET", target).body)["code"], 3)

    def test_path(self) -> None:
        """Below the path is served, the path without its slash is not."""
        self.assertEqual(self.site.ask("GET", "/engine.io/x/?EIO=4&transport=polling").status, 200)
        self.assertEqual(self.site.ask("GET", "/engine.io?EIO=4&transport=polling").status, 404)

    def test_compression(self) -> None:
        """Large answers are compressed if accepted, small ones and refused ones not."""
        text = "x" * 2000
        for accepted, unpack in (
            ("gzip, deflate", gzip.decompress),
            ("deflate", zlib.decompress),
            ("gzip;q=0, deflate;q=0.5", zlib.decompress),
            ("br", bytes),
            ("gzip;q=0", bytes),
        ):
            sid = self.open()
            self.echoes[-1].connection.send([message(text)])
            answer = self.site.ask("GET", f"{POLL}&sid={sid}", Accept_Encoding=accepted)
            self.assertEqual(unpack(answer.body), b"4" + text.encode(), accepted)
            self.assertEqual(answer.headers[b"content-length"], [b"%d" % len(answer.body)])
        self.assertNotIn(b"content-encoding", self.site.ask("GET", POLL, Accept_Encoding="gzip").headers)

    def test_huge_answers_are_not_compressed(self) -> None:
        """They would hold up everybody else."""
        sid = self.open()
        self.echoes[-1].connection.send([message("x" * 1_100_000)])
        answer = self.site.ask("GET", f"{POLL}&sid={sid}", Accept_Encoding="gzip")
        self.assertEqual(len(answer.body), 1_100_001)

    def test_one_answer_a_turn(self) -> None:
        """Messages of one turn travel together."""
        sid = self.open()
        get = self.site.connect()
        get.request("GET", f"{POLL}&sid={sid}")
        self.echoes[0].connection.send([message("a")])
        self.echoes[0].connection.send([message("b")])
        self.assertFalse(get.answered)
        self.clock.advance(0)
        self.assertEqual(get.answer().body, b"4a\x1e4b")

    def test_old_explorers(self) -> None:
        """They are kept from inspecting answers."""
        answer = self.site.ask("GET", POLL, User_Agent="Mozilla/5.0 (Windows NT 6.3; Trident/7.0)")
        self.assertEqual(answer.headers[b"x-xss-protection"], [b"0"])


class LossTests(EngineIOTestCase):
    def test_get_dropped(self) -> None:
        """The session ends with a GET that the client drops."""
        sid = self.open()
        get = self.site.connect()
        get.request("GET", f"{POLL}&sid={sid}")
        get.lose()
        self.assertEqual(self.ends, ["transport error"])
        self.assert_over(sid)

    def test_post_dropped(self) -> None:
        """So it does with a POST that breaks off."""
        sid = self.open()
        post = self.site.connect()
        post.send(f"POST {POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4ab".encode())
        post.lose()
        self.assertEqual(self.ends, ["transport error"])

    def test_idle_connection_dropped(self) -> None:
        """A connection without a request of the session means nothing to it."""
        connection = self.site.connect()
        connection.request("GET", POLL)
        connection.lose()
        self.assertEqual(self.ends, [])

    def test_two_posts(self) -> None:
        """The first is cut as soon as the head of the second is there."""
        sid = self.open()
        first, second = self.site.connect(), self.site.connect()
        head = f"POST {POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode()
        first.send(head + b"4")
        second.send(head)
        self.assertTrue(first.transport.gone)
        second.send(b"4a")
        answer = second.answer()
        self.assertEqual((answer.status, answer.body), (400, b""))
        self.assertEqual(self.ends, ["transport error"])

    def test_late_timer(self) -> None:
        """A session that is over is over for a GET, even if its timer has not fired yet."""
        sid = self.open()
        self.clock.advance(25)
        get = self.site.connect()
        self.clock.rightNow += 20
        get.request("GET", f"{POLL}&sid={sid}")
        self.assertEqual(json.loads(get.answer().body)["code"], 1)
        self.assertEqual(self.ends, ["ping timeout"])

    def test_ping_timeout(self) -> None:
        """Time alone ends a session, and its timer with it."""
        sid = self.open()
        self.clock.pump([1.0] * 50)
        self.assertEqual(self.ends, ["ping timeout"])
        self.assert_over(sid)
        self.assertEqual(len(self.server), 0)


class BodyTests(EngineIOTestCase):
    def post(self, sid: str, length: int, target: str = POLL) -> memory.Connection:
        """The head of a POST, with half of its body at most."""
        connection = self.site.connect()
        connection.send(
            f"POST {target}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        return connection

    def test_limit_is_inclusive(self) -> None:
        """1000000 bytes pass."""
        sid = self.open()
        body = b"4" + b"x" * 999_999
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", body).status, 200)

    def test_too_big_for_version_4(self) -> None:
        """413 by the head alone, empty; the session lives on."""
        sid = self.open()
        connection = self.post(sid, 1_000_001)
        answer = connection.answer()
        self.assertEqual((answer.status, answer.body), (413, b""))
        self.assertEqual(answer.headers[b"connection"], [b"close"])
        connection.send(b"4" + b"x" * 1_000_000)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", b"4a").status, 200)

    def test_too_big_for_version_3(self) -> None:
        """The connection is cut, the session over."""
        sid = self.open(POLL3)
        connection = self.post(sid, 1_000_001, POLL3)
        self.assertTrue(connection.transport.gone)
        self.assertFalse(connection.answered)
        self.assertEqual(self.ends, ["transport error"])

    def test_hundred_megabytes(self) -> None:
        """They are neither kept nor read to their end."""
        sid = self.open()
        connection = self.post(sid, 100_000_000)
        sent = 0
        while not connection.transport.gone:
            connection.send(b"x" * 1_000_000)
            sent += 1
        self.assertLess(sent, 12)
        self.assertEqual(self.ends, [])

    def test_lingering_ends(self) -> None:
        """Who does not go on sending is cut after some seconds."""
        connection = self.post(self.open(), 100_000_000)
        self.clock.advance(5)
        self.assertTrue(connection.transport.gone)

    def test_chunked_without_end(self) -> None:
        """It is refused as soon as it is too large."""
        sid = self.open()
        connection = self.site.connect()
        connection.send(
            f"POST {POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(11):
            connection.send(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        self.assertEqual(connection.answer().status, 413)
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", b"4a").status, 200)

    def test_slow_body(self) -> None:
        """A body has a time to be complete in, however steadily it drips."""
        self.start(ping_timeout=1000.0)
        sid = self.open()
        connection = self.post(sid, 1000)
        for _ in range(7):
            self.assertFalse(connection.transport.gone)
            connection.send(b"x")
            self.clock.advance(9)
        self.assertTrue(connection.transport.gone)
        self.assertEqual(self.ends, ["transport error"])

    def test_slow_head(self) -> None:
        """So has a head."""
        connection = self.site.connect()
        self.clock.advance(50)  # idle time before the head does not count
        for letter in b"GET / HT":
            self.assertFalse(connection.transport.disconnecting)
            connection.send(bytes([letter]))
            self.clock.advance(8)
        self.assertTrue(connection.transport.disconnecting)

    def test_unknown_session(self) -> None:
        """A POST for nobody is bounded, too."""
        connection = self.post("nobody", 100_000_000)
        self.assertEqual(connection.answer().status, 413)

    def test_after_a_rise(self) -> None:
        """An application may allow more, and attachments more than that."""
        self.start(max_message_bytes=1000)
        sid = self.open()
        self.assertEqual(self.post(sid, 1001).answer().status, 413)
        self.echoes[-1].connection.allow(2000, None)
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", b"4" + b"x" * 1999).status, 200)
        self.echoes[-1].connection.allow(None, 9000)
        body = b"b" + b"AAAA" * 3000
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", body).status, 200)
        self.assertEqual(self.ends, [])


class CorsTests(EngineIOTestCase):
    OTHER = "https://elsewhere.test"

    def test_no_origin(self) -> None:
        """Clients that are no browsers need no permission and get no headers."""
        answer = self.site.ask("GET", POLL)
        self.assertEqual(answer.status, 200)
        self.assertNotIn(b"access-control-allow-origin", answer.headers)

    def test_own_origin(self) -> None:
        """The Host's own origin is allowed; socketIO-client-2 sends it on upgrades."""
        for origin in ("http://broker.test:8080", "HTTP://Broker.test:8080"):
            self.assertEqual(self.site.ask("GET", POLL, Origin=origin).status, 200)
        answer = self.site.ask("GET", POLL, Origin="http://broker.test:8081")
        self.assertEqual(answer.status, 403)

    def test_other_origin(self) -> None:
        """403, code 4, without CORS headers; also for a WebSocket."""
        answer = self.site.ask("GET", POLL, Origin=self.OTHER)
        self.assertEqual((answer.status, json.loads(answer.body)["code"]), (403, 4))
        self.assertNotIn(b"access-control-allow-origin", answer.headers)
        refused = WebSocket(self.site.site, SOCKET, Origin=self.OTHER)
        self.assertEqual(refused.answer().status, 403)
        self.assertEqual(len(self.server), 0)

    def test_null_origin(self) -> None:
        """A sandboxed page is not ours."""
        self.assertEqual(self.site.ask("GET", POLL, Origin="null").status, 403)

    def test_allowed_origin(self) -> None:
        """The concrete origin with credentials, on every answer, errors too."""
        self.start(allowed_origins=(self.OTHER,))
        for target in (POLL, f"{PATH}?EIO=4", f"{POLL}&sid=nobody"):
            headers = self.site.ask("GET", target, Origin=self.OTHER).headers
            self.assertEqual(headers[b"access-control-allow-origin"], [self.OTHER.encode()])
            self.assertEqual(headers[b"access-control-allow-credentials"], [b"true"])
            self.assertIn(b"Origin", headers[b"vary"])
        connection = self.site.connect()
        connection.send(
            f"POST {POLL}&sid={self.open()} HTTP/1.1\r\nHost: x\r\nOrigin: {self.OTHER}\r\n"
            "Content-Length: 9999999\r\n\r\n".encode()
        )
        answer = connection.answer()
        self.assertEqual(answer.status, 413)
        self.assertEqual(answer.headers[b"access-control-allow-origin"], [self.OTHER.encode()])

    def test_default_port(self) -> None:
        """An origin with its scheme's port is the one without."""
        self.start(allowed_origins=("https://elsewhere.test:443/",))
        self.assertEqual(self.site.ask("GET", POLL, Origin=self.OTHER).status, 200)

    def test_any_origin(self) -> None:
        """``*`` allows all, even null."""
        self.start(allowed_origins=("*",))
        self.assertEqual(self.site.ask("GET", POLL, Origin="null").status, 200)

    def test_off(self) -> None:
        """Without CORS there are no headers."""
        self.start(allowed_origins=("*",), cors=False)
        answer = self.site.ask("GET", POLL, Origin=self.OTHER)
        self.assertNotIn(b"access-control-allow-origin", answer.headers)

    def test_invalid_origin(self) -> None:
        """Control characters: code 3."""
        self.start(allowed_origins=("*",))
        answer = self.site.ask("GET", POLL, Origin="http://a\x7fb")
        self.assertEqual(json.loads(answer.body)["code"], 3)

    def test_preflight_of_version_4(self) -> None:
        """204 with the methods, and the headers that were asked for."""
        self.start(allowed_origins=(self.OTHER,))
        answer = self.site.ask("OPTIONS", POLL, Origin=self.OTHER, Access_Control_Request_Headers="x-a,x-b")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers[b"access-control-allow-headers"], [b"x-a,x-b"])
        self.assertEqual(answer.headers[b"access-control-allow-methods"], [b"GET,HEAD,PUT,PATCH,POST,DELETE"])
        self.assertIn(b"Access-Control-Request-Headers", answer.headers[b"vary"])

    def test_preflight_of_version_3(self) -> None:
        """200 with a sid, code 2 without."""
        self.start(allowed_origins=(self.OTHER,))
        answer = self.site.ask("OPTIONS", f"{POLL3}&sid=x", Origin=self.OTHER)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers[b"access-control-allow-headers"], [b"Content-Type"])
        answer = self.site.ask("OPTIONS", POLL3, Origin=self.OTHER)
        self.assertEqual((answer.status, json.loads(answer.body)["code"]), (400, 2))

    def test_preflight_of_strangers(self) -> None:
        """It is refused like their requests."""
        self.assertEqual(self.site.ask("OPTIONS", POLL, Origin=self.OTHER).status, 403)


class LimitTests(EngineIOTestCase):
    def test_in_all(self) -> None:
        """503 above the number of connections, for WebSockets too; an end makes room."""
        self.start(max_connections=2)
        sid = self.open()
        socket = self.site.websocket(SOCKET)
        answer = self.site.ask("GET", POLL)
        self.assertEqual((answer.status, json.loads(answer.body)["code"]), (503, 4))
        self.assertEqual(WebSocket(self.site.site, SOCKET).answer().status, 503)
        socket.lose()
        self.open()
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", b"4a").status, 200)

    def test_per_address(self) -> None:
        """429 for one address, room for others."""
        self.start(max_connections_per_address=1)
        sid = self.open()
        self.assertEqual(self.site.ask("GET", POLL).status, 429)
        self.assertEqual(self.site.ask("GET", POLL, address="192.0.2.2").status, 200)
        self.site.ask("POST", f"{POLL}&sid={sid}", b"1")
        self.assertEqual(self.site.ask("GET", POLL).status, 200)

    def test_address_hook(self) -> None:
        """Who knows better than TCP says the address."""
        self.start(lambda request: request.getHeader("x-real-ip"), max_connections_per_address=1)
        self.open(X_Real_IP="a")
        self.assertEqual(self.site.ask("GET", POLL, X_Real_IP="a").status, 429)
        self.assertEqual(self.site.ask("GET", POLL, X_Real_IP="b").status, 200)

    def test_no_limit(self) -> None:
        """Zero means none."""
        self.start(max_connections=0, max_connections_per_address=0)
        for _ in range(30):
            self.open()
        self.assertEqual(len(self.server), 30)

    def test_slow_poller(self) -> None:
        """A client that does not fetch is closed when its buffer is full."""
        self.start(max_buffered_bytes=1000)
        self.open()
        for _ in range(11):
            self.echoes[0].connection.send([message("x" * 99)])
        self.clock.advance(0)
        self.assertEqual(self.ends, ["transport error"])


class CloseTests(EngineIOTestCase):
    def close(self) -> list[None]:
        """Close the server; the list holds something when it is done."""
        done: list[None] = []
        Deferred.fromCoroutine(self.server.close()).addCallback(done.append)
        return done

    def assert_cut(self, method: str, sid: str) -> None:
        """A request of a session that is over is not answered: its connection ends."""
        late = self.site.connect()
        late.request(method, f"{POLL}&sid={sid}", b"2" if method == "POST" else None)
        self.assertEqual(late.transport.value(), b"")
        self.assertTrue(late.transport.disconnecting)

    def test_late_post(self) -> None:
        """A POST that comes while the server closes is not refused: some clients would stay away for good."""
        waiting, away = self.open(), self.open()
        self.echoes[0].connection.send([message("last")])
        self.close()
        self.assert_cut("POST", away)
        self.assertEqual(self.site.ask("GET", f"{POLL}&sid={waiting}").body, b"4last")

    def test_nobody(self) -> None:
        """A server without clients closes at once and refuses from then on."""
        self.assertEqual(self.close(), [None])
        answer = self.site.ask("GET", POLL)
        self.assertEqual((answer.status, json.loads(answer.body)["code"]), (503, 4))

    def test_waits_for_polls(self) -> None:
        """Polling clients may fetch what is left; then it is done. None is told to stay away."""
        waiting, away = self.open(), self.open()
        get = self.site.connect()
        get.request("GET", f"{POLL}&sid={waiting}")
        self.echoes[1].connection.send([message("last")])
        done = self.close()
        self.assertEqual(get.answer().body, b"6")
        self.assertEqual(done, [])
        self.assertEqual(self.ends, ["server shutting down"] * 2)
        self.assertEqual(self.site.ask("GET", f"{POLL}&sid={away}").body, b"4last")
        self.assert_cut("GET", away)
        self.assertEqual(done, [])
        self.clock.advance(0.1)  # for the last answer to be written
        self.assertEqual(done, [None])

    def test_nothing_left(self) -> None:
        """Nobody waits for a polling client that has nothing to fetch."""
        away = self.open()
        done = self.close()
        self.assert_cut("GET", away)
        self.clock.advance(0.1)
        self.assertEqual(done, [None])

    def test_does_not_wait_forever(self) -> None:
        """After ``close_timeout`` the rest is cut."""
        self.open()
        socket = self.site.websocket(SOCKET)
        done = self.close()
        self.assertEqual(socket.frames()[1:], [("close", None)])
        self.clock.advance(5)
        self.clock.advance(0.1)
        self.assertEqual(done, [None])
        self.assertTrue(socket.transport.gone)
        self.assertEqual(self.clock.getDelayedCalls(), self.idle_timers())

    def idle_timers(self) -> list[Any]:
        """What is left: the idle time of kept-alive HTTP connections."""
        return [call for call in self.clock.getDelayedCalls() if "timedOut" in str(call)]
