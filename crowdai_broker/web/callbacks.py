"""``POST /graders/events/<capability>``: what a grader on HTTP says of the attempt whose capability it has.

The body is one event as JSON, or a list of events in order. Answers: 200; 400 for what is no event; 404 for
a capability that is none; 410 once the attempt is over; 413 for too much; 503 while the events cannot be
stored, then they are to be sent again. The path holds the capability, so it is in no log.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ..core.capabilities import Capabilities
from ..core.relay import Relay
from ..errors import StoreUnavailable
from ..interfaces import Spawn
from .answers import answer

MAX_EVENTS: Final = 256  # events of one request
RETRY_AFTER: Final = b"5"  # s

NO_EVENT = "The body must be one event, a JSON object, or a list of events."
TOO_MANY = f"One request may bring {MAX_EVENTS} events."
UNKNOWN = "No attempt has this address."
OVER = "This attempt is over; nothing more is heard of it."
NOT_STORED = "The events could not be stored; send them again in a few seconds."
BROKEN = "The broker failed to handle this; its operators were told."

_one = msgspec.json.Decoder(dict[str, msgspec.Raw])
_many = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_parts = msgspec.json.Decoder(list[msgspec.Raw])


class NoEvents(Exception):
    """The body is neither an event nor a list of events."""


def read_events(body: bytes) -> list[bytes]:
    """Return the events of a body, each as its sender wrote it where that is strict JSON.

    :raises NoEvents: it is something else.
    """
    try:
        if not body.lstrip().startswith(b"["):
            _one.decode(body)
            return [body]
        _many.decode(body)
        return [bytes(part) for part in _parts.decode(body)]
    except (msgspec.DecodeError, RecursionError):
        return _read_leniently(body)


def _read_leniently(body: bytes) -> list[bytes]:
    """Read what Python writes and no strict parser takes, such as NaN."""
    try:
        value = json.loads(body.decode("utf-8", "replace"))
        events = value if isinstance(value, list) else [value]
        if not all(isinstance(event, dict) for event in events):
            raise NoEvents
        return [json.dumps(event).encode() for event in events]
    except (ValueError, RecursionError):
        raise NoEvents from None


class Callbacks(Resource):
    """Everything below ``/graders/events/``."""

    isLeaf = True
    log = Logger()

    def __init__(self, capabilities: Capabilities, relay: Relay, spawn: Spawn) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._capabilities = capabilities
        self._relay = relay
        self._spawn = spawn

    def render_POST(self, request: Request) -> int:
        """Take events; whoever sent them may leave before they are stored."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        self._spawn("graders' events", self._serve(request, gone))
        return NOT_DONE_YET

    async def _serve(self, request: Request, gone: list[object]) -> None:
        try:
            status, message = await self._take(request)
        except StoreUnavailable as error:
            self.log.warn("events of a grader on HTTP are not stored: {error}", error=error)
            status, message = http.SERVICE_UNAVAILABLE, NOT_STORED
            request.setHeader(b"retry-after", RETRY_AFTER)
        except Exception:  # noqa: BLE001 - whatever goes wrong, whoever asked is answered
            self.log.failure("events of a grader on HTTP were not handled")
            status, message = http.INTERNAL_SERVER_ERROR, BROKEN
        if not gone:
            answer(request, status, msgspec.json.encode({"message": message}), b"application/json")

    async def _take(self, request: Request) -> tuple[int, str]:
        capability = b"/".join(request.postpath or ()).decode("ascii", "replace")
        number = await self._capabilities.number_of(capability)
        if number is None:
            return http.NOT_FOUND, UNKNOWN
        content: Any = request.content
        content.seek(0)
        try:
            events = read_events(content.read())
        except NoEvents:
            return http.BAD_REQUEST, NO_EVENT
        if len(events) > MAX_EVENTS:
            return http.REQUEST_ENTITY_TOO_LARGE, TOO_MANY
        if not await self._relay.apply(number, events):
            return http.GONE, OVER
        return http.OK, ""


def grader_pages(events: Callbacks) -> Resource:
    """Return what is served below ``/graders``."""
    root = Resource()
    root.putChild(b"events", events)
    return root
