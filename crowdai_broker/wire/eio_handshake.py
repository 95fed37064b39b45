"""Reading the query of an Engine.IO request, and which error an unfit one gets.

The order of the checks is the reference's: transport first, then the session, then method, then version.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Final, Literal, cast

import msgspec

from crowdai_broker.wire.eio_packet import EioVersion, Packet, PacketType
from crowdai_broker.wire.eio_payload import Format
from crowdai_broker.wire.eio_settings import SessionSettings
from crowdai_broker.wire.faults import (
    HttpRefusal,
    bad_method,
    bad_request,
    transport_unknown,
    unsupported_version,
)

TransportName = Literal["polling", "websocket"]
NamedVersion = EioVersion | Literal[0]

#: Parameters of the protocol itself; all others belong to the application.
PROTOCOL_PARAMETERS: Final = frozenset({"EIO", "transport", "sid", "t", "b64", "j"})
MAX_PARAMETERS: Final = 100

_TRANSPORTS: Final = frozenset({"polling", "websocket"})
_VERSIONS: Final[dict[str, NamedVersion]] = {"3": 3, "4": 4}
#: The cache buster of socketIO-client-2 0.7 (and of JS clients before engine.io-client 1.6).
_OLD_CACHE_BUSTER: Final = re.compile(r"\d{13}-\d+", re.ASCII)
_NOT_DIGITS: Final = re.compile(r"[^0-9]")


class EioRequest(msgspec.Struct, frozen=True):
    """The query of a request, read.

    :ivar version: ``None`` if EIO is missing, 0 if it is not one of ours.
    :ivar sid: ``None`` before the handshake (an empty ``sid=`` counts as absent).
    :ivar form: how the session's payloads are to look, if this is its handshake.
    :ivar query: the application's own parameters; of a repeated one the first value.
    """

    transport: TransportName
    version: NamedVersion | None
    sid: str | None
    form: Format
    query: dict[str, str]


def parse_request(query_string: bytes) -> EioRequest:
    """Read the part of the URL behind ``?``.

    :raises HttpRefusal: code 0 for an unknown transport, code 3 for a query beyond reason.
    """
    fields = _fields(query_string)
    transport = fields.get("transport")
    if transport not in _TRANSPORTS:
        raise transport_unknown()
    version = _VERSIONS.get(fields["EIO"], 0) if "EIO" in fields else None
    extra = {name: value for name, value in fields.items() if name not in PROTOCOL_PARAMETERS}
    return EioRequest(
        cast("TransportName", transport), version, fields.get("sid") or None, _form(fields, version), extra
    )


def check_handshake(request: EioRequest, method: bytes) -> EioVersion:
    """Check a request without sid.

    :raises HttpRefusal: code 2 (not a GET) or 5 (version).
    """
    if method != b"GET":
        raise bad_method()
    if not request.version:
        raise unsupported_version()
    return request.version


def check_same_session(request: EioRequest, session: Format) -> None:
    """Check that a later request names the session's own version; a missing EIO counts as 3, as in 6.6.12.

    :raises HttpRefusal: code 3.
    """
    if (3 if request.version is None else request.version) != session.version:
        raise bad_request()


class OpenData(msgspec.Struct, frozen=True, rename="camel"):
    """The JSON of the open packet; times in milliseconds, size in bytes."""

    sid: str
    upgrades: list[str]
    ping_interval: int
    ping_timeout: int
    max_payload: int


def open_packet(sid: str, transport: TransportName, settings: SessionSettings) -> Packet:
    """The first packet of a session, for both versions.

    ``maxPayload`` is new in protocol 4; engine.io 6 sends it to clients of protocol 3, too: they ignore it.
    """
    data = OpenData(
        sid,
        ["websocket"] if transport == "polling" else [],
        round(settings.ping_interval * 1000),
        round(settings.ping_timeout * 1000),
        settings.max_payload,
    )
    return Packet(PacketType.OPEN, msgspec.json.encode(data))


def _fields(query_string: bytes) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(
            query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise HttpRefusal(400, 3, "Bad request") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _form(fields: dict[str, str], version: NamedVersion | None) -> Format:
    b64 = fields.get("b64", "") not in {"", "0", "false"}
    jsonp = (_NOT_DIGITS.sub("", fields["j"]) or "0") if "j" in fields else None
    if version != 3:
        return Format(4, b64=b64, jsonp=jsonp)
    old = "b64" not in fields and bool(_OLD_CACHE_BUSTER.fullmatch(fields.get("t", "")))
    return Format(3, b64=b64, jsonp=jsonp, old_python=old and jsonp is None)
