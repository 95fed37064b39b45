"""A namespace: who is let in, what is done with events, and who is in which room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from crowdai_broker.errors import PeerError
from crowdai_broker.web.sio_socket import IncomingEvent, Socket

EventHandler = Callable[[IncomingEvent], Awaitable[object] | None]
ConnectHandler = Callable[[Socket, dict[str, Any]], Awaitable[object] | None]
DisconnectHandler = Callable[[Socket, str], Awaitable[object] | None]


class ConnectionRefused(PeerError):
    """Raised by an ``on_connect`` handler: the client is not let in.

    :param message: shown to the client.
    :param data: more for the client, any JSON value.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class Namespace:
    """Made by :meth:`SocketIOServer.namespace`; handlers may be set at any time.

    :ivar sockets: clients in it, by sid.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.sockets: dict[str, Socket] = {}
        self.connect_handler: ConnectHandler | None = None
        self.disconnect_handler: DisconnectHandler | None = None
        self._handlers: dict[str | float, EventHandler] = {}
        self._rooms: dict[str, dict[str, Socket]] = {}

    def on_connect(self, handler: ConnectHandler) -> ConnectHandler:
        """Decide about each client: called with socket and auth, raise :class:`ConnectionRefused` to refuse.

        ``auth`` is the CONNECT payload of protocol 5, or the query behind the namespace's name in protocol 4.
        """
        self.connect_handler = handler
        return handler

    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Called once with each socket that was let in, when it is out, and why."""
        self.disconnect_handler = handler
        return handler

    def on(self, name: str, handler: EventHandler | None = None) -> Callable[..., Any]:
        """Say who handles an event; ``ns.on("x", handler)`` or ``@ns.on("x")``.

        Handlers of one client run in order of arrival up to their first ``await``. One that raises is logged,
        and the client's connection goes on.
        """
        if handler is not None:
            self._handlers[name] = handler
            return handler

        def register(decorated: EventHandler) -> EventHandler:
            self._handlers[name] = decorated
            return decorated

        return register

    def handler_of(self, name: str | float) -> EventHandler | None:
        """The handler of an event, if it has one."""
        return self._handlers.get(name)

    # -- rooms

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms that somebody is in."""
        return frozenset(self._rooms)

    def members(self, room: str) -> list[Socket]:
        """The clients in a room."""
        return list(self._rooms.get(room, {}).values())

    def join(self, socket: Socket, room: str) -> None:
        """Put a client into a room."""
        self._rooms.setdefault(room, {})[socket.sid] = socket
        socket.rooms |= {room}

    def leave(self, socket: Socket, room: str) -> None:
        """Take a client out of a room; an empty room is forgotten."""
        members = self._rooms.get(room)
        if members is None or members.pop(socket.sid, None) is None:
            return
        socket.rooms -= {room}
        if not members:
            del self._rooms[room]

    def remove(self, socket: Socket) -> None:
        """Forget a client."""
        self.sockets.pop(socket.sid, None)
        for room in socket.rooms:
            self.leave(socket, room)
