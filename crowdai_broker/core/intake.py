"""From a request that was checked to an execution that is stored: what "accepted" means.

Nothing is said to the participant before the store has it, and nothing the participant is told afterwards
depends on this process.
"""

from __future__ import annotations

import secrets
from collections.abc import Container, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..config import ChallengeConfig
from ..errors import NotNow, PeerError, StoreUnavailable
from ..interfaces import IStore
from .catalogue import Catalogue
from .events import JobEvent, draft, execution_draft
from .lifecycle import register_effect
from .model import Acceptance, Accepted, EventDraft, Execution, Job, JobState, Lane, NewJob, job_id_of
from .requests import ExecuteFunction

ACCEPT_TRIES = 3
ACCEPT_PAUSE = 1.0  # s between tries to store an execution
RESTARTING = "This broker is being restarted; please submit again in a minute."
NOT_KNOWN = (
    "The broker's storage does not answer. It is not known whether your submission was accepted. If it was, "
    "it will be graded. Please look for it on the challenge site in a few minutes, before you submit again."
)
ENQUEUED = "Enqueued"
ENQUEUED_DRY = "Enqueued as a dry run: nothing of it goes on the leaderboard."
ID_BYTES = 15  # 120 bits: an execution id is no secret, but nobody should find one by trying

CODE_DROPPED = (
    "This broker does not archive code: what you sent of it was dropped unread, nothing of it is kept. Your "
    "submission goes on."
)


class _ExtraParams(Struct):
    """What public graders read of a job's origin; ``session_token`` is there because they expect the key."""

    api_key: str
    session_token: str
    client_response_channel: str
    execution_id: str
    challenge_client_name: str


class _Order(Struct):
    function_name: str
    data: Any
    dry_run: bool
    extra_params: _ExtraParams


def new_execution_id() -> str:
    """Return an id for an execution."""
    return secrets.token_hex(ID_BYTES)


class Announced(Struct, frozen=True):
    """``data`` of an ``ENQUEUED`` event.

    :ivar ahead: unfinished jobs of the challenge that were there before this one.
    """

    execution_id: str
    ahead: int
    progress_url: str


class Intake:
    """Accepts executions.

    :param public_url: where participants reach the broker, without a slash at the end.
    """

    def __init__(
        self, clock: IReactorTime, store: IStore, catalogue: Catalogue, node: str, public_url: str
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._node = node
        self._public_url = public_url.rstrip("/")

    async def accept(
        self, request: ExecuteFunction, challenge: ChallengeConfig, participant_id: int, idempotency: str
    ) -> tuple[Accepted, Execution]:
        """Store the request as an execution.

        :param idempotency: hash of participant, challenge and idempotency key; ``""`` for none.
        :raises PeerError: it was not accepted, or nobody knows; with what to tell the participant.
        """
        scored = is_scored(request, challenge)
        if scored:
            await self._catalogue.refuse_outside_rounds(request.challenge, challenge)
        execution = Execution(
            execution_id=new_execution_id(),
            participant_id=participant_id,
            challenge=request.challenge,
            function_name=request.function_name,
            response_channel=request.response_channel,
            job_count=len(request.items),
            accepted_at=int(self._clock.seconds() * 1000),
            progress_key=secrets.token_urlsafe(ID_BYTES),
            api_key=request.api_key,
            scored=scored,
            dry_run=request.dry_run,
        )
        jobs = [self._job(execution, request, challenge, number) for number in range(len(request.items))]
        notices = []
        if request.has_code:
            notices.append(execution_draft(execution.execution_id, JobEvent.INFO, CODE_DROPPED))
        return await self.keep(execution, jobs, notices, self._node, idempotency), execution

    async def keep(
        self,
        execution: Execution,
        jobs: Sequence[NewJob],
        notices: Sequence[EventDraft] = (),
        watcher: str = "",
        idempotency: str = "",
    ) -> Accepted:
        """Store an execution with its jobs and their first events.

        :param notices: further events.
        :param watcher: node that is told of its events; ``""`` for none.
        :raises PeerError: nobody knows whether it was stored.
        """
        ahead = await self._store.unfinished(execution.challenge)
        url = f"{self._public_url}/progress/{execution.execution_id}#{execution.progress_key}"
        message = ENQUEUED_DRY if execution.dry_run else ENQUEUED
        announced = [Announced(execution.execution_id, ahead + new.job.data_sequence_no, url) for new in jobs]
        events = [
            draft(new.job, JobEvent.ENQUEUED, message, data)
            for new, data in zip(jobs, announced, strict=True)
        ]
        acceptance = Acceptance(
            execution=execution,
            jobs=tuple(jobs),
            events=(*events, *notices),
            watcher=watcher,
            idempotency=idempotency,
        )
        return await self._accept(acceptance)

    async def _accept(self, acceptance: Acceptance) -> Accepted:
        """Store an execution; a step that failed may have been done, and under its id is safe to repeat."""
        for tries in count(1):
            try:
                return await self._store.accept(acceptance)
            except StoreUnavailable:
                if tries == ACCEPT_TRIES:
                    break
                await deferLater(self._clock, ACCEPT_PAUSE)
        raise NotNow(NOT_KNOWN)

    def _job(
        self, execution: Execution, request: ExecuteFunction, challenge: ChallengeConfig, number: int
    ) -> NewJob:
        registers = execution.scored and registers_first(challenge)
        job = Job(
            job_id=job_id_of(execution.execution_id, number),
            execution_id=execution.execution_id,
            data_sequence_no=number,
            participant_id=execution.participant_id,
            challenge=execution.challenge,
            state=JobState.REGISTERING if registers else JobState.QUEUED,
            order=open_order(execution, challenge, request.items[number], registers=registers),
            lane=Lane.LIVE,
            scored=execution.scored,
            grades_posted_by=challenge.grades_posted_by,
            grader_id=request.grader_id,
            created=execution.accepted_at,
        )
        if not registers:
            return NewJob(job)
        return NewJob(job, (register_effect(job, request.api_key, execution.accepted_at),))


def is_scored(request: ExecuteFunction, challenge: ChallengeConfig) -> bool:
    """Tell whether the request's results go on the leaderboard."""
    return request.function_name in challenge.scored_functions and not request.dry_run


def registers_first(challenge: ChallengeConfig) -> bool:
    """Tell whether the broker creates the submissions of scored jobs.

    Redis graders that post their grades themselves create them themselves too (the public job factories).
    """
    return challenge.grades_posted_by == "broker" or challenge.grader.kind == "http"


def check_function(name: str, function: str, challenge: ChallengeConfig, served: Container[str]) -> None:
    """Raise :class:`PeerError` unless the challenge called ``name`` has the function and graders for it.

    :param served: kinds of graders that this broker can give jobs to.
    """
    kind = challenge.grader.kind
    if kind not in served:
        raise PeerError(
            f"The challenge {name} has graders of kind {kind}, which this broker cannot reach; please tell "
            "the organizers."
        )
    if challenge.functions and function not in challenge.functions:
        known = ", ".join(challenge.functions)
        raise PeerError(f"Unknown function: {function}. The functions of {name} are: {known}.")


def check(request: ExecuteFunction, challenge: ChallengeConfig, served: Container[str]) -> None:
    """Raise :class:`PeerError` for what the challenge does not allow."""
    check_function(request.challenge, request.function_name, challenge, served)
    if request.grader_id and request.grader_id not in challenge.grader_ids:
        raise PeerError(
            f"The grader_id {request.grader_id} is not one of this challenge's; leave the parameter out."
        )
    if len(request.items) > challenge.max_parallel_jobs:
        raise PeerError(
            f"Too many parallel jobs: {len(request.items)} were asked for, this challenge allows "
            f"{challenge.max_parallel_jobs} in one request."
        )


def open_order(
    execution: Execution,
    challenge: ChallengeConfig,
    item: Any,
    *,
    registers: bool = False,
    submission_id: int = 0,
) -> str:
    """Return a job's order, open at the end as :func:`~crowdai_broker.core.model.order_text` needs it.

    :param registers: its submission is not known yet; it is put into the order once it is.
    :param submission_id: its submission; 0: it has none.
    :raises PeerError: the item cannot be passed on.
    """
    order = _Order(
        execution.function_name,
        item,
        execution.dry_run,
        _ExtraParams(
            execution.api_key if challenge.grader.share_api_key else "",
            "",
            execution.response_channel,
            execution.execution_id,
            execution.challenge,
        ),
    )
    try:
        text = msgspec.json.encode(order).decode().removesuffix("}}")
    except (ValueError, TypeError, RecursionError):
        raise PeerError("The parameter data holds something that cannot be passed on as JSON.") from None
    return text if registers else f'{text},"submission_id":{submission_id or "null"}'
