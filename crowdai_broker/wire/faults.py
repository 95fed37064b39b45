"""What a peer can do wrong on the wire, each with the hint of how to answer it.

Mistakes of our own side (sending on a closed session, an argument that is no JSON) are ordinary
``ValueError``/``TypeError``; everything here is the peer's and never worth a traceback.
"""

from __future__ import annotations

from typing import Final

from crowdai_broker.errors import PeerError

#: WebSocket close codes used here (RFC 6455, section 7.4.1).
CLOSE_NORMAL: Final = 1000
CLOSE_POLICY: Final = 1008
CLOSE_TOO_BIG: Final = 1009


class WireError(PeerError):
    """The peer broke the protocol; its connection ends.

    :ivar reason: the disconnect reason told to the application (``parse error``, ``forced close`` ...).
    :ivar close_code: the WebSocket close code that fits, when the transport is one.
    """

    reason = "parse error"
    close_code = CLOSE_POLICY


class PacketError(WireError):
    """Bytes that are no packet: bad framing, bad JSON, attachments that do not add up."""


class TooBig(PacketError):
    """A packet, payload or number of packets above its bound."""

    close_code = CLOSE_TOO_BIG


class Violation(WireError):
    """A well-formed packet that is not allowed here (event before CONNECT, second CONNECT ...)."""

    reason = "forced close"


class BrokenFrame(WireError):
    """A WebSocket frame that RFC 6455 does not allow; its close frame is already on its way."""

    reason = "transport error"


class SlowPeer(WireError):
    """The peer does not read what it is sent; the bound of its outgoing buffer is reached."""

    reason = "transport error"


class Overlap(Violation):
    """Requests of one session that must not overlap, or broke off."""

    reason = "transport error"


class PingTimeout(Violation):
    """The heartbeat stopped."""

    reason = "ping timeout"


class HttpRefusal(PeerError):
    """A request that gets an HTTP error; the session it names, if any, lives on unless said otherwise.

    :ivar status: HTTP status.
    :ivar code: Engine.IO error code 0-5 (the body is then JSON), or ``None`` for an empty body.
    """

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def transport_unknown() -> HttpRefusal:
    """Error 0: the transport is missing or unknown (checked first)."""
    return HttpRefusal(400, 0, "Transport unknown")


def session_unknown() -> HttpRefusal:
    """Error 1: the sid is not known or its session is closed."""
    return HttpRefusal(400, 1, "Session ID unknown")


def bad_method() -> HttpRefusal:
    """Error 2: a handshake that is no GET."""
    return HttpRefusal(400, 2, "Bad handshake method")


def bad_request() -> HttpRefusal:
    """Error 3: another transport, another EIO than the session's, an invalid Origin header."""
    return HttpRefusal(400, 3, "Bad request")


def forbidden(message: str = "Forbidden") -> HttpRefusal:
    """Error 4: refused by the origin list or the application."""
    return HttpRefusal(403, 4, message)


def unsupported_version() -> HttpRefusal:
    """Error 5: EIO is missing or not served."""
    return HttpRefusal(400, 5, "Unsupported protocol version")


def overloaded(message: str, status: int = 503) -> HttpRefusal:
    """No room for another connection (503: in all, 429: from this address)."""
    return HttpRefusal(status, 4, message)
