"""How far an execution is, for whoever holds the capability that its ``ENQUEUED`` events gave."""

from __future__ import annotations

import secrets

from msgspec import Struct

from ..interfaces import IStore
from .model import Job, JobState


class JobProgress(Struct, frozen=True):
    """A job in its execution's picture; ``percent`` from 0 to 100."""

    number: int
    state: str
    percent: float


class Progress:
    """Answers for pictures and pages."""

    def __init__(self, store: IStore) -> None:
        self._store = store

    async def of(self, execution_id: str, key: str) -> list[JobProgress] | None:
        """Return an execution's jobs in order; ``None``: there is none with this id and this key."""
        execution = await self._store.execution(execution_id)
        if execution is None or not execution.progress_key:
            return None
        if not secrets.compare_digest(execution.progress_key.encode(), key.encode("utf-8", "replace")):
            return None
        return [_progress(job) for job in await self._store.jobs(execution_id)]


def _progress(job: Job) -> JobProgress:
    percent = 100.0 if job.state is JobState.COMPLETE else float(job.percent or 0)
    return JobProgress(job.data_sequence_no, job.state, percent)
