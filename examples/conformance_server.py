"""The server that the public Engine.IO and Socket.IO conformance suites are run against.

``/engine.io/`` echoes every message with its type. ``/socket.io/`` has the namespaces ``/`` and ``/custom``;
each emits ``auth`` with what the client sent along, and ``/`` answers ``message`` with ``message-back`` and
acknowledges ``message-with-ack``, both with the same arguments, and asks for an acknowledgement itself after
``emit-with-ack``.

    python examples/conformance_server.py --port 3000 --ping-interval 300 --ping-timeout 200
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource

from crowdai_broker.web.connection import Connection
from crowdai_broker.web.engineio import EngineIOServer
from crowdai_broker.web.site import BoundedSite
from crowdai_broker.web.socketio import IncomingEvent, Socket, SocketIOServer, SocketIOSettings
from crowdai_broker.wire.eio_packet import Packet, PacketType


class Echo:
    """An Engine.IO application that sends everything back."""

    deadline: float | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def opened(self) -> None:
        """No greeting."""

    def message(self, data: bytes, *, binary: bool) -> None:
        """Send it back."""
        self._connection.send([Packet(PacketType.MESSAGE, data, binary)])

    def closed(self, reason: str) -> None:
        """Nothing is kept."""

    def tick(self, now: float) -> None:
        """Nothing is timed."""


def send_auth(socket: Socket, auth: dict[str, Any]) -> None:
    """Show the client what it sent along."""
    socket.emit("auth", auth)


def echo(event: IncomingEvent) -> None:
    """Send the arguments back."""
    event.socket.emit("message-back", *event.args)


def acknowledge(event: IncomingEvent) -> None:
    """Acknowledge with the arguments."""
    event.ack(*event.args)


def emit_with_ack(event: IncomingEvent) -> None:
    """Ask the client for an acknowledgement, and show it what came."""
    socket = event.socket
    socket.emit("emit-with-ack", *event.args, on_ack=lambda args: socket.emit("emit-with-ack", *args))


def make_site(reactor: Any, settings: SocketIOSettings) -> BoundedSite:
    """Both servers on one site."""
    engine = EngineIOServer(reactor, Echo, settings)
    server = SocketIOServer(reactor, settings)
    for name in ("/", "/custom"):
        server.namespace(name).on_connect(send_auth)
    server.namespace("/").on("message", echo)
    server.namespace("/").on("message-with-ack", acknowledge)
    server.namespace("/").on("emit-with-ack", emit_with_ack)
    root = Resource()
    root.putChild(b"engine.io", engine.resource)
    root.putChild(b"socket.io", server.resource)
    site = BoundedSite(root, reactor)
    site.add_watcher(b"/engine.io/", engine.body_watcher)
    site.add_watcher(b"/socket.io/", server.body_watcher)
    for closing in (engine, server):
        reactor.addSystemEventTrigger("before", "shutdown", partial(_close, closing))
    return site


def _close(server: EngineIOServer | SocketIOServer) -> Deferred[None]:
    return Deferred.fromCoroutine(server.close())


def main() -> None:
    """Read the command line and serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=3000, help="0: the system chooses")
    parser.add_argument("--ping-interval", type=int, default=300, help="milliseconds")
    parser.add_argument("--ping-timeout", type=int, default=200, help="milliseconds")
    options = parser.parse_args()
    settings = SocketIOSettings(
        ping_interval=options.ping_interval / 1000,
        ping_timeout=options.ping_timeout / 1000,
        connect_timeout=1.0,
        allowed_origins=("*",),
    )
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    reactor: Any = default_reactor
    port = reactor.listenTCP(options.port, make_site(reactor, settings), interface="127.0.0.1")
    print(f"listening on {port.getHost().port}", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
