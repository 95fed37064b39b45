"""The store's Lua scripts: read from their files, put together, and called with MessagePack both ways.

One string in and one string out costs far less than a reply of many values, and types survive.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import msgspec

from ..core.model import Job
from .redis_client import RedisClient, Script

NAMES = (
    "accept", "adopt", "announce", "beat", "counts", "drop", "elsewhere", "held", "jobs", "lease", "line",
    "move", "postpone", "take", "unread", "watch",
)  # fmt: skip
_BUILDS_ON = {"elsewhere": "entries", "unread": "entries"} | dict.fromkeys(
    ("accept", "move", "take"), "records"
)
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder().decode


@functools.cache
def script(name: str) -> Script:
    """Return the script of that name with what it builds on."""
    parts = ["common", *([_BUILDS_ON[name]] if name in _BUILDS_ON else []), name]
    folder = files(__package__) / "lua"
    texts = [(folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts]
    return Script("\n".join([_fields("JOB_FIELDS", Job), *texts]))


def _fields(name: str, record: type[msgspec.Struct]) -> str:
    quoted = ", ".join(f"'{field}'" for field in record.__struct_fields__)
    return f"local {name} = {{{quoted}}}"


class Scripts:
    """Calls scripts for the keys that begin with ``prefix``."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def call(self, name: str, keys: Sequence[str] = (), /, **asked: Any) -> Any:
        """Run a script; ``asked`` and the answer are plain values (text, numbers, lists, mappings).

        :raises StoreUnavailable: as every command.
        """
        return _DECODE(await self.raw(name, keys, **asked))

    async def raw(self, name: str, keys: Sequence[str] = (), /, **asked: Any) -> Any:
        """Run a script whose answer is not MessagePack: bytes, numbers, lists of these, ``None``."""
        return await self._client.script(script(name), keys, [self._prefix, _ENCODE(asked)])
