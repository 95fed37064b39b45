"""Writes the tables of a configuration as TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def toml(tables: Mapping[str, Any], at: str = "") -> str:
    """Return nested tables as TOML; ``{"env": …}`` and ``{"file": …}`` are values."""
    lines = [f"[{at}]"] if at else []
    inner = []
    for key, value in tables.items():
        if isinstance(value, Mapping) and not _refers(value):
            inner.append(toml(value, f"{at}.{key}" if at else key))
        else:
            lines.append(f"{key} = {_value(value)}")
    return "\n".join([*lines, "", *inner])


def _refers(value: Mapping[str, Any]) -> bool:
    return set(value) in ({"env"}, {"file"})


def _value(value: Any) -> str:
    """Return a value: strings, numbers, booleans and lists of them are written as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(held)}" for key, held in value.items()) + "}"
    return json.dumps(value)
