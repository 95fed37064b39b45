"""What the Engine.IO tests share: a test case for either version, and a polling session."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from ..toolbox.http import Answer, Request, request
from ..toolbox.process import PATIENCE
from ..toolbox.websocket import WebSocket, refusal
from .framing import joined, split
from .server import CALM, shared

SOON = 1.0
"""Seconds within which a server that closes at once has closed; far below any of its timeouts."""


class PollingSession:
    """A session opened by polling.

    :ivar opened: the answer to the handshake.
    """

    def __init__(self, port: int, eio: int, path: str, **query: str | int) -> None:
        self.port, self.eio, self._path = port, eio, path
        self._query: dict[str, str | int] = {"EIO": eio, "transport": "polling", **query}
        self.opened = self.get()
        self.handshake: dict[str, Any] = json.loads(self.packets(self.opened)[0][1:])
        self._query["sid"] = self.handshake["sid"]

    @property
    def sid(self) -> str:
        """The session's id."""
        return str(self._query["sid"])

    def target(self, **query: str | int) -> str:
        """Return the session's path and query, with parameters added or replaced."""
        return f"{self._path}?{urlencode({**self._query, **query})}"

    def get(self, headers: Mapping[str, str] | None = None) -> Answer:
        """Receive: the answer comes once the server has something."""
        return request(self.port, "GET", self.target(), headers=headers)

    def waiting_get(self) -> Request:
        """Begin to receive."""
        return Request(self.port, "GET", self.target())

    def post(self, *packets: str | bytes) -> Answer:
        """Send packets; bytes are a binary message."""
        return self.post_body(joined(self.eio, *packets))

    def post_body(self, body: str | bytes, content_type: str = "text/plain;charset=UTF-8") -> Answer:
        """Send a body as it is."""
        return request(self.port, "POST", self.target(), body, {"Content-Type": content_type})

    def packets(self, answer: Answer) -> list[str]:
        """Return the packets of a text answer, which must be a success."""
        if answer.status != 200:
            raise AssertionError(f"{answer.status} {answer.body!r}")
        return split(self.eio, answer.text)

    def received(self) -> list[str]:
        """Receive one answer; return its packets."""
        return self.packets(self.get())

    def websocket(self) -> WebSocket:
        """Open a WebSocket for this session."""
        return WebSocket(self.port, self.target(transport="websocket"))

    def upgraded(self) -> WebSocket:
        """Open a WebSocket and move the session onto it."""
        socket = self.websocket()
        socket.send("2probe")
        assert socket.text() == "3probe"
        socket.send("5")
        return socket


class EngineCase(SynchronousTestCase):
    """A test against the example server; what a subclass says runs for one version of the protocol."""

    eio: ClassVar[int] = 4
    path: ClassVar[str] = "/engine.io/"
    timing: ClassVar[tuple[int, int]] = CALM
    query: ClassVar[Mapping[str, str | int]] = {}
    """Parameters of every polling session."""

    def setUp(self) -> None:
        """Have the server run."""
        self.port = shared(self.timing)

    def session(self, **query: str | int) -> PollingSession:
        """Open a session by polling."""
        return PollingSession(self.port, self.eio, self.path, **{**self.query, **query})

    def websocket(self, **query: str | int) -> WebSocket:
        """Open a session by WebSocket; its handshake is still to be received."""
        fields = {"EIO": self.eio, "transport": "websocket", **query}
        socket = WebSocket(self.port, f"{self.path}?{urlencode(fields)}")
        self.addCleanup(socket.close)
        return socket

    def opened_websocket(self, **query: str | int) -> WebSocket:
        """Open a session by WebSocket, past its handshake."""
        socket = self.websocket(**query)
        self.assertEqual(socket.text()[0], "0")
        return socket

    def upgraded(self, session: PollingSession) -> WebSocket:
        """Upgrade ``session``."""
        socket = session.upgraded()
        self.addCleanup(socket.close)
        return socket

    def ask(self, method: str, query: str) -> Answer:
        """Send a request with this query."""
        return request(self.port, method, f"{self.path}?{query}")

    def refused_upgrade(self, query: str) -> Answer:
        """Send an upgrade request that must be refused."""
        return refusal(self.port, f"{self.path}?{query}")

    def assert_over(self, session: PollingSession) -> None:
        """The server no longer knows the session."""
        self.assertEqual(session.get().error, (400, 1, "Session ID unknown"))

    def assert_alive(self, session: PollingSession) -> None:
        """The session still echoes by polling."""
        self.assertEqual(session.post("4alive?").body, b"ok")
        self.assertEqual(session.received(), ["4alive?"])

    def assert_closes_now(self, socket: WebSocket) -> None:
        """The server closes ``socket`` at once: because of what was sent, not of a timeout."""
        began = time.monotonic()
        socket.until_closed()
        self.assertLess(time.monotonic() - began, SOON)

    def eventually(self, holds: Callable[[], bool]) -> None:
        """Wait for what the server does by itself, such as noticing that a connection is gone."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), deadline, "it never came true")
            time.sleep(0.01)
