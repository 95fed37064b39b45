"""How packets are put together into one polling body, in both versions and three framings."""

from __future__ import annotations

import base64

SEPARATOR = "\x1e"
"""Between two packets of an Engine.IO 4 payload."""


def encoded(packet: str | bytes, eio: int) -> str:
    """Return a packet as text; bytes, a binary message, as base64."""
    if isinstance(packet, str):
        return packet
    return ("b4" if eio == 3 else "b") + base64.b64encode(packet).decode()


def utf16_length(text: str) -> int:
    """Return how many UTF-16 code units ``text`` has: what Engine.IO 3 counts."""
    return len(text.encode("utf-16-le")) // 2


def joined(eio: int, *packets: str | bytes) -> str:
    """Return a text payload."""
    texts = [encoded(packet, eio) for packet in packets]
    if eio == 4:
        return SEPARATOR.join(texts)
    return "".join(f"{utf16_length(text)}:{text}" for text in texts)


def split(eio: int, payload: str) -> list[str]:
    """Return the packets of a text payload."""
    if eio == 4:
        return payload.split(SEPARATOR)
    units, packets = payload.encode("utf-16-le"), []
    while units:
        length, _, units = units.partition(":".encode("utf-16-le"))
        size = 2 * int(length.decode("utf-16-le"))
        packets.append(units[:size].decode("utf-16-le"))
        units = units[size:]
    return packets


def octets(*packets: str | bytes) -> bytes:
    """Return the binary framing of Engine.IO 3: kind, decimal digits of the byte length, ff, packet.

    Bytes are a binary message, whose type is a raw byte 4.
    """
    framed = bytearray()
    for packet in packets:
        data = packet.encode() if isinstance(packet, str) else b"\x04" + packet
        framed.append(isinstance(packet, bytes))
        framed += bytes(int(digit) for digit in str(len(data))) + b"\xff" + data
    return bytes(framed)
