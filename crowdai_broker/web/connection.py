"""One Engine.IO session and the requests, sockets and timers it has at the moment.

Feeds :class:`~crowdai_broker.wire.eio_session.EioSession`, does what it orders, and tells an application
(:class:`Application`) what happened. Everything in one turn of the reactor goes out in one write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.server import Request

from crowdai_broker.web.answers import answer_get
from crowdai_broker.web.site import BoundedRequest
from crowdai_broker.web.websocket import ServerSocket
from crowdai_broker.wire.eio_events import (
    AnswerPoll,
    CloseCandidate,
    Closed,
    CloseSocket,
    CutPost,
    MessageReceived,
    PauseWrites,
    SendBytes,
    SendToCandidate,
    Upgraded,
)
from crowdai_broker.wire.eio_packet import Packet
from crowdai_broker.wire.eio_session import EioSession
from crowdai_broker.wire.eio_settings import State
from crowdai_broker.wire.faults import BrokenFrame, WireError

if TYPE_CHECKING:
    from crowdai_broker.web.engineio import EngineIOServer


#: Seconds between two writes that are not to arrive in one piece: more than a turn of the peer's loop.
_APART: Final = 0.005


class Handshake(msgspec.Struct, frozen=True):
    """The request that opened a connection.

    :ivar headers: lower-case names; of a repeated one all values, joined with ``, ``.
    :ivar query: the application's own parameters.
    :ivar address: the peer's, as the server's ``address_of`` sees it.
    :ivar version: Engine.IO protocol, 3 or 4.
    :ivar transport: the one it began with.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    address: str
    secure: bool
    version: int
    transport: str


class Application(Protocol):
    """Whoever a connection's messages are for."""

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` is wanted next."""

    def opened(self) -> None:
        """The open packet is on its way."""

    def message(self, data: bytes, *, binary: bool) -> None:
        """A message came in."""

    def closed(self, reason: str) -> None:
        """It is over; told once."""

    def tick(self, now: float) -> None:
        """``deadline`` is reached."""


class Connection:
    """See the module's text.

    :ivar application: set right after construction, before anything can come in.
    """

    application: Application

    def __init__(self, server: EngineIOServer, session: EioSession, handshake: Handshake) -> None:
        self.session = session
        self.handshake = handshake
        self._server = server
        self._clock = server.reactor
        self._get: Request | None = None
        self._post: BoundedRequest | None = None
        self._socket: ServerSocket | None = None
        self._candidate: ServerSocket | None = None
        self._timer: IDelayedCall | None = None
        self._resume_call: IDelayedCall | None = None
        self._busy = False

    # -- for the application

    @property
    def is_open(self) -> bool:
        """Whether messages flow."""
        return self.session.is_open

    def send(self, packets: list[Packet], *, apart: bool = False) -> None:
        """Queue messages; they go out together at the end of this turn.

        :param apart: what is sent after them must not travel in the same piece (see ``EioSession.mark``).
        """
        for packet in packets:
            self.session.send(packet)
        if apart:
            self.session.mark()
        self._server.observer.packets_out(len(packets))
        if not self._busy:
            self._server.settle_soon(self)

    def fail(self, error: WireError) -> None:
        """The peer broke a rule of the application's protocol: the connection ends."""
        self._server.observer.protocol_error(type(error).__name__)
        self.session.fail(error)
        self._settle_later()

    def close(self, reason: str, *, may_return: bool = False) -> None:
        """End the connection; what is queued is still delivered where possible.

        :param may_return: do not keep the client from connecting again (see ``EioSession.close``).
        """
        self.session.close(reason, self._clock.seconds(), may_return=may_return)
        self._settle_later()

    def allow(self, max_message_bytes: int | None, max_binary_bytes: int | None) -> None:
        """Raise the bounds of what the peer may send."""
        session = self.session
        if max_message_bytes is not None:
            session.max_message_bytes = max_message_bytes
            session.max_binary_bytes = max(session.max_binary_bytes, max_message_bytes)
        if max_binary_bytes is not None:
            session.max_binary_bytes = max(max_binary_bytes, session.max_message_bytes)
        for socket in (self._socket, self._candidate):
            if socket is not None:
                socket.limit(session.max_frame_bytes)

    def abort(self) -> None:
        """Drop whatever connections are left, without a word."""
        self.session.socket_lost()
        for socket in (self._socket, self._candidate):
            if socket is not None:
                socket.cut()
        self.settle()

    # -- polling (called by the resource)

    def get(self, request: Request) -> None:
        """A GET for this session.

        :raises HttpRefusal: it is not welcome.
        """
        try:
            self.session.tick(self._clock.seconds())  # it may be over, its timer only late
            self.session.poll_arrived(self._clock.seconds())
            self._get = request
            request.notifyFinish().addErrback(self._get_lost, request)
        finally:
            self.settle()

    def post_begun(self, request: BoundedRequest) -> None:
        """The head of a POST.

        :raises HttpRefusal: it is not welcome.
        """
        try:
            self.session.tick(self._clock.seconds())
            self.session.post_begun()
            self._post = request
        finally:
            self.settle()

    def post_ended(self, *, harmless: bool) -> None:
        """The POST was refused with 413 (``harmless``) or broke off."""
        self._post = None
        self.session.post_refused() if harmless else self.session.post_lost()
        self.settle()

    def post(self, body: bytes, *, octets: bool) -> None:
        """The whole POST.

        :raises HttpRefusal: its content type is not for this protocol.
        """
        self._post = None
        try:
            self.session.post_received(body, octets=octets, now=self._clock.seconds())
        finally:
            self.settle()

    def _get_lost(self, _reason: Failure, request: Request) -> None:
        if self._get is request:
            self._get = None
            self.session.poll_lost()
            self.settle()

    # -- websocket (SocketOwner)

    def begin_on(self, socket: ServerSocket) -> None:
        """The session began on this WebSocket."""
        self._socket = socket

    def socket_opened(self, socket: ServerSocket) -> None:
        """A WebSocket with this session's sid: the upgrade's candidate, if there is none."""
        if self.session.candidate_opened(self._clock.seconds()):
            self._candidate = socket
            self.settle()
        else:
            socket.close(None)

    def socket_message(self, socket: ServerSocket, data: bytes, *, binary: bool) -> None:
        """A frame on the session's socket or on its candidate."""
        now = self._clock.seconds()
        if socket is self._socket:
            self.session.frame_received(data, binary=binary, now=now)
        elif socket is self._candidate:
            self.session.candidate_frame(data, binary=binary, now=now)
        self.settle()

    def socket_lost(self, socket: ServerSocket) -> None:
        """One of them is gone."""
        if socket is self._socket:
            self._socket = None
            self.session.socket_lost()
        elif socket is self._candidate:
            self._candidate = None
            self.session.drop_candidate()
        self.settle()

    def socket_failed(self, socket: ServerSocket) -> None:
        """A frame broke the rules: the session ends, or the attempt to upgrade it."""
        if socket is self._socket:
            self._server.observer.protocol_error(BrokenFrame.__name__)
            self.session.fail(BrokenFrame("a frame that breaks RFC 6455"))
        elif socket is self._candidate:
            self.session.drop_candidate()
        self.settle()

    def socket_writable(self, socket: ServerSocket, *, writable: bool) -> None:
        """The transport's buffer filled or drained; what a candidate is sent is too little to fill it."""
        if socket is self._socket:
            self.session.writable = writable
            self.settle()
        elif socket is self._candidate and not writable:
            self.session.drop_candidate()
            self.settle()

    # -- doing what the session says

    def settle(self) -> None:
        """Do everything that is due, tell everything that is to be told, and set the timer."""
        if self._busy:
            return
        self._busy = True
        try:
            self._pump()
            self.session.flush()
            self._pump()
        finally:
            self._busy = False
        if self.session.state is State.CLOSED:
            self._stop_timers()
            self._server.forget(self)
        else:
            self._set_timer()

    def _pump(self) -> None:
        while outputs := self.session.take():
            for output in outputs:
                _ACTIONS[type(output)](self, output)

    def _settle_later(self) -> None:
        if not self._busy:
            self._server.settle_soon(self)

    def _message(self, output: MessageReceived) -> None:
        self._server.observer.packets_in(1)
        self.application.message(output.data, binary=output.binary)

    def _closed(self, output: Closed) -> None:
        self._server.ended(self, output.reason)
        self.application.closed(output.reason)

    def _upgraded(self, _output: Upgraded) -> None:
        self._socket, self._candidate = self._candidate, None
        self._server.observer.upgraded(self.handshake.version)

    def _answer_poll(self, output: AnswerPoll) -> None:
        request, self._get = self._get, None
        if request is not None:
            self._server.decorate(request, self.session.form)
            answer_get(request, output.body, output.content_type)

    def _cut_post(self, _output: CutPost) -> None:
        request, self._post = self._post, None
        if request is not None:
            request.cut()

    def _send_bytes(self, output: SendBytes) -> None:
        if self._socket is not None:
            self._socket.write_frames(output.data)

    def _pause_writes(self, _output: PauseWrites) -> None:
        self._resume_call = self._clock.callLater(_APART, self._resume_writes)

    def _resume_writes(self) -> None:
        self._resume_call = None
        self.session.resume_writes()
        self.settle()

    def _send_to_candidate(self, output: SendToCandidate) -> None:
        if self._candidate is not None:
            self._candidate.write_frames(output.data)

    def _close_socket(self, output: CloseSocket) -> None:
        if self._socket is None:
            return
        if self.session.form.old_python:
            # A close frame reads as an empty packet to socketIO-client-2, whose user gets an IndexError; the
            # bare end of the connection it takes as one to be made again.
            self._socket.hang_up()
        else:
            self._socket.close(output.code)

    def _close_candidate(self, _output: CloseCandidate) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is not None:
            candidate.close(None)

    # -- time

    def _set_timer(self) -> None:
        times = [when for when in (self.session.deadline, self.application.deadline) if when is not None]
        if not times:
            return
        when = min(times)
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, when - self._clock.seconds()), self._time)
        elif self._timer.getTime() > when:
            self._timer.reset(max(0.0, when - self._clock.seconds()))

    def _stop_timers(self) -> None:
        calls = (self._timer, self._resume_call)
        self._timer = self._resume_call = None
        for call in calls:
            if call is not None:
                call.cancel()

    def _time(self) -> None:
        # A deadline that has moved since only sets the timer again: cheaper than a new one for each packet.
        self._timer = None
        now = self._clock.seconds()
        self.session.tick(now)
        deadline = self.application.deadline
        if deadline is not None and now >= deadline and self.is_open:
            self.application.tick(now)
        self.settle()


_ACTIONS: dict[type, Callable[[Connection, Any], None]] = {
    MessageReceived: Connection._message,
    Closed: Connection._closed,
    Upgraded: Connection._upgraded,
    AnswerPoll: Connection._answer_poll,
    CutPost: Connection._cut_post,
    SendBytes: Connection._send_bytes,
    PauseWrites: Connection._pause_writes,
    SendToCandidate: Connection._send_to_candidate,
    CloseSocket: Connection._close_socket,
    CloseCandidate: Connection._close_candidate,
}
