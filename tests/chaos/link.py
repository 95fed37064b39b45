"""A light Socket.IO client (Engine.IO 4, WebSocket) of one thread, which can be cut off like a cable."""

from __future__ import annotations

import json
from typing import Any

import websocket

CONNECT = 5.0  # s for the connection and its handshake


class Cut(Exception):
    """The connection is gone."""


class Link:
    """A connection to a broker, in the default namespace.

    :raises Cut: like every method, when there is no connection (any more).
    """

    def __init__(self, port: int) -> None:
        self._acks = 0
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        try:
            self._peer = websocket.create_connection(url, timeout=CONNECT)
            self._peer.send("40")
            while not self._receive().startswith("40"):
                continue
        except (OSError, websocket.WebSocketException) as error:
            raise Cut(str(error)) from None

    def emit(self, event: str, argument: Any) -> int:
        """Send an event; return the number that its acknowledgement will have."""
        self._acks += 1
        self._send(f"42{self._acks}{json.dumps([event, argument])}")
        return self._acks

    def next(self, patience: float) -> tuple[int | str, Any] | None:
        """Return what comes next within so many seconds: ``(number, argument)`` or ``(event, argument)``."""
        self._peer.settimeout(patience)
        try:
            packet = self._receive()
        except websocket.WebSocketTimeoutException:
            return None
        except (OSError, websocket.WebSocketException) as error:
            raise Cut(str(error)) from None
        if packet.startswith("43"):
            start = packet.index("[")
            return int(packet[2:start]), json.loads(packet[start:])[0]
        if packet.startswith("42"):
            event, argument = json.loads(packet[2:])
            return event, argument
        if packet.startswith(("1", "41")):
            raise Cut("the broker closed")
        return None

    def cut(self) -> None:
        """Let go without a word."""
        if self._peer.sock is not None:
            self._peer.sock.close()
            self._peer.sock = None

    def _send(self, packet: str) -> None:
        try:
            self._peer.send(packet)
        except (OSError, websocket.WebSocketException) as error:
            raise Cut(str(error)) from None

    def _receive(self) -> str:
        """Return the next packet; a ping is answered at once."""
        packet = self._peer.recv()
        if not packet:
            raise Cut("end of the connection")
        text = packet if isinstance(packet, str) else packet.decode()
        if text == "2":
            self._peer.send("3")
        return text
