"""Taking bytes out of a value and putting them back: Socket.IO's attachments and their placeholders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from crowdai_broker.wire.faults import PacketError

_BYTES: Final = (bytes, bytearray, memoryview)
_PLAIN: Final = frozenset({str, int, float, bool, type(None), msgspec.Raw})

#: Where a placeholder sits: the list or object that holds it, its index or key there, and its number.
Slot = tuple[Any, Any, int]


def has_bytes(value: Any) -> bool:
    """Whether bytes sit anywhere in lists, tuples and dicts of ``value``; copies nothing."""
    kind = type(value)
    if kind in _PLAIN:
        return False
    if isinstance(value, _BYTES):
        return True
    if isinstance(value, dict):
        return any(map(has_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(has_bytes, value))
    return False


def take_out(value: Any, attachments: list[bytes]) -> Any:
    """A copy of ``value`` with placeholders where bytes were; the bytes are appended to ``attachments``."""
    if isinstance(value, _BYTES):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: take_out(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [take_out(item, attachments) for item in value]
    return value


def find_slots(value: Any, count: int) -> list[Slot]:
    """Where the placeholders of a parsed payload are.

    :param count: the announced number of attachments.
    :raises PacketError: a placeholder's ``num`` is no integer in range.
    """
    slots: list[Slot] = []
    todo = [value]
    while todo:
        holder = todo.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, item in items:
            if not isinstance(item, (dict, list)):
                continue
            if isinstance(item, dict) and item.get("_placeholder") is True:
                slots.append((holder, key, _number(item.get("num"), count)))
            else:
                todo.append(item)
    return slots


def put_back(slots: Sequence[Slot], attachments: Sequence[bytes]) -> None:
    """Replace each placeholder by its bytes, in place."""
    for holder, key, number in slots:
        holder[key] = attachments[number]


def _number(num: Any, count: int) -> int:
    if isinstance(num, bool) or not isinstance(num, int) or not 0 <= num < count:
        raise PacketError("a placeholder for an attachment that is not announced")
    return num
