"""Short ways to make what a store is given in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from crowdai_broker.core.model import (
    Acceptance,
    EffectDraft,
    EffectKind,
    EventDraft,
    Execution,
    Job,
    JobState,
    Lane,
    Move,
    NewJob,
    Take,
)

QUEUED, RUNNING, DISPATCHED = JobState.QUEUED, JobState.RUNNING, JobState.DISPATCHED
COMPLETE, FAILED, CANCELLED = JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED
REGISTERING = JobState.REGISTERING
ANY = frozenset(JobState)
ORDER = '{"function_name":"f","data":[1],"dry_run":false,"extra_params":{"api_key":"k"'


def a_job(execution_id: str, number: int = 0, **fields: Any) -> Job:
    """Return a queued job of participant 1 in challenge ``C``."""
    basis = Job(
        job_id=f"{execution_id}-{number}",
        execution_id=execution_id,
        data_sequence_no=number,
        participant_id=1,
        challenge="C",
        state=QUEUED,
        order=ORDER,
        created=1,
    )
    return replace(basis, **fields)


def draft(word: str) -> EventDraft:
    """Return an event that says ``word``."""
    return EventDraft(f'"message":"{word}"}}')


def text(number: int, word: str) -> str:
    """Return what the log holds of ``draft(word)``."""
    return f'{{"event_no":{number},"message":"{word}"}}'


def effect(kind: EffectKind = EffectKind.GRADE, body: str = "{}", due: int = 0) -> EffectDraft:
    """Return an effect that is due at once."""
    return EffectDraft(kind, body, due)


def acceptance(
    execution_id: str,
    jobs: Sequence[Job] | None = None,
    effects: Sequence[EffectDraft] = (),
    words: Sequence[str] = (),
    **fields: Any,
) -> Acceptance:
    """Return an execution with one job, or ``jobs``, each with ``effects``, and events that say ``words``."""
    jobs = [a_job(execution_id)] if jobs is None else jobs
    execution = Execution(
        execution_id=execution_id,
        participant_id=1,
        challenge=jobs[0].challenge if jobs else "C",
        function_name="f",
        response_channel="C::1",
        job_count=len(jobs),
        accepted_at=1000,
        api_key="k",
        progress_key="p",
    )
    return Acceptance(
        execution=execution,
        jobs=tuple(NewJob(job, tuple(effects)) for job in jobs),
        events=tuple(draft(word) for word in words),
        **fields,
    )


def a_take(*numbers: str, **fields: Any) -> Take:
    """Ask for as many jobs of challenge ``C`` as there are numbers, on behalf of ``n1``."""
    basis = Take(
        challenge="C",
        node="n1",
        attempts=numbers,
        limit=100,
        response_channel="channel",
        push=False,
        now=5000,
        due=9000,
    )
    return replace(basis, **fields)


def a_move(job_id: str, *words: str, **fields: Any) -> Move:
    """Return a move from any state that logs events saying ``words``."""
    return Move(job_id=job_id, expect=fields.pop("expect", ANY), events=tuple(map(draft, words)), **fields)


__all__ = [
    "ANY", "CANCELLED", "COMPLETE", "DISPATCHED", "FAILED", "ORDER", "QUEUED", "REGISTERING", "RUNNING",
    "Lane", "a_job", "a_move", "a_take", "acceptance", "draft", "effect", "text",
]  # fmt: skip
