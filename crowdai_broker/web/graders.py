"""Graders over Socket.IO: the namespace ``/grader``.

=============  ==========  ===========================================  ==================================
event          from        argument                                     acknowledged with
=============  ==========  ===========================================  ==================================
(connect)      grader      ``{"grader_id", "token", "slots",            —
                           "functions", "challenges", "running"}``
``job``        broker      an order, with ``attempt_id``                nothing, or false to decline it
``event``      grader      an event, with ``attempt_id``                ``{"status", "message"}``
``cancel``     broker      ``{"attempt_id"}``                           —
``slots``      grader      a number                                     ``{"status", "message"}``
``leave``      grader      —                                            ``{"status", "message"}``
``dismissed``  broker      why the broker ends the connection           —
=============  ==========  ===========================================  ==================================

An event is acknowledged once it is stored, so a grader that loses its connection knows what to send again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..core.connected import ConnectedGraders
from ..core.grader_events import MAX_EVENT
from ..core.grader_hello import GraderDoor, read_slots
from ..core.requests import read_object
from ..errors import BrokerError, PeerError
from ..interfaces import Spawn
from .socketio import ConnectionRefused, IncomingEvent, Namespace, Socket

ENVELOPE = 10_000  # bytes of a packet beside the event in it
MOST_WAITING = 16_000_000  # bytes of events of one grader that wait to be stored; above it is cut off
AGAIN = 1.0  # s until events that could not be stored are handed in again

OVER = "This attempt is over; what is said of it does not count any more."
_NAMELESS = "'event' takes an object with the 'attempt_id' of the job that it is about."
_HELLO = "hello"  # keys of ``Socket.data``
_CONNECTED = "connected"
_LEFT = "client namespace disconnect"  # the one end of a connection that is meant


class _Event:
    """An event that waits to be stored."""

    __slots__ = ("attempt_id", "raw", "stored")

    def __init__(self, attempt_id: str, raw: bytes) -> None:
        self.attempt_id = attempt_id
        self.raw = raw
        self.stored: Deferred[bool] = Deferred()  # whether its attempt goes on; cancelled if nobody listens


class _Connected:
    """A grader, its connection as the core sees it, and its events that wait to be stored."""

    def __init__(self, socket: Socket, graders: ConnectedGraders) -> None:
        self.waiting: list[_Event] = []
        self.bytes = 0
        self.storing = False
        self.socket = socket
        self.grader = graders.join(socket.data[_HELLO], self)

    def give(self, order: dict[str, Any], answered: Callable[[bool], None]) -> None:
        """Send an order."""
        self.socket.emit("job", order, on_ack=lambda args: answered(_is_yes(args)))

    def cancel(self, attempt_id: str) -> None:
        """Say that nobody waits for an attempt any more."""
        self.socket.emit("cancel", {"attempt_id": attempt_id})

    def dismiss(self, reason: str) -> None:
        """End the connection."""
        self.socket.emit("dismissed", reason)
        self.socket.disconnect()

    def add(self, event: _Event) -> None:
        """Let an event wait; a grader that says more than can be stored is cut off."""
        self.bytes += len(event.raw)
        self.waiting.append(event)
        if self.bytes > MOST_WAITING:
            self.socket.disconnect(close=True)

    def of_one_attempt(self) -> list[_Event]:
        """Return the events of the attempt whose turn it is, in order."""
        return [event for event in self.waiting if event.attempt_id == self.waiting[0].attempt_id]

    def remove(self, events: Iterable[_Event]) -> None:
        """Wait with some events no longer."""
        done = set(events)
        self.waiting = [event for event in self.waiting if event not in done]
        self.bytes -= sum(len(event.raw) for event in done)


class GraderEvents:
    """Binds graders to a namespace."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, graders: ConnectedGraders, door: GraderDoor, spawn: Spawn
    ) -> None:
        self._clock = clock
        self._graders = graders
        self._door = door
        self._spawn = spawn

    def bind(self, namespace: Namespace) -> None:
        """Serve graders on ``namespace``."""
        namespace.on_connect(self._connect)
        namespace.on("event", self._event)
        namespace.on("slots", self._slots)
        namespace.on("leave", self._leave)
        namespace.on_disconnect(self._disconnected)

    async def _connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        try:
            socket.data[_HELLO] = await self._door.admit(auth, socket.handshake.address)
        except PeerError as error:
            raise ConnectionRefused(str(error)) from None
        socket.allow(max_message_bytes=MAX_EVENT + ENVELOPE)
        # Whoever is gone by now is not let in, and nobody would ever say that it left.
        self._clock.callLater(0, lambda: socket.connected and self._of(socket))

    def _of(self, socket: Socket) -> _Connected:
        """Return what belongs to a connection that was let in."""
        if _CONNECTED not in socket.data:
            socket.data[_CONNECTED] = _Connected(socket, self._graders)
        connected: _Connected = socket.data[_CONNECTED]
        return connected

    def _disconnected(self, socket: Socket, reason: str) -> None:
        connected = socket.data.get(_CONNECTED)
        if connected is not None:
            self._graders.leave(connected.grader, on_purpose=reason == _LEFT)

    async def _event(self, event: IncomingEvent) -> None:
        try:
            arrived = _read_event(event.args)
        except PeerError as error:
            event.ack(_answer(str(error)))
            return
        connected = self._of(event.socket)
        connected.add(arrived)
        if not connected.storing:
            connected.storing = True
            self._spawn("graders' events", self._store(connected))
        try:
            goes_on = await arrived.stored
        except CancelledError:
            return
        event.ack(_answer("" if goes_on else OVER))

    async def _store(self, connected: _Connected) -> None:
        """Hand in what waits, in order; what the store does not take now, later."""
        try:
            while connected.waiting and connected.socket.connected:
                if not await self._stored(connected, connected.of_one_attempt()):
                    await deferLater(self._clock, AGAIN)
        finally:
            connected.storing = False
            for event in connected.waiting:
                event.stored.cancel()
            connected.remove(connected.waiting)

    async def _stored(self, connected: _Connected, events: list[_Event]) -> bool:
        try:
            raw = [event.raw for event in events]
            goes_on = await self._graders.hear(connected.grader, events[0].attempt_id, raw)
        except BrokerError as error:
            self.log.warn("events of a grader wait: {error}", error=error)
            return False
        connected.remove(events)
        for event in events:
            event.stored.callback(goes_on)
        return True

    def _slots(self, event: IncomingEvent) -> None:
        try:
            slots = read_slots(event.args[0] if len(event.args) == 1 else None)
        except PeerError as error:
            event.ack(_answer(str(error)))
        else:
            self._graders.resize(self._of(event.socket).grader, slots)
            event.ack(_answer())

    def _leave(self, event: IncomingEvent) -> None:
        """Give back what a grader holds; the end of its connection may come before its word about that."""
        self._graders.leave(self._of(event.socket).grader, on_purpose=True)
        event.ack(_answer())


def _read_event(args: list[Any]) -> _Event:
    content = read_object(args, "event")
    attempt_id = content.get("attempt_id")
    if not isinstance(attempt_id, str):
        raise PeerError(_NAMELESS)
    try:
        return _Event(attempt_id, msgspec.json.encode(content))
    except (OverflowError, ValueError) as error:
        raise PeerError(f"The event cannot be read: {error}.") from None


def _answer(problem: str = "") -> dict[str, Any]:
    return {"status": not problem, "message": problem}


def _is_yes(args: list[Any]) -> bool:
    """Tell whether an acknowledgement means that the job was taken; false alone, or as status, declines."""
    said = args[0] if args else None
    return (said.get("status") if isinstance(said, dict) else said) is not False
