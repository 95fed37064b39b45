"""The heartbeats of both protocols as deadlines; nobody is asked for the time here.

Protocol 4: the server pings ``interval`` after the last pong and gives up ``timeout`` after the ping; only a
pong counts as life (measured on engine.io 6.6: 563 ms at 300/200). Protocol 3: the client pings; silence of
``interval + timeout`` ends the session, and every packet counts, as in engine.io 3.6.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

from crowdai_broker.wire.eio_packet import EioVersion

#: The part of the timeout by which a ping may be late without the pong getting more time.
_LATENESS: Final = 0.1


class Beat(enum.Enum):
    """What a due heartbeat asks for."""

    NOTHING = enum.auto()
    SEND_PING = enum.auto()
    GIVE_UP = enum.auto()


class Heartbeat(Protocol):
    """One session's heartbeat; all times in seconds of the caller's clock."""

    deadline: float

    def packet(self, now: float) -> None:
        """Some packet came in."""

    def pong(self, now: float) -> None:
        """A pong came in."""

    def due(self, now: float) -> Beat:
        """What is to be done now."""


class ServerPings:
    """Protocol 4."""

    def __init__(self, now: float, interval: float, timeout: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._waiting = False
        self.deadline = now + interval

    def packet(self, now: float) -> None:
        """Messages do not count as life."""

    def pong(self, now: float) -> None:
        """Even one nobody asked for postpones the next ping."""
        self._waiting = False
        self.deadline = now + self._interval

    def due(self, now: float) -> Beat:
        """Ping at the end of the interval, give up at the end of the timeout."""
        if now < self.deadline:
            return Beat.NOTHING
        if self._waiting:
            return Beat.GIVE_UP
        self._waiting = True
        # A timer is always a little late; that is not to add up. Who gets the ping late has the whole time.
        late = now - self.deadline
        self.deadline = (self.deadline if late < self._timeout * _LATENESS else now) + self._timeout
        return Beat.SEND_PING


class ClientPings:
    """Protocol 3."""

    def __init__(self, now: float, interval: float, timeout: float) -> None:
        self._patience = interval + timeout
        self.deadline = now + self._patience

    def packet(self, now: float) -> None:
        """Any packet is a sign of life."""
        self.deadline = now + self._patience

    def pong(self, now: float) -> None:
        """A client of protocol 3 has no business sending one; it is ignored."""

    def due(self, now: float) -> Beat:
        """Give up after too long a silence."""
        return Beat.NOTHING if now < self.deadline else Beat.GIVE_UP


def heartbeat(version: EioVersion, now: float, interval: float, timeout: float) -> Heartbeat:
    """The heartbeat of a new session."""
    kind = ServerPings if version == 4 else ClientPings
    return kind(now, interval, timeout)
