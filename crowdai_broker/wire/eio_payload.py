r"""Several packets in one piece: an HTTP body in the five framings that exist, or WebSocket frames.

* protocol 4: packets joined by 0x1e (``4hello\x1e4€``);
* protocol 3 text: ``<length>:<packet>`` where length counts UTF-16 code units (``6:4hello2:4€``);
* protocol 3 binary: flag byte, decimal digits of the byte length as bytes 00-09, ff, packet;
* base64 inside the text framings for binary packets;
* JSONP: the text framing as a JavaScript string in ``___eio[n]("...");``, POSTed as ``d=<urlencoded>``.

A bad packet does not take back the good ones before it (measured on engine.io 3.6 and 6.6), so decoding
answers both.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterable
from typing import Final

import msgspec

from crowdai_broker.wire.eio_packet import (
    EioVersion,
    Packet,
    decode_binary,
    decode_text,
    encode_base64,
    encode_binary,
    encode_frame,
    encode_text,
)
from crowdai_broker.wire.faults import PacketError, TooBig
from crowdai_broker.wire.ws_frame import encode_ws_frame

RECORD_SEPARATOR: Final = b"\x1e"
TEXT_TYPE: Final = b"text/plain; charset=UTF-8"
OCTET_TYPE: Final = b"application/octet-stream"
SCRIPT_TYPE: Final = b"text/javascript; charset=UTF-8"

#: More digits than any length within our limits has; Python's big integers are not for peers.
_MAX_LENGTH_DIGITS: Final = 10

#: For the lengths, separators and padding around a few packets.
_FRAMING_ALLOWANCE: Final = 1024

_FORM_NEWLINE: Final = re.compile(r"(\\)?\\n")


class Format(msgspec.Struct, frozen=True):
    """How a session's payloads look; fixed at its handshake.

    :ivar b64: protocol 3: the client asked for base64 instead of binary.
    :ivar jsonp: digits of the JSONP index, or ``None``.
    :ivar old_python: socketIO-client-2: binary framing for every answer and ASCII-escaped JSON.
    """

    version: EioVersion
    b64: bool = False
    jsonp: str | None = None
    old_python: bool = False


class Decoded(msgspec.Struct, frozen=True):
    """The packets of a payload before its first error, and that error."""

    packets: list[Packet]
    error: PacketError | None = None


def encode_payload(packets: Iterable[Packet], form: Format) -> tuple[bytes, bytes]:
    """An answer to a GET: body and content type."""
    batch = list(packets)
    if form.jsonp is not None:
        return _encode_jsonp(_encode_texts(batch, form.version), form.jsonp), SCRIPT_TYPE
    if form.version == 4:
        return _encode_texts(batch, 4), TEXT_TYPE
    if form.old_python or (not form.b64 and any(packet.binary for packet in batch)):
        return b"".join(map(_encode_octets, batch)), OCTET_TYPE
    return _encode_texts(batch, 3), TEXT_TYPE


def encode_frames(packets: Iterable[Packet], form: Format) -> bytes:
    """A WebSocket frame for each packet, joined for one write."""
    frames = []
    for packet in packets:
        payload, binary = encode_frame(packet, form.version, b64=form.b64)
        frames.append(encode_ws_frame(payload, binary=binary))
    return b"".join(frames)


def decode_payload(body: bytes, form: Format, *, octets: bool, max_packets: int) -> Decoded:
    """Read the body of a POST.

    :param octets: the content type is exactly ``application/octet-stream`` (protocol 3 only).
    :param max_packets: more packets than this are an error (:class:`TooBig`).
    """
    if form.jsonp is not None and not octets:
        body = decode_jsonp_form(body)
    if not body:
        return Decoded([], PacketError("an empty payload"))
    if form.version == 4:
        return _decode_v4(_valid_utf8(body), max_packets)
    if octets:
        return _decode_octets(body, max_packets)
    return _decode_v3(_valid_utf8(body), max_packets)


def decode_jsonp_form(body: bytes) -> bytes:
    r"""The payload inside ``d=...``, with the newline escapes of engine.io's polling-jsonp undone."""
    fields = urllib.parse.parse_qs(
        body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=None
    )
    text = fields.get("d", [""])[0]
    text = _FORM_NEWLINE.sub(lambda found: found[0] if found[1] else "\n", text)
    return text.replace("\\\\n", "\\n").encode("utf-8", "replace")


def post_bound(max_message_bytes: int, max_binary_bytes: int) -> int:
    """How large a POST's body may be: as a packet, or as large as allowed attachments grow by base64."""
    if max_binary_bytes <= max_message_bytes:
        return max_message_bytes
    return max_binary_bytes * 4 // 3 + max_message_bytes + _FRAMING_ALLOWANCE


def utf16_length(data: bytes) -> int:
    """UTF-16 code units of valid UTF-8 text: how JavaScript counts."""
    return len(data) if data.isascii() else len(data.decode("utf-8", "replace").encode("utf-16-le")) // 2


def _valid_utf8(body: bytes) -> bytes:
    """Invalid sequences become U+FFFD, as the reference does."""
    if body.isascii():
        return body
    return body.decode("utf-8", "replace").encode("utf-8")


def _as_text(packet: Packet, version: EioVersion) -> bytes:
    return encode_base64(packet, version) if packet.binary else encode_text(packet)


def _encode_texts(packets: list[Packet], version: EioVersion) -> bytes:
    texts = [_as_text(packet, version) for packet in packets]
    if version == 4:
        return RECORD_SEPARATOR.join(texts)
    return b"".join(b"%d:%b" % (utf16_length(text), text) for text in texts)


def _encode_octets(packet: Packet) -> bytes:
    data = encode_binary(packet, 3) if packet.binary else encode_text(packet)
    digits = bytes(ord(digit) - 48 for digit in str(len(data)))
    return b"%c%b\xff%b" % (1 if packet.binary else 0, digits, data)


def _encode_jsonp(payload: bytes, index: str) -> bytes:
    text = json.dumps(payload.decode("utf-8", "replace"), ensure_ascii=False)
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"___eio[{index}]({text});".encode()


def _decode_v4(body: bytes, max_packets: int) -> Decoded:
    packets: list[Packet] = []
    parts = body.split(RECORD_SEPARATOR, max_packets)
    try:
        for part in parts:
            _check_count(packets, max_packets)
            packets.append(decode_text(part, 4))
    except PacketError as error:
        return Decoded(packets, error)
    return Decoded(packets)


def _decode_v3(body: bytes, max_packets: int) -> Decoded:
    # Lengths count UTF-16 units; ASCII needs no detour, as one byte is one unit there.
    wide = not body.isascii()
    source = body.decode("utf-8").encode("utf-16-le") if wide else body
    colon, unit = (b":\x00", 2) if wide else (b":", 1)
    packets: list[Packet] = []
    at = 0
    try:
        while at < len(source):
            _check_count(packets, max_packets)
            digits_end = _find_colon(source, colon, at, unit)
            length = _length(source[at:digits_end:unit])
            start = digits_end + unit
            at = start + length * unit
            _check_end(at, source)
            packets.append(decode_text(_slice_text(source[start:at], wide=wide), 3))
    except PacketError as error:
        return Decoded(packets, error)
    return Decoded(packets)


def _find_colon(source: bytes, colon: bytes, at: int, unit: int) -> int:
    end = source.find(colon, at, at + (_MAX_LENGTH_DIGITS + 1) * unit)
    if end < 0:
        raise PacketError("a payload without a packet length")
    return end


def _slice_text(part: bytes, *, wide: bool) -> bytes:
    """UTF-8 of a slice; half of a surrogate pair becomes U+FFFD."""
    return part.decode("utf-16-le", "replace").encode("utf-8") if wide else part


def _length(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS:
        raise PacketError("a bad packet length")
    return int(digits)


def _decode_octets(body: bytes, max_packets: int) -> Decoded:
    packets: list[Packet] = []
    at = 0
    try:
        while at < len(body):
            _check_count(packets, max_packets)
            flag = _flag(body[at])
            end = body.find(b"\xff", at + 1, at + 2 + _MAX_LENGTH_DIGITS)
            length = _raw_length(body[at + 1 : max(end, 0)])
            at = end + 1 + length
            _check_end(at, body)
            data = body[end + 1 : at]
            packets.append(decode_binary(data, 3) if flag else decode_text(_valid_utf8(data), 3))
    except PacketError as error:
        return Decoded(packets, error)
    return Decoded(packets)


def _flag(flag: int) -> bool:
    if flag > 1:
        raise PacketError("a bad binary frame")
    return flag == 1


def _check_end(end: int, source: bytes) -> None:
    if end > len(source):
        raise PacketError("a packet shorter than its length")


def _raw_length(digits: bytes) -> int:
    if not digits or max(digits) > 9:
        raise PacketError("a bad packet length")
    return int(bytes(digit + 48 for digit in digits))


def _check_count(packets: list[Packet], max_packets: int) -> None:
    if len(packets) >= max_packets:
        raise TooBig("too many packets in one payload")
