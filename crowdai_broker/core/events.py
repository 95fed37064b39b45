"""Job events as participants get them: one object of JSON with the five keys the field's client reads.

The names and keys were read off the public ``crowdai`` client 1.0.22, which raises on any other
``response_type`` than those of :class:`JobEvent`.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
from msgspec import Struct

from .model import EventDraft, Job

SUCCESS = "CrowdAI.Event.SUCCESS"
ERROR = "CrowdAI.Event.ERROR"
AUTHENTICATION_SUCCESS = "CrowdAI.Event.Authentication.SUCCESS"
AUTHENTICATION_ERROR = "CrowdAI.Event.Authentication.ERROR"

MAX_MESSAGE = 10_000  # characters of one message; what is longer is cut

_encode = msgspec.json.Encoder().encode


class JobEvent(enum.StrEnum):
    """Every ``response_type`` of a job event; the old client knows no other."""

    ENQUEUED = "CrowdAI.Event.Job.ENQUEUED"
    RUNNING = "CrowdAI.Event.Job.RUNNING"
    PROGRESS_UPDATE = "CrowdAI.Event.Job.PROGRESS_UPDATE"
    INFO = "CrowdAI.Event.Job.INFO"
    COMPLETE = "CrowdAI.Event.Job.COMPLETE"
    ERROR = "CrowdAI.Event.Job.ERROR"
    TIMEOUT = "CrowdAI.Event.Job.TIMEOUT"


class Outcome(Struct, frozen=True):
    """How a job ended: one item of the list that ``execute_function`` is acknowledged with."""

    data: Any
    response_type: str
    message: str


class _Fragment(Struct):
    execution_id: str
    job_id: str
    data_sequence_no: int
    response_type: str
    data: Any
    message: str


def shorten(message: str) -> str:
    """Return ``message`` cut to :data:`MAX_MESSAGE` characters, ending in an ellipsis if it was cut."""
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def draft(job: Job, response_type: JobEvent, message: str = "", data: Any = None) -> EventDraft:
    """Return an event about ``job``.

    :param data: anything msgspec encodes to a JSON object (a dict, or ``msgspec.Raw``); ``None``: ``{}``.
    """
    return _draft(job.execution_id, job.job_id, job.data_sequence_no, response_type, message, data)


def execution_draft(execution_id: str, response_type: JobEvent, message: str, data: Any = None) -> EventDraft:
    """Return an event about an execution as a whole (``data_sequence_no`` -1)."""
    return _draft(execution_id, "", -1, response_type, message, data)


def _draft(
    execution_id: str, job_id: str, number: int, response_type: JobEvent, message: str, data: Any
) -> EventDraft:
    body = _Fragment(
        execution_id,
        job_id,
        number,
        response_type,
        {} if data is None else data,
        shorten(message),
    )
    return EventDraft(_encode(body)[1:].decode())


def refusal(message: str) -> dict[str, Any]:
    """Return the one item with which ``execute_function`` is refused before anything was accepted."""
    return {
        "response_type": JobEvent.ERROR.value,
        "job_id": "",
        "data_sequence_no": -1,
        "message": shorten(message),
        "data": {},
    }


def outcome_text(response_type: JobEvent, message: str, data: Any = None) -> str:
    """Return an :class:`Outcome` as the JSON text that is stored in ``Job.result``."""
    return _encode(Outcome({} if data is None else data, response_type, shorten(message))).decode()
