"""What a server does with clients that break the rules of a session."""

from __future__ import annotations

import contextlib
import http.client
from typing import ClassVar

from ..toolbox.http import Request, request
from .engine import EngineCase


class PollingFaultTests(EngineCase):
    """Engine.IO 4 over polling."""

    @property
    def close_packet(self) -> str:
        """A payload of the close packet alone."""
        return "1" if self.eio == 4 else "1:1"

    invalid: ClassVar[tuple[str, ...]] = ("abc", "7x", "", "4x\x1e", "\x1e4x", ":4", "é")

    def test_invalid_bodies(self) -> None:
        """A body that is no payload ends the session, however it is answered."""
        for body in self.invalid:
            session = self.session()
            self.assertIn(session.post_body(body).status, (200, 400), body)
            self.assert_over(session)

    def test_invalid_utf8(self) -> None:
        """Bytes that are no UTF-8 become replacement characters; the session goes on."""
        session = self.session()
        body = b"4a\xffb" if self.eio == 4 else b"4:4a\xffb"
        self.assertEqual(session.post_body(body).body, b"ok")
        self.assertEqual(session.received(), ["4a\ufffdb"])

    def test_second_get(self) -> None:
        """Of two GETs the first gets the close packet, the second a 400, and the session is over."""
        session = self.session()
        first = session.waiting_get()
        second = session.get()
        self.assertEqual((second.status, second.body), (400, b""))
        answer = first.answer()
        self.assertEqual((answer.status, answer.text), (200, self.close_packet))
        self.assert_over(session)

    def test_second_post(self) -> None:
        """Of two POSTs the first is cut, the second gets a 400, and the session is over."""
        session = self.session()
        first = Request(self.port, "POST", session.target(), "4he", announced=6)
        second = session.post("4x")
        self.assertEqual((second.status, second.body), (400, b""))
        with self.assertRaises((OSError, http.client.HTTPException)):
            first.answer()
        self.assert_over(session)

    def test_aborted_get(self) -> None:
        """A client that drops its GET is gone: the session is over."""
        session = self.session()
        session.waiting_get().abort()
        self.assertEqual(session.get().status, 400)
        self.assert_over(session)

    def test_aborted_post(self) -> None:
        """A client that drops a POST midway is gone: the session is over."""
        session = self.session()
        waiting = session.waiting_get()
        Request(self.port, "POST", session.target(), "4he", announced=6).abort()
        self.assertEqual(waiting.answer().status, 200)
        self.assert_over(session)

    def test_other_methods(self) -> None:
        """Methods beyond GET and POST get a 500 and do the session no harm."""
        session = self.session()
        for method in ("PUT", "DELETE"):
            answer = request(self.port, method, session.target())
            self.assertEqual((answer.status, answer.body), (500, b""))
        self.assert_alive(session)

    def test_close_packet(self) -> None:
        """The client's close packet ends the session: its pending GET gets a noop, its POST an ok."""
        session = self.session()
        waiting = session.waiting_get()
        self.assertEqual(session.post("1").body, b"ok")
        self.assertEqual(session.packets(waiting.answer()), ["6"])
        self.assert_over(session)

    def test_close_packet_first(self) -> None:
        """Packets behind the close packet are dropped."""
        session = self.session()
        waiting = session.waiting_get()
        self.assertEqual(session.post("1", "4late").body, b"ok")
        self.assertEqual(session.packets(waiting.answer()), ["6"])
        self.assert_over(session)


class PollingFaultTests3(PollingFaultTests):
    """The same in Engine.IO 3."""

    eio = 3
    invalid = ("abc", "", "6:4hell", "1:4hello", ":4", "-1:4", "99999999999999:4x", "2:7x", "²:4x")

    def test_invalid_octets(self) -> None:
        """A broken binary framing ends the session."""
        unfinished = (b"\x00", b"\x00\x06", b"\x00\x06\xff4hell", b"\x00\xff")
        for body in (*unfinished, b"\x02\x01\xff4", b"\x00\x0b\xff4", b"\x01\x01\xff\x09"):
            session = self.session()
            self.assertIn(session.post_body(body, "application/octet-stream").status, (200, 400), body)
            self.assert_over(session)

    def test_length_in_bytes(self) -> None:
        """A length that counts bytes or code points instead of UTF-16 code units is an error."""
        for body in ("5:4😀", "2:4😀"):
            session = self.session()
            session.post_body(body)
            self.assert_over(session)


class SizeTests(EngineCase):
    """The announced limit, in Engine.IO 4."""

    def test_largest_post(self) -> None:
        """A body of exactly the limit passes."""
        session = self.session()
        body = "4" + "x" * 999_999
        self.assertEqual(session.post_body(body).body, b"ok")
        self.assertEqual(session.get().text, body)

    def test_too_large_post(self) -> None:
        """One byte more is refused; the session goes on."""
        session = self.session()
        answer = session.post_body("4" + "x" * 1_000_000)
        self.assertEqual((answer.status, answer.body), (413, b""))
        self.assert_alive(session)

    def test_largest_frame(self) -> None:
        """A frame of exactly the limit passes."""
        socket = self.opened_websocket()
        packet = "4" + "x" * 999_999
        socket.send(packet)
        self.assertEqual(socket.receive(), packet)

    def test_too_large_frame(self) -> None:
        """One byte more closes the WebSocket with the code for that."""
        socket = self.opened_websocket()
        socket.send("4" + "x" * 1_000_000)
        self.assertEqual(socket.until_closed(), ([], 1009))


class SizeTests3(EngineCase):
    """The limit in Engine.IO 3."""

    eio = 3

    def test_largest_post(self) -> None:
        """A body of exactly the limit passes."""
        session = self.session()
        packet = "4" + "x" * 999_992
        self.assertEqual(session.post(packet).body, b"ok")
        self.assertEqual(session.received(), [packet])

    def test_too_large_post(self) -> None:
        """One byte more is refused or the connection cut; nothing of it arrives."""
        session = self.session()
        with contextlib.suppress(OSError, http.client.HTTPException):  # engine.io 3 resets the connection
            self.assertEqual(session.post("4" + "x" * 999_993).status, 413)
        session.post("4next")
        answer = session.get()
        self.assertIn((answer.status, answer.text[:7]), ((200, "5:4next"), (400, '{"code"')))


class WebSocketFaultTests(EngineCase):
    """Engine.IO 4 over WebSocket: every fault closes at once, not when a heartbeat is missed."""

    def test_unknown_packet(self) -> None:
        """A packet type that does not exist."""
        for packet in ("abc", "7", "", "x4"):
            socket = self.opened_websocket()
            socket.send(packet)
            self.assert_closes_now(socket)

    def test_close_packet(self) -> None:
        """The client's close packet."""
        socket = self.opened_websocket()
        socket.send("1")
        self.assert_closes_now(socket)

    def test_noop(self) -> None:
        """A noop is no fault."""
        socket = self.opened_websocket()
        socket.send("6")
        socket.send("4x")
        self.assertEqual(socket.receive(), "4x")


class WebSocketFaultTests3(WebSocketFaultTests):
    """The same in Engine.IO 3."""

    eio = 3

    def test_binary_type(self) -> None:
        """A binary frame begins with the raw type; one that does not exist is an error."""
        for frame in (b"\x09abc", b""):
            socket = self.opened_websocket()
            socket.send(frame)
            self.assert_closes_now(socket)
