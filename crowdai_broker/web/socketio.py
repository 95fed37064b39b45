"""A Socket.IO server for Twisted: protocols 4 (clients 1.x, 2.x) and 5 (3.x, 4.x), usable on its own.

::

    server = SocketIOServer(reactor)
    chat = server.namespace("/")

    @chat.on("message")
    async def message(event: IncomingEvent) -> None:
        event.ack("got it")
        server.to("everybody").emit("message", event.socket.sid, *event.args)

    @chat.on_connect
    def connected(socket: Socket, auth: dict) -> None:
        socket.join("everybody")

    root = Resource()
    root.putChild(b"socket.io", server.resource)
    site = BoundedSite(root, reactor)
    site.add_watcher(b"/socket.io/", server.body_watcher)
    reactor.listenTCP(3000, site)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from crowdai_broker.web.connection import Connection, Handshake
from crowdai_broker.web.engineio import AddressOf, EngineIOServer, peer_address
from crowdai_broker.web.observer import Counters, Observer
from crowdai_broker.web.sio_namespace import ConnectionRefused, Namespace
from crowdai_broker.web.sio_session import SioSession
from crowdai_broker.web.sio_socket import AckTimeout, IncomingEvent, Socket
from crowdai_broker.web.site import BodyWatcher
from crowdai_broker.web.socketio_settings import SocketIOSettings
from crowdai_broker.wire.eio_packet import Packet
from crowdai_broker.wire.sio_packet import SioType, encode_values

__all__ = [
    "AckTimeout",
    "ConnectionRefused",
    "Handshake",
    "IncomingEvent",
    "Namespace",
    "Room",
    "Socket",
    "SocketIOServer",
    "SocketIOSettings",
]


class SocketIOServer:
    """The server of one URL.

    :param observer: told what is worth counting; by default a ``Counters`` of the server's own.
    :param address_of: the client's address for a request; by default the TCP peer's.
    :ivar namespaces: those that exist, by name.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        settings: SocketIOSettings | None = None,
        *,
        observer: Observer | None = None,
        address_of: AddressOf = peer_address,
    ) -> None:
        self.reactor = reactor
        self.settings = SocketIOSettings() if settings is None else settings
        self.observer: Observer = Counters() if observer is None else observer
        self.namespaces: dict[str, Namespace] = {}
        self._engine = EngineIOServer(reactor, self._session, self.settings, self.observer, address_of)

    @property
    def resource(self) -> IResource:
        """What to mount at ``socket.io``."""
        return self._engine.resource

    @property
    def body_watcher(self) -> BodyWatcher:
        """For :meth:`BoundedSite.add_watcher`; without it a body is read to its end before it is refused."""
        return self._engine.body_watcher

    @property
    def connections(self) -> int:
        """How many connections (Engine.IO sessions) there are."""
        return len(self._engine)

    def namespace(self, name: str) -> Namespace:
        """Accept a namespace (or find it again); clients that ask for others get ``Invalid namespace``."""
        return self.namespaces.setdefault(name, Namespace(name))

    def to(self, room: str, namespace: str = "/") -> Room:
        """Everybody in a room."""
        return Room(self.namespace(namespace), room)

    async def close(self) -> None:
        """Refuse new clients, close all connections, wait at most ``close_timeout`` for it, cut the rest.

        No namespace is sent its DISCONNECT: clients would take it as put out on purpose and not come back.
        """
        await self._engine.close()

    def _session(self, connection: Connection) -> SioSession:
        return SioSession(self, connection)


class Room:
    """The clients in a room at the moment of each call."""

    def __init__(self, namespace: Namespace, room: str) -> None:
        self._namespace = namespace
        self._room = room

    def emit(self, name: str, *args: Any, skip: Iterable[Socket] = ()) -> None:
        """Send an event to all of them but those to ``skip``; it is encoded once.

        :raises TypeError: an argument is no JSON.
        """
        encoded: dict[bool, list[Packet]] = {}
        left_out = set(skip)
        for socket in self._namespace.members(self._room):
            if socket in left_out:
                continue
            ascii_only = socket.ascii_json
            if ascii_only not in encoded:
                values = [name, *args]
                encoded[ascii_only] = encode_values(
                    SioType.EVENT, self._namespace.name, values, ascii_only=ascii_only
                )
            socket.send_packets(encoded[ascii_only])
