"""A Socket.IO server for the scenarios: echoes, asks back, says on its standard output who comes and goes.

Started as ``python -m tests.world.clients.server --port N [--ping-interval MS] [--ping-timeout MS]``. Lines:
``{"saw": "connect", "nsp", "sid", "protocol"}`` and
``{"saw": "disconnect", "nsp", "sid", "reason", "transport"}``.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import Resource

from crowdai_broker.web.site import BoundedSite
from crowdai_broker.web.socketio import IncomingEvent, Socket, SocketIOServer, SocketIOSettings


def say(saw: str, socket: Socket, **more: object) -> None:
    """Write one line."""
    line = {"saw": saw, "nsp": socket.namespace, "sid": socket.sid, **more}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def greet(socket: Socket, auth: dict[str, Any]) -> None:
    """Tell of the newcomer, and show it what it sent along."""
    say("connect", socket, protocol=socket.handshake.version)
    socket.emit("auth", auth)


def told(socket: Socket, reason: str) -> None:
    """Tell who is gone."""
    say("disconnect", socket, reason=reason, transport=socket.transport_name)


def echo(event: IncomingEvent) -> None:
    """Send the arguments back."""
    event.socket.emit("message-back", *event.args)


def acknowledge(event: IncomingEvent) -> None:
    """Acknowledge with the arguments."""
    event.ack(*event.args)


async def ask_back(event: IncomingEvent) -> None:
    """Ask the client with the arguments, and send it what it acknowledged."""
    answer = await event.socket.call("question", *event.args)
    event.socket.emit("answered", *answer)


def put_out(event: IncomingEvent) -> None:
    """Put the client out of this namespace."""
    event.socket.disconnect()


def serve(server: SocketIOServer, name: str) -> None:
    """Set up one namespace."""
    namespace = server.namespace(name)
    namespace.on_connect(greet)
    namespace.on_disconnect(told)
    namespace.on("message", echo)
    namespace.on("message-with-ack", acknowledge)
    namespace.on("ask-me", ask_back)
    namespace.on("put-me-out", put_out)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ping-interval", type=int, default=25_000, help="milliseconds")
    parser.add_argument("--ping-timeout", type=int, default=20_000, help="milliseconds")
    options = parser.parse_args()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    reactor: Any = default_reactor
    interval, timeout = options.ping_interval / 1000, options.ping_timeout / 1000
    server = SocketIOServer(reactor, SocketIOSettings(ping_interval=interval, ping_timeout=timeout))
    serve(server, "/")
    serve(server, "/custom")
    root = Resource()
    root.putChild(b"socket.io", server.resource)
    site = BoundedSite(root, reactor)
    site.add_watcher(b"/socket.io/", server.body_watcher)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.close()))
    reactor.listenTCP(options.port, site, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main()
