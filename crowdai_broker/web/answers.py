"""Writing HTTP answers: bodies, error bodies, compression with a bounded cost."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec
from twisted.web.server import Request

from crowdai_broker.wire.faults import HttpRefusal

#: Smaller answers gain nothing.
COMPRESS_FROM: Final = 1024
#: Larger ones would hold up everybody else; level 1 needs about 10 ms for this much.
COMPRESS_UP_TO: Final = 1_000_000
_LEVEL: Final = 1
_GZIP: Final = 31
_DEFLATE: Final = 15
_WINDOWS: Final = ((b"gzip", _GZIP), (b"deflate", _DEFLATE))


class _ErrorBody(msgspec.Struct):
    code: int
    message: str


def answer(request: Request, status: int, body: bytes, content_type: bytes) -> None:
    """Write a whole answer and finish the request."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


def answer_get(request: Request, body: bytes, content_type: bytes) -> None:
    """The answer to a poll: compressed if large enough and accepted."""
    encoding = _accepted_encoding(request) if COMPRESS_FROM <= len(body) <= COMPRESS_UP_TO else None
    if encoding is not None:
        name, window = encoding
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, window)
        body = packer.compress(body) + packer.flush()
        request.setHeader(b"Content-Encoding", name)
    if len(body) >= COMPRESS_FROM or encoding is not None:
        request.responseHeaders.addRawHeader(b"Vary", b"Accept-Encoding")
    answer(request, 200, body, content_type)


def answer_refusal(request: Request, refusal: HttpRefusal, *, upgrade: bool) -> None:
    """An error: JSON with its code for polling, plain text and the end of the connection for an upgrade."""
    if upgrade:
        channel = request.channel
        request.setHeader(b"Connection", b"close")
        answer(request, refusal.status, refusal.message.encode(), b"text/html")
        channel.loseConnection()
    elif refusal.code is None:
        answer(request, refusal.status, b"", b"text/plain")
    else:
        body = msgspec.json.encode(_ErrorBody(refusal.code, refusal.message))
        answer(request, refusal.status, body, b"application/json")


def _accepted_encoding(request: Request) -> tuple[bytes, int] | None:
    header = b",".join(request.requestHeaders.getRawHeaders(b"Accept-Encoding", []))
    accepted = {name.strip().lower() for name, refused in map(_coding, header.split(b",")) if not refused}
    for name, window in _WINDOWS:
        if name in accepted:
            return name, window
    return None


def _coding(item: bytes) -> tuple[bytes, bool]:
    name, _, parameters = item.partition(b";")
    quality = parameters.replace(b" ", b"")
    return name, quality in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}
