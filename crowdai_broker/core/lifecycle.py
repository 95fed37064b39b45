"""What happens to a job: facts in, one :class:`~crowdai_broker.core.model.Move` out.

=================  =========================================  =====================================
from               fact                                       to
=================  =========================================  =====================================
(new)              accepted, scored by the broker             registering, with a *register* effect
(new)              accepted, otherwise                        queued
registering        the webapp created its submission          queued
registering        the webapp refused it                      failed
queued             a grader's place is free                   dispatched, as a new attempt
dispatched         the grader's first event                   running
in flight          ``COMPLETE``                               complete, with a *grade* effect
in flight          ``ERROR``, ``TIMEOUT``, no usable score     failed, with a *grade* effect
in flight          deadline, attempts left                    queued, at the front
in flight          deadline, no attempt left                  failed as the platform's fault
any open one       the participant cancels                     cancelled
any terminal one   the webapp has its grade                   the same; the effect is done
=================  =========================================  =====================================

*In flight* is dispatched or running. The store applies a move only if the job is still what the fact was
about (state and attempt), so a fact that comes late or twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from .events import JobEvent, draft, outcome_text
from .grader_events import GraderEvent
from .model import (
    IN_FLIGHT,
    OPEN,
    TERMINAL,
    EffectDraft,
    EffectKind,
    EventDraft,
    Job,
    JobState,
    Move,
    Place,
)
from .scores import NoScore, failure_fields, grade_fields
from .webapp_model import JsonObject, Registered, RegisterFields

PLATFORM_ERROR = "Platform error: "
CANCELLED = "Cancelled {by}; no grade is posted for it."
RETRIED = "Your job was taken from its grader by an operator and goes to another."
REGISTERING = frozenset({JobState.REGISTERING})

_encode = msgspec.json.Encoder().encode


def marks_of(job: Job) -> JsonObject:
    """Return what a submission's ``meta`` says of the job it belongs to; a doubtful one is found by it."""
    return {"broker_execution_id": job.execution_id, "broker_job": job.job_id}


def register_effect(job: Job, api_key: str, now: int) -> EffectDraft:
    """Return the effect that creates the submission of a scored job before a grader sees it."""
    fields = RegisterFields(
        api_key=api_key, challenge_client_name=job.challenge, grading_status="submitted", meta=marks_of(job)
    )
    return EffectDraft(EffectKind.REGISTER, _encode(fields).decode(), now)


def registered(job: Job, answer: Registered) -> Move:
    """Move a job whose submission exists into the backlog; its order tells the grader the submission."""
    return Move(
        job_id=job.job_id,
        expect=REGISTERING,
        to=JobState.QUEUED,
        fields={
            "submission_id": str(answer.submission_id),
            "submission": _encode(answer).decode(),
        },
        extend=f',"submission_id":{answer.submission_id}',
        done=EffectKind.REGISTER,
        due=0,
    )


def refused(job: Job, message: str) -> Move:
    """End a job that the webapp refused to register; ``message`` is its answer."""
    return msgspec.structs.replace(
        _ended(job, REGISTERING, JobState.FAILED, JobEvent.ERROR, message), done=EffectKind.REGISTER
    )


def progressed(job: Job, event: GraderEvent, due: int | None = None) -> Move:
    """Log an event that does not end the job.

    :param due: its new deadline: with its grader's first event the job's time begins anew.
    """
    return Move(
        job_id=job.job_id,
        expect=IN_FLIGHT,
        attempt=job.attempt,
        to=JobState.RUNNING,
        events=(_relayed(job, event),),
        fields=_percent(event),
        due=due,
    )


def held_back(job: Job, event: GraderEvent) -> Move:
    """Keep a progress event for later: the newest wins."""
    return Move(
        job_id=job.job_id,
        expect=IN_FLIGHT,
        attempt=job.attempt,
        to=JobState.RUNNING,
        hold=_relayed(job, event),
        fields=_percent(event),
    )


def flushed(job: Job) -> Move:
    """Log the progress event that was kept."""
    return Move(job_id=job.job_id, expect=IN_FLIGHT, attempt=job.attempt, flush=True)


def finished(job: Job, event: GraderEvent, now: int) -> Move:
    """End a job by its grader's terminal event."""
    if event.kind is not JobEvent.COMPLETE:
        return _failed(job, event.kind, event.message, now)
    effects: tuple[EffectDraft, ...] = ()
    data = _renumbered(event, job)
    if job.submission_id and job.grades_posted_by == "broker":
        try:
            fields = grade_fields(data, marks_of(job))
        except NoScore as problem:
            return _failed(job, JobEvent.ERROR, str(problem), now)
        effects = (EffectDraft(EffectKind.GRADE, _encode(fields).decode(), now),)
    if job.submission_id:
        data = {**data, "submission_id": job.submission_id}
    return _ended(
        job, IN_FLIGHT, JobState.COMPLETE, JobEvent.COMPLETE, event.message, data=data, effects=effects
    )


def still_waiting(job: Job, due: int) -> Move:
    """Let an order lie: its graders are there, but busy."""
    return Move(job_id=job.job_id, expect=frozenset({JobState.DISPATCHED}), attempt=job.attempt, due=due)


def taken_late(job: Job, due: int) -> Move:
    """Give a grader, who has said nothing yet, its time: the order lay there for as long before."""
    return msgspec.structs.replace(still_waiting(job, due), to=JobState.RUNNING)


def overdue(job: Job, max_attempts: int, seconds: float, now: int) -> Move:
    """Give a job whose grader did not finish in time to another, or give it up after the last attempt."""
    silent = "nothing was heard of the grader" if job.state is JobState.DISPATCHED else "it did not finish"
    return given_up(job, max_attempts, f"{silent} within {seconds:g} s", now)


def given_up(job: Job, max_attempts: int, why: str, now: int) -> Move:
    """Give a job to another grader, or give it up after the last attempt."""
    if job.attempts >= max_attempts:
        message = (
            f"{PLATFORM_ERROR}the job was given to graders {job.attempts} times, the last time {why}. "
            "This is not your fault; please submit again or tell the organizers."
        )
        return _failed(job, JobEvent.ERROR, message, now)
    notice = f"Attempt {job.attempts} of {max_attempts} was given up: {why}. Your job goes to another grader."
    return msgspec.structs.replace(returned(job), events=(draft(job, JobEvent.INFO, notice),))


def returned(job: Job) -> Move:
    """Put a job back whose order could not be handed out."""
    return Move(
        job_id=job.job_id,
        expect=IN_FLIGHT,
        attempt=job.attempt,
        to=JobState.QUEUED,
        place=Place.FRONT,
        due=0,
    )


def unseen(job: Job) -> Move:
    """Put a job back that no grader has seen: the attempt does not count."""
    return msgspec.structs.replace(returned(job), fields={"attempts": str(job.attempts - 1)})


def leased(job: Job, due: int) -> Move:
    """Say until when a job stays with its grader without another word."""
    return Move(job_id=job.job_id, expect=IN_FLIGHT, attempt=job.attempt, due=due)


def outdated(job: Job, kind: EffectKind) -> Move:
    """Settle an effect of an attempt that is over; refused once the next one may have stored its own."""
    return Move(job_id=job.job_id, expect=frozenset(JobState), attempt=job.attempt, done=kind)


def pointless(job: Job, kind: EffectKind) -> Move:
    """Settle an effect of a job that has ended meanwhile."""
    return Move(job_id=job.job_id, expect=TERMINAL, done=kind)


def handed_out(
    job: Job, due: int, effects: Iterable[EffectDraft] = (), notices: Iterable[EventDraft] = ()
) -> Move:
    """Note that a grader took a job's order; its time begins now."""
    return Move(
        job_id=job.job_id,
        expect=IN_FLIGHT,
        attempt=job.attempt,
        events=tuple(notices),
        effects=tuple(effects),
        done=EffectKind.DISPATCH,
        due=due,
    )


def refused_by_grader(job: Job, message: str, now: int) -> Move:
    """End a job that its grader will not grade."""
    return msgspec.structs.replace(_failed(job, JobEvent.ERROR, message, now), done=EffectKind.DISPATCH)


def never_handed_out(job: Job, hours: int, now: int) -> Move:
    """End a job whose order no grader would take for so long."""
    message = (
        f"{PLATFORM_ERROR}no grader of this challenge could be reached for {hours} hours. "
        "This is not your fault; please submit again or tell the organizers."
    )
    return refused_by_grader(job, message, now)


def registered_too_late(job: Job, submission_id: int) -> Move:
    """Settle the registration of a job that has ended meanwhile: nothing will grade its submission."""
    return Move(
        job_id=job.job_id,
        expect=TERMINAL,
        fields={"submission_id": str(submission_id)} if submission_id else {},
        done=EffectKind.REGISTER,
    )


def retried(job: Job) -> Move:
    """Take a job from its grader because an operator said so."""
    return msgspec.structs.replace(returned(job), events=(draft(job, JobEvent.INFO, RETRIED),))


def cancelled(job: Job, by: str = "at your request") -> Move:
    """End a job that nobody wants any more; what its grader says of it from now on is late."""
    return _ended(job, OPEN, JobState.CANCELLED, JobEvent.ERROR, CANCELLED.format(by=by))


def graded(job_id: str, notices: Iterable[EventDraft] = ()) -> Move:
    """Settle the *grade* effect of a job."""
    return Move(job_id=job_id, expect=TERMINAL, done=EffectKind.GRADE, events=tuple(notices))


def noted(job: Job, expect: frozenset[JobState], message: str) -> Move:
    """Tell the participant something about a job without moving it."""
    return Move(job_id=job.job_id, expect=expect, events=(draft(job, JobEvent.INFO, message),))


def _failed(job: Job, kind: JobEvent, message: str, now: int) -> Move:
    """End a job in flight without a result; its submission, if there is one, is told so."""
    effects: tuple[EffectDraft, ...] = ()
    if job.submission_id and job.grades_posted_by == "broker":
        effects = (EffectDraft(EffectKind.GRADE, _encode(failure_fields(message)).decode(), now),)
    return _ended(job, IN_FLIGHT, JobState.FAILED, kind, message, effects=effects)


def _ended(
    job: Job,
    expect: frozenset[JobState],
    to: JobState,
    kind: JobEvent,
    message: str,
    *,
    data: JsonObject | None = None,
    effects: tuple[EffectDraft, ...] = (),
) -> Move:
    return Move(
        job_id=job.job_id,
        expect=expect,
        attempt=job.attempt if expect is IN_FLIGHT else None,
        to=to,
        events=(draft(job, kind, message, data),),
        fields={"result": outcome_text(kind, message, data)},
        effects=effects,
        due=0,
    )


def _percent(event: GraderEvent) -> dict[str, str]:
    """Return how far the job is, for its picture, where the event says it."""
    return (
        {"percent": f"{event.data['percent_complete']:g}"} if event.kind is JobEvent.PROGRESS_UPDATE else {}
    )


def _relayed(job: Job, event: GraderEvent) -> EventDraft:
    return draft(job, event.kind, event.message, _renumbered(event, job))


def _renumbered(event: GraderEvent, job: Job) -> JsonObject:
    """Return the event's data with the participant's number wherever the grader repeats the one it got."""
    data = event.data
    if event.repeats:
        data = _with_own_number(data, event.number, job.data_sequence_no)
    return {**data, "data_sequence_no": job.data_sequence_no} if "data_sequence_no" in data else data


def _with_own_number(value: Any, given: str, own: int) -> Any:
    """Replace the number at any depth; :data:`~.grader_events.MAX_DEPTH` bounds the recursion."""
    if isinstance(value, list):
        return [_with_own_number(inner, given, own) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        name: own
        if name == "data_sequence_no" and str(inner) == given
        else _with_own_number(inner, given, own)
        for name, inner in value.items()
    }
