"""Which browsers' pages may talk to us, and the CORS headers that tell them so.

A request without Origin comes from no browser page and is allowed. An Origin that names the request's own
Host is ours (socketIO-client-2 sends ``http://<its target>`` on upgrades). Everything else must be listed.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Final

from twisted.web.iweb import IRequest

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_INVALID: Final = re.compile(rb"[^\x09\x20-\x7e\x80-\xff]")
_METHODS: Final = b"GET,HEAD,PUT,PATCH,POST,DELETE"


def origin_of(request: IRequest) -> bytes | None:
    """The Origin header; ``None`` if there is none."""
    values = request.requestHeaders.getRawHeaders(b"Origin")
    return values[0] if values else None


def is_valid(origin: bytes) -> bool:
    """Whether it could be an Origin at all: the reference refuses control characters with code 3."""
    return not _INVALID.search(origin)


class OriginPolicy:
    """The origins allowed beside our own.

    :param allowed: as browsers send them (``https://www.crowdai.org``); ``*`` allows all.
    :param cors: whether allowed ones get CORS headers.
    """

    def __init__(self, allowed: tuple[str, ...], *, cors: bool) -> None:
        self._allowed = frozenset(_normal(origin) for origin in allowed if origin != "*")
        self._any = "*" in allowed
        self._cors = cors

    def allows(self, request: IRequest, origin: bytes | None) -> bool:
        """Whether a request from this origin is served."""
        if origin is None or self._any:
            return True
        text = _normal(origin.decode("latin-1"))
        return text in self._allowed or self._is_own(request, text)

    def set_headers(self, request: IRequest, origin: bytes | None) -> None:
        """Put the CORS headers on an answer to an allowed origin, errors included.

        The concrete origin and Allow-Credentials, as clients with ``withCredentials`` need.
        """
        if origin is None or not self._cors:
            return
        request.setHeader(b"Access-Control-Allow-Origin", origin)
        request.setHeader(b"Access-Control-Allow-Credentials", b"true")
        request.responseHeaders.addRawHeader(b"Vary", b"Origin")

    def _is_own(self, request: IRequest, origin: str) -> bool:
        host = request.requestHeaders.getRawHeaders(b"Host")
        if not host:
            return False
        scheme, _, netloc = origin.partition("://")
        own = _normal(f"{scheme}://{host[0].decode('latin-1')}")
        return bool(netloc) and own == origin


def set_preflight_headers(request: IRequest, version: int) -> int:
    """Headers of the answer to a preflight; answers its status: 200 as engine.io 3, or 204 as engine.io 6."""
    if version == 3:
        request.setHeader(b"Access-Control-Allow-Headers", b"Content-Type")
        return 200
    request.setHeader(b"Access-Control-Allow-Methods", _METHODS)
    wanted = request.requestHeaders.getRawHeaders(b"Access-Control-Request-Headers")
    request.responseHeaders.addRawHeader(b"Vary", b"Access-Control-Request-Headers")
    if wanted:
        request.setHeader(b"Access-Control-Allow-Headers", wanted[0])
    return 204


def _normal(origin: str) -> str:
    """Lower case, no default port, no trailing slash; what is no URL stays what it is."""
    origin = origin.strip().lower().rstrip("/")
    try:
        parts = urllib.parse.urlsplit(origin)
        port = parts.port
    except ValueError:
        return origin
    if port is None or port != _DEFAULT_PORTS.get(parts.scheme):
        return origin
    return f"{parts.scheme}://{parts.netloc.rpartition(':')[0]}"
