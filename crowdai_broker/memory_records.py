"""The records of the memory store: what belongs together."""

from __future__ import annotations

from collections import deque

from msgspec import Struct
from msgspec.structs import replace

from .core.model import TERMINAL, Effect, EventDraft, Execution, Job, JobState, LoggedEvent, Move


class StoredEffect(Struct):
    """An effect and who has it leased (``node``), until when or from when on it is due.

    :ivar call: the call that leased it last.
    :ivar answer: how that call answered it.
    """

    effect: Effect
    due: int
    node: str = ""
    call: str = ""
    answer: Effect | None = None


class StoredExecution(Struct):
    """An execution with what belongs to it."""

    execution: Execution
    jobs: tuple[str, ...]
    idempotency: str
    log: deque[LoggedEvent]
    watchers: set[str]
    expires: float | None = None


def with_events(job: Job, move: Move) -> tuple[Job, list[EventDraft]]:
    """Return what a move logs, the held event first where it goes too, and the job after it."""
    if move.hold is not None:
        return replace(job, held=move.hold.fragment), []
    drafts = list(move.events)
    if move.flush or move.to in TERMINAL:
        held = [EventDraft(job.held)] if job.held else []
        return replace(job, held=""), held + drafts
    return (replace(job, held="") if move.to is JobState.QUEUED else job), drafts
