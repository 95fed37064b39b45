"""Requests that no client should send: each is answered or cut, and costs little."""

from __future__ import annotations

import contextlib
import json
import os
import time

from .bad_input import BadInputCase
from .conformance.engine import PollingSession
from .toolbox.http import request
from .toolbox.raw import Raw, exchange

MEGABYTE = bytes(1_000_000)
POLL = "/engine.io/?EIO=4&transport=polling"


class BodyTests(BadInputCase):
    """Bodies of 100 MB: neither read to their end nor kept."""

    def assert_refused(self, target: str, *, chunked: bool) -> None:
        """The body is refused long before it is all there."""
        connection = self.raw()
        connection.socket.settimeout(15)
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {100 * len(MEGABYTE)}"
        connection.send(f"POST {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        piece = b"%x\r\n%b\r\n" % (len(MEGABYTE), MEGABYTE) if chunked else MEGABYTE
        taken = connection.send_all(piece for _ in range(100))
        self.assertLess(taken, 50_000_000)
        with contextlib.suppress(TimeoutError):
            answer = connection.until_closed()
            self.assertIn(answer[:12], (b"", b"HTTP/1.1 413", b"HTTP/1.1 400"))

    def test_for_a_session(self) -> None:
        """To somebody's own session, of both versions."""
        for eio in (3, 4):
            for chunked in (False, True):
                session = PollingSession(self.port, eio, "/engine.io/")
                self.assert_refused(session.target(), chunked=chunked)

    def test_for_nobody(self) -> None:
        """To a session that does not exist, without one, and to pages that do not take any."""
        for target in (f"{POLL}&sid=AAAAAAAAAAAAAAAAAAAA", POLL, "/", "/nowhere"):
            for chunked in (False, True):
                self.assert_refused(target, chunked=chunked)

    def test_announced_only(self) -> None:
        """A body of a terabyte that never begins is refused by its head."""
        session = PollingSession(self.port, 4, "/engine.io/")
        head = f"POST {session.target()} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
        connection = self.raw()
        connection.send(head.encode())
        self.assertTrue(connection.until(b"\r\n").startswith(b"HTTP/1.1 413 "))

    def test_lying_heads(self) -> None:
        """Lengths that are none or two, chunks that are none: 400, and the connection ends."""
        for line in (
            "Content-Length: -1",
            "Content-Length: 1e3",
            "Content-Length: +5",
            f"Content-Length: {'9' * 5000}",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked, chunked",
        ):
            answer = exchange(self.port, f"POST {POLL} HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n4hello".encode())
            self.assertEqual(answer[:13], b"HTTP/1.1 400 ", line[:40])
        head = f"POST {POLL} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        for chunk in (b"zz\r\n", b"-1\r\n", b"5;" + b"x" * 100_000):
            self.assertIn(exchange(self.port, head + chunk)[:13], (b"HTTP/1.1 400 ", b""), chunk[:40])

    def test_huge_chunk(self) -> None:
        """A chunk that claims what no machine holds is read no further than the bound."""
        for size in ("FFFFFFFFFFFF", "F" * 100):
            connection = self.raw()
            head = f"POST {POLL} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n"
            connection.send(head.encode())
            self.assertLess(connection.send_all(MEGABYTE for _ in range(100)), 50_000_000)


class HeadTests(BadInputCase):
    """Request lines and headers."""

    def test_garbage(self) -> None:
        """What is no HTTP at all: random bytes, a TLS greeting, HTTP/2, blank lines, nothing."""
        greeting = bytes.fromhex("16030100a5010000a10303") + os.urandom(160)
        for data in (
            os.urandom(4000) + b"\r\n\r\n",
            greeting + b"\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"x\r\n",
        ):
            connection = self.raw()
            connection.send(data)
            connection.socket.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                self.assertIn(connection.until_closed()[:5], (b"", b"HTTP/"))

    def test_long(self) -> None:
        """A request line, a header and a list of headers without end: cut off."""
        for begin, piece in (
            (b"GET /engine.io/?", b"a" * 10_000),
            (b"GET / HTTP/1.1\r\nX: ", b"a" * 10_000),
            (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 2000),
        ):
            connection = self.raw()
            connection.send(begin)
            taken = connection.send_all(piece for _ in range(5000))
            self.assertLess(taken, 49_000_000, begin)

    def test_pipelined(self) -> None:
        """Garbage behind a good request: that is answered, the rest refused."""
        good = f"GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        answer = exchange(self.port, good + b"\x00garbage\r\n\r\n" + good)
        self.assertEqual(answer[:13], b"HTTP/1.1 200 ")
        self.assertEqual(answer.count(b'0{"sid"'), 1)

    def test_methods(self) -> None:
        """Methods of every kind and targets of every form get an answer."""
        for line in (
            "TRACE /",
            "CONNECT x:1",
            "OPTIONS *",
            "FOO /engine.io/",
            "GET http://x/engine.io/",
            "GET //",
            "HEAD /",
        ):
            head = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            self.assertEqual(exchange(self.port, head.encode())[:9], b"HTTP/1.1 ", line)

    def test_queries(self) -> None:
        """Queries that are not what they seem are refused as JSON, or serve a session like any other."""
        sid = PollingSession(self.port, 4, "/engine.io/").sid
        for query in (
            "EIO=4&transport=polling&sid=%00",
            "EIO=4&transport=polling&sid=%ff%fe",
            "EIO=4&transport=polling&sid=" + "A" * 5000,
            f"EIO=4&transport=polling&sid[]={sid}",
            "EIO=4&EIO=3&transport=websocket",
            "EIO=%34&transport=constructor",
            "&&&===;;;%",
            "&".join(f"a{number}=b" for number in range(2000)),
            "EIO=4&transport=polling&sid=../../etc/passwd",
            "EIO=4&transport=__proto__&sid=__class__",
        ):
            answer = request(self.port, "GET", f"/engine.io/?{query}")
            self.assertIn(answer.status, (200, 400), query[:50])
            if answer.status == 400:
                self.assertEqual(set(json.loads(answer.body)), {"code", "message"})

    def test_slow_heads(self) -> None:
        """Two hundred connections that never finish their request: others are served."""
        for _ in range(200):
            self.raw().send(b"GET /engine.io/?EIO=4&transport=poll")
        self.assert_serves()


class SessionTests(BadInputCase):
    """Somebody else's session, and clients that do not read."""

    def test_public_ids(self) -> None:
        """The id that others may know, a namespace's, opens nothing."""
        session = PollingSession(self.port, 4, "/socket.io/")
        session.post("40")
        public = json.loads(session.received()[0][2:])["sid"]
        for method in ("GET", "POST"):
            answer = request(
                self.port, method, session.target(sid=public), b"41" if method == "POST" else b""
            )
            self.assertEqual(answer.error, (400, 1, "Session ID unknown"))
        session.post('42["message","mine"]')
        packets: list[str] = []
        while '42["message-back","mine"]' not in packets:
            packets += session.received()

    def test_of_another_server(self) -> None:
        """A session of one URL is unknown at the other on the same port."""
        session = PollingSession(self.port, 4, "/engine.io/")
        answer = request(self.port, "GET", session.target().replace("/engine.io/", "/socket.io/"))
        self.assertEqual(answer.error, (400, 1, "Session ID unknown"))

    def test_slow_reader(self) -> None:
        """A WebSocket that asks for much and reads nothing is closed, not buffered for."""
        socket = self.chat()
        text = '42["message","' + "x" * 200_000 + '"]'
        with contextlib.suppress(OSError):
            for _ in range(1000):
                socket.send(text)
        echoes, _ = socket.until_closed()
        self.assertLess(len(echoes), 200)

    def test_slow_poller(self) -> None:
        """So is a poller that begins to receive and never reads: the server waits with little in hand."""
        connections: list[Raw] = []
        for _ in range(20):
            session = PollingSession(self.port, 4, "/engine.io/")
            session.post("4" + "x" * 900_000)
            connection = self.raw()
            connection.send(f"GET {session.target()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connections.append(connection)
        time.sleep(0.2)
        self.assertEqual(connections[0].until(b"\r\n")[:13], b"HTTP/1.1 200 ")

    def test_crowd(self) -> None:
        """Five hundred WebSockets at once that say nothing, and all go at once."""
        crowd = [self.raw_websocket() for _ in range(500)]
        self.assert_serves()
        for connection in crowd:
            connection.close()
