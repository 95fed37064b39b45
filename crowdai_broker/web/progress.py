"""``/progress/``: one execution's page, and the picture of its progress.

``/progress/<id>`` is the same page for everybody; the capability stands behind its ``#``, which browsers keep
to themselves. ``/progress/<id>.svg?key=<capability>`` is a picture that can be embedded elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NOT_FOUND, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ..core.progress import JobProgress, Progress
from ..errors import StoreUnavailable

MOST_BARS: Final = 100  # jobs drawn; what is above is counted
_ROW, _WIDTH, _LEFT, _RIGHT = 24, 420, 44, 110
_ID = re.compile(rb"[0-9a-f]{1,64}")
_COLOURS = {"complete": "#2e7d32", "failed": "#c62828", "cancelled": "#757575"}
_RUNNING = "#1565c0"
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)
_STATIC = {b"progress.js": b"text/javascript", b"progress.css": b"text/css"}


class ProgressPages(Resource):
    """Everything below ``/progress/``."""

    isLeaf = True
    log = Logger()

    def __init__(self, progress: Progress) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._progress = progress
        self._files = {name: _static(name.decode()) for name in (b"progress.html", *_STATIC)}

    def render_GET(self, request: Request) -> bytes | int:
        """Answer with the page, what belongs to it, or the picture."""
        request.setHeader(b"content-security-policy", _POLICY)
        request.setHeader(b"referrer-policy", b"no-referrer")
        request.setHeader(b"x-content-type-options", b"nosniff")
        name = b"/".join(request.postpath or ())
        if name in _STATIC:
            return _answer(request, _STATIC[name], self._files[name])
        if name.endswith(b".svg") and _ID.fullmatch(name[:-4]):
            return self._picture(request, name[:-4].decode())
        if _ID.fullmatch(name):
            return _answer(request, b"text/html", self._files[b"progress.html"])
        return _not_found(request)

    def _picture(self, request: Request, execution_id: str) -> int:
        key = (request.args or {}).get(b"key", [b""])[0].decode("utf-8", "replace")
        asked = Deferred.fromCoroutine(self._progress.of(execution_id, key))
        request.notifyFinish().addErrback(lambda _: asked.cancel())
        asked.addCallback(self._draw, request)
        asked.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _draw(self, jobs: list[JobProgress] | None, request: Request) -> None:
        if jobs is None:
            body = _not_found(request)
        else:
            body = _answer(request, b"image/svg+xml", picture(jobs).encode())
        request.write(body)
        request.finish()

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return  # nobody waits for the picture any more
        if not failure.check(StoreUnavailable):
            self.log.failure("a picture could not be drawn", failure)
        request.setResponseCode(SERVICE_UNAVAILABLE)
        request.setHeader(b"retry-after", b"5")
        request.finish()


def picture(jobs: Sequence[JobProgress]) -> str:
    """Return an SVG picture with a bar for each job."""
    drawn = jobs[:MOST_BARS]
    rows = "".join(_bar(row, job) for row, job in enumerate(drawn))
    height = _ROW * (len(drawn) + (len(jobs) > len(drawn)))
    if len(jobs) > len(drawn):
        rows += f'<text x="0" y="{height - 8}">and {len(jobs) - len(drawn)} more</text>'
    title = "; ".join(f"job {job.number}: {job.state}, {job.percent:.0f} %" for job in drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#808080"><title>{title}</title>{rows}</svg>'
    )


def _bar(row: int, job: JobProgress) -> str:
    top, room = row * _ROW + 6, _WIDTH - _LEFT - _RIGHT
    return (
        f'<text x="0" y="{top + 11}">#{job.number}</text>'
        f'<rect x="{_LEFT}" y="{top}" width="{room}" height="12" rx="3" fill="#80808040"/>'
        f'<rect x="{_LEFT}" y="{top}" width="{room * job.percent / 100:.1f}" height="12" rx="3" '
        f'fill="{_COLOURS.get(job.state, _RUNNING)}"/>'
        f'<text x="{_WIDTH - _RIGHT + 8}" y="{top + 11}">{job.percent:.0f} % {job.state}</text>'
    )


def _answer(request: Request, content_type: bytes, body: bytes) -> bytes:
    request.setHeader(b"content-type", content_type + b"; charset=utf-8")
    request.setHeader(b"cache-control", b"no-store")
    return body


def _not_found(request: Request) -> bytes:
    request.setResponseCode(NOT_FOUND)
    return _answer(request, b"text/plain", b"There is no such execution, or its key is another one.\n")


def _static(name: str) -> bytes:
    return (files(__package__) / "static" / name).read_bytes()
