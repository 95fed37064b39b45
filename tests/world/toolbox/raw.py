"""Bytes sent as no well-behaved client would send them."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Iterable

from .http import TIMEOUT

CLOSE = 8
"""Opcode of a close frame."""


class Raw:
    """A TCP connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)

    def send(self, data: bytes) -> bool:
        """Send ``data``; ``False``: the server has closed the connection or stopped reading."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def send_all(self, pieces: Iterable[bytes]) -> int:
        """Send pieces until the server has had enough; return how many bytes it took."""
        taken = 0
        for piece in pieces:
            if not self.send(piece):
                break
            taken += len(piece)
        return taken

    def until_closed(self) -> bytes:
        """Return what still comes until the server closes.

        :raises TimeoutError: if it does not.
        """
        received = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := self.socket.recv(65536):
                received += data
        return bytes(received)

    def until(self, mark: bytes) -> bytes:
        """Return what comes up to and with ``mark``."""
        received = bytearray()
        while mark not in received:
            data = self.socket.recv(1)
            if not data:
                raise AssertionError(f"closed after {bytes(received)!r}")
            received += data
        return bytes(received)

    def exactly(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        received = b""
        while len(received) < size:
            data = self.socket.recv(size - len(received))
            if not data:
                raise AssertionError(f"closed after {received!r}")
            received += data
        return received

    def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the server's next WebSocket frame."""
        first, length = self.exactly(2)
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(self.exactly(8), "big")
        return first & 15, self.exactly(length)

    def close_code(self) -> int:
        """Pass over frames up to the server's close frame; return its code, 0 if it has none."""
        opcode, payload = self.frame()
        while opcode != CLOSE:
            opcode, payload = self.frame()
        return int.from_bytes(payload[:2], "big")

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def exchange(port: int, data: bytes) -> bytes:
    """Send ``data`` and return all that comes until the server closes."""
    connection = Raw(port)
    try:
        connection.send(data)
        return connection.until_closed()
    finally:
        connection.close()


def upgrade(port: int, target: str) -> Raw:
    """Open a WebSocket by hand, up to the end of the server's answer."""
    connection = Raw(port)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    connection.send("\r\n".join([*lines, "", ""]).encode())
    answer = connection.until(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return connection


def frame(first: int, payload: bytes = b"", *, masked: bool = True, announced: int | None = None) -> bytes:
    """Return a WebSocket frame.

    :param first: the first byte: FIN, reserved bits, opcode.
    :param announced: the length to claim, if not the payload's.
    """
    length = len(payload) if announced is None else announced
    bit = 0x80 if masked else 0
    if length < 126:
        head = bytes([first, bit | length])
    elif length < 65536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    return head + (bytes(4) if masked else b"") + payload  # masked with zeros
