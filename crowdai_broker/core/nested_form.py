"""Rails' nested form encoding, both ways: ``data[][file_key]=a&data[][submission_id]=1``.

The public webapp sends it and public HTTP graders parse it. A list has no indices: a name that the newest
object of the list has already begins the next object (Rack's ``Utils.parse_nested_query``). Every value is
text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from ..errors import PeerError

MAX_FIELDS = 10_000  # fields of one form
MAX_DEPTH = 8  # names that one field may be nested in

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_STEP = re.compile(r"\[([^\[\]]*)\]")


def encode(fields: Mapping[str, Any]) -> bytes:
    """Return a form that says ``fields``; ``None`` is blank, and a list right inside a list is JSON text.

    :raises ValueError: a name in it holds a bracket, or nothing, which would make it another name.
    """
    return urlencode([pair for name, value in fields.items() for pair in _pairs(name, value)]).encode()


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not key or "[" in key or "]" in key:
                raise ValueError("a name that no form can say")
            yield from _pairs(f"{name}[{key}]", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            flat = _text(inner) if isinstance(inner, list | tuple) else inner
            yield from _pairs(f"{name}[]", flat)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def parse(body: bytes) -> dict[str, Any]:
    """Return what a form says: texts, lists and objects of these.

    :raises PeerError: it is no form, or not within bounds.
    """
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise PeerError("The form is not UTF-8.") from None
    except ValueError:
        raise PeerError(f"The form has more than {MAX_FIELDS} fields.") from None
    found: dict[str, Any] = {}
    for name, value in pairs:
        first, *path = _path(name)
        _put(found, first, path, value)
    return found


def _path(name: str) -> list[str]:
    """Return the names that a field is nested in; an empty one stands for a list."""
    match = _NAME.fullmatch(name)
    path = [match[1], *_STEP.findall(match[2])] if match else []
    if not path or len(path) > MAX_DEPTH or any(not a and not b for a, b in pairwise(path)):
        raise PeerError(f"The form has a field whose name cannot be read: {name[:80]!r}.")
    return path


def _put(into: dict[str, Any], name: str, path: list[str], value: str) -> None:
    if not path:
        into[name] = value
    elif path[0]:
        _put(_inner(into, name, {}), path[0], path[1:], value)
    else:
        _append(_inner(into, name, []), path[1:], value)


def _append(into: list[Any], path: list[str], value: str) -> None:
    if not path:
        into.append(value)
        return
    if not into or not isinstance(into[-1], dict) or _has(into[-1], path):
        into.append({})
    _put(into[-1], path[0], path[1:], value)


def _has(found: Any, path: list[str]) -> bool:
    """Tell whether an object has this field already; a list inside it may grow."""
    for name in path:
        if not name:
            return False
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True


def _inner(into: dict[str, Any], name: str, empty: Any) -> Any:
    inner = into.setdefault(name, empty)
    if type(inner) is not type(empty):
        raise PeerError(f"The form says of {name[:80]!r} both a value and what is in it.")
    return inner
