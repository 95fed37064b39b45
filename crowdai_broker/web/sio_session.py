"""The Socket.IO side of one connection: packets to handlers, emits to packets."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from crowdai_broker.web.connection import Connection
from crowdai_broker.web.sio_namespace import ConnectionRefused, Namespace
from crowdai_broker.web.sio_socket import IncomingEvent, Socket
from crowdai_broker.wire.faults import TooBig, WireError
from crowdai_broker.wire.sio_connection import SioConnection
from crowdai_broker.wire.sio_events import (
    AckMissed,
    AckReceived,
    ConnectRequested,
    EventReceived,
    Left,
    SioEvent,
)
from crowdai_broker.wire.sio_packet import ROOT

if TYPE_CHECKING:
    from crowdai_broker.web.socketio import SocketIOServer

_SID_BYTES: Final = 15
OnAck = Callable[[list[Any]], object]
OnNoAck = Callable[[], object]


class SioSession:
    """An :class:`~crowdai_broker.web.connection.Application` that speaks Socket.IO."""

    _log = Logger()

    def __init__(self, server: SocketIOServer, connection: Connection) -> None:
        self.connection = connection
        self._server = server
        form = connection.session.form
        self._sio = SioConnection(
            4 if form.version == 3 else 5,
            server.settings.connection(),
            server.reactor.seconds(),
            max_attachment_bytes=server.settings.max_message_bytes,
            ascii_json=form.old_python,
        )
        self._sockets: dict[str, Socket] = {}
        self._acks: dict[tuple[str, int], tuple[OnAck, OnNoAck | None]] = {}
        self._running = 0

    # -- Application

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` is wanted."""
        return self._sio.deadline

    def opened(self) -> None:
        """Protocol 4 is let into ``/`` unasked."""
        self._handle(self._sio.begin())

    def message(self, data: bytes, *, binary: bool) -> None:
        """A message of the client."""
        if not self.connection.is_open:
            return
        try:
            self._handle(self._sio.receive(data, binary=binary, now=self._server.reactor.seconds()))
        except WireError as error:
            self.connection.fail(error)

    def tick(self, now: float) -> None:
        """Time has passed."""
        try:
            self._handle(self._sio.tick(now))
        except WireError as error:
            self.connection.fail(error)

    def closed(self, reason: str) -> None:
        """Everybody of this connection is out."""
        for socket in list(self._sockets.values()):
            self._out(socket, reason)

    # -- Socket

    def emit(
        self, socket: Socket, values: list[Any], on_ack: OnAck | None, on_no_ack: OnNoAck | None
    ) -> None:
        """Send an event."""
        if on_ack is None:
            self.emit_plain(socket, values)
            return
        if not self._is_alive(socket):
            if on_no_ack is not None:
                on_no_ack()
            return
        try:
            number = self._sio.want_ack(socket.namespace, self._server.reactor.seconds())
        except TooBig as error:
            self.connection.fail(error)
            return
        self._acks[socket.namespace, number] = (on_ack, on_no_ack)
        socket.send_packets(self._sio.event(socket.namespace, values, number))

    def emit_plain(self, socket: Socket, values: list[Any]) -> None:
        """Send an event that wants no acknowledgement."""
        if self._is_alive(socket):
            socket.send_packets(self._sio.event(socket.namespace, values))

    def acknowledge(self, socket: Socket, number: int, args: list[Any]) -> None:
        """Answer an event."""
        if self._is_alive(socket):
            socket.send_packets(self._sio.acknowledge(socket.namespace, number, args))

    @property
    def ascii_json(self) -> bool:
        """Whether this client needs ASCII-escaped JSON."""
        return self._sio.ascii_json

    def disconnect(self, socket: Socket, *, close: bool) -> None:
        """Put a client out."""
        if close:
            for other in list(self._sockets.values()):
                self._say_goodbye(other, "forced server close")
            self.connection.close("forced server close")
        else:
            self._say_goodbye(socket, "server namespace disconnect")

    def allow(self, max_message_bytes: int | None, max_attachment_bytes: int | None) -> None:
        """Raise the client's bounds."""
        self.connection.allow(max_message_bytes, max_attachment_bytes)
        largest = max(max_message_bytes or 0, max_attachment_bytes or 0)
        self._sio.max_attachment_bytes = max(self._sio.max_attachment_bytes, largest)

    def join(self, socket: Socket, room: str) -> None:
        """Enter a room."""
        if len(socket.rooms) >= self._server.settings.max_rooms_per_socket:
            raise ValueError("a socket in too many rooms")
        if self._sockets.get(socket.namespace) is socket:
            self._server.namespaces[socket.namespace].join(socket, room)

    def leave_room(self, socket: Socket, room: str) -> None:
        """Leave a room."""
        self._server.namespaces[socket.namespace].leave(socket, room)

    # -- what the client did

    def _handle(self, events: list[SioEvent]) -> None:
        for event in events:
            if self.connection.is_open:
                _ACTIONS[type(event)](self, event)

    def _connect(self, request: ConnectRequested) -> None:
        namespace = self._server.namespaces.get(request.namespace)
        if namespace is None:
            self.connection.send(self._sio.refuse(request.namespace, "Invalid namespace"))
            return
        socket = Socket(self, namespace.name, self._new_sid(namespace.name))
        self._sockets[namespace.name] = socket
        handler = namespace.connect_handler
        self._run(
            lambda: None if handler is None else handler(socket, request.auth),
            lambda: self._let_in(namespace, socket),
            lambda failure: self._turn_away(socket, failure),
        )

    def _new_sid(self, namespace: str) -> str:
        if self._sio.version == 5:
            return secrets.token_urlsafe(_SID_BYTES)
        own = self.connection.session.sid
        return own if namespace == ROOT else f"{namespace}#{own}"

    def _let_in(self, namespace: Namespace, socket: Socket) -> None:
        if self._sockets.get(namespace.name) is not socket or not self.connection.is_open:
            return
        namespace.sockets[socket.sid] = socket
        reply, events = self._sio.accept(namespace.name, socket.sid)
        self.connection.send(reply, apart=True)
        socket.let_in()
        self._handle(events)

    def _turn_away(self, socket: Socket, failure: Failure) -> None:
        message, data = "Internal server error", None
        refusal = failure.value
        if isinstance(refusal, ConnectionRefused):
            message, data = refusal.message, refusal.data
        else:
            self._log_failure(failure, "connect")
        socket.drop_held()
        if self._sockets.get(socket.namespace) is not socket:
            return
        del self._sockets[socket.namespace]
        self._server.namespaces[socket.namespace].remove(socket)
        if self.connection.is_open:
            self.connection.send(self._sio.refuse(socket.namespace, message, data))

    def _event(self, event: EventReceived) -> None:
        socket = self._sockets.get(event.namespace)
        handler = self._server.namespaces[event.namespace].handler_of(event.name)
        if socket is None or handler is None:  # the handler of an earlier event may have put it out
            return
        incoming = IncomingEvent(self, socket, event.name, event.args, event.id)
        self._run(
            lambda: handler(incoming), _nothing, lambda failure: self._log_failure(failure, str(event.name))
        )

    def _acked(self, event: AckReceived) -> None:
        on_ack, _ = self._acks.pop((event.namespace, event.id), (None, None))
        if on_ack is None:
            return
        self._run(lambda: on_ack(event.args), _nothing, lambda failure: self._log_failure(failure, "ack"))

    def _ack_missed(self, event: AckMissed) -> None:
        _, on_no_ack = self._acks.pop((event.namespace, event.id), (None, None))
        if on_no_ack is not None:
            self._run(on_no_ack, _nothing, lambda failure: self._log_failure(failure, "ack"))

    def _left(self, event: Left) -> None:
        socket = self._sockets.get(event.namespace)
        if socket is not None:
            self._out(socket, "client namespace disconnect")

    # -- inside

    def _is_alive(self, socket: Socket) -> bool:
        return self._sockets.get(socket.namespace) is socket and self.connection.is_open

    def _say_goodbye(self, socket: Socket, reason: str) -> None:
        if self._is_alive(socket):
            self.connection.send(self._sio.leave(socket.namespace))
            self._out(socket, reason)

    def _out(self, socket: Socket, reason: str) -> None:
        if self._sockets.get(socket.namespace) is not socket:
            return
        del self._sockets[socket.namespace]
        namespace = self._server.namespaces[socket.namespace]
        was_in, socket.connected = socket.connected, False
        socket.drop_held()
        self._no_more_acks(socket.namespace)
        handler = namespace.disconnect_handler
        if was_in and handler is not None:
            self._run(
                lambda: handler(socket, reason),
                _nothing,
                lambda failure: self._log_failure(failure, "disconnect"),
            )
        namespace.remove(socket)

    def _no_more_acks(self, namespace: str) -> None:
        for key in [key for key in self._acks if key[0] == namespace]:
            self._ack_missed(AckMissed(*key))

    def _run(
        self,
        call: Callable[[], Awaitable[object] | object],
        done: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """Call a handler; what it leaves unfinished is counted, bounded and never lost."""
        try:
            result = call()
        except Exception:  # noqa: BLE001 - whatever a handler raises is its own business, and logged
            failed(Failure())
            return
        if iscoroutine(result):
            result = Deferred.fromCoroutine(result)
        if not isinstance(result, Deferred):
            done()
            return
        if result.called and not result.paused:
            result.addCallbacks(lambda _: done(), failed)
            return
        self._wait_for(result, done, failed)

    def _wait_for(
        self, result: Deferred[Any], done: Callable[[], None], failed: Callable[[Failure], None]
    ) -> None:
        self._running += 1

        def finished(outcome: Any) -> None:
            self._running -= 1
            failed(outcome) if isinstance(outcome, Failure) else done()

        result.addBoth(finished)
        result.addErrback(lambda failure: self._log_failure(failure, "server"))
        if self._running > self._server.settings.max_pending_handlers and self.connection.is_open:
            self.connection.fail(TooBig("too many requests at once"))

    def _log_failure(self, failure: Failure, what: str) -> None:
        self._server.observer.handler_failed()
        self._log.failure("a handler of {what!r} failed", failure, what=what)


def _nothing() -> None:
    """What follows a handler that is done."""


_ACTIONS: dict[type, Callable[[SioSession, Any], None]] = {
    ConnectRequested: SioSession._connect,
    EventReceived: SioSession._event,
    AckReceived: SioSession._acked,
    AckMissed: SioSession._ack_missed,
    Left: SioSession._left,
}
