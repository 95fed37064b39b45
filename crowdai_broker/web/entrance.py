"""How many TCP connections a site holds, whatever they are for.

The limits of a Socket.IO server count sessions. A connection that never asks for one costs a file descriptor
all the same until its idle time is over, so there is a bound of its own for all of them.

Nothing is wrapped around transports: Autobahn wants those of TLS as they are.
"""

from __future__ import annotations

from typing import Final, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

#: Seconds for a client that is refused to ask, to be answered and to close.
REFUSAL_SECONDS: Final = 5.0
#: So many are refused with an answer at the same time; more are cut unheard.
MAX_REFUSALS: Final = 100

_ANSWER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class Entrance:
    """Counts connections in and out.

    :param max_open: connections at the same time; 0: no limit.
    :ivar open_now: those that were let in and are not gone.
    :ivar refused: those that are just being turned away.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, max_open: int) -> None:
        self.open_now = 0
        self.refused: set[Refusal] = set()
        self.clock = clock
        self._max_open = max_open
        self._crowded = False

    @property
    def has_room(self) -> bool:
        """Whether another one is let in; the first that is not is logged."""
        if not self._max_open or self.open_now < self._max_open:
            self._crowded = self._crowded and self.open_now > self._max_open / 2
            return True
        if not self._crowded:
            self._crowded = True
            self._log.warn("{count} TCP connections are open: no more are let in", count=self.open_now)
        return False

    def enter(self) -> None:
        """One more."""
        self.open_now += 1

    def leave(self) -> None:
        """One less."""
        self.open_now -= 1


class Refusal(Protocol):
    """Answers the first bytes with status 503, drops the rest, and waits for the client to close.

    An answer before the request would be none to most clients, and one with unread bytes behind it could be
    overtaken by the reset that these cause.
    """

    _answered = False
    _cut_call: IDelayedCall | None = None

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    def connectionMade(self) -> None:
        """Wait for the request."""
        if len(self._entrance.refused) >= MAX_REFUSALS:
            self._cut()
            return
        self._entrance.refused.add(self)
        self._cut_call = self._entrance.clock.callLater(REFUSAL_SECONDS, self._cut)

    def dataReceived(self, data: bytes) -> None:
        """Answer once."""
        if not self._answered and self.transport is not None:
            self._answered = True
            self.transport.write(_ANSWER)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget it."""
        self._entrance.refused.discard(self)
        if self._cut_call is not None and self._cut_call.active():
            self._cut_call.cancel()

    def _cut(self) -> None:
        cast("ITCPTransport", self.transport).abortConnection()
