"""Participants on Socket.IO: the events of namespace ``/`` and what each is answered with.

==========================  ============================================  ====================================
event, with one object      what comes back as events                      acknowledged with
==========================  ============================================  ====================================
``authenticate``            ``authenticate_response``, before the ack      the same object, with ``job_state``
``execute_function``        job events on the ``response_channel``         a list with one object a job
``resume``                  the missed job events, then those to come      a receipt
``execution_status``                                                       a receipt
``cancel``                  the end of each job that had not ended         a receipt with ``cancelled``
``close_session``                                                          ``{"status", "message"}``
==========================  ============================================  ====================================

The names and shapes are those that the public ``crowdai`` client 1.0.22 uses; ``resume``,
``execution_status`` and ``cancel`` are the broker's own.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec
from twisted.logger import Logger

from ..core.delivery import Subscription
from ..core.events import AUTHENTICATION_ERROR, AUTHENTICATION_SUCCESS, ERROR, SUCCESS, Outcome, refusal
from ..core.participants import Participants
from ..core.requests import channel_of
from ..errors import PeerError, StoreUnavailable
from .socketio import IncomingEvent, Namespace, Socket

T = TypeVar("T")

MOST_FOLLOWED = 1000  # executions that one connection may follow at a time

_BUSY = "The broker cannot reach its storage right now. Nothing was done; please try again in a minute."
_LOST = "The broker failed to handle this; its operators were told. Please try again."
_FOLLOWED = "followed"  # key of a socket's subscriptions in ``Socket.data``


class ParticipantEvents:
    """Binds participants' requests to a namespace.

    :param max_message_bytes: of one message, once a connection has authenticated.
    """

    log = Logger()

    def __init__(self, participants: Participants, max_message_bytes: int) -> None:
        self._participants = participants
        self._max_message_bytes = max_message_bytes

    def bind(self, namespace: Namespace) -> None:
        """Serve the participants' events on ``namespace``."""
        namespace.on("authenticate", self._authenticate)
        namespace.on("execute_function", self._execute)
        namespace.on("close_session", self._close_session)
        namespace.on("resume", self._resume)
        namespace.on("execution_status", self._status)
        namespace.on("cancel", self._cancel)
        namespace.on_disconnect(self._disconnected)

    async def _authenticate(self, event: IncomingEvent) -> None:
        socket = event.socket
        asked = self._participants.authenticate(event.args, socket.handshake.address)
        token, problem = await self._attempt(asked)
        if token is None:
            answer = {"response_type": AUTHENTICATION_ERROR, "message": problem}
            state = "crowdai.job_state.ERROR"
        else:
            answer = {
                "response_type": AUTHENTICATION_SUCCESS,
                "message": "Authentication Successful",
                "session_token": token,
            }
            state = "crowdai.job_state.COMPLETE"
            socket.allow(max_message_bytes=self._max_message_bytes)
        socket.emit("authenticate_response", answer)
        event.ack({**answer, "job_state": state})

    async def _execute(self, event: IncomingEvent) -> None:
        socket = event.socket

        def finish(outcomes: list[Outcome]) -> None:
            event.ack([msgspec.structs.asdict(outcome) for outcome in outcomes])

        async def execute() -> Subscription:
            _refuse_many(socket)
            subscription = await self._participants.execute(event.args, socket.emit_text, finish)
            self._keep(socket, subscription)
            return subscription

        subscription, problem = await self._attempt(execute())
        if subscription is None:
            item = refusal(problem)
            channel = channel_of(event.args)
            if channel:
                socket.emit_text(channel, msgspec.json.encode(item).decode())
            event.ack([item])

    async def _resume(self, event: IncomingEvent) -> None:
        async def resume() -> dict[str, Any]:
            _refuse_many(event.socket)
            subscription, receipt = await self._participants.resume(event.args, event.socket.emit_text)
            self._keep(event.socket, subscription)
            return receipt

        await self._answer(event, resume())

    async def _status(self, event: IncomingEvent) -> None:
        await self._answer(event, self._participants.status(event.args))

    async def _cancel(self, event: IncomingEvent) -> None:
        await self._answer(event, self._participants.cancel(event.args))

    async def _close_session(self, event: IncomingEvent) -> None:
        _, problem = await self._attempt(self._participants.close_session(event.args))
        event.ack({"status": not problem, "message": problem})

    async def _answer(self, event: IncomingEvent, asked: Awaitable[dict[str, Any]]) -> None:
        receipt, problem = await self._attempt(asked)
        if receipt is None:
            event.ack({"response_type": ERROR, "message": problem})
        else:
            event.ack({"response_type": SUCCESS, "message": "", **receipt})

    async def _attempt(self, asked: Awaitable[T]) -> tuple[T | None, str]:
        """Return what was asked for, or what the participant is told instead."""
        try:
            return await asked, ""
        except PeerError as error:
            return None, str(error)
        except StoreUnavailable as error:
            self.log.warn("a request was not served: {error}", error=error)
            return None, _BUSY
        except Exception:  # noqa: BLE001 - whatever goes wrong, whoever asked is answered
            self.log.failure("a request failed")
            return None, _LOST

    def _keep(self, socket: Socket, subscription: Subscription) -> None:
        """Note what a connection follows, so that it is left when the connection ends."""
        if not socket.connected:
            self._participants.leave(subscription)
            return
        for kept in _followed(socket):
            if kept.execution_id == subscription.execution_id and kept.channel == subscription.channel:
                self._replace(kept)
        socket.data[_FOLLOWED] = [*(kept for kept in _followed(socket) if not kept.over), subscription]

    def _replace(self, earlier: Subscription) -> None:
        """Let a newer subscription send the same events on the same channel; the earlier may owe an ack."""
        if earlier.awaited:
            earlier.mute()
        else:
            self._participants.leave(earlier)

    def _disconnected(self, socket: Socket, reason: str) -> None:
        for subscription in _followed(socket):
            self._participants.leave(subscription)
        socket.data.pop(_FOLLOWED, None)


def _followed(socket: Socket) -> list[Subscription]:
    kept: list[Subscription] = socket.data.get(_FOLLOWED, [])
    return kept


def _refuse_many(socket: Socket) -> None:
    followed = _followed(socket)
    if len(followed) >= MOST_FOLLOWED and sum(not kept.over for kept in followed) >= MOST_FOLLOWED:
        raise PeerError(
            f"This connection follows {MOST_FOLLOWED} executions already; wait for some to end, or open "
            "another connection."
        )
