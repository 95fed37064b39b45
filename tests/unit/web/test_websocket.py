"""WebSockets of an Engine.IO server over memory transports, and one real socket."""

from __future__ import annotations

import json
import socket as sockets
import struct
from typing import Any
from unittest import mock

from autobahn.websocket import protocol as autobahn_protocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from crowdai_broker.web.connection import Connection
from crowdai_broker.web.engineio import EngineIOServer
from crowdai_broker.web.socketio_settings import SocketIOSettings
from crowdai_broker.web.websocket import has_native_helpers
from crowdai_broker.wire.eio_packet import message
from tests.unit.web.memory import APART, Site, WebSocket
from tests.unit.web.test_engineio import PATH, POLL, SOCKET, Echo, EngineIOTestCase

KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="


class SessionTests(EngineIOTestCase):
    def socket(self, target: str = SOCKET) -> WebSocket:
        """A WebSocket that has read its open packet."""
        made = self.site.websocket(target)
        (first,) = made.frames()
        assert isinstance(first, str)
        self.clock.advance(APART)
        self.assertTrue(first.startswith('0{"sid"'))
        return made

    def test_echo(self) -> None:
        """Text, binary, empty and large ones come back."""
        socket = self.socket()
        for data in ("4hello", "4€😀", b"\x01\x02", b"", "4" + "x" * 200, b"y" * 70_000):
            socket.send_frame(data)
            self.assertEqual(socket.frames(), [data])

    def test_one_write(self) -> None:
        """Several messages of one turn are written in one piece."""
        socket = self.socket()
        with mock.patch.object(socket.transport, "write") as write:
            for text in "abc":
                self.echoes[0].connection.send([message(text)])
            self.clock.advance(0)
        write.assert_called_once_with(b"\x81\x024a\x81\x024b\x81\x024c")

    def test_fragments(self) -> None:
        """A message in pieces, empty ones among them, is one message."""
        socket = self.socket()
        socket.send_frame(b"4he", 1, final=False)
        for _ in range(100):
            socket.send_frame(b"", 0, final=False)
        socket.send_frame(b"llo", 0)
        self.assertEqual(socket.frames(), ["4hello"])

    def test_refused_handshakes(self) -> None:
        """Plain text and the end of the connection."""
        for target, text in (
            (f"{PATH}?EIO=4", b"Transport unknown"),
            (f"{PATH}?transport=websocket", b"Unsupported protocol version"),
            (f"{SOCKET}&sid=nobody", b"Session ID unknown"),
        ):
            refused = WebSocket(self.site.site, target)
            self.assertTrue(refused.transport.disconnecting)
            answer = refused.answer()
            self.assertEqual((answer.status, answer.body), (400, text))
            self.assertEqual(answer.headers[b"content-type"], [b"text/html"])

    def test_polling_by_websocket(self) -> None:
        """Accepted, then closed without a code, and no session is made."""
        socket = self.site.websocket(POLL)
        self.assertEqual(socket.frames(), [("close", None)])
        self.assertEqual(len(self.server), 0)

    def test_two_connection_headers(self) -> None:
        """socketIO-client-2 sends ``Connection`` twice and its own target as Origin."""
        connection = self.site.connect()
        connection.send(
            f"GET {SOCKET} HTTP/1.1\r\nHost: broker.test:8080\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nConnection: keep-alive\r\nOrigin: http://broker.test:8080\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )
        self.assertTrue(connection.transport.value().startswith(b"HTTP/1.1 101"))

    def test_bad_key(self) -> None:
        """Autobahn refuses; no session is left behind."""
        refused = WebSocket(self.site.site, SOCKET, Sec_WebSocket_Key="x")
        self.assertEqual(refused.answer().status, 400)
        self.assertEqual(len(self.server), 0)

    def test_no_compression(self) -> None:
        """permessage-deflate is not accepted."""
        socket = WebSocket(self.site.site, SOCKET, Sec_WebSocket_Extensions="permessage-deflate")
        self.assertNotIn(b"Extensions", socket.transport.value().partition(b"\r\n\r\n")[0])

    def test_rubbish(self) -> None:
        """A bad packet closes with a policy code; nothing is logged as ours."""
        socket = self.socket()
        socket.send_frame("abc")
        self.assertEqual(socket.frames(), [("close", 1008)])
        self.assertEqual(self.ends, ["parse error"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_invalid_utf8(self) -> None:
        """1007."""
        socket = self.socket()
        socket.send_frame(b"4\xff", 1)
        self.assertEqual(socket.frames(), [("close", 1007)])
        self.assertEqual(self.ends, ["transport error"])

    def test_bad_frames(self) -> None:
        """Autobahn's own complaints: 1002; the session is over at once, the connection a little later."""
        for raw in (b"\xf1\x80\0\0\0\0", b"\x81\x014", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0"):
            self.start()
            socket = self.socket()
            socket.send(raw)
            self.assertEqual(socket.frames(), [("close", 1002)], raw)
            self.assertEqual((self.ends.pop(), len(self.server)), ("transport error", 0))
            self.assertEqual(self.observer.protocol_errors["BrokenFrame"], 1)
            self.clock.advance(4.9)
            self.assertFalse(socket.transport.gone)
            self.clock.advance(0.2)
            self.assertTrue(socket.transport.gone)
            self.assertEqual((self.ends, self.clock.getDelayedCalls()), ([], []))

    def test_pings(self) -> None:
        """A ping is answered; of those that come while the pongs are not read only the latest."""
        socket = self.socket()
        socket.send_frame(b"a", 9)
        self.assertEqual(socket.frames(), [b"a"])
        socket.fill(full=True)
        for text in (b"b", b"c", b"d"):
            socket.send_frame(text, 9)
        self.assertEqual(socket.frames(), [])
        for _ in range(2):
            socket.fill(full=False)
        self.assertEqual(socket.frames(), [b"d"])

    def test_ping_after_the_end(self) -> None:
        """Behind our close frame nothing is sent, not even a pong that waited."""
        socket = self.socket()
        socket.fill(full=True)
        socket.send_frame(b"a", 9)
        socket.send_frame("abc")
        socket.send_frame(b"b", 9)
        socket.fill(full=False)
        self.assertEqual(socket.frames(), [("close", 1008)])

    def test_too_big(self) -> None:
        """1009 by the frame's head, and by the sum of fragments."""
        self.start(max_message_bytes=1000)
        socket = self.socket()
        socket.send(b"\x81" + struct.pack("!BH", 0x80 | 126, 1001) + bytes(4))
        self.assertEqual(socket.frames(), [("close", 1009)])
        socket = self.socket()
        socket.send_frame("4" + "x" * 600, 1, final=False)
        socket.send_frame("x" * 600, 0)
        self.assertEqual(socket.frames(), [("close", 1009)])
        socket = self.socket()
        socket.send_frame("4" + "x" * 999)
        self.assertEqual(len(socket.frames()[0]), 1000)

    def test_allow(self) -> None:
        """The bound of an open socket can be raised: of texts, and of attachments apart."""
        self.start(max_message_bytes=1000)
        socket = self.socket()
        self.echoes[0].connection.allow(2000, 5000)
        socket.send_frame("4" + "x" * 1999)
        self.assertEqual(len(socket.frames()[0]), 2000)
        socket.send_frame(b"x" * 5000)
        self.assertEqual(len(socket.frames()[0]), 5000)
        socket.send_frame("4" + "x" * 2001)
        self.assertEqual(socket.frames(), [("close", 1009)])

    def test_close_packet(self) -> None:
        """It closes at once."""
        socket = self.socket()
        socket.send_frame("1")
        self.assertEqual(socket.frames(), [("close", None)])
        self.assertEqual(self.ends, ["transport close"])

    def test_close_frame(self) -> None:
        """It is answered, and the connection closed by us."""
        socket = self.socket()
        socket.send_frame(struct.pack("!H", 1000), 8)
        self.assertEqual(socket.frames(), [("close", 1000)])
        self.assertTrue(socket.transport.disconnecting)

    def test_close_that_nobody_answers(self) -> None:
        """The closing handshake has a time, then the connection is cut."""
        socket = self.socket()
        socket.send_frame("abc")
        self.clock.advance(4.9)
        self.assertFalse(socket.transport.gone)
        self.clock.advance(0.2)
        self.assertTrue(socket.transport.gone)

    def test_lost(self) -> None:
        """No timer is left behind."""
        socket = self.socket()
        socket.lose()
        self.assertEqual(self.ends, ["transport close"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow_reader(self) -> None:
        """What its transport does not take is buffered up to the bound, then it is closed and cut."""
        self.start(max_buffered_bytes=1000)
        socket = self.socket()
        socket.fill(full=True)
        for _ in range(10):
            self.echoes[0].connection.send([message("x" * 99)])
        self.clock.advance(0)
        self.assertEqual((socket.frames(), self.ends), ([], []))
        self.echoes[0].connection.send([message("y")])
        self.clock.advance(0)
        self.assertEqual(self.ends, ["transport error"])
        self.clock.advance(5)
        self.assertTrue(socket.transport.gone)

    def test_reader_that_catches_up(self) -> None:
        """What waited is written when there is room again."""
        socket = self.socket()
        socket.fill(full=True)
        for text in "ab":
            self.echoes[0].connection.send([message(text)])
        self.clock.advance(0)
        self.assertEqual(socket.frames(), [])
        socket.fill(full=False)
        self.assertEqual(socket.frames(), ["4a", "4b"])

    def test_heartbeat(self) -> None:
        """Pings on time, and the end without a pong."""
        socket = self.socket()
        self.clock.advance(25)
        self.assertEqual(socket.frames(), ["2"])
        socket.send_frame("3")
        self.clock.advance(25)
        self.assertEqual(socket.frames(), ["2"])
        self.clock.advance(20)
        self.assertEqual(socket.frames(), [("close", 1008)])
        self.assertEqual(self.ends, ["ping timeout"])

    def test_no_delay(self) -> None:
        """Nagle's algorithm is switched off for the WebSocket, whatever was set before."""
        connection = self.site.connect()
        connection.transport.no_delay = False
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
        connection.request("GET", SOCKET, None, {**headers, "Sec_WebSocket_Key": KEY})
        self.assertTrue(connection.transport.no_delay)


class UpgradeTests(EngineIOTestCase):
    def test_upgrade(self) -> None:
        """Probe, noop, upgrade, messages; then requests are refused and a second socket closed."""
        sid = self.open()
        get = self.site.connect()
        get.request("GET", f"{POLL}&sid={sid}")
        socket = self.site.websocket(f"{SOCKET}&sid={sid}")
        socket.send_frame("2probe")
        self.assertEqual(socket.frames(), ["3probe"])
        self.assertEqual(get.answer().body, b"6")
        socket.send_frame("5")
        socket.send_frame("4hello")
        self.assertEqual(socket.frames(), ["4hello"])
        self.assertEqual(self.site.ask("GET", f"{POLL}&sid={sid}").status, 400)
        second = self.site.websocket(f"{SOCKET}&sid={sid}")
        self.assertEqual(second.frames(), [("close", None)])
        socket.send_frame("4still")
        self.assertEqual(socket.frames(), ["4still"])
        self.assertEqual(self.observer.upgrades[4], 1)
        socket.lose()
        self.assertEqual(self.ends, ["transport close"])

    def test_old_python_client(self) -> None:
        """socketIO-client-2 gets no close frame, at which it would fall over; the connection just ends."""
        form = "/engine.io/?EIO=3&t=1700000000000-0"
        opened = self.site.ask("GET", f"{form}&transport=polling").body
        sid = json.loads(opened[opened.index(b"{") :])["sid"]
        socket = self.site.websocket(f"{form}&transport=websocket&sid={sid}")
        socket.send_frame("5")
        self.echoes[0].connection.send([message("last")])
        self.echoes[0].connection.close("kicked")
        self.clock.advance(0)
        self.assertEqual(socket.frames(), ["4last"])
        self.assertTrue(socket.transport.disconnecting)
        self.clock.advance(5)
        self.assertTrue(socket.transport.gone)

    def test_failed(self) -> None:
        """The socket is closed, polling goes on, and another may try."""
        sid = self.open()
        socket = self.site.websocket(f"{SOCKET}&sid={sid}")
        socket.send_frame("4hello")
        self.assertEqual(socket.frames(), [("close", None)])
        socket.lose()
        self.site.websocket(f"{SOCKET}&sid={sid}").lose()
        third = self.site.websocket(f"{SOCKET}&sid={sid}")
        third.send_frame("5")
        third.send_frame("4a")
        self.assertEqual(third.frames(), ["4a"])
        self.assertEqual(self.ends, [])

    def test_broken_frame(self) -> None:
        """It ends the attempt, not the session."""
        sid = self.open()
        socket = self.site.websocket(f"{SOCKET}&sid={sid}")
        socket.send(b"\x81\x014")
        self.assertEqual(socket.frames(), [("close", 1002)])
        another = self.site.websocket(f"{SOCKET}&sid={sid}")
        self.clock.advance(5)
        self.assertTrue(socket.transport.gone)
        another.send_frame("5")
        another.send_frame("4a")
        self.assertEqual((another.frames(), self.ends), (["4a"], []))

    def test_slow_reader(self) -> None:
        """Who probes and probes and does not read the answers is closed; polling goes on."""
        sid = self.open()
        socket = self.site.websocket(f"{SOCKET}&sid={sid}")
        socket.fill(full=True)
        socket.send_frame("2probe")
        self.assertEqual(socket.frames(), [("close", None)])
        self.clock.advance(5)
        self.assertTrue(socket.transport.gone)
        self.assertEqual(self.site.ask("POST", f"{POLL}&sid={sid}", b"4a").status, 200)
        self.assertEqual(self.ends, [])

    def test_other_version(self) -> None:
        """The upgrade of a session must be of its version."""
        refused = WebSocket(self.site.site, f"{PATH}?EIO=3&transport=websocket&sid={self.open()}")
        self.assertEqual(refused.answer().body, b"Bad request")

    def test_limits_follow(self) -> None:
        """What was allowed while polling holds for the socket."""
        self.start(max_message_bytes=1000)
        sid = self.open()
        self.echoes[0].connection.allow(5000, None)
        socket = self.site.websocket(f"{SOCKET}&sid={sid}")
        socket.send_frame("5")
        socket.send_frame("4" + "x" * 4000)
        self.assertEqual(len(socket.frames()[0]), 4001)


class OurFaultTests(EngineIOTestCase):
    def test_open(self) -> None:
        """An error while a socket opens is logged, and the connection dropped."""
        with mock.patch.object(Echo, "opened", side_effect=ZeroDivisionError):
            broken = WebSocket(self.site.site, SOCKET)
        self.assertTrue(broken.transport.gone)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_message(self) -> None:
        """An error in an application is logged, and closes with 1011."""
        socket = self.site.websocket(SOCKET)
        socket.frames()
        with mock.patch.object(Echo, "message", side_effect=ZeroDivisionError):
            socket.send_frame("4a")
        self.assertEqual(socket.frames(), [("close", 1011)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_native_helpers(self) -> None:
        """They are in use here, and their absence would be noticed."""
        self.assertTrue(has_native_helpers())

        class Slow:
            """Stands for Autobahn's Python fallback."""

        with mock.patch.object(autobahn_protocol, "Utf8Validator", Slow):
            self.assertFalse(has_native_helpers())


class _Client(Protocol):
    """Collects what comes in until enough is there, and then reads no more."""

    def __init__(self, request: bytes, enough: bytes) -> None:
        self._request = request
        self._enough = enough
        self._data = b""
        self.done: Deferred[bytes] = Deferred()
        self.tcp: Any = None

    def connectionMade(self) -> None:
        """Say what there is to say."""
        self.tcp = self.transport
        self.tcp.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self._data += data
        if self._enough in self._data and not self.done.called:
            self.tcp.pauseProducing()
            self.done.callback(self._data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Too early."""
        if not self.done.called:
            self.done.errback(reason or Failure(EOFError()))


class RealSocketTests(TestCase):
    """A WebSocket over the loopback interface, whose client stops reading after the open packet."""

    async def connect(self, **settings: Any) -> Echo:
        """Connect a client; answers the server's side of it."""
        accepted: list[Echo] = []

        def echo(connection: Connection) -> Echo:
            accepted.append(Echo(connection, []))
            return accepted[-1]

        tcp: Any = reactor
        server = EngineIOServer(tcp, echo, SocketIOSettings(**settings))
        port = tcp.listenTCP(0, Site(tcp, engine_io=server).site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = _Client(
            f"GET {SOCKET} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode(),
            b'0{"sid"',
        )
        factory = ClientFactory.forProtocol(lambda: client)
        tcp.connectTCP("127.0.0.1", port.getHost().port, factory)
        await client.done
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        self.addCleanup(client.tcp.abortConnection)
        return accepted[0]

    async def test_no_delay(self) -> None:
        """The option really is set on the socket of a WebSocket."""
        echo = await self.connect()
        assert echo.connection._socket is not None
        handle = echo.connection._socket.transport.getHandle()
        self.assertNotEqual(handle.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY), 0)

    async def test_slow_reader(self) -> None:
        """Beyond what the kernel takes, no more than the bound is kept; then the client is closed and cut."""
        echo = await self.connect(max_buffered_bytes=1_000_000, close_timeout=0.1)
        socket = echo.connection._socket
        assert socket is not None
        sent = 0
        while not echo.ends:
            echo.connection.send([message("x" * 500_000)])
            sent += 1
            await deferLater(reactor, 0)
            self.assertLess(sent, 200)
        self.assertEqual(echo.ends, ["transport error"])
        await socket.is_closed
