"""As much of the Redis protocol as it takes to know a server: is it there, who is it, end it.

Inline commands and the first line of each answer (RESP 2) are enough for that.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IReactorUNIX, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from .waiting import Ending, within

ANSWER_WITHIN = 2.0  # seconds


class Probe(LineOnlyReceiver):
    """One connection to a server; :attr:`ended` tells when it is lost.

    States of the server are told by what it answers to ``PING``: ``+PONG`` it serves, ``-LOADING`` it reads
    its files.
    """

    MAX_LENGTH = 65_536
    transport: ITCPTransport | None  # what UNIX sockets provide too

    def __init__(self) -> None:
        self.ended = Ending()
        self._wanted = b""
        self._answer: Deferred[bytes] | None = None

    async def serves(self, clock: IReactorTime) -> bool:
        """Tell whether the server serves; false while it loads or if it does not answer in time."""
        return await self._ask(clock, b"PING", b"") == b"+PONG"

    async def pid(self, clock: IReactorTime) -> int | None:
        """Return the server's process id, ``None`` if it does not say."""
        line = await self._ask(clock, b"INFO server", b"process_id:")
        _, _, number = line.partition(b":")
        return int(number) if number.isdigit() else None

    def shut_down(self) -> None:
        """Ask the server to flush its file and end."""
        self._send(b"SHUTDOWN")

    def close(self) -> None:
        """Close this connection."""
        if self.transport is not None:
            self.transport.abortConnection()

    def _send(self, command: bytes) -> None:
        if self.transport is not None:
            self.transport.write(command + b"\r\n")

    async def _ask(self, clock: IReactorTime, command: bytes, wanted: bytes) -> bytes:
        """Return the next line of the answer that starts with ``wanted``, or empty after a while."""
        self._wanted, self._answer = wanted, Deferred()
        self._send(command)
        return await within(clock, ANSWER_WITHIN, self._answer) or b""

    def lineReceived(self, line: bytes) -> None:
        """Answer the question that is open; errors (``-…``) answer any."""
        if self._answer is not None and line.startswith((self._wanted, b"-")):
            answer, self._answer = self._answer, None
            answer.callback(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Close: no server that we know sends such a line."""
        self.close()

    def connectionLost(self, reason: Failure = Failure(ConnectError())) -> None:  # noqa: B008
        """End whatever waits."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(b"")
        self.ended.happened()


async def connect(reactor: IReactorUNIX, path: Path) -> Probe | None:
    """Connect to the socket at ``path``; ``None`` if nobody listens there."""
    endpoint = UNIXClientEndpoint(reactor, str(path), timeout=ANSWER_WITHIN)
    try:
        probe: Probe = await endpoint.connect(Factory.forProtocol(Probe))
    except ConnectError:
        return None
    return probe
