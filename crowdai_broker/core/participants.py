"""What a participant may ask of the broker; every answer and refusal a participant gets is decided here."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import Any, Never

from twisted.internet.interfaces import IReactorTime

from ..config import Config
from ..errors import BrokerError, NotNow, PeerError
from ..interfaces import IStore
from .cancelling import Cancelling
from .catalogue import Catalogue
from .delivery import Delivery, Send, Subscription
from .dispatch import Dispatcher
from .events import Outcome
from .intake import RESTARTING, Intake, check
from .model import Execution, Job, JobState, Session
from .outbox import Outbox
from .quotas import PerMinute
from .requests import (
    ExecuteFunction,
    Resume,
    read_authenticate,
    read_cancel,
    read_execute_function,
    read_resume,
    read_session_token,
    read_status,
)
from .sessions import Sessions, WrongKey, digest

Finish = Callable[[list[Outcome]], None]


class Participants:
    """The requests of participants, whatever they come in on.

    :param served_kinds: kinds of graders that this broker can give jobs to.
    """

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        store: IStore,
        catalogue: Catalogue,
        sessions: Sessions,
        intake: Intake,
        cancelling: Cancelling,
        delivery: Delivery,
        dispatcher: Dispatcher,
        outbox: Outbox,
        served_kinds: Container[str],
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._sessions = sessions
        self._intake = intake
        self._cancelling = cancelling
        self._delivery = delivery
        self._dispatcher = dispatcher
        self._outbox = outbox
        self._served_kinds = served_kinds
        self._closing = False
        self._wrong_keys = PerMinute(clock, config.limits.auth_failures_per_minute)
        self._executions = PerMinute(clock, config.limits.executions_per_minute)

    async def authenticate(self, args: list[Any], address: str) -> str:
        """Open a session; return its token.

        :param address: of the peer, for the limit on wrong keys.
        :raises PeerError: with what to tell the participant.
        """
        if not self._wrong_keys.allows(address):
            raise PeerError(
                "Too many wrong API keys came from your address. "
                f"Please try again in {self._wrong_keys.wait(address)} s."
            )
        request = read_authenticate(args)
        challenge = await self._catalogue.get(request.challenge)
        refuse_old_client(request.client_version, challenge.min_client_version)
        try:
            return await self._sessions.open(request)
        except WrongKey:
            self._wrong_keys.use(address)
            raise

    def close(self) -> None:
        """Accept no more executions: this node is about to stop."""
        self._closing = True

    async def close_session(self, args: list[Any]) -> None:
        """End a session; one that is not there is no error, since it is over all the same."""
        await self._sessions.close(read_session_token(args, "close_session"))

    async def execute(self, args: list[Any], send: Send, finish: Finish) -> Subscription:
        """Accept an execution and follow it.

        :raises PeerError: nothing was accepted; with what to tell the participant.
        """
        if self._closing:
            raise NotNow(RESTARTING)
        request = read_execute_function(args)
        session = await self._sessions.check(request.session_token, request.api_key)
        if request.challenge != session.challenge:
            await self._refuse_other_challenge(request.challenge, session)
        idempotency = _idempotency(session, request)
        earlier = await self._store.idempotent(idempotency) if idempotency else None
        if earlier is not None:
            return await self._follow(earlier, request.response_channel, send, finish)
        if not self._executions.use(digest(request.session_token)):
            raise PeerError(
                "Too many executions in this session. "
                f"Please try again in {self._executions.wait(digest(request.session_token))} s."
            )
        challenge = await self._catalogue.get(request.challenge)
        check(request, challenge, self._served_kinds)
        accepted, execution = await self._intake.accept(
            request, challenge, session.participant_id, idempotency
        )
        subscription = await self._follow(
            accepted.execution_id, request.response_channel, send, finish, watched=accepted.fresh
        )
        if execution.scored:
            self._outbox.poke()
        self._dispatcher.poke(request.challenge)
        return subscription

    async def resume(self, args: list[Any], send: Send) -> tuple[Subscription, dict[str, Any]]:
        """Send a participant the events it missed, and those to come; return them with a receipt.

        :raises PeerError: there is no such execution of this participant.
        """
        request = read_resume(args)
        execution = await self._owned(request)
        subscription = await self._follow(
            execution.execution_id, execution.response_channel, send, None, after=request.after_event_no
        )
        try:
            return subscription, await self._receipt(execution.execution_id)
        except BrokerError:
            self._delivery.leave(subscription)
            raise

    async def status(self, args: list[Any]) -> dict[str, Any]:
        """Return the state of an execution and its jobs.

        :raises PeerError: there is no such execution of this participant.
        """
        execution = await self._owned(read_status(args))
        return await self._receipt(execution.execution_id)

    async def cancel(self, args: list[Any]) -> dict[str, Any]:
        """Take back what has not ended of an execution; return a receipt with ``cancelled``, the jobs' ids.

        :raises PeerError: there is no such execution of this participant.
        """
        execution = await self._owned(read_cancel(args))
        cancelled = await self._cancelling.cancel(execution)
        return {**await self._receipt(execution.execution_id), "cancelled": cancelled}

    async def _refuse_other_challenge(self, name: str, session: Session) -> Never:
        """Raise :class:`PeerError`: the challenge is not the session's, or there is none of that name."""
        await self._catalogue.get(name)
        raise PeerError(
            f"This session_token was opened for the challenge {session.challenge}; "
            f"authenticate again for {name}."
        )

    def leave(self, subscription: Subscription) -> None:
        """Stop sending to a peer that is gone; its jobs go on."""
        self._delivery.leave(subscription)

    async def _follow(
        self,
        execution_id: str,
        channel: str,
        send: Send,
        finish: Finish | None,
        *,
        after: int = 0,
        watched: bool = False,
    ) -> Subscription:
        subscription = Subscription(execution_id, channel, send, finish, after)
        await self._delivery.follow(subscription, watched=watched)
        return subscription

    async def _owned(self, request: Resume) -> Execution:
        """Return the execution if it is of the session's participant and challenge."""
        session = await self._sessions.check(request.session_token)
        execution_id: str | None = request.execution_id
        if not execution_id:
            execution_id = await self._store.idempotent(_hash(session, request.idempotency_key))
        execution = await self._store.execution(execution_id) if execution_id else None
        if (
            execution is None
            or execution.participant_id != session.participant_id
            or execution.challenge != session.challenge
        ):
            raise PeerError("There is no such execution of yours; executions are kept for 48 hours.")
        return execution

    async def _receipt(self, execution_id: str) -> dict[str, Any]:
        execution = await self._store.execution(execution_id)
        if execution is None:
            raise PeerError("This execution is no longer kept.")
        return {
            "execution_id": execution_id,
            "state": "running" if execution.unfinished else "finished",
            "event_no": execution.event_no,
            "jobs": [_job_receipt(job) for job in await self._store.jobs(execution_id)],
        }


def refuse_old_client(version: str, at_least: str) -> None:
    """Raise :class:`PeerError` if the client is older than the challenge allows."""
    if at_least and _numbers(version) < _numbers(at_least):
        raise PeerError(
            f"This challenge needs version {at_least} or newer of the crowdai client, yours is "
            f"{version or 'unknown'}. Please upgrade it: pip install -U crowdai"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number[:9]) for number in re.findall(r"[0-9]+", version)[:8])


def _idempotency(session: Session, request: ExecuteFunction) -> str:
    return _hash(session, request.idempotency_key) if request.idempotency_key else ""


def _hash(session: Session, key: str) -> str:
    return digest(f"{session.participant_id}\n{session.challenge}\n{key}")


def _job_receipt(job: Job) -> dict[str, Any]:
    state = JobState.QUEUED if job.state is JobState.REGISTERING else job.state
    return {
        "job_id": job.job_id,
        "data_sequence_no": job.data_sequence_no,
        "state": state.value,
        "attempts": job.attempts,
        "submission_id": job.submission_id or None,
    }
