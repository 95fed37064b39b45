"""The records of the memory store: what belongs together."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from .core.model import Effect, Execution, LoggedEvent


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
