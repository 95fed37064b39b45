"""The WebSocket end: Autobahn reads, closes and shakes hands; we write frames and watch its corners.

What Autobahn 26.10 leaves to us, each measured:

* Nagle's algorithm stays on (its ``tcpNoDelay`` option is read too early, the error swallowed): set in
  ``onOpen``;
* exceptions in ``onConnect``/``onOpen`` end in a Deferred nobody looks at: caught and logged here;
* the closing handshake is timed by a global reactor: timed here, on ours, and then cut;
* a message of many empty fragments grows a list without bound: empty ones are not kept;
* every ping is answered, read or not: while pongs are not, only the latest is (RFC 6455, section 5.5.3);
* a peer that breaks the rules is sent its close code, and the rest is up to that peer: we tell and cut;
* each received message passes three debug calls and an observer nobody registered: overridden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import autobahn.websocket.protocol as autobahn_protocol
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionRequest
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from crowdai_broker.web.site import BoundedChannel

NATIVE: Final = "autobahn.nvx"


class SocketOwner(Protocol):
    """Whoever a WebSocket belongs to; asked on the socket's own events."""

    def socket_opened(self, socket: ServerSocket) -> None:
        """The handshake is done, frames may be written."""

    def socket_message(self, socket: ServerSocket, data: bytes, *, binary: bool) -> None:
        """A whole message came in."""

    def socket_lost(self, socket: ServerSocket) -> None:
        """The connection is gone; told once, and only after :meth:`socket_opened`."""

    def socket_failed(self, socket: ServerSocket) -> None:
        """A frame broke the rules; a close frame is sent, and the connection will be cut."""

    def socket_writable(self, socket: ServerSocket, *, writable: bool) -> None:
        """The transport's buffer is full, or has room again."""


@implementer(IPushProducer)
class _Gate:
    """Hears from the transport when its buffer is full."""

    def __init__(self, socket: ServerSocket) -> None:
        self._socket = socket

    def pauseProducing(self) -> None:
        """Too much is waiting in the transport."""
        self._socket.set_writable(writable=False)

    def resumeProducing(self) -> None:
        """It has drained."""
        self._socket.set_writable(writable=True)

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` says so, too."""


class ServerSocket(WebSocketServerProtocol):  # type: ignore[misc]
    """One accepted WebSocket connection of an owner."""

    _log = Logger()
    _owner: SocketOwner
    _clock: IReactorTime
    _close_timeout: float
    _opened = False
    _writable = True
    _unanswered: bytes | None = None
    _left: Callable[[], None] | None = None
    _abort_call: IDelayedCall | None = None

    def bind(self, owner: SocketOwner, clock: IReactorTime, close_timeout: float) -> None:
        """Give the socket its owner; ``close_timeout`` in seconds."""
        self._owner = owner
        self._clock = clock
        self._close_timeout = close_timeout

    # -- what the owner does

    def when_gone(self, left: Callable[[], None]) -> None:
        """Tell whoever had the connection before."""
        self._left = left

    def give_to(self, owner: SocketOwner) -> None:
        """Another owner from now on."""
        self._owner = owner

    def limit(self, max_bytes: int) -> None:
        """Bound of one message from the peer; a larger one closes with 1009."""
        self.maxMessagePayloadSize = max_bytes

    def write_frames(self, data: bytes) -> None:
        """Write whole frames, already encoded."""
        if self.state == self.STATE_OPEN:
            self.transport.write(data)

    def close(self, code: int | None) -> None:
        """Begin the closing handshake; after ``close_timeout`` the connection is cut."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code)
        self._cut_later()

    def hang_up(self) -> None:
        """Close the connection without a close frame, once what was written is out."""
        self.transport.loseConnection()
        self._cut_later()

    def cut(self) -> None:
        """Drop the connection at once."""
        self.transport.abortConnection()

    def set_writable(self, *, writable: bool) -> None:
        """Pass the transport's word on to the owner."""
        self._writable = writable
        if self._opened:
            self._owner.socket_writable(self, writable=writable)
        if writable and self._unanswered is not None:
            payload, self._unanswered = self._unanswered, None
            self.sendPong(payload)

    # -- what Autobahn calls

    def onConnect(self, _request: ConnectionRequest) -> None:
        """Accept: everything was checked before Autobahn saw the request."""

    def onOpen(self) -> None:
        """Frames may flow."""
        try:
            self._prepare_transport()
            self._opened = True
            self._owner.socket_opened(self)
        except Exception:  # noqa: BLE001 - Autobahn would lose it
            self._log.failure("a WebSocket could not be opened")
            self.cut()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A whole message, its text valid UTF-8."""
        try:
            self._owner.socket_message(self, payload, binary=isBinary)
        except Exception:  # noqa: BLE001 - the reactor would drop the connection without our word
            self._log.failure("a WebSocket message could not be handled")
            self.close(1011)

    def onMessageBegin(self, isBinary: bool) -> None:
        """Collect in one piece instead of a list of fragments."""
        self.message_is_binary = isBinary
        self.message_data = bytearray()
        self.message_data_total_length = 0

    def onMessageFrameData(self, payload: bytes) -> None:
        """A part of a frame."""
        if not self.failedByMe:
            self.message_data += payload

    def onMessageFrameEnd(self) -> None:
        """Nothing to do: the parts are already where they belong."""

    def onMessageEnd(self) -> None:
        """The message is complete."""
        data, self.message_data = self.message_data, bytearray()
        if not self.failedByMe and self._opened:
            self.onMessage(bytes(data), self.message_is_binary)

    def onPing(self, payload: bytes) -> None:
        """Answer it, or when there is room again if no later one has come by then."""
        if self._writable:
            self.sendPong(payload)
        else:
            self._unanswered = payload

    def dataReceived(self, data: bytes) -> None:
        """Skip the logging around it."""
        self._dataReceived(data)

    def connectionMade(self) -> None:
        """The transport is ours."""
        self.factory.open_sockets.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The transport is gone."""
        self._stop_clock()
        if self._left is not None:
            self._left()
        self.factory.open_sockets.discard(self)
        super().connectionLost(Failure(ConnectionDone()) if reason is None else reason)
        if self._opened:
            self._opened = False
            self._owner.socket_lost(self)
        self.factory.socket_gone()

    def _closeConnection(self, abort: bool = False) -> None:
        # A reset could overtake what the peer has not read yet; wait for it, but not for long.
        self.hang_up()

    def _fail_connection(self, *args: Any, **kwargs: Any) -> None:
        first = self.state == self.STATE_OPEN
        super()._fail_connection(*args, **kwargs)
        if first and self._opened:
            self._cut_later()
            self._owner.socket_failed(self)

    # -- inside

    def _prepare_transport(self) -> None:
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
        transport.unregisterProducer()  # the HTTP channel's
        transport.registerProducer(_Gate(self), True)

    def _cut_later(self) -> None:
        if self._abort_call is None:
            self._abort_call = self._clock.callLater(self._close_timeout, self._time_is_up)

    def _time_is_up(self) -> None:
        self._abort_call = None
        self.cut()

    def _stop_clock(self) -> None:
        call, self._abort_call = self._abort_call, None
        if call is not None:
            call.cancel()


ServerSocket.log.set_log_level("error")  # a peer's bad frames are counted, not logged


class SocketFactory(WebSocketServerFactory):  # type: ignore[misc]
    """Makes :class:`ServerSocket` out of upgrade requests of ``twisted.web``.

    :param socket_gone: called when one is gone, and has told its owner.
    :ivar open_sockets: those whose connections are not gone yet.
    """

    def __init__(self, reactor: IReactorTime, close_timeout: float, socket_gone: Callable[[], None]) -> None:
        super().__init__(reactor=reactor, server="")
        self.open_sockets: set[ServerSocket] = set()
        self.socket_gone = socket_gone
        self._clock = reactor
        self._close_timeout = close_timeout
        self.setProtocolOptions(
            webStatus=False,
            failByDrop=False,  # a peer's mistake gets a close code
            openHandshakeTimeout=0,  # the request is complete before we see it
            closeHandshakeTimeout=0,  # ours, on our clock
        )

    def take_over(self, request: Request, owner: SocketOwner, max_bytes: int) -> Any:
        """Answer an upgrade request; the connection is the owner's from then on."""
        request.requestHeaders.removeHeader(b"Origin")  # checked; Autobahn would read it its own way
        socket = self.build(owner, max_bytes)
        if isinstance(request.channel, BoundedChannel):
            socket.when_gone(request.channel.hand_over())
        return WebSocketResource(_Builder(socket)).render(request)

    def cut_all(self) -> None:
        """Drop all connections."""
        for socket in list(self.open_sockets):
            socket.cut()

    def build(self, owner: SocketOwner, max_bytes: int) -> ServerSocket:
        """A socket that waits for its connection."""
        socket = ServerSocket()
        socket.factory = self
        socket.maxMessagePayloadSize = max_bytes
        socket.bind(owner, self._clock, self._close_timeout)
        return socket


class _Builder:
    """The part of a factory that ``WebSocketResource`` asks."""

    def __init__(self, socket: ServerSocket) -> None:
        self._socket = socket

    def buildProtocol(self, _address: IAddress) -> ServerSocket:
        """The one socket."""
        return self._socket


def has_native_helpers() -> bool:
    """Whether Autobahn's C helpers (masking, UTF-8) are in use; without them a message costs double."""
    validator = autobahn_protocol.Utf8Validator
    masker = autobahn_protocol.create_xor_masker
    return all(NATIVE in helper.__module__ or "_nvx" in helper.__module__ for helper in (validator, masker))
