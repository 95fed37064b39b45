"""What the Socket.IO tests share: a test case whose sockets are past the Engine.IO handshake."""

from __future__ import annotations

from typing import ClassVar

from ..toolbox.websocket import WebSocket
from .engine import EngineCase

BYTES = (b"\x01\x02\x03", b"\x04\x05\x06")
"""Two attachments."""

TWO = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
"""Their places."""


class ChatCase(EngineCase):
    """A test against the example's Socket.IO server, over WebSocket."""

    path: ClassVar[str] = "/socket.io/"

    def connected(self) -> WebSocket:
        """Open a WebSocket and be in the main namespace, past its greeting."""
        socket = self.opened_websocket()
        if self.eio == 4:
            socket.send("40")
        self.assertTrue(socket.text().startswith("40"))
        self.assertEqual(socket.text(), '42["auth",{}]')
        return socket

    def frame(self, data: bytes) -> bytes:
        """Return an attachment as its frame."""
        return data if self.eio == 4 else b"\x04" + data

    def send(self, socket: WebSocket, header: str, *attachments: bytes) -> None:
        """Send a packet and what belongs to it."""
        socket.send(header)
        for data in attachments:
            socket.send(self.frame(data))

    def assert_receives(self, socket: WebSocket, *expected: str | bytes) -> None:
        """The next messages are these; bytes are attachments."""
        frames = [item if isinstance(item, str) else self.frame(item) for item in expected]
        self.assertEqual([socket.receive() for _ in frames], frames)

    def assert_echoes(self, socket: WebSocket) -> None:
        """The main namespace still answers, and nothing else was to come before."""
        socket.send('42["message","sync"]')
        self.assertEqual(socket.receive(), '42["message-back","sync"]')

    def assert_ended_by(self, *packets: str | bytes) -> None:
        """Each of the packets, sent by a connected client, closes its connection at once."""
        for packet in packets:
            socket = self.connected()
            socket.send(packet)
            self.assert_closes_now(socket)

    def assert_harmless(self, *packets: str) -> None:
        """None of the packets is answered, and none does harm."""
        socket = self.connected()
        for packet in packets:
            socket.send(packet)
            self.assert_echoes(socket)
