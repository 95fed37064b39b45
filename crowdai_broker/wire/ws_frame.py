"""WebSocket frames of a server, encoded without a library's per-frame cost.

Reading frames, masking, fragments, closing: all of that is Autobahn's. Writing an unfragmented server frame
is a header of two to ten bytes (RFC 6455, section 5.2), and several frames joined go out in one write.
"""

from __future__ import annotations

import struct
from typing import Final

_TEXT: Final = 0x81
_BINARY: Final = 0x82


def frame_header(length: int, *, binary: bool) -> bytes:
    """The header of a final, unmasked data frame with ``length`` bytes of payload."""
    first = _BINARY if binary else _TEXT
    if length < 126:
        return bytes((first, length))
    if length < 65536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


def encode_ws_frame(payload: bytes, *, binary: bool) -> bytes:
    """A whole frame."""
    return frame_header(len(payload), binary=binary) + payload
