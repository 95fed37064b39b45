"""The Socket.IO server over memory transports."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.web.observer import Counters
from crowdai_broker.web.socketio import (
    AckTimeout,
    ConnectionRefused,
    IncomingEvent,
    Socket,
    SocketIOServer,
    SocketIOSettings,
)
from tests.unit.web.memory import APART, Site, WebSocket

SOCKET5 = "/socket.io/?EIO=4&transport=websocket"
SOCKET4 = "/socket.io/?EIO=3&transport=websocket"
POLL4 = "/socket.io/?EIO=3&transport=polling"
OLD = f"{POLL4}&t=1700000000000-0"
PLACEHOLDER = '{"_placeholder":true,"num":0}'


class SocketIOTestCase(SynchronousTestCase):
    """A server with the namespaces / and /custom."""

    def setUp(self) -> None:
        """Start with default settings."""
        self.start()

    def start(self, **settings: Any) -> None:
        """Start a server with these settings."""
        self.clock = Clock()
        self.observer = Counters()
        self.server = SocketIOServer(self.clock, SocketIOSettings(**settings), observer=self.observer)
        self.root = self.server.namespace("/")
        self.custom = self.server.namespace("/custom")
        self.ends: list[str] = []
        for namespace in (self.root, self.custom):
            namespace.on_disconnect(lambda _socket, reason: self.ends.append(reason))
        self.site = Site(self.clock, socket_io=self.server)

    def open(self, target: str = SOCKET5) -> WebSocket:
        """A WebSocket that has read the open packet (and the root's CONNECT in protocol 4)."""
        socket = self.site.websocket(target)
        self.clock.pump([APART, APART])
        socket.frames()
        return socket

    def join(self, namespace: str = "") -> tuple[WebSocket, Socket]:
        """A client of protocol 5 in a namespace."""
        socket = self.open()
        self.connected(socket, namespace)
        found = self.server.namespace(namespace or "/").sockets
        return socket, list(found.values())[-1]

    def say(self, socket: WebSocket, *frames: str | bytes) -> list[Any]:
        """Send frames; answers what comes back by the end of the turn."""
        for frame in frames:
            socket.send_frame(frame)
        self.clock.advance(0)
        return socket.frames()

    def connected(self, socket: WebSocket, namespace: str = "") -> str:
        """Send CONNECT; answers the reply, after the time that it has for itself."""
        (reply,) = self.say(socket, f"40{namespace}")
        self.clock.advance(APART)
        return str(reply)


class ConnectTests(SocketIOTestCase):
    def test_version_5(self) -> None:
        """The reply has the namespace's sid, which is not the connection's."""
        socket = self.site.websocket(SOCKET5)
        (opened,) = socket.frames()
        assert isinstance(opened, str)
        self.clock.advance(APART)
        sid = json.loads(self.connected(socket)[2:])["sid"]
        self.assertEqual(list(self.root.sockets), [sid])
        self.assertNotEqual(sid, json.loads(opened[1:])["sid"])

    def test_version_4(self) -> None:
        """``/`` unasked with the connection's sid; others on request, with a sid made of both."""
        socket = self.site.websocket(SOCKET4)
        (opened,) = socket.frames()
        self.clock.advance(APART)
        (reply,) = socket.frames()
        self.clock.advance(APART)
        assert isinstance(opened, str)
        own = json.loads(opened[1:])["sid"]
        self.assertEqual((reply, list(self.root.sockets)), ("40", [own]))
        self.assertEqual(self.say(socket, "40/custom?a=1,"), ["40/custom,"])
        self.assertEqual(list(self.custom.sockets), [f"/custom#{own}"])

    def test_version_4_polling(self) -> None:
        """CONNECT comes in an answer of its own: socketIO-client-2 keeps one packet of the first."""
        opened = self.site.ask("GET", OLD).body
        self.assertTrue(opened.startswith(b"\x00"))
        self.assertEqual(opened.count(b"\xff"), 1)
        sid = json.loads(opened[opened.index(b"{") :])["sid"]
        self.assertEqual(self.site.ask("GET", f"{OLD}&sid={sid}").body, b"\x00\x02\xff40")

    def test_unknown_namespace(self) -> None:
        """Refused in the words of each version; the connection goes on."""
        socket, _ = self.join()
        self.assertEqual(self.say(socket, "40/x"), ['44/x,{"message":"Invalid namespace"}'])
        self.assertEqual(self.say(self.open(SOCKET4), "40/x"), ['44/x,"Invalid namespace"'])

    def test_auth(self) -> None:
        """The handler sees what the client sent along: payload or query."""
        seen: list[dict[str, Any]] = []
        self.custom.on_connect(lambda _socket, auth: seen.append(auth))
        self.say(self.open(), '40/custom,{"token":"x"}')
        self.say(self.open(), "40/custom,")
        self.say(self.open(SOCKET4), "40/custom?token=y,")
        self.assertEqual(seen, [{"token": "x"}, {}, {"token": "y"}])

    def test_events_follow_the_reply(self) -> None:
        """What the handler emits is sent after the reply, apart: some clients would miss it in one piece."""
        self.root.on_connect(lambda socket, auth: socket.emit("auth", auth))
        socket = self.open()
        (reply,) = self.say(socket, '40{"a":1}')
        self.assertTrue(reply.startswith('40{"sid"'))
        self.assertEqual(self.say(socket), [])
        self.clock.advance(APART)
        self.assertEqual(socket.frames(), ['42["auth",{"a":1}]'])

    def test_events_follow_the_reply_by_polling(self) -> None:
        """In one answer: what is apart on a WebSocket may travel together here."""
        self.root.on_connect(lambda socket, auth: socket.emit("auth", auth))
        opened = self.site.ask("GET", f"{POLL4}&b64=1").body
        sid = json.loads(opened[opened.index(b"{") : opened.rindex(b"}") + 1])["sid"]
        answer = self.site.ask("GET", f"{POLL4}&sid={sid}").body
        self.assertEqual(answer, b'2:4013:42["auth",{}]')

    def test_refused(self) -> None:
        """With a message, and data where they fit."""
        refusals: list[ConnectionRefused] = []

        def refuse(socket: Socket, _auth: dict[str, Any]) -> None:
            socket.emit("never")
            raise refusals[-1]

        self.root.on_connect(refuse)
        refusals.append(ConnectionRefused("No"))
        socket = self.open()
        self.assertEqual(self.say(socket, "40"), ['44{"message":"No"}'])
        refusals.append(ConnectionRefused("No", {"code": 7}))
        self.assertEqual(self.say(socket, "40"), ['44{"message":"No","data":{"code":7}}'])
        old = self.site.websocket(SOCKET4)
        self.clock.advance(APART)
        self.assertEqual(old.frames()[1:], ['44{"code":7}'])
        self.assertEqual((self.root.sockets, self.ends), ({}, []))

    def test_later(self) -> None:
        """An asynchronous handler decides when it is done; early events wait for it."""
        decision: Deferred[None] = Deferred()
        seen: list[Any] = []

        async def decide(_socket: Socket, _auth: dict[str, Any]) -> None:
            await decision

        self.root.on_connect(decide)
        self.root.on("x", lambda event: seen.append(event.args))
        socket = self.open()
        self.assertEqual(self.say(socket, "40", '42["x",1]'), [])
        self.assertEqual(seen, [])
        decision.callback(None)
        self.clock.advance(0)
        (reply,) = socket.frames()
        assert isinstance(reply, str)
        self.assertTrue(reply.startswith("40"))
        self.assertEqual(seen, [[1]])

    def test_gone_before_the_decision(self) -> None:
        """Nobody is let in who has left."""
        decision: Deferred[None] = Deferred()
        self.root.on_connect(lambda _socket, _auth: decision)
        socket = self.open()
        self.say(socket, "40")
        socket.lose()
        decision.callback(None)
        self.assertEqual((self.root.sockets, self.ends), ({}, []))

    def test_broken_handler(self) -> None:
        """It is logged, the client is told nothing of it, and may try again."""
        self.root.on_connect(lambda _socket, _auth: 1 / 0)  # type: ignore[arg-type, return-value]
        socket = self.open()
        self.assertEqual(self.say(socket, "40"), ['44{"message":"Internal server error"}'])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.observer.failed_handlers, 1)

    def test_timeout(self) -> None:
        """A connection that joins nothing is closed."""
        self.start(connect_timeout=1.0)
        socket = self.open()
        self.clock.advance(1)
        self.assertEqual(socket.frames(), [("close", 1008)])

    def test_handshake(self) -> None:
        """The application sees the request, frozen."""
        socket = self.site.websocket(f"{SOCKET5}&token=x", "192.0.2.9", User_Agent="probe/1")
        self.say(socket, "40")
        (member,) = self.root.sockets.values()
        handshake = member.handshake
        self.assertEqual((handshake.query, handshake.address), ({"token": "x"}, "192.0.2.9"))
        self.assertEqual((handshake.version, handshake.transport, handshake.secure), (4, "websocket", False))
        self.assertEqual(handshake.headers["user-agent"], "probe/1")
        self.assertEqual(member.transport_name, "websocket")


class EventTests(SocketIOTestCase):
    def test_event(self) -> None:
        """Name, arguments, socket; bytes in their places."""
        seen: list[IncomingEvent] = []
        self.root.on("x", seen.append)
        socket, member = self.join()
        self.say(socket, '42["x",1,"é"]', f'451-["x",[{PLACEHOLDER}]]', b"\x01")
        self.assertEqual([event.args for event in seen], [[1, "é"], [[b"\x01"]]])
        self.assertEqual((seen[0].name, seen[0].socket, seen[0].wants_ack), ("x", member, False))

    def test_ack(self) -> None:
        """Once, if it was asked for."""
        kept: list[IncomingEvent] = []

        @self.root.on("x")
        def answer(event: IncomingEvent) -> None:
            kept.append(event)
            event.ack(event.args, b"y")
            event.ack("again")

        socket, _ = self.join()
        self.assertEqual(self.say(socket, '420["x",1]'), [f"461-0[[1],{PLACEHOLDER}]", b"y"])
        self.assertFalse(kept[0].wants_ack)
        self.assertEqual(self.say(socket, '42["x"]'), [])

    def test_nobody_listens(self) -> None:
        """An event without a handler is never answered."""
        socket, _ = self.join()
        self.assertEqual(self.say(socket, '420["no"]', "42[5]"), [])

    def test_event_before_ack(self) -> None:
        """What is emitted first arrives first, in one write."""

        @self.root.on("authenticate")
        async def authenticate(event: IncomingEvent) -> None:
            event.socket.emit("authenticate_response", {"ok": True})
            event.ack({"ok": True})

        socket, _ = self.join()
        self.assertEqual(
            self.say(socket, '421["authenticate"]'),
            ['42["authenticate_response",{"ok":true}]', '431[{"ok":true}]'],
        )

    def test_order(self) -> None:
        """Handlers begin in order of arrival, and one that waits does not hold up the next."""
        gate: Deferred[None] = Deferred()
        seen: list[str] = []

        @self.root.on("x")
        async def slow(event: IncomingEvent) -> None:
            seen.append(f"begin {event.args[0]}")
            await gate
            seen.append(f"end {event.args[0]}")

        socket, _ = self.join()
        self.say(socket, '42["x",1]', '42["x",2]')
        gate.callback(None)
        self.assertEqual(seen, ["begin 1", "begin 2", "end 1", "end 2"])

    def test_broken_handlers(self) -> None:
        """At once or later, with a coroutine or a Deferred: logged once, unanswered, survived."""

        def at_once(_event: IncomingEvent) -> None:
            raise ZeroDivisionError

        async def later(_event: IncomingEvent) -> None:
            raise ZeroDivisionError

        def deferred(_event: IncomingEvent) -> Deferred[None]:
            made: Deferred[None] = Deferred()
            self.clock.callLater(1, made.errback, ZeroDivisionError())
            return made

        socket, _ = self.join()
        for number, handler in enumerate((at_once, later, deferred)):
            self.root.on("x", handler)
            self.assertEqual(self.say(socket, f'42{number}["x","secret"]'), [])
            self.clock.advance(1)
            (failure,) = self.flushLoggedErrors(ZeroDivisionError)
            self.assertNotIn("secret", str(failure.value))
        self.root.on("ok", lambda event: event.ack(1))
        self.assertEqual(self.say(socket, '429["ok"]'), ["439[1]"])
        self.assertEqual(self.observer.failed_handlers, 3)

    def test_too_many_unfinished(self) -> None:
        """Requests that are in hand are bounded."""
        self.start(max_pending_handlers=3)
        self.root.on("x", lambda _event: Deferred())
        socket, _ = self.join()
        self.assertEqual(self.say(socket, *['42["x"]'] * 3), [])
        self.assertEqual(self.say(socket, '42["x"]'), [("close", 1009)])
        self.assertEqual(self.observer.protocol_errors["TooBig"], 1)

    def test_finished_ones_make_room(self) -> None:
        """Only unfinished ones count."""
        self.start(max_pending_handlers=1)
        waiting: list[Deferred[None]] = []

        def wait(_event: IncomingEvent) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.root.on("x", wait)
        socket, _ = self.join()
        for _ in range(5):
            self.assertEqual(self.say(socket, '42["x"]'), [])
            waiting[-1].callback(None)

    def test_put_out_by_its_own_event(self) -> None:
        """What the client had sent behind it is passed over."""
        seen: list[IncomingEvent] = []

        def bye(event: IncomingEvent) -> None:
            seen.append(event)
            event.socket.disconnect()

        self.root.on("x", bye)
        socket, _ = self.join()
        self.assertEqual(self.say(socket, '42["x"]', '42["x"]', "41"), ["41"])
        self.assertEqual(len(seen), 1)

    def test_violation(self) -> None:
        """The connection ends, counted and without a traceback."""
        socket, _ = self.join()
        self.assertEqual(self.say(socket, '42["a"'), [("close", 1008)])
        self.assertEqual(self.ends, ["parse error"])
        self.assertEqual(self.observer.protocol_errors["PacketError"], 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_hostile_json(self) -> None:
        """Depth and numbers beyond reason end the connection, nothing else."""
        for text in (
            "[" * 10_000 + "]" * 10_000,
            "1e999999",
            "9" * 100_000,
            '{"a":' * 5000 + "1" + "}" * 5000,
        ):
            socket, _ = self.join()
            self.assertEqual(self.say(socket, f'42["x",{text}]'), [("close", 1008)])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_attachments_that_do_not_come(self) -> None:
        """They have a time."""
        self.start(attachment_timeout=3.0)
        socket, _ = self.join()
        self.say(socket, f'451-["x",{PLACEHOLDER}]')
        self.clock.advance(3)
        self.assertEqual(socket.frames(), [("close", 1008)])
        self.assertEqual(self.ends, ["parse error"])


class EmitTests(SocketIOTestCase):
    def test_emit(self) -> None:
        """Arguments of all kinds, and the fast path for one string."""
        socket, member = self.join()
        member.emit("a")
        member.emit("b", 1, [b"x"], None)
        member.emit_text("c", '{"é":1}')
        self.clock.advance(0)
        self.assertEqual(
            socket.frames(),
            ['42["a"]', f'451-["b",1,[{PLACEHOLDER}],null]', b"x", '42["c","{\\"é\\":1}"]'],
        )

    def test_no_json(self) -> None:
        """Our mistake is told to us, and sends nothing."""
        socket, member = self.join()
        with self.assertRaises(TypeError):
            member.emit("a", object())
        self.clock.advance(0)
        self.assertEqual(socket.frames(), [])

    def test_gone(self) -> None:
        """Emitting to who is gone does nothing."""
        socket, member = self.join()
        socket.lose()
        member.emit("a")
        member.emit_text("a", "b")
        missed: list[None] = []
        member.emit("a", on_ack=print, on_no_ack=lambda: missed.append(None))
        self.assertFalse(member.connected)
        self.assertEqual(missed, [None])

    def test_namespace(self) -> None:
        """Each namespace has its own name in front."""
        socket, member = self.join("/custom")
        member.emit("a", 1)
        self.clock.advance(0)
        self.assertEqual(socket.frames(), ['42/custom,["a",1]'])

    def test_ascii_for_the_old_client_only(self) -> None:
        """socketIO-client-2 gets escapes; other clients of protocol 4 proper UTF-8."""
        for target, expected in ((OLD, b'"\\u00e9"'), (f"{POLL4}&t=abc", '"é"'.encode())):
            opened = self.site.ask("GET", target).body
            sid = json.loads(opened[opened.index(b"{") : opened.rindex(b"}") + 1])["sid"]
            self.root.sockets[sid].emit_text("a", "é")
            self.assertIn(expected, self.site.ask("GET", f"{target}&sid={sid}").body)

    def test_ack(self) -> None:
        """The client's answer, once."""
        socket, member = self.join()
        answers: list[Any] = []
        member.emit("q", on_ack=answers.append)
        self.clock.advance(0)
        (asked,) = socket.frames()
        assert isinstance(asked, str)
        number = asked[2 : asked.index("[")]
        self.say(socket, f"43{number}[1,2]", f"43{number}[3]", "4399[4]")
        self.assertEqual(answers, [[1, 2]])

    def test_ack_missed(self) -> None:
        """In time, or when the client goes."""
        self.start(ack_timeout=5.0)
        socket, member = self.join()
        missed: list[Any] = []
        member.emit("q", on_ack=missed.append, on_no_ack=lambda: missed.append("late"))
        self.clock.advance(5)
        self.assertEqual(missed, ["late"])
        member.emit("q", on_ack=missed.append, on_no_ack=lambda: missed.append("gone"))
        socket.lose()
        self.assertEqual(missed, ["late", "gone"])

    def test_broken_ack_handlers(self) -> None:
        """They are logged like others."""
        socket, member = self.join()
        member.emit("q", on_ack=lambda _args: 1 / 0)
        member.emit("q", on_ack=print, on_no_ack=lambda: 1 / 0)
        self.say(socket, "431[]")
        socket.lose()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_call(self) -> None:
        """To await an answer, or its absence."""
        socket, member = self.join()
        answer = member.call("q", 1)
        self.say(socket, '431["yes"]')
        self.assertEqual(self.successResultOf(answer), ["yes"])
        answer = member.call("q")
        socket.lose()
        self.failureResultOf(answer, AckTimeout)

    def test_too_many_acks(self) -> None:
        """A client that acknowledges nothing is closed at the bound."""
        self.start(max_outstanding_acks=2)
        socket, member = self.join()
        for _ in range(3):
            member.emit("q", on_ack=print)
        self.clock.advance(0)
        self.assertEqual(socket.frames()[-1], ("close", 1009))

    def test_within_an_event(self) -> None:
        """Answers to a message go out before the turn ends, without a timer."""
        self.root.on("x", lambda event: event.socket.emit("y"))
        socket, _ = self.join()
        socket.send_frame('42["x"]')
        self.assertEqual(socket.frames(), ['42["y"]'])

    def test_allow(self) -> None:
        """Limits rise for one connection: of packets, and of attachments apart."""
        self.start(max_message_bytes=100)
        seen: list[Any] = []
        self.root.on("x", lambda event: seen.append(len(event.args[0])))
        socket, member = self.join()
        member.allow(max_message_bytes=1000, max_attachment_bytes=5000)
        self.say(socket, f'42["x","{"y" * 900}"]', f'451-["x",{PLACEHOLDER}]', b"z" * 5000)
        self.assertEqual(seen, [900, 5000])
        self.assertEqual(self.say(socket, f'42["x","{"y" * 1000}"]'), [("close", 1009)])
        socket, _ = self.join()
        self.assertEqual(self.say(socket, f'42["x","{"y" * 100}"]'), [("close", 1009)])


class RoomTests(SocketIOTestCase):
    def test_rooms(self) -> None:
        """Members of a room, each once, encoded for each kind of client."""
        first, member = self.join()
        second, other = self.join()
        old = self.open(SOCKET4)
        for joined in self.root.sockets.values():
            joined.join("r")
        self.server.to("r").emit("news", b"x")
        self.clock.advance(0)
        expected = [f'451-["news",{PLACEHOLDER}]', b"x"]
        self.assertEqual(first.frames(), expected)
        self.assertEqual(second.frames(), expected)
        self.assertEqual(old.frames(), [expected[0], b"\x04x"])
        other.leave("r")
        self.server.to("r").emit("more", skip=[member])
        self.clock.advance(0)
        self.assertEqual((first.frames(), second.frames(), old.frames()), ([], [], ['42["more"]']))

    def test_gone(self) -> None:
        """Who goes is in no room; an empty room is forgotten."""
        socket, member = self.join()
        member.join("r")
        self.assertEqual(member.rooms, {"r"})
        socket.lose()
        self.assertEqual((member.rooms, self.root.members("r")), (frozenset(), []))
        self.assertEqual(self.root.rooms, frozenset())
        member.join("r")
        self.assertEqual(self.root.members("r"), [])
        member.leave("r")

    def test_bounded(self) -> None:
        """A socket is in so many rooms at most."""
        self.start(max_rooms_per_socket=2)
        _, member = self.join()
        member.join("a")
        member.join("b")
        with self.assertRaises(ValueError):
            member.join("c")

    def test_while_the_handler_decides(self) -> None:
        """Who joins a room in ``on_connect`` gets its events after the reply."""
        decision: Deferred[None] = Deferred()

        async def decide(socket: Socket, _auth: dict[str, Any]) -> None:
            socket.join("r")
            await decision

        self.root.on_connect(decide)
        socket = self.open()
        self.say(socket, "40")
        self.server.to("r").emit("news")
        decision.callback(None)
        self.clock.advance(0)
        self.clock.advance(APART)
        reply, news = socket.frames()
        self.assertEqual((str(reply)[:2], news), ("40", '42["news"]'))


class EndTests(SocketIOTestCase):
    def test_reasons(self) -> None:
        """Why a socket is out, told once."""
        socket, _ = self.join()
        self.say(socket, "41")
        socket.lose()
        socket, member = self.join()
        member.disconnect()
        member.disconnect()
        socket, _ = self.join()
        socket.lose()
        socket, _ = self.join()
        self.say(socket, "1")
        self.assertEqual(
            self.ends,
            [
                "client namespace disconnect",
                "server namespace disconnect",
                "transport close",
                "transport close",
            ],
        )

    def test_leave_one_of_two(self) -> None:
        """The other namespace goes on."""
        socket, _ = self.join()
        self.say(socket, "40/custom,")
        self.clock.advance(APART)
        self.assertEqual(self.say(socket, "41/custom,"), [])
        self.assertEqual((len(self.root.sockets), len(self.custom.sockets)), (1, 0))
        self.assertTrue(str(self.say(socket, "40/custom,")[0]).startswith("40/custom,"))

    def test_full_disconnect(self) -> None:
        """DISCONNECT for each namespace, then the connection."""
        socket, member = self.join()
        self.say(socket, "40/custom,")
        member.disconnect(close=True)
        self.clock.advance(0)
        self.assertEqual(socket.frames(), ["41", "41/custom,", ("close", None)])
        self.assertEqual(self.ends, ["forced server close"] * 2)

    def test_broken_handler(self) -> None:
        """It is logged; the socket is out all the same."""
        self.root.on_disconnect(lambda _socket, _reason: 1 / 0)  # type: ignore[arg-type, return-value]
        socket, _ = self.join()
        socket.lose()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.root.sockets, {})

    def test_close(self) -> None:
        """Connections close, without a DISCONNECT that would keep clients from coming back."""
        socket, _ = self.join()
        done: list[None] = []
        Deferred.fromCoroutine(self.server.close()).addCallback(done.append)
        self.assertEqual(socket.frames(), [("close", None)])
        self.assertEqual(self.ends, ["server shutting down"])
        self.assertEqual(self.site.ask("GET", POLL4).status, 503)
        self.assertEqual(done, [])
        socket.lose()
        self.clock.advance(0.1)
        self.assertEqual(done, [None])
        self.assertEqual(self.server.connections, 0)

    def test_counters(self) -> None:
        """What happened is counted."""
        self.root.on("x", lambda event: event.ack())
        socket, _ = self.join()
        self.say(socket, '421["x"]')
        socket.lose()
        counters = self.observer
        self.assertEqual(counters.connections["websocket", 4], 1)
        self.assertEqual(counters.disconnections["websocket", 4, "transport close"], 1)
        self.assertEqual((counters.received, counters.sent, counters.open_now), (2, 2, 0))
