"""The URL of an Engine.IO server: reads requests, checks them in the reference's order, finds the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.web.pages import notFound
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from crowdai_broker.web import origins
from crowdai_broker.web.answers import answer, answer_refusal
from crowdai_broker.web.connection import Connection, Handshake
from crowdai_broker.web.site import BodyWatch, BoundedRequest, DefaultWatch
from crowdai_broker.web.websocket import ServerSocket
from crowdai_broker.wire.eio_handshake import (
    EioRequest,
    check_handshake,
    check_same_session,
    parse_request,
)
from crowdai_broker.wire.eio_payload import OCTET_TYPE, Format
from crowdai_broker.wire.faults import HttpRefusal, bad_method, bad_request, forbidden

if TYPE_CHECKING:
    from crowdai_broker.web.engineio import EngineIOServer

_OK_TYPE: Final = b"text/html"
_EMPTY_TYPE: Final = b"text/plain"


class EngineIOResource(Resource):
    """See the module's text; the paths below it are served, too, as the reference matches by prefix."""

    isLeaf = True

    def __init__(self, server: EngineIOServer) -> None:
        Resource.__init__(self)
        self._server = server

    def render(self, request: Request) -> Any:
        """Answer one request, whatever is in it."""
        if not request.postpath:  # the reference serves ``/socket.io/`` only
            return notFound().render(request)
        upgrade = _is_upgrade(request)
        try:
            return self._serve(request, upgrade=upgrade)
        except HttpRefusal as refusal:
            self._server.observer.refused(refusal.message)
            if self._server.is_closing and b"sid=" in request.uri:
                # python-engineio 3 stays away for good after a refused POST, and comes back after a lost one.
                request.loseConnection()
            else:
                answer_refusal(request, refusal, upgrade=upgrade)
        return NOT_DONE_YET

    def watch(self, method: bytes, uri: bytes, request: BoundedRequest) -> BodyWatch:
        """How large the body of this request may be (a body watcher of :class:`BoundedSite`)."""
        try:
            if method != b"POST":
                raise bad_method()
            parsed = parse_request(uri.partition(b"?")[2])
            connection = self._server.find(parsed.sid or "")
            check_same_session(parsed, connection.session.form)
            return PostWatch(self, connection, request)
        except HttpRefusal:
            return DefaultWatch(self._server.settings.max_message_bytes)

    # -- requests

    def _serve(self, request: Request, *, upgrade: bool) -> Any:
        origin = origins.origin_of(request)
        allowed = self._server.origins.allows(request, origin)
        if allowed:
            self._server.origins.set_headers(request, origin)
        _spare_old_explorers(request)
        if request.method == b"OPTIONS" and origin is not None and allowed:
            return self._preflight(request)
        parsed = parse_request(request.uri.partition(b"?")[2])
        if origin is not None and not origins.is_valid(origin):
            raise bad_request()
        if not allowed:
            raise forbidden("Origin not allowed")
        return self._upgrade(request, parsed) if upgrade else self._poll(request, parsed)

    def _preflight(self, request: Request) -> Any:
        query = request.uri.partition(b"?")[2]
        version = 3 if b"EIO=3" in query.split(b"&") else 4
        if version == 3 and parse_request(query).sid is None:
            raise bad_method()
        answer(request, origins.set_preflight_headers(request, version), b"", _EMPTY_TYPE)
        return NOT_DONE_YET

    def _upgrade(self, request: Request, parsed: EioRequest) -> Any:
        server = self._server
        max_bytes = server.settings.max_message_bytes
        if parsed.transport == "polling":
            return server.sockets.take_over(request, server, max_bytes)
        if parsed.sid is not None:
            connection = server.find(parsed.sid)
            check_same_session(parsed, connection.session.form)
            return server.sockets.take_over(request, connection, connection.session.max_frame_bytes)
        check_handshake(parsed, request.method)
        handshake = self._handshake(request, parsed)
        server.check_room(handshake.address)
        return server.sockets.take_over(request, _Opening(server, parsed, handshake), max_bytes)

    def _poll(self, request: Request, parsed: EioRequest) -> Any:
        if parsed.sid is None:
            self._open_polling(request, parsed)
            return NOT_DONE_YET
        watch = _watch_of(request)
        if watch is not None:
            watch.check()  # what was wrong with the head has ended the session since
        connection = self._server.find(parsed.sid)
        if parsed.transport != "polling":
            raise bad_request()
        check_same_session(parsed, connection.session.form)
        if request.method == b"GET":
            connection.get(request)
        elif request.method == b"POST":
            self._post(request, connection)
        else:
            answer(request, 500, b"", _EMPTY_TYPE)
        return NOT_DONE_YET

    def _open_polling(self, request: Request, parsed: EioRequest) -> None:
        if request.method != b"GET":
            raise bad_method()
        if parsed.transport != "polling":
            raise bad_request()
        check_handshake(parsed, request.method)
        handshake = self._handshake(request, parsed)
        self._server.check_room(handshake.address)
        connection = self._server.open(parsed, parsed.form, handshake)
        connection.get(request)
        # After the open packet is out: socketIO-client-2 keeps only the first packet of this answer.
        connection.application.opened()
        connection.settle()

    def _post(self, request: Request, connection: Connection) -> None:
        if _watch_of(request) is None:
            connection.session.post_begun()  # a site that does not watch bodies
        assert request.content is not None
        content = request.content.read()
        if len(content) > connection.session.max_post_bytes:
            connection.post_ended(harmless=True)
            raise HttpRefusal(413, None, "Payload too large")
        octets = request.requestHeaders.getRawHeaders(b"Content-Type", [b""])[0] == OCTET_TYPE
        connection.post(content, octets=octets)
        self._server.decorate(request, connection.session.form)
        answer(request, 200, b"ok", _OK_TYPE)

    def _handshake(self, request: Request, parsed: EioRequest) -> Handshake:
        headers = {
            name.decode("latin-1").lower(): ", ".join(value.decode("latin-1") for value in values)
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        version = check_handshake(parsed, b"GET")
        address = self._server.address_of(request)
        return Handshake(headers, parsed.query, address, request.isSecure(), version, parsed.transport)

    def set_cors(self, request: Request) -> None:
        """CORS headers on an answer that is given before the request is complete."""
        origin = origins.origin_of(request)
        if self._server.origins.allows(request, origin):
            self._server.origins.set_headers(request, origin)


class PostWatch:
    """The body of a POST to a session, while it comes in."""

    def __init__(self, resource: EngineIOResource, connection: Connection, request: BoundedRequest) -> None:
        self._resource = resource
        self._connection = connection
        self._refusal: HttpRefusal | None = None
        self.max_bytes = connection.session.max_post_bytes
        try:
            connection.post_begun(request)
        except HttpRefusal as refusal:
            self._refusal = refusal

    def check(self) -> None:
        """Say at last what was wrong with the head.

        :raises HttpRefusal: it overlapped another POST, or the session has moved on.
        """
        if self._refusal is not None:
            raise self._refusal

    def too_big(self, request: Request) -> bool:
        """Protocol 4: 413, the session lives on; protocol 3: the connection is cut, the session over."""
        harmless = self._connection.session.form.version == 4
        if self._refusal is None:
            self._connection.post_ended(harmless=harmless)
        if harmless:
            self._resource.set_cors(request)
        return harmless

    def lost(self) -> None:
        """A POST that breaks off ends its session."""
        if self._refusal is None:
            self._connection.post_ended(harmless=False)


class _Opening:
    """Owner of a WebSocket until its handshake is done: then the session exists."""

    def __init__(self, server: EngineIOServer, parsed: EioRequest, handshake: Handshake) -> None:
        self._server = server
        self._parsed = parsed
        self._handshake = handshake

    def socket_opened(self, socket: ServerSocket) -> None:
        """Make the session and hand the socket over."""
        parsed = self._parsed
        form = Format(parsed.form.version, b64=parsed.form.b64)
        connection = self._server.open(parsed, form, self._handshake)
        socket.give_to(connection)
        connection.begin_on(socket)
        connection.application.opened()
        connection.settle()

    def socket_message(self, socket: ServerSocket, data: bytes, *, binary: bool) -> None:
        """Not before it is open."""

    def socket_lost(self, socket: ServerSocket) -> None:
        """Not before it is open."""

    def socket_failed(self, socket: ServerSocket) -> None:
        """Not before it is open."""

    def socket_writable(self, socket: ServerSocket, *, writable: bool) -> None:
        """Not before it is open."""


def _watch_of(request: Request) -> PostWatch | None:
    watch = getattr(request, "watch", None)
    return watch if isinstance(watch, PostWatch) else None


def _is_upgrade(request: Request) -> bool:
    values = b",".join(request.requestHeaders.getRawHeaders(b"Upgrade", []))
    return any(value.strip().lower() == b"websocket" for value in values.split(b","))


def _spare_old_explorers(request: Request) -> None:
    agent = request.requestHeaders.getRawHeaders(b"User-Agent", [b""])[0]
    if b";MSIE" in agent or b"Trident/" in agent:
        request.setHeader(b"X-XSS-Protection", b"0")
