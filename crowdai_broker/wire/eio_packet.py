"""Engine.IO packets and their one-frame codecs of protocol 3 and 4.

A packet is one type digit and data. Text is kept as UTF-8 bytes, because that is how it comes, goes and is
parsed; ``binary`` tells an attachment from a text. Facts: engine.io-protocol 3 and 4, "Packet encoding".
"""

from __future__ import annotations

import base64
import binascii
import enum
from typing import Final, Literal

import msgspec

from crowdai_broker.wire.faults import PacketError

EioVersion = Literal[3, 4]


class PacketType(enum.IntEnum):
    """The first character of a packet."""

    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


_TYPES: Final = {ord(str(int(kind))): kind for kind in PacketType}
_RAW_TYPES: Final = {int(kind): kind for kind in PacketType}
_DIGITS: Final = {kind: b"%d" % kind for kind in PacketType}


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One Engine.IO packet.

    :ivar data: UTF-8 text, or raw bytes if ``binary``.
    :ivar binary: whether this is a binary message.
    """

    type: PacketType
    data: bytes = b""
    binary: bool = False

    @property
    def text(self) -> str:
        """The data as text (of a text packet)."""
        return self.data.decode("utf-8", "replace")


def message(data: str | bytes) -> Packet:
    """A message packet: ``str`` makes a text one, ``bytes`` a binary one."""
    if isinstance(data, str):
        return Packet(PacketType.MESSAGE, data.encode("utf-8"))
    return Packet(PacketType.MESSAGE, data, True)


OPEN_TYPE: Final = PacketType.OPEN
CLOSE: Final = Packet(PacketType.CLOSE)
PING: Final = Packet(PacketType.PING)
PONG: Final = Packet(PacketType.PONG)
PROBE_PING: Final = Packet(PacketType.PING, b"probe")
PROBE_PONG: Final = Packet(PacketType.PONG, b"probe")
UPGRADE: Final = Packet(PacketType.UPGRADE)
NOOP: Final = Packet(PacketType.NOOP)


def encode_text(packet: Packet) -> bytes:
    """A text packet as it stands in a text frame or payload: ``4hello``."""
    return _DIGITS[packet.type] + packet.data


def encode_base64(packet: Packet, version: EioVersion) -> bytes:
    """A binary packet as text: ``b4AQIDBA==`` in protocol 3, ``bAQIDBA==`` in 4."""
    prefix = b"b4" if version == 3 else b"b"
    return prefix + base64.b64encode(packet.data)


def encode_binary(packet: Packet, version: EioVersion) -> bytes:
    """A binary packet as a binary frame: protocol 3 puts the raw type byte 04 in front."""
    return b"\x04" + packet.data if version == 3 else packet.data


def encode_frame(packet: Packet, version: EioVersion, *, b64: bool = False) -> tuple[bytes, bool]:
    """One WebSocket frame: its payload and whether it is a binary frame."""
    if not packet.binary:
        return encode_text(packet), False
    if b64:
        return encode_base64(packet, version), False
    return encode_binary(packet, version), True


def decode_text(data: bytes, version: EioVersion) -> Packet:
    """Read one packet from valid UTF-8 text.

    :raises PacketError: empty, unknown type, or bad base64.
    """
    if not data:
        raise PacketError("an empty packet")
    kind = _TYPES.get(data[0])
    if kind is not None:
        return Packet(kind, data[1:])
    if data[0] == 0x62:  # "b"
        return _decode_base64(data[1:], version)
    raise PacketError("a packet of unknown type")


def decode_binary(data: bytes, version: EioVersion) -> Packet:
    """Read one packet from a binary frame (protocol 3: the first byte is the raw type).

    :raises PacketError: protocol 3 and the type byte is missing or unknown.
    """
    if version == 4:
        return Packet(PacketType.MESSAGE, data, True)
    kind = _RAW_TYPES.get(data[0]) if data else None
    if kind is None:
        raise PacketError("a binary packet of unknown type")
    return Packet(kind, data[1:], True)


def decode_frame(data: bytes, version: EioVersion, *, binary: bool) -> Packet:
    """Read one packet from one WebSocket frame."""
    return decode_binary(data, version) if binary else decode_text(data, version)


def _decode_base64(data: bytes, version: EioVersion) -> Packet:
    kind = PacketType.MESSAGE
    if version == 3:
        found = _TYPES.get(data[0]) if data else None
        if found is None:
            raise PacketError("a base64 packet of unknown type")
        kind, data = found, data[1:]
    try:
        return Packet(kind, base64.b64decode(data, validate=True), True)
    except (binascii.Error, ValueError):
        raise PacketError("a packet with bad base64") from None
