"""What the store's records look like in Redis: every member of a record is text in a hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..core.model import (
    Acceptance,
    Effect,
    EffectDraft,
    EventDraft,
    Execution,
    Inbox,
    Job,
    JobState,
    LoggedEvent,
    Move,
    Moved,
    Place,
    Take,
    order_text,
    queue_key,
)

EXECUTION_FIELDS = Execution.__struct_fields__
_JOB_FIELDS = Job.__struct_fields__
_SLOT = "\0"  # stands where a text has something put in; occurs in no id, name or key


def flat(record: msgspec.Struct, **more: str) -> list[str]:
    """Return a record as the arguments of HSET: name, text, and so on."""
    members = {**msgspec.to_builtins(record), **more}
    return [part for name, value in members.items() for part in (name, _text(value))]


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def read_job(values: Sequence[str | bool | None]) -> Job:
    """Return the job with these members, in the order of the type's; those that are missing have defaults."""
    return msgspec.convert(_present(_JOB_FIELDS, values), Job, strict=False)


def read_execution(values: Sequence[bytes | None]) -> Execution | None:
    """Return the execution with these members; ``None`` if there are none."""
    if values[0] is None:
        return None
    text = [None if value is None else value.decode() for value in values]
    return msgspec.convert(_present(EXECUTION_FIELDS, text), Execution, strict=False)


def _present(names: Iterable[str], values: Iterable[object]) -> Mapping[str, object]:
    return {name: value for name, value in zip(names, values, strict=True) if isinstance(value, str)}


def read_event(entry: Sequence[Any]) -> LoggedEvent:
    """Return the event of a stream's entry: ``[b"<event_no>-0", [b"e", text]]``."""
    (name, (_, text)) = entry
    return LoggedEvent(int(name.partition(b"-")[0]), text.decode())


def read_effect(row: Sequence[Any]) -> Effect:
    """Return the effect of a script's row: kind, job, body, state, tries, since, note."""
    return msgspec.convert(
        dict(zip(("kind", "job_id", "body", "state", "tries", "since", "note"), row, strict=True)),
        Effect,
        strict=False,
    )


def read_moved(row: Sequence[Any]) -> Moved:
    """Return what became of a move: applied, execution, unfinished, logged events."""
    applied, execution_id, unfinished, parts = row
    return Moved(applied, execution_id, read_parts(parts), unfinished)


def read_parts(parts: Sequence[Any]) -> tuple[LoggedEvent, ...]:
    """Return the events of a flat list: number, text, and so on."""
    return tuple(map(LoggedEvent, parts[::2], parts[1::2]))


def asked_acceptance(acceptance: Acceptance) -> dict[str, Any]:
    """Return what ``accept`` is asked."""
    execution = msgspec.structs.replace(acceptance.execution, open=0, unfinished=0, event_no=0)
    job_ids = msgspec.json.encode([new.job.job_id for new in acceptance.jobs]).decode()
    return {
        "id": execution.execution_id,
        "challenge": execution.challenge,
        "record": flat(execution, jobs=job_ids, idempotency=acceptance.idempotency),
        "jobs": [_asked_job(new.job, new.effects) for new in acceptance.jobs],
        "events": _fragments(acceptance.events),
        "watcher": acceptance.watcher,
        "idempotency": acceptance.idempotency,
        "since": execution.accepted_at,
    }


def _asked_job(job: Job, effects: Sequence[EffectDraft]) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "record": flat(job),
        "state": job.state,
        "participant_id": str(job.participant_id),
        "challenge": job.challenge,
        "lane": job.lane,
        "due": job.due,
        "submission": job.submission_id,
        "effects": _effects(effects),
    }


def asked_move(move: Move) -> dict[str, Any]:
    """Return what ``move`` is asked for one job; what is ``None`` is left out, as Lua has it."""
    asked = {
        "job": move.job_id,
        "expect": list(move.expect),
        "events": _fragments(move.events),
        "flush": move.flush,
        "fields": [part for pair in move.fields.items() for part in pair],
        "effects": _effects(move.effects),
        "extend": move.extend,
        "front": move.place is Place.FRONT,
    }
    optional = {"attempt": move.attempt, "to": move.to, "done": move.done, "due": move.due}
    if move.hold is not None:
        optional["hold"] = move.hold.fragment
    return asked | {name: value for name, value in optional.items() if value is not None}


def asked_inbox(inbox: Inbox) -> dict[str, Any]:
    """Return what ``move`` is asked of an inbox."""
    return {"key": inbox.key, "count": inbox.count, "first": inbox.first, "remote": inbox.remote}


def asked_take(take: Take) -> dict[str, Any]:
    """Return what ``take`` is asked; orders and their lists are told as the text around what varies."""
    bare = Job(
        job_id="",
        execution_id="",
        data_sequence_no=0,
        participant_id=0,
        challenge="",
        state=JobState.QUEUED,
        order="",
    )
    return {
        "challenge": take.challenge,
        "node": take.node,
        "attempts": list(take.attempts),
        "limit": take.limit,
        "now": take.now,
        "due": take.due,
        "push": take.push,
        "effect": take.effect,
        "queue": take.queue,
        "tail": order_text(bare, _SLOT, take.response_channel).split(_SLOT),
        "list": queue_key(_SLOT).split(_SLOT),
    }


def _fragments(drafts: Sequence[EventDraft]) -> list[str]:
    return [draft.fragment for draft in drafts]


def _effects(drafts: Sequence[EffectDraft]) -> list[dict[str, Any]]:
    return [{"kind": draft.kind, "body": draft.body, "due": draft.due} for draft in drafts]
