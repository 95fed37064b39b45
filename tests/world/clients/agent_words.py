"""What the Python agents share: reading commands, writing what was seen. README.rst has the words.

It runs inside foreign virtual environments and uses the standard library only.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

EVENTS = ("auth", "message-back", "question", "answered")
"""The events that an agent listens for."""

_output = threading.Lock()


def say(saw: str, **more: object) -> None:
    """Write one line; clients call back from threads of their own."""
    with _output:
        sys.stdout.write(json.dumps({"saw": saw, **more}) + "\n")
        sys.stdout.flush()


def commands() -> Iterator[dict[str, Any]]:
    """Yield commands until the input ends."""
    for text in sys.stdin:
        yield json.loads(text)


def pack(value: Any) -> Any:
    """Return ``value`` with bytes written as ``{"$bytes": base64}``."""
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        return {key: pack(item) for key, item in value.items()}
    return value


def unpack(value: Any, binary: type[bytes] | type[bytearray] = bytes) -> Any:
    """Undo :func:`pack`; ``binary`` is the type that the client wants its bytes in."""
    if isinstance(value, list):
        return [unpack(item, binary) for item in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return binary(base64.b64decode(value["$bytes"]))
        return {key: unpack(item, binary) for key, item in value.items()}
    return value
