"""What an application holds of a Socket.IO client: its socket in one namespace, and the events it sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from crowdai_broker.errors import BrokerError
from crowdai_broker.wire.eio_packet import Packet

if TYPE_CHECKING:
    from crowdai_broker.web.connection import Handshake
    from crowdai_broker.web.sio_session import SioSession


class AckTimeout(BrokerError):
    """The client did not acknowledge an event in time, or is gone."""


class Socket:
    """One client in one namespace.

    :ivar sid: its id there, public; 20 URL-safe characters (behind ``<namespace>#`` in protocol 4).
    :ivar namespace: the namespace's name.
    :ivar connected: whether it is (still) in; emitting when it is not does nothing.
    :ivar data: for the application.
    :ivar rooms: the rooms it is in.
    """

    def __init__(self, session: SioSession, namespace: str, sid: str) -> None:
        self.sid = sid
        self.namespace = namespace
        self.connected = False
        self.data: dict[str, Any] = {}
        self.rooms: frozenset[str] = frozenset()
        self._session = session
        self._held: list[Packet] | None = []

    @property
    def handshake(self) -> Handshake:
        """The request that opened the connection."""
        return self._session.connection.handshake

    @property
    def transport_name(self) -> str:
        """``polling`` or ``websocket``, as it is now."""
        return self._session.connection.session.transport

    @property
    def ascii_json(self) -> bool:
        """Whether this client needs JSON escaped to ASCII (socketIO-client-2)."""
        return self._session.ascii_json

    def emit(
        self,
        name: str,
        *args: Any,
        on_ack: Callable[[list[Any]], object] | None = None,
        on_no_ack: Callable[[], object] | None = None,
    ) -> None:
        """Send an event; ``bytes`` anywhere among the arguments travel as attachments.

        Within ``on_connect`` the event is sent right after the reply to the client's CONNECT.

        :param on_ack: called with the list of arguments of the client's acknowledgement, at most once.
        :param on_no_ack: called instead if none comes within ``ack_timeout`` or before the client is gone.
        :raises TypeError: an argument is no JSON.
        """
        self._session.emit(self, [name, *args], on_ack, on_no_ack)

    def emit_text(self, name: str, text: str) -> None:
        """Send an event whose one argument is a string: the fast path."""
        self._session.emit_plain(self, [name, text])

    def call(self, name: str, *args: Any) -> Deferred[list[Any]]:
        """Send an event and wait for its acknowledgement.

        :returns: fires with the acknowledgement's arguments, or fails with :class:`AckTimeout`.
        """
        answer: Deferred[list[Any]] = Deferred()
        self.emit(
            name,
            *args,
            on_ack=answer.callback,
            on_no_ack=lambda: answer.errback(AckTimeout(f"{name!r} was not acknowledged")),
        )
        return answer

    def send_packets(self, packets: list[Packet]) -> None:
        """Send what is encoded already; before the reply to CONNECT it is held back."""
        if self._held is not None:
            self._held.extend(packets)
        elif self.connected:
            self._session.connection.send(packets)

    def disconnect(self, *, close: bool = False) -> None:
        """Put the client out of this namespace, or with ``close`` end its whole connection."""
        self._session.disconnect(self, close=close)

    def allow(self, *, max_message_bytes: int | None = None, max_attachment_bytes: int | None = None) -> None:
        """Raise what the client's connection may send, in all its namespaces.

        :param max_message_bytes: of one packet, and of one POST.
        :param max_attachment_bytes: of all attachments of one event together.
        """
        self._session.allow(max_message_bytes, max_attachment_bytes)

    def join(self, room: str) -> None:
        """Enter a room of this namespace."""
        self._session.join(self, room)

    def leave(self, room: str) -> None:
        """Leave a room."""
        self._session.leave_room(self, room)

    def let_in(self) -> None:
        """Let held events go; the CONNECT reply is out. Called by the server only."""
        self.connected = True
        held, self._held = self._held or [], None
        self.send_packets(held)

    def drop_held(self) -> None:
        """Forget held events; the client was not let in. Called by the server only."""
        self._held = None


class IncomingEvent:
    """An event a client sent.

    :ivar socket: who sent it.
    :ivar name: its name.
    :ivar args: its arguments; attachments are ``bytes`` in their places.
    """

    __slots__ = ("_id", "_session", "args", "name", "socket")

    def __init__(
        self, session: SioSession, socket: Socket, name: str | float, args: list[Any], number: int | None
    ) -> None:
        self.socket = socket
        self.name = name
        self.args = args
        self._session = session
        self._id = number

    @property
    def wants_ack(self) -> bool:
        """Whether the client waits for an acknowledgement that it has not got yet."""
        return self._id is not None

    def ack(self, *args: Any) -> None:
        """Acknowledge, once; does nothing if the client did not ask, or is gone."""
        number, self._id = self._id, None
        if number is not None:
            self._session.acknowledge(self.socket, number, list(args))
