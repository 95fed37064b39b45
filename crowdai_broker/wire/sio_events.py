"""What a Socket.IO connection tells its owner."""

from __future__ import annotations

from typing import Any

import msgspec


class ConnectRequested(msgspec.Struct, frozen=True):
    """The peer wants into a namespace (protocol 4: into ``/`` without asking).

    :ivar auth: the CONNECT payload of protocol 5, ``{}`` if there is none; in protocol 4 the query behind the
        namespace's name.
    """

    namespace: str
    auth: dict[str, Any]


class EventReceived(msgspec.Struct, frozen=True):
    """An event, its attachments in place.

    :ivar name: usually text; a number is legal, too.
    :ivar id: set if the peer wants an acknowledgement.
    """

    namespace: str
    name: str | int | float
    args: list[Any]
    id: int | None


class AckReceived(msgspec.Struct, frozen=True):
    """The acknowledgement of an event we sent, once."""

    namespace: str
    id: int
    args: list[Any]


class AckMissed(msgspec.Struct, frozen=True):
    """The acknowledgement did not come in time; a later one is ignored."""

    namespace: str
    id: int


class Left(msgspec.Struct, frozen=True):
    """The peer left a namespace; the connection goes on."""

    namespace: str


SioEvent = ConnectRequested | EventReceived | AckReceived | AckMissed | Left
