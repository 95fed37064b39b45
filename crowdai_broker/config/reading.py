"""Turns a table as TOML or JSON gives it into the typed values of a declared table, key by key.

msgspec checks each value, but alone it would stop at the first that is wrong; here every key is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from .problems import Problems, join
from .references import References, is_reference
from .secret import Secret
from .values import Check, EmptyMeansNone, FromEnvironment

AnyMark = TypeVar("AnyMark")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "date": "a date",
    "datetime": "a date",
    "time": "a time",
}
_GOT = re.compile(r"Expected `([\w| ]+)`, got `(\w+)`")
_BOUND = re.compile(r"Expected `(?:int|float)[\w| ]*` (>=|<=|>|<) (\S+)")
_LENGTH = re.compile(r"Expected `\w+` of length (>=|<=) (\d+)")
_INDEX = re.compile(r" - at `\$\[(\d+)\]`$")
_SIGNS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads tables from one source.

    :param references: where ``{env = …}`` and ``{file = …}`` are looked up; ``None`` where the source is
        not the operator's, and must not be able to read the operator's files.
    """

    problems: Problems
    references: References | None

    def table(self, kind: type[msgspec.Struct], raw: object, at: str) -> dict[str, Any]:
        """Return the values of the keys that ``raw`` sets, by name; what is wrong becomes a problem."""
        if not isinstance(raw, dict):
            self.problems.add(at, "must be a table")
            return {}
        known = {field.name: field for field in fields(kind)}
        for name in raw:
            if name not in known:
                self.problems.unknown(join(at, str(name)), str(name), list(known))
        read: dict[str, Any] = {}
        for name, field in known.items():
            if name in raw:
                self._key(read, field, raw[name], join(at, name))
            else:
                self._absent(read, field, join(at, name))
        return read

    def _key(self, read: dict[str, Any], field: FieldInfo, raw: object, key: str) -> None:
        if is_table(field.type):
            read[field.name] = self.table(field.type, raw, key)
            return
        try:
            raw = self._resolve(raw)
            if raw == "" and _mark(field.type, EmptyMeansNone) is not None:
                return
            read[field.name] = checked(field.type, msgspec.convert(raw, field.type, dec_hook=self._convert))
        except msgspec.ValidationError as why:
            index, text = explain(str(why), field.type)
            self.problems.add(key + index, text)
        except ItemError as why:
            self.problems.add(f"{key}{why.index}", str(why))
        except ValueError as why:
            self.problems.add(key, str(why))

    def _absent(self, read: dict[str, Any], field: FieldInfo, key: str) -> None:
        mark = _mark(field.type, FromEnvironment)
        variable = mark.name if mark else ""
        if variable and self.references and self.references.environ.get(variable):
            self._key(read, field, {"env": variable}, key)
        elif field.required:
            hint = f'{{env = "{variable}"}}' if variable else '{file = "PATH"} or {env = "NAME"}'
            self.problems.add(key, f"is missing; set it, for example {field.name} = {hint}")

    def _resolve(self, raw: object) -> object:
        if self.references is not None:
            return self.references.resolve(raw)
        if is_reference(raw):
            raise ValueError("{env = …} and {file = …} are for the operator's file alone")
        return raw

    def _convert(self, kind: type, value: object) -> object:
        """Make what msgspec does not know: secrets, and paths relative to the file."""
        if not isinstance(value, str):
            raise TypeError(f"Expected `str`, got `{_json_name(value)}`")
        if kind is Secret:
            return Secret(value)
        if kind is Path:
            return _path(value, self.references)
        raise NotImplementedError(kind)


class ItemError(ValueError):
    """One item of a list is wrong; ``index`` is written like ``[2]``."""

    def __init__(self, index: str, text: str) -> None:
        super().__init__(text)
        self.index = index


def is_table(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    """Tell whether a declared type is a table inside a table."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def checked(kind: Any, value: Any) -> Any:
    """Ask every :class:`~crowdai_broker.config.values.Check` in the type; return the tidied value."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = checked(parts[0], value)
        for mark in parts[1:]:
            value = mark.ask(value) if isinstance(mark, Check) else value
        return value
    if origin is tuple:
        return tuple(_item(parts[0], item, index) for index, item in enumerate(value))
    if origin in (Union, UnionType) and value is not None:
        return checked(next(part for part in parts if part is not type(None)), value)
    return value


def explain(message: str, kind: Any) -> tuple[str, str]:
    """Turn msgspec's message about a value of declared type ``kind`` into (index, text) for people."""
    found = _INDEX.search(message)
    index = f"[{found[1]}]" if found else ""
    if choices := _choices(kind):
        return index, f"must be one of {', '.join(choices)}"
    for pattern, say in _SAYINGS:
        if match := pattern.match(message):
            return index, say(match)
    return index, "has a wrong value"


def _say_got(match: re.Match[str]) -> str:
    wanted = " or ".join(_WORDS.get(word, word) for word in match[1].split(" | ") if word != "null")
    return f"must be {wanted}, not {_WORDS.get(match[2], match[2])}"


def _say_bound(match: re.Match[str]) -> str:
    return f"must be {_SIGNS[match[1]]} {match[2].removesuffix('.0')}"


def _say_length(match: re.Match[str]) -> str:
    return f"must have {_SIGNS[match[1]]} {match[2]} item{'s' if match[2] != '1' else ''}"


_SAYINGS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_GOT, _say_got),
    (_BOUND, _say_bound),
    (_LENGTH, _say_length),
)


def _item(kind: Any, item: Any, index: int) -> Any:
    try:
        return checked(kind, item)
    except ValueError as why:
        raise ItemError(f"[{index}]", str(why)) from None


def _choices(kind: Any) -> list[str]:
    return [f'"{choice}"' for choice in get_args(kind)] if get_origin(kind) is Literal else []


def _mark(kind: Any, wanted: type[AnyMark]) -> AnyMark | None:
    """Return the mark of class ``wanted`` on a declared type, if there is one."""
    return next((mark for mark in get_args(kind) if isinstance(mark, wanted)), None)


def _path(text: str, references: References | None) -> Path:
    if not text or "\x00" in text or references is None:
        raise ValueError("must be the path of a file or directory")
    return (references.directory / text).absolute()


def _json_name(value: object) -> str:
    names = {bool: "bool", int: "int", float: "float", list: "array", dict: "object", type(None): "null"}
    return names.get(type(value), type(value).__name__)
