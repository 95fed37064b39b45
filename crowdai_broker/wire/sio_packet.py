"""Socket.IO packets: ``type [attachments-] [/namespace,] [id] [json]`` inside an Engine.IO message.

Protocol 4 (over Engine.IO 3) and 5 (over Engine.IO 4) share this shape; what differs is which packets are
errors: protocol 4 passes unknown types and reserved event names silently (measured on socket.io 2.5),
protocol 5 closes the connection. Facts: socket.io-protocol 4 and 5, "Packet encoding".
"""

from __future__ import annotations

import enum
from typing import Any, Final, Literal

import msgspec

from crowdai_broker.wire import sio_json
from crowdai_broker.wire.eio_packet import Packet as EioPacket
from crowdai_broker.wire.eio_packet import PacketType
from crowdai_broker.wire.faults import PacketError, TooBig
from crowdai_broker.wire.sio_binary import has_bytes, take_out

SioVersion = Literal[4, 5]

ROOT: Final = "/"
#: Attachments of one packet; the reference's parser refuses more than ten, too.
MAX_ATTACHMENTS: Final = 10
#: Names an event must not have in protocol 5.
RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

_MAX_NAMESPACE_BYTES: Final = 1024
_MAX_ID_DIGITS: Final = 15  # what a JavaScript number holds exactly
_ZERO, _NINE, _COMMA, _SLASH, _DASH = b"09,/-"


class SioType(enum.IntEnum):
    """The first character of a Socket.IO packet; protocol 4 calls CONNECT_ERROR ERROR."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_TYPES: Final = {ord(str(int(kind))): kind for kind in SioType}
BINARY_TYPES: Final = frozenset({SioType.BINARY_EVENT, SioType.BINARY_ACK})


class SioPacket(msgspec.Struct, frozen=True):
    """One packet as read.

    :ivar id: the acknowledgement's number, if the packet has one.
    :ivar data: the parsed payload; ``msgspec.UNSET`` if there is none.
    :ivar attachments: how many binary packets follow.
    """

    type: SioType
    namespace: str = ROOT
    id: int | None = None
    data: Any = msgspec.UNSET
    attachments: int = 0


def decode(data: bytes, version: SioVersion, max_depth: int = sio_json.MAX_DEPTH) -> SioPacket | None:
    """Read the text of a message; ``None`` is a packet to pass over in silence (protocol 4, unknown type).

    :raises PacketError: it is no packet, or one whose payload has the wrong shape.
    """
    if not data:  # the reference reads an empty message as CONNECT
        return SioPacket(SioType.CONNECT)
    kind = _TYPES.get(data[0])
    if kind is None:
        if version == 4:
            return None
        raise PacketError("a Socket.IO packet of unknown type")
    attachments, at = _attachments(data) if kind in BINARY_TYPES else (0, 1)
    namespace, at = _namespace(data, at)
    number, at = _id(data, at)
    payload = sio_json.decode(data[at:], max_depth) if at < len(data) else msgspec.UNSET
    _check_shape(kind, payload, version)
    return SioPacket(kind, namespace, number, payload, attachments)


def encode(
    kind: SioType, namespace: str, payload: bytes = b"", number: int | None = None, attachments: int = 0
) -> EioPacket:
    """The Engine.IO message of a packet whose payload is already JSON."""
    head = b"%d" % kind
    if attachments:
        head += b"%d-" % attachments
    if namespace != ROOT:
        head += namespace.encode("utf-8") + b","
    if number is not None:
        head += b"%d" % number
    return EioPacket(PacketType.MESSAGE, head + payload)


def encode_values(
    kind: SioType, namespace: str, values: list[Any], number: int | None = None, *, ascii_only: bool = False
) -> list[EioPacket]:
    """An EVENT or ACK and the attachments behind it; with bytes among the values it becomes a binary one."""
    if not has_bytes(values):
        return [encode(kind, namespace, sio_json.encode(values, ascii_only=ascii_only), number)]
    attachments: list[bytes] = []
    stripped = sio_json.encode(take_out(values, attachments), ascii_only=ascii_only)
    if len(attachments) > MAX_ATTACHMENTS:
        raise ValueError(f"more than {MAX_ATTACHMENTS} attachments in one packet")
    binary = SioType.BINARY_EVENT if kind is SioType.EVENT else SioType.BINARY_ACK
    head = encode(binary, namespace, stripped, number, len(attachments))
    return [head, *(EioPacket(PacketType.MESSAGE, data, True) for data in attachments)]


def _attachments(data: bytes) -> tuple[int, int]:
    dash = data.find(_DASH, 1, 5)
    digits = data[1:dash] if dash > 0 else b""
    if not digits.isdigit():
        raise PacketError("a binary packet without its number of attachments")
    count = int(digits)
    if count == 0:
        raise PacketError("a binary packet without attachments")
    if count > MAX_ATTACHMENTS:
        raise TooBig("too many attachments")
    return count, dash + 1


def _namespace(data: bytes, at: int) -> tuple[str, int]:
    if at >= len(data) or data[at] != _SLASH:
        return ROOT, at
    comma = data.find(_COMMA, at)
    end = len(data) if comma < 0 else comma
    if end - at > _MAX_NAMESPACE_BYTES:
        raise TooBig("a namespace's name beyond reason")
    return data[at:end].decode("utf-8", "replace"), end + 1


def _id(data: bytes, at: int) -> tuple[int | None, int]:
    end = at
    while end < len(data) and _ZERO <= data[end] <= _NINE and end - at <= _MAX_ID_DIGITS:
        end += 1
    if end == at:
        return None, at
    if end - at > _MAX_ID_DIGITS:
        raise PacketError("an acknowledgement number beyond reason")
    return int(data[at:end]), end


def _check_shape(kind: SioType, payload: Any, version: SioVersion) -> None:
    if payload is msgspec.UNSET:
        if kind in BINARY_TYPES:
            raise PacketError("a binary packet without payload")
        return
    if not _SHAPES[kind](payload, version):
        raise PacketError(f"a {kind.name} packet with a payload of the wrong shape")


def _connect_shape(payload: Any, version: SioVersion) -> bool:
    return version == 4 or isinstance(payload, dict)


def _disconnect_shape(_payload: Any, version: SioVersion) -> bool:
    return version == 4


def _event_shape(payload: Any, version: SioVersion) -> bool:
    if not isinstance(payload, list) or not payload:
        return False
    name = payload[0]
    if isinstance(name, str):
        return version == 4 or name not in RESERVED
    return isinstance(name, (int, float)) and not isinstance(name, bool)


def _ack_shape(payload: Any, _version: SioVersion) -> bool:
    return isinstance(payload, list)


def _error_shape(payload: Any, version: SioVersion) -> bool:
    return version == 4 or isinstance(payload, (str, dict))


_SHAPES: Final = {
    SioType.CONNECT: _connect_shape,
    SioType.DISCONNECT: _disconnect_shape,
    SioType.EVENT: _event_shape,
    SioType.ACK: _ack_shape,
    SioType.CONNECT_ERROR: _error_shape,
    SioType.BINARY_EVENT: _event_shape,
    SioType.BINARY_ACK: _ack_shape,
}
