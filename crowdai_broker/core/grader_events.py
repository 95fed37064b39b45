"""What graders say, repaired where the field's graders are known to break it, dropped where it means nothing.

A grader event is ``{"job_id", "data_sequence_no", "response_type" | "job_state", "data", "message"}``.
Public graders send a ``job_id`` that is an object, a ``message`` that is an object or missing, numbers as
strings and bare ``NaN``; none of that may cost a participant a grade.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
from msgspec import Struct

from .events import JobEvent, shorten

MAX_EVENT = 1_000_000  # bytes of one event; a larger one is dropped
MAX_DEPTH = 100  # levels of nesting in an event; what is deeper could break whoever walks it later

_KINDS = {
    f"{prefix}{kind.name}": kind
    for kind in JobEvent
    if kind is not JobEvent.ENQUEUED  # ours to say
    for prefix in ("CrowdAI.Event.Job.", "crowdai.job_state.", "")
}
TERMINAL_EVENTS = frozenset({JobEvent.COMPLETE, JobEvent.ERROR, JobEvent.TIMEOUT})

TOO_DEEP = "The grader's result is nested too deeply to be passed on."
_NAMELESS = {
    JobEvent.ERROR: "The grader reported an error without saying which.",
    JobEvent.TIMEOUT: "The grader gave up because the grading took too long.",
}


class GraderEvent(Struct, frozen=True):
    """A grader's event after repair.

    :ivar number: the attempt number it carries, decimal digits.
    :ivar data: always an object; ``percent_complete`` is a float from 0 to 100 where ``kind`` is progress.
    :ivar repeats: ``data`` may hold the attempt's number, which is ours and not the participant's, again.
    """

    number: str
    kind: JobEvent
    data: dict[str, Any]
    message: str
    repeats: bool = False


class Unusable(Struct, frozen=True):
    """An event that was dropped; ``why`` is one of a few words, fit for a metric's label."""

    why: str


class _Wire(Struct):
    data_sequence_no: Any = None
    response_type: Any = None
    job_state: Any = None
    data: Any = None
    message: Any = None


_decode = msgspec.json.Decoder(_Wire).decode


def read(raw: bytes, number: str | None = None) -> GraderEvent | Unusable:
    """Read one event as it came from a grader.

    :param raw: UTF-8 JSON of one object.
    :param number: of the attempt, where it is known otherwise and what the event says of it does not count.
    """
    if len(raw) > MAX_EVENT:
        return Unusable("oversize")
    wire = _parse(raw)
    if wire is None:
        return Unusable("not_json")
    number = _number(wire.data_sequence_no) if number is None else number
    if number is None:
        return Unusable("no_number")
    name = wire.response_type if wire.response_type is not None else wire.job_state
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return Unusable("unknown_type")
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _is_deeper((wire.data, wire.message), MAX_DEPTH):
        return _without_depth(number, kind)
    return _event(number, kind, wire, repeats=raw.count(b'"data_sequence_no"') > 1)


def _without_depth(number: str, kind: JobEvent) -> GraderEvent | Unusable:
    """Drop an event that is nested too deeply; if it ends its job, let it do so."""
    if kind not in TERMINAL_EVENTS:
        return Unusable("too_deep")
    return GraderEvent(number, JobEvent.ERROR if kind is JobEvent.COMPLETE else kind, {}, TOO_DEEP)


def _is_deeper(value: Any, most: int) -> bool:
    """Tell whether containers nest deeper than ``most``, layer by layer."""
    layer = [value]
    for _ in range(most + 1):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return False
    return True


def _event(number: str, kind: JobEvent, wire: _Wire, *, repeats: bool) -> GraderEvent | Unusable:
    data = _data(wire.data)
    if kind is JobEvent.PROGRESS_UPDATE:
        percent = _percent(data.get("percent_complete"))
        if percent is None:
            return Unusable("no_percent")
        data["percent_complete"] = percent
    message = _message(wire.message) or _NAMELESS.get(kind, "")
    return GraderEvent(number, kind, data, message, repeats)


def _parse(raw: bytes) -> _Wire | None:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _parse_leniently(raw)


def _parse_leniently(raw: bytes) -> _Wire | None:
    """Read what Python graders write and no strict parser takes: NaN, infinity, half surrogate pairs."""
    try:
        value = json.loads(raw.decode("utf-8", "replace"))
        # Half a pair could not be encoded again: it becomes a question mark.
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return _Wire(*(value.get(name) for name in _Wire.__struct_fields__))


def _number(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip() if isinstance(value, str) or abs(value) < 1 << 63 else ""
    return text if text.isascii() and text.isdigit() and len(text) <= 20 else None


def _data(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return {} if value is None or value == "" else {"result": value}


def _percent(value: Any) -> float | None:
    number = as_finite(value)
    return None if number is None else min(100.0, max(0.0, number))


def as_finite(value: Any) -> float | None:
    """Return a finite number, also one in a string, or ``None`` for anything else (booleans too)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (not value.isascii() or "_" in value):
        return None  # Python reads more as a number than those who wrote it meant
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _message(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return shorten(value)
    try:
        return shorten(msgspec.json.encode(value).decode())
    except (TypeError, ValueError, RecursionError):
        return shorten(str(value))
