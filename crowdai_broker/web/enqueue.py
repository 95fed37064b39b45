"""``POST /enqueue_grading_job``: the webapp asks that submissions be graded.

A form as Rails writes it (``core.nested_form``), or JSON; ``grader_api_key`` must be the key that the broker
has at the webapp. Every answer is ``{"response_type", "message", "data"}``: ``CrowdAI.Event.SUCCESS`` with
status 200, once it is stored, or ``CrowdAI.Event.ERROR`` with 400 (wrong), 401 (not the webapp), 413 (too
much) or 503 (not now).
"""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec
from msgspec import Struct
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ..config import Secret
from ..core.enqueuing import Enqueuing
from ..core.events import ERROR, SUCCESS
from ..core.nested_form import parse
from ..errors import NotNow, PeerError, StoreUnavailable, TooMuch
from ..interfaces import Spawn
from .answers import answer
from .site import BoundedRequest, DefaultWatch

PATH: Final = b"/enqueue_grading_job"
MAX_BODY: Final = 1_000_000  # bytes
RETRY_AFTER: Final = b"30"  # s

NOT_THE_WEBAPP = "The grader_api_key is not the one that this broker shares with the challenge site."
NO_OBJECT = "The body must be a form, or one JSON object."
TOO_LONG = f"The body of a request may have {MAX_BODY} bytes."
NOT_STORED = "The broker cannot reach its storage right now. Nothing was accepted; please send it again."
BROKEN = "The broker failed to handle this; its operators were told. Please try again."

_JSON = b"application/json"


class _Body(Struct):
    response_type: str
    message: str
    data: dict[str, Any]


def _encoded(response_type: str, message: str, data: dict[str, Any] | None = None) -> bytes:
    return msgspec.json.encode(_Body(response_type, message, data or {}))


class EnqueueWatch(DefaultWatch):
    """Bounds the body of a request before anybody knows who sends it."""

    def __init__(self) -> None:
        super().__init__(MAX_BODY)

    def too_big(self, request: Request) -> bool:
        """Answer as everything here is answered."""
        request.setHeader(b"content-type", _JSON)
        if isinstance(request, BoundedRequest):
            request.refusal = _encoded(ERROR, TOO_LONG)
        return True


def watch_body(_method: bytes, _uri: bytes, _request: BoundedRequest) -> EnqueueWatch:
    """Return what watches the body of a request for :data:`PATH`."""
    return EnqueueWatch()


class EnqueueGradingJob(Resource):
    """``/enqueue_grading_job``.

    :param api_key: the broker's key at the webapp.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, enqueuing: Enqueuing, api_key: Secret, spawn: Spawn) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._enqueuing = enqueuing
        self._api_key = api_key
        self._spawn = spawn

    def render_POST(self, request: Request) -> int:
        """Accept submissions; whoever asks may leave before they are stored."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        self._spawn("enqueue_grading_job", self._serve(request, gone))
        return NOT_DONE_YET

    async def _serve(self, request: Request, gone: list[object]) -> None:
        status, body = await self._answer(request)
        if status == http.SERVICE_UNAVAILABLE:
            request.setHeader(b"retry-after", RETRY_AFTER)
        if not gone:
            answer(request, status, body, _JSON)

    async def _answer(self, request: Request) -> tuple[int, bytes]:
        try:
            asked = read_body(request)
            if not self._is_webapp(asked.pop("grader_api_key", "")):
                return http.UNAUTHORIZED, _encoded(ERROR, NOT_THE_WEBAPP)
            execution = await self._enqueuing.enqueue(asked)
        except PeerError as error:
            return _status(error), _encoded(ERROR, str(error))
        except StoreUnavailable as error:
            self.log.warn("submissions of the webapp were not accepted: {error}", error=error)
            return http.SERVICE_UNAVAILABLE, _encoded(ERROR, NOT_STORED)
        except Exception:  # noqa: BLE001 - whatever goes wrong, whoever asked is answered
            self.log.failure("submissions of the webapp were not handled")
            return http.SERVICE_UNAVAILABLE, _encoded(ERROR, BROKEN)
        count = execution.job_count
        message = f"Successfully enqueued {count} Job{'s' if count > 1 else ''}"
        return http.OK, _encoded(SUCCESS, message, {"execution_id": execution.execution_id})

    def _is_webapp(self, key: object) -> bool:
        given = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else b""
        return hmac.compare_digest(given, self._api_key.reveal().encode())


def _status(error: PeerError) -> int:
    if isinstance(error, NotNow):
        return http.SERVICE_UNAVAILABLE
    return http.REQUEST_ENTITY_TOO_LARGE if isinstance(error, TooMuch) else http.BAD_REQUEST


def read_body(request: Request) -> dict[str, Any]:
    """Return what a request says, as JSON if it calls itself that, else as a form.

    :raises PeerError: it can be read as neither.
    """
    content: Any = request.content
    content.seek(0)
    body = content.read()
    if not (request.getHeader("content-type") or "").lower().startswith("application/json"):
        return parse(body)
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise PeerError(NO_OBJECT)
    return asked
