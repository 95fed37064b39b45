"""WebSockets as a test wants them: every frame seen, every close told with its code."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import websocket
from websocket import ABNF, WebSocketBadStatusException, WebSocketConnectionClosedException

from .http import TIMEOUT, Answer

GONE = 1006
"""The code that stands for a connection that ended without a close frame (RFC 6455, 7.1.5)."""

NO_CODE = 1005
"""The code that stands for a close frame without one (RFC 6455, 7.1.5)."""


class Closed(Exception):
    """The other side has closed; ``code`` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class WebSocket:
    """A WebSocket of the tests; ``target`` is its path and query."""

    def __init__(self, port: int, target: str, headers: Mapping[str, str] | None = None) -> None:
        url = f"ws://127.0.0.1:{port}{target}"
        self._peer = websocket.create_connection(url, timeout=TIMEOUT, header=dict(headers or {}))

    def send(self, message: str | bytes) -> None:
        """Send one frame, binary for bytes."""
        if isinstance(message, bytes):
            self._peer.send_binary(message)
        else:
            self._peer.send(message)

    def receive(self) -> str | bytes:
        """Return the next message.

        :raises Closed: if there is none because the other side closed.
        """
        try:
            opcode: int
            data: bytes
            opcode, data = self._peer.recv_data()
        except (WebSocketConnectionClosedException, ConnectionError):
            raise Closed(GONE) from None
        if opcode == ABNF.OPCODE_CLOSE:
            raise Closed(int.from_bytes(data[:2], "big") if data else NO_CODE)
        return data if opcode == ABNF.OPCODE_BINARY else data.decode()

    def text(self) -> str:
        """Return the next message, which must be text."""
        message = self.receive()
        assert isinstance(message, str), message
        return message

    def until_closed(self) -> tuple[list[str | bytes], int]:
        """Return all messages still to come and the close code."""
        messages: list[str | bytes] = []
        try:
            while True:
                messages.append(self.receive())
        except Closed as closed:
            return messages, closed.code

    def close(self) -> None:
        """Close the connection, if it is still there, without waiting for an answer."""
        with contextlib.suppress(OSError):
            self._peer.shutdown()


def refusal(port: int, target: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return what the server answers to an upgrade request that it refuses.

    :raises AssertionError: if it accepts.
    """
    try:
        accepted = WebSocket(port, target, headers)
    except WebSocketBadStatusException as refused:
        lines = {str(name).lower(): str(value) for name, value in (refused.resp_headers or {}).items()}
        return Answer(refused.status_code, lines, refused.resp_body or b"")
    accepted.close()
    raise AssertionError(f"the upgrade request for {target} was accepted")
