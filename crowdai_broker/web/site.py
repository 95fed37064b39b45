"""A ``twisted.web`` site that refuses bodies before it has read them.

``twisted.web`` reads a body of any size to a temporary file and only then asks a resource. Here whoever
serves a path is asked with the head of the request how much it takes (:class:`BodyWatch`); a body above that
is answered 413 or cut at once, read no further than needed, never stored, and has a time to be complete in.
This is for every route, not only Socket.IO's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast
from typing import Protocol as Interface

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from crowdai_broker.web.entrance import Entrance, Refusal

#: After an early 413 the rest of the body is read and dropped (a client that is still sending would otherwise
#: see a reset instead of the answer), but no more of it than this, and no longer than the time below.
LINGER_BYTES: Final = 8_000_000
LINGER_SECONDS: Final = 5.0
#: Bytes per second that a large body must come in with, beside the time that every body has.
MIN_BODY_RATE: Final = 16_000


class BodyWatch(Interface):
    """What the server of a path wants to know of a body that is coming in.

    :ivar max_bytes: the largest body, inclusive.
    """

    max_bytes: int

    def too_big(self, request: Request) -> bool:
        """The body is larger; ``True``: answer 413 (headers may be set), ``False``: cut the connection."""

    def lost(self) -> None:
        """The connection is gone, or time is up, before the body was complete."""


#: Asked with method and URI of a request (and the request, of which only the headers are there yet).
BodyWatcher = Callable[[bytes, bytes, "BoundedRequest"], BodyWatch]


class DefaultWatch:
    """For paths nobody watches: 413 above a fixed bound."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes

    def too_big(self, _request: Request) -> bool:
        """Answer 413."""
        return True

    def lost(self) -> None:
        """Nobody cares."""


class BoundedRequest(Request):
    """A request whose body is counted while it comes in."""

    watch: BodyWatch | None = None
    refusal = b""  #: body of the 413; its watch may set another, and headers with it
    _received = 0
    _refused = False
    _limit_call: IDelayedCall | None = None

    def gotLength(self, length: int | None) -> None:
        """The head is complete; ``length`` is ``None`` for a chunked body."""
        Request.gotLength(self, length if length is None or length < LINGER_BYTES else None)
        if length == 0:
            return
        site = self._site()
        self.method, self.uri = self._request_line()
        self.path = self.uri.partition(b"?")[0]
        self.watch = site.watch(self.method, self.uri, self)
        largest = self.watch.max_bytes if length is None else length
        self._limit_call = site.reactor.callLater(site.body_timeout + largest / MIN_BODY_RATE, self._cut)
        if length is not None and length > self.watch.max_bytes:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Count, and keep only what is within the bound."""
        self._received += len(data)
        if self._refused:
            if self._received > LINGER_BYTES:
                self._cut()
        elif self.watch is not None and self._received > self.watch.max_bytes:
            self._refuse()
        else:
            Request.handleContentChunk(self, data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete: serve it, or finish what was refused."""
        self._stop_clock()
        if self._refused:
            channel = self.channel
            Request.finish(self)
            channel.loseConnection()
        else:
            Request.requestReceived(self, command, path, version)

    def connectionLost(self, reason: Failure) -> None:
        """Tell whoever waits for the body."""
        unfinished = self._limit_call is not None and not self._refused
        self._stop_clock()
        if unfinished and self.watch is not None:
            self.watch.lost()
        Request.connectionLost(self, reason)

    def cut(self) -> None:
        """Drop the connection at once, whatever is on its way."""
        self._cut()

    def _request_line(self) -> tuple[bytes, bytes]:
        # The request line is handed over with the complete body only; until then the channel keeps it.
        return self.channel._command, self.channel._path

    def _site(self) -> BoundedSite:
        return cast("BoundedSite", cast("Any", self.channel).site)

    def _refuse(self) -> None:
        assert self.watch is not None
        self._refused = True
        if not self.watch.too_big(self):
            self._cut()
            return
        self.clientproto = b"HTTP/1.1"
        self.setResponseCode(http.REQUEST_ENTITY_TOO_LARGE)
        Request.setHeader(self, b"Content-Length", b"%d" % len(self.refusal))
        Request.setHeader(self, b"Connection", b"close")
        Request.write(self, self.refusal)
        self._stop_clock()
        self._limit_call = self._site().reactor.callLater(LINGER_SECONDS, self._cut)

    def _cut(self) -> None:
        self._limit_call, call = None, self._limit_call
        if call is not None and call.active():
            call.cancel()
        if not self._refused and self.watch is not None:
            self._refused = True
            self.watch.lost()
        transport = cast("Any", self.channel).transport
        if transport is not None:
            transport.abortConnection()

    def _stop_clock(self) -> None:
        self._limit_call, call = None, self._limit_call
        if call is not None and call.active():
            call.cancel()


class BoundedChannel(http.HTTPChannel):
    """Twisted's channel, with a time for the head of a request and no way to answer one with a traceback."""

    _head_begun = False
    _counted = False

    def connectionMade(self) -> None:
        """Count the connection."""
        self._counted = True
        self._entrance().enter()
        http.HTTPChannel.connectionMade(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone, unless it is no longer ours to say."""
        if self._counted:
            self._counted = False
            self._entrance().leave()
        http.HTTPChannel.connectionLost(self, reason)

    def hand_over(self) -> Callable[[], None]:
        """The connection is not HTTP's any more: whoever takes it calls what this returns when it is gone."""
        self._counted = False
        return self._entrance().leave

    def dataReceived(self, data: bytes) -> None:
        """Count the idle time from the first byte of a head on, not from each: heads do not come in drips."""
        if not (self.line_mode and self._head_begun):
            http.HTTPChannel.resetTimeout(self)
        self._head_begun = bool(self.line_mode)
        LineReceiver.dataReceived(self, data)

    def allHeadersReceived(self) -> None:
        """The head is complete."""
        self._head_begun = False
        http.HTTPChannel.allHeadersReceived(self)

    def _entrance(self) -> Entrance:
        return cast("BoundedSite", cast("Any", self).site).entrance

    def headerReceived(self, line: bytes) -> bool:
        """A Content-Length of thousands of digits is a bad request, not our error."""
        try:
            return bool(http.HTTPChannel.headerReceived(self, line))
        except ValueError:
            http.HTTPChannel._respondToBadRequestAndDisconnect(self)
            return False


class BoundedSite(Site):
    """The site.

    :param max_body_bytes: for paths that nobody watches.
    :param body_timeout: seconds for a whole body; large ones have more, by :data:`MIN_BODY_RATE`.
    :param timeout: seconds for the head of a request, and between two requests.
    :param max_connections: of TCP, idle ones and WebSockets too; 0: no limit. Further ones are answered 503.
    """

    requestFactory = BoundedRequest

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        *,
        max_body_bytes: int = 1_000_000,
        body_timeout: float = 60.0,
        timeout: float = 60.0,
        max_connections: int = 0,
    ) -> None:
        Site.__init__(self, resource, reactor=reactor, timeout=timeout)
        self.entrance = Entrance(reactor, max_connections)
        self.displayTracebacks = False
        self.body_timeout = body_timeout
        self._default = DefaultWatch(max_body_bytes)
        self._watchers: dict[bytes, BodyWatcher] = {}

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # type: ignore[override]
        """HTTP, or one that says that there is no room."""
        if not self.entrance.has_room:
            return Refusal(self.entrance)
        return cast("Protocol", Site.buildProtocol(self, addr))

    def protocol(self) -> BoundedChannel:  # type: ignore[override]
        """HTTP/1.1 only: a WebSocket needs the connection for itself."""
        return BoundedChannel()  # type: ignore[no-untyped-call]

    def log(self, request: http.Request) -> None:
        """Keep no access log: query strings hold session ids, and polls would be all there is to read."""

    def add_watcher(self, prefix: bytes, watcher: BodyWatcher) -> None:
        """Ask this one about bodies for paths that begin with ``prefix`` (``b"/socket.io/"``)."""
        self._watchers[prefix] = watcher

    def watch(self, method: bytes, uri: bytes, request: BoundedRequest) -> BodyWatch:
        """Who watches the body of this request."""
        for prefix, watcher in self._watchers.items():
            if uri.startswith(prefix):
                return watcher(method, uri, request)
        return self._default
