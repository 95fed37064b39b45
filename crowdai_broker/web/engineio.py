"""An Engine.IO server, protocols 3 and 4, as one resource: polling, WebSocket and the way between them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import IResource
from twisted.web.server import Request

from crowdai_broker.web.connection import Application, Connection, Handshake
from crowdai_broker.web.eio_resource import EngineIOResource
from crowdai_broker.web.observer import Counters, Observer
from crowdai_broker.web.origins import OriginPolicy
from crowdai_broker.web.site import BodyWatcher
from crowdai_broker.web.socketio_settings import SocketIOSettings
from crowdai_broker.web.websocket import ServerSocket, SocketFactory, has_native_helpers
from crowdai_broker.wire.eio_handshake import EioRequest, TransportName
from crowdai_broker.wire.eio_payload import Format
from crowdai_broker.wire.eio_session import EioSession
from crowdai_broker.wire.faults import overloaded, session_unknown

#: 15 random bytes are the 20 URL-safe characters the reference uses; nobody guesses 120 bits.
_SID_BYTES: Final = 15
#: Seconds for the reactor to write the last answers to polls.
_LAST_WRITES: Final = 0.005

AddressOf = Callable[[Request], str]
ApplicationFactory = Callable[[Connection], Application]


def peer_address(request: Request) -> str:
    """The address the TCP connection comes from."""
    return str(getattr(request.getClientAddress(), "host", "local"))


class EngineIOServer:
    """The connections of one URL.

    :param application: makes the application's side of each new connection.
    :param address_of: the client's address, for the bound per address and the handshake; replace it behind
        proxies that are trusted.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        application: ApplicationFactory,
        settings: SocketIOSettings,
        observer: Observer | None = None,
        address_of: AddressOf = peer_address,
    ) -> None:
        self.reactor = reactor
        self.settings = settings
        self.observer: Observer = Counters() if observer is None else observer
        self.origins = OriginPolicy(settings.allowed_origins, cors=settings.cors)
        self.sockets = SocketFactory(reactor, settings.close_timeout, self._check_empty)
        self.address_of = address_of
        self._application = application
        self._session_settings = settings.session()
        self._connections: dict[str, Connection] = {}
        self._addresses: Counter[str] = Counter()
        self._unsettled: dict[Connection, None] = {}
        self._settle_call: IDelayedCall | None = None
        self._closing = False
        self._empty: Deferred[None] | None = None
        self._resource = EngineIOResource(self)
        if not has_native_helpers():
            self._log.warn("Autobahn runs without its native helpers: WebSocket messages cost twice the time")

    @property
    def resource(self) -> IResource:
        """What to mount (``root.putChild(b"engine.io", server.resource)``)."""
        return self._resource

    @property
    def body_watcher(self) -> BodyWatcher:
        """For :meth:`BoundedSite.add_watcher`: refuses POSTs above their bound before they are read."""
        return self._resource.watch

    def __len__(self) -> int:
        """Sessions that exist."""
        return len(self._connections)

    @property
    def is_closing(self) -> bool:
        """Whether :meth:`close` was called: no client may be told anything that keeps it from coming back."""
        return self._closing

    def find(self, sid: str) -> Connection:
        """The connection with this sid.

        :raises HttpRefusal: code 1.
        """
        connection = self._connections.get(sid)
        if connection is None:
            raise session_unknown()
        return connection

    def check_room(self, address: str) -> None:
        """Whether another connection is welcome.

        :raises HttpRefusal: 503 (closing, or too many in all) or 429 (too many from this address).
        """
        settings = self.settings
        if self._closing:
            raise overloaded("Server shutting down")
        if settings.max_connections and len(self._connections) >= settings.max_connections:
            raise overloaded("Too many connections")
        limit = settings.max_connections_per_address
        if limit and self._addresses[address] >= limit:
            raise overloaded("Too many connections from this address", 429)

    def open(self, request: EioRequest, form: Format, handshake: Handshake) -> Connection:
        """Make a session; its transport is still to be attached."""
        transport: TransportName = request.transport
        sid = secrets.token_urlsafe(_SID_BYTES)
        session = EioSession(sid, form, transport, self._session_settings, self.reactor.seconds())
        connection = Connection(self, session, handshake)
        connection.application = self._application(connection)
        self._connections[sid] = connection
        self._addresses[handshake.address] += 1
        self.observer.connected(transport, form.version)
        return connection

    def forget(self, connection: Connection) -> None:
        """The session is over for the client, too."""
        if self._connections.pop(connection.session.sid, None) is None:
            return
        address = connection.handshake.address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        self._check_empty()

    def ended(self, connection: Connection, reason: str) -> None:
        """Count the end of a session."""
        self.observer.disconnected(connection.session.transport, connection.handshake.version, reason)

    def decorate(self, request: Request, form: Format) -> None:
        """Headers that every answer to a poll of this form carries."""
        if form.version == 4:
            request.setHeader(b"Cache-Control", b"no-store")

    # -- one write a turn

    def settle_soon(self, connection: Connection) -> None:
        """Let the connection write what it has at the end of this turn, everything in one go."""
        self._unsettled[connection] = None
        if self._settle_call is None:
            self._settle_call = self.reactor.callLater(0, self._settle_all)

    def _settle_all(self) -> None:
        self._settle_call = None
        unsettled, self._unsettled = self._unsettled, {}
        for connection in unsettled:
            connection.settle()

    # -- the end

    async def close(self) -> None:
        """Refuse new connections, end all, wait for their close at most ``close_timeout``, cut the rest.

        Done when sessions and sockets are gone and the last answers to polls were written.
        """
        self._closing = True
        if self._is_empty():
            return
        for connection in list(self._connections.values()):
            connection.close("server shutting down", may_return=True)
        self._settle_all_now()
        if not self._is_empty():
            self._empty = Deferred()
            call = self.reactor.callLater(self.settings.close_timeout, self._abort_all)
            await self._empty
            if call.active():
                call.cancel()
        await deferLater(self.reactor, _LAST_WRITES)

    def _settle_all_now(self) -> None:
        if self._settle_call is not None:
            self._settle_call.cancel()
            self._settle_all()

    def _abort_all(self) -> None:
        for connection in list(self._connections.values()):
            connection.abort()
        self.sockets.cut_all()

    def _is_empty(self) -> bool:
        return not self._connections and not self.sockets.open_sockets

    def _check_empty(self) -> None:
        if self._empty is not None and self._is_empty():
            empty, self._empty = self._empty, None
            empty.callback(None)

    # -- WebSockets that wait for nobody

    def socket_opened(self, socket: ServerSocket) -> None:
        """A WebSocket whose request names no use for it (polling, a dead sid): accepted, then closed."""
        socket.close(None)

    def socket_message(self, socket: ServerSocket, data: bytes, *, binary: bool) -> None:
        """Nobody listens."""

    def socket_lost(self, socket: ServerSocket) -> None:
        """Nobody minds."""

    def socket_failed(self, socket: ServerSocket) -> None:
        """Nobody minds."""

    def socket_writable(self, socket: ServerSocket, *, writable: bool) -> None:
        """Nobody writes."""
