"""The small webapp on HTTP: one resource that finds the call, meets the planned fault, and answers."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .webapp_api import Api, Call, Handler, Reply, page, reply, routes
from .webapp_control import Control
from .webapp_faults import AFTER, Fault, Faults, Planned
from .webapp_files import MAX_FILE

log = Logger()

MAX_SEEN = 10_000  # requests remembered

_TOKEN = re.compile(r'Token token="?([^"]*)"?')


class Seen(Struct, frozen=True):
    """A request that came: for assertions about what a broker sends, and what it does not."""

    call: str
    method: str
    path: str
    query: str
    content_type: str
    authorization: str
    body: bytes


def abort(request: Request) -> None:
    """Close the connection of a request at once."""
    transport: Any = request.channel.transport
    transport.abortConnection()


class BoundedRequest(Request):
    """A request whose body ends the connection where it grows beyond the largest file allowed."""

    _received = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Count, then keep."""
        self._received += len(data)
        if self._received > MAX_FILE:
            abort(self)
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Serve it, unless its end came with the bytes that were too many."""
        if self._received <= MAX_FILE:
            super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]


def _header(request: Request, name: str) -> str:
    return (request.getHeader(name) or "").strip()


def _token(request: Request) -> str:
    match = _TOKEN.fullmatch(_header(request, "authorization"))
    return match[1] if match else ""


def _params(request: Request, query: str, body: bytes) -> dict[str, Any]:
    """Return query, form and JSON members together, as Rails does; a body that is not read is none."""
    params: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    kind = _header(request, "content-type").partition(";")[0].lower()
    if kind == "application/x-www-form-urlencoded":
        params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    elif kind == "application/json" and body:
        content = msgspec.json.decode(body)
        params.update(content if isinstance(content, dict) else {"_json": content})
    return params


class WebappResource(Resource):
    """Answers every path.

    :ivar seen: the newest :data:`MAX_SEEN` requests.
    :ivar counts: requests by name of the call.
    """

    isLeaf = True

    def __init__(self, reactor: Any, api: Api, faults: Faults) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: deque[Seen] = deque(maxlen=MAX_SEEN)
        self.counts: Counter[str] = Counter()
        self._reactor = reactor
        self._faults = faults
        self._routes = routes(api)
        self.control: Control | None = None
        self._expected: list[tuple[str, Deferred[None]]] = []

    def arrival(self, call: str) -> Deferred[None]:
        """Return what fires when the next request of that call is there, before it is answered."""
        expected: Deferred[None] = Deferred()
        self._expected.append((call, expected))
        return expected

    def render(self, request: Request) -> int:
        """Answer in its own time; what goes wrong on the way is a 500, as with Rails."""
        working = Deferred.fromCoroutine(self._serve(request))
        request.notifyFinish().addErrback(lambda _: working.cancel())
        working.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _failed(self, failure: Any, request: Request) -> None:
        if failure.check(CancelledError):
            return
        log.failure("the small webapp failed", failure)
        _send(request, page(500, "We're sorry, but something went wrong."))

    async def _serve(self, request: Request) -> None:
        path, _, query = request.uri.decode("ascii", "replace").partition("?")
        body = request.content.read() if request.content is not None else b""
        if self.control is not None and path.startswith("/_control/"):
            peer = request.getClientAddress()
            host = peer.host if isinstance(peer, (IPv4Address, IPv6Address)) else ""
            method = request.method.decode("ascii", "replace")
            _send(request, self.control.answer(method, path, body, host))
            return
        name, handler, args = self._find(request.method.decode("ascii", "replace"), path)
        self._remember(request, name, path, query, body)

        def work() -> Reply:
            try:
                params = _params(request, query, body)
            except msgspec.DecodeError:
                return page(400, "Bad Request")
            return handler(Call(args, _token(request), params, body))

        planned = self._faults.take(name)
        if planned is None:
            _send(request, work())
        else:
            await self._meet(request, planned, work)

    def _find(self, method: str, path: str) -> tuple[str, Handler, tuple[str, ...]]:
        for wanted, pattern, name, handler in self._routes:
            match = pattern.fullmatch(path) if wanted == method else None
            if match is not None:
                return name, handler, tuple(unquote(each) for each in match.groups())
        return "nowhere", lambda _: page(404, "The page you were looking for doesn't exist."), ()

    def _remember(self, request: Request, name: str, path: str, query: str, body: bytes) -> None:
        self.counts[name] += 1
        self.seen.append(
            Seen(
                name,
                request.method.decode("ascii", "replace"),
                path,
                query,
                _header(request, "content-type"),
                _header(request, "authorization"),
                body if len(body) < 100_000 else b"",
            )
        )
        due = [expected for call, expected in self._expected if call == name]
        self._expected = [each for each in self._expected if each[0] != name]
        for expected in due:
            self._reactor.callLater(0, expected.callback, None)

    async def _meet(self, request: Request, planned: Planned, work: Callable[[], Reply]) -> None:
        """Answer a request as the fault has it; a work that comes after a wait is done after it."""
        fault, seconds = planned.fault, planned.seconds
        done = work() if fault in AFTER else None
        if fault is Fault.SLOW:
            await deferLater(self._reactor, seconds)
        elif fault in (Fault.HANG, Fault.HANG_AFTER):
            await self._faults.hang()
        elif fault in (Fault.DROP, Fault.DROP_AFTER):
            abort(request)
            return
        _send(request, _spoilt(fault, seconds, done) or done or work())


def _spoilt(fault: Fault, seconds: float, done: Reply | None) -> Reply | None:
    """Return the wrong answer of a fault that has one."""
    wait = {"Retry-After": f"{seconds:g}"}
    busy = page(503, "Service Unavailable")
    table = {
        Fault.ERROR: page(500, "We're sorry, but something went wrong."),
        Fault.ERROR_AFTER: page(500, "We're sorry, but something went wrong."),
        Fault.EMPTY: Reply(502, b"", "text/html"),
        Fault.DENIED: Reply(401, b"HTTP Token: Access denied.\n", "text/plain; charset=utf-8"),
        Fault.TOO_MANY: Reply(429, reply(429, {"message": "Retry later"}).body, headers=wait),
        Fault.BUSY: Reply(503, busy.body, busy.content_type, wait),
        Fault.MISSING: page(404, "The page you were looking for doesn't exist."),
        Fault.GARBAGE: Reply(done.status if done else 200, b'{"message": "Partici'),
    }
    return table.get(fault)


def _send(request: Request, answer: Reply) -> None:
    if request.finished or request._disconnected:
        return
    request.setResponseCode(answer.status)
    request.setHeader("Content-Type", answer.content_type)
    request.setHeader("Content-Length", str(len(answer.body)))
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    request.write(answer.body)
    request.finish()
