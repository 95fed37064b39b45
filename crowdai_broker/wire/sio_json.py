"""JSON as peers send it: bounded in depth, whatever is in it.

msgspec parses (huge numbers and bad UTF-8 are clean errors there), but its only bound on nesting is the
interpreter's stack; what passes there can still break whoever walks the value later. So depth is checked
first.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Final

import msgspec

from crowdai_broker.wire.faults import PacketError

#: Deeper than any participant's data; far from the interpreter's limit.
MAX_DEPTH: Final = 100

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_HIGH: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
#: An escaped backslash, a surrogate pair, or half of one; only the last is replaced.
_SURROGATES: Final = re.compile(rb"\\\\|" + _HIGH + _LOW + rb"|(" + _HIGH + rb"|" + _LOW + rb")")

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def decode(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse a JSON text.

    :raises PacketError: it is none, is nested deeper than ``max_depth``, or has a number out of range.
    """
    if data.count(b"[") + data.count(b"{") > max_depth and is_deeper(data, max_depth):
        raise PacketError("JSON nested too deeply")
    try:
        return _decode(data)
    except (ValueError, RecursionError):
        return _decode_lone_surrogates(data)


def is_deeper(data: bytes, max_depth: int) -> bool:
    """Whether brackets outside strings nest deeper than ``max_depth``.

    Works layer by layer with the C loops of ``bytes``, so that a megabyte of brackets costs milliseconds.
    """
    brackets = _STRINGS.sub(b"", data).translate(_SQUARE, _NO_BRACKET)
    for _ in range(max_depth):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def encode(value: Any, *, ascii_only: bool = False) -> bytes:
    """Write a JSON text; NaN and infinities become null, as in JavaScript.

    :param ascii_only: escape everything beyond ASCII.
    :raises TypeError: the value is no JSON.
    """
    text = _encode(value)
    if ascii_only and not text.isascii():
        return text.decode("utf-8").encode("ascii", "crowdai.json_escape")
    return text


def _decode_lone_surrogates(data: bytes) -> Any:
    r"""A second try with lone surrogates (``"\ud83d"``), legal in JavaScript only, as U+FFFD."""
    mended = _SURROGATES.sub(lambda found: rb"\ufffd" if found[1] else found[0], data)
    try:
        return _decode(mended)
    except (ValueError, RecursionError):
        raise PacketError("a packet with bad JSON") from None


def _json_escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be")
    escaped = "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    return escaped, error.end


codecs.register_error("crowdai.json_escape", _json_escape)
