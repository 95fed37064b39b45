"""A server's site over memory transports and a clock: requests and WebSockets without a network."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from zope.interface import directlyProvides

from crowdai_broker.web.engineio import EngineIOServer
from crowdai_broker.web.site import BodyWatcher, BoundedSite
from crowdai_broker.web.socketio import SocketIOServer

#: Seconds between writes that are not to arrive in one piece.
APART = 0.005


class Transport(StringTransport):
    """Remembers that it was aborted, and may be told to close twice, as a real one."""

    def __init__(self, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 54321))
        self.protocol: Any = None
        self.no_delay = False
        self.gone = False
        directlyProvides(self, ITCPTransport)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember it."""
        self.no_delay = enabled

    def unregisterProducer(self) -> None:
        """May be called twice, as on a real one."""
        if self.producer is not None:
            super().unregisterProducer()

    def resumeProducing(self) -> None:
        """A real one that is closing just does nothing."""
        if not self.disconnecting:
            super().resumeProducing()

    def abortConnection(self) -> None:
        """Close at once."""
        self.disconnecting = True
        self.lose()

    def lose(self) -> None:
        """The connection is gone: tell the protocol, once."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[bytes, list[bytes]]
    body: bytes


class Connection:
    """One TCP connection of a client."""

    def __init__(self, site: BoundedSite, address: str = "192.0.2.1") -> None:
        self.transport = Transport(address)
        protocol = site.buildProtocol(self.transport.getPeer())
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Bytes arrive at the server, unless it does not read any more."""
        if not self.transport.gone and self.transport.producerState == "producing":
            self.transport.protocol.dataReceived(data)

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole request; names of headers with ``_`` for ``-``."""
        lines = [f"{method} {target} HTTP/1.1", "Host: broker.test:8080"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))

    @property
    def answered(self) -> bool:
        """Whether anything came back."""
        return bool(self.transport.value())

    def answer(self) -> Answer:
        """The one answer that came back."""
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        self.transport.clear()
        status, *lines = head.split(b"\r\n")
        headers: dict[bytes, list[bytes]] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            headers.setdefault(name.lower(), []).append(value)
        return Answer(int(status.split()[1]), headers, body)

    def fill(self, *, full: bool) -> None:
        """The transport's buffer is full, or has room again."""
        producer = self.transport.producer
        assert producer is not None
        producer.pauseProducing() if full else producer.resumeProducing()

    def lose(self) -> None:
        """The client goes away."""
        self.transport.lose()


class WebSocket(Connection):
    """A client's WebSocket, after its handshake."""

    def __init__(self, site: BoundedSite, target: str, address: str = "192.0.2.1", **headers: str) -> None:
        super().__init__(site, address)
        key = base64.b64encode(b"0123456789abcdef").decode()
        usual = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
        self.request("GET", target, None, {**usual, "Sec_WebSocket_Key": key, **headers})

    def opened(self) -> WebSocket:
        """Check that the handshake was accepted and pass over its answer."""
        head, _, rest = self.transport.value().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.transport.clear()
        self.transport.write(rest)
        return self

    def send_frame(self, data: bytes | str, opcode: int | None = None, *, final: bool = True) -> None:
        """A frame, masked with zeros."""
        if opcode is None:
            opcode = 1 if isinstance(data, str) else 2
        payload = data.encode() if isinstance(data, str) else data
        first = opcode | (0x80 if final else 0)
        if len(payload) < 126:
            head = bytes((first, 0x80 | len(payload)))
        elif len(payload) < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, len(payload))
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
        self.send(head + bytes(4) + payload)

    def frames(self) -> list[bytes | str | tuple[str, int | None]]:
        """What came back: texts, bytes, and closes as ``("close", code)``."""
        data = self.transport.value()
        self.transport.clear()
        found: list[bytes | str | tuple[str, int | None]] = []
        while data:
            opcode, length, at = data[0] & 15, data[1], 2
            if length == 126:
                length, at = int.from_bytes(data[2:4], "big"), 4
            elif length == 127:
                length, at = int.from_bytes(data[2:10], "big"), 10
            payload, data = data[at : at + length], data[at + length :]
            if opcode == 8:
                found.append(("close", int.from_bytes(payload[:2], "big") if payload else None))
            else:
                found.append(payload.decode() if opcode == 1 else payload)
        return found


class Site:
    """A site with one server on it, and its clock."""

    def __init__(self, clock: Clock, **servers: SocketIOServer | EngineIOServer) -> None:
        root = Resource()
        self.clock = clock
        self.site = BoundedSite(root, clock)
        for name, server in servers.items():
            mount = name.replace("_", ".").encode()
            root.putChild(mount, server.resource)
            watcher: BodyWatcher = server.body_watcher
            self.site.add_watcher(b"/%b/" % mount, watcher)

    def connect(self, address: str = "192.0.2.1") -> Connection:
        """A new TCP connection."""
        return Connection(self.site, address)

    def ask(
        self, method: str, target: str, body: bytes | None = None, address: str = "192.0.2.1", **headers: str
    ) -> Answer:
        """A request that is answered at once."""
        connection = self.connect(address)
        connection.request(method, target, body, headers)
        self.clock.advance(0)
        return connection.answer()

    def websocket(self, target: str, address: str = "192.0.2.1", **headers: str) -> WebSocket:
        """A WebSocket after its handshake."""
        socket = WebSocket(self.site, target, address, **headers).opened()
        self.clock.advance(APART)
        return socket
