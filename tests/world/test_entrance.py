"""The bound of TCP connections with real ones: plain, and over TLS."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource

from crowdai_broker.web.site import BoundedSite
from crowdai_broker.web.socketio import SocketIOServer

from .test_redis_tls import certificate_for

POLL = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


class EntranceTests(TestCase):
    timeout = 30

    async def listen(self, endpoint: str) -> int:
        """Serve Socket.IO to at most two connections; return the port."""
        server = SocketIOServer(reactor)
        root = Resource()
        root.putChild(b"socket.io", server.resource)
        site = BoundedSite(root, reactor, max_connections=2)
        self.entrance = site.entrance
        port = await serverFromString(reactor, endpoint).listen(site)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.close()))
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        return int(port.getHost().port)

    def crowd(self, port: int, *, tls: bool) -> list[bytes]:
        """Connect thrice, ask, and return the first lines of the answers; the second one is a WebSocket."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        lines, opened = [], []
        for request in (POLL, UPGRADE, POLL):
            one = socket.create_connection(("127.0.0.1", port), timeout=10)
            opened.append(context.wrap_socket(one) if tls else one)
            opened[-1].sendall(request)
            lines.append(opened[-1].makefile("rb").readline())
        for one in opened:
            one.close()
        return lines

    async def check(self, port: int, *, tls: bool) -> None:
        """Two are let in, one is not; when all are gone there is room again."""
        for _ in range(2):
            lines = await deferToThread(self.crowd, port, tls=tls)
            self.assertEqual([line.split()[1] for line in lines], [b"200", b"101", b"503"])
            while self.entrance.open_now or self.entrance.refused:
                await deferToThread(lambda: None)  # a turn of the reactor, which hears of their end

    async def test_plain(self) -> None:
        """As a participant's program connects."""
        await self.check(await self.listen("tcp:0:interface=127.0.0.1"), tls=False)

    def certificate(self) -> Path:
        """Write a certificate and its key to a file."""
        file, made = Path(self.mktemp()), certificate_for("localhost")
        file.write_bytes(made.dumpPEM() + made.privateKey.dump(FILETYPE_PEM))
        return file

    async def test_tls(self) -> None:
        """The bound holds, and connections are taken over by WebSockets, below TLS as well."""
        file = self.certificate()
        await self.check(
            await self.listen(f"ssl:0:privateKey={file}:certKey={file}:interface=127.0.0.1"), tls=True
        )
