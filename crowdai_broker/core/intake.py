"""From a request that was checked to an execution that is stored: what "accepted" means.

Nothing is said to the participant before the store has it, and nothing the participant is told afterwards
depends on this process.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..config import ChallengeConfig
from ..errors import PeerError, StoreUnavailable
from ..interfaces import IStore
from .catalogue import Catalogue
from .events import JobEvent, draft, execution_draft
from .lifecycle import register_effect
from .model import Acceptance, Accepted, Execution, Job, JobState, Lane, NewJob, job_id_of
from .requests import ExecuteFunction

ACCEPT_TRIES = 3
ACCEPT_PAUSE = 1.0  # s between tries to store an execution
NOT_KNOWN = (
    "The broker's storage does not answer. It is not known whether your submission was accepted. If it was, "
    "it will be graded. Please look for it on the challenge site in a few minutes, before you submit again."
)
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
        ahead = await self._store.unfinished(request.challenge)
        execution = Execution(
            execution_id=secrets.token_hex(ID_BYTES),
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
        jobs = tuple(self._job(execution, request, challenge, number) for number in range(len(request.items)))
        url = f"{self._public_url}/progress/{execution.execution_id}#{execution.progress_key}"
        announced = [Announced(execution.execution_id, ahead + new.job.data_sequence_no, url) for new in jobs]
        events = [
            draft(new.job, JobEvent.ENQUEUED, "Enqueued", data)
            for new, data in zip(jobs, announced, strict=True)
        ]
        if request.has_code:
            events.append(execution_draft(execution.execution_id, JobEvent.INFO, CODE_DROPPED))
        acceptance = Acceptance(
            execution=execution,
            jobs=jobs,
            events=tuple(events),
            watcher=self._node,
            idempotency=idempotency,
        )
        return await self._accept(acceptance), execution

    async def _accept(self, acceptance: Acceptance) -> Accepted:
        """Store an execution; a step that failed may have been done, and under its id is safe to repeat."""
        for tries in count(1):
            try:
                return await self._store.accept(acceptance)
            except StoreUnavailable:
                if tries == ACCEPT_TRIES:
                    break
                await deferLater(self._clock, ACCEPT_PAUSE)
        raise PeerError(NOT_KNOWN)

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
            order=_order(execution, request, challenge, number, registers=registers),
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


def check(request: ExecuteFunction, challenge: ChallengeConfig) -> None:
    """Raise :class:`PeerError` for what the challenge does not allow."""
    if challenge.functions and request.function_name not in challenge.functions:
        known = ", ".join(challenge.functions)
        raise PeerError(
            f"Unknown function: {request.function_name}. The functions of {request.challenge} are: {known}."
        )
    if request.grader_id and request.grader_id not in challenge.grader_ids:
        raise PeerError(
            f"The grader_id {request.grader_id} is not one of this challenge's; leave the parameter out."
        )
    if len(request.items) > challenge.max_parallel_jobs:
        raise PeerError(
            f"Too many parallel jobs: {len(request.items)} were asked for, this challenge allows "
            f"{challenge.max_parallel_jobs} in one request."
        )


def _order(
    execution: Execution,
    request: ExecuteFunction,
    challenge: ChallengeConfig,
    number: int,
    *,
    registers: bool,
) -> str:
    """Return the job's order, open at the end as :func:`~crowdai_broker.core.model.order_text` needs it."""
    order = _Order(
        request.function_name,
        request.items[number],
        request.dry_run,
        _ExtraParams(
            request.api_key if challenge.grader.share_api_key else "",
            "",
            request.response_channel,
            execution.execution_id,
            execution.challenge,
        ),
    )
    try:
        text = msgspec.json.encode(order).decode().removesuffix("}}")
    except (ValueError, TypeError, RecursionError):
        raise PeerError("The parameter data holds something that cannot be passed on as JSON.") from None
    return text if registers else f'{text},"submission_id":null'
