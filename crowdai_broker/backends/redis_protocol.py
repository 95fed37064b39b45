"""txredisapi's protocol, as the broker uses it; the only file that imports it.

The import is late, inside a function, because it installs a reactor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ..errors import StoreUnavailable

Arg = bytes | str | int
MessageListener = Callable[[bytes], None]
NO_REDIS = "what answers there is no Redis"


class Traffic:
    """Bytes that went to and came from Redis over all connections of a client."""

    def __init__(self) -> None:
        self.bytes_out = 0
        self.bytes_in = 0


class ProtocolKinds(NamedTuple):
    """The two protocols, and the error classes that they raise."""

    commands: type[Any]
    subscriber: type[Any]
    response_error: type[Exception]
    any_error: type[Exception]
    native: bool  #: replies are parsed by hiredis


class _Extras:
    """What both protocols get in addition: counted traffic, and a Deferred that fires at the end."""

    traffic: Traffic
    lost: Deferred[None]  #: fires before the commands that wait for an answer fail
    why: str  #: why it was lost
    is_foreign = False  #: what answered was no Redis
    nonsense: type[Exception]  #: raised by what is no reply of Redis
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.traffic.bytes_in += len(data)
        try:
            super().dataReceived(data)  # type: ignore[misc]
        except self.nonsense:
            self.is_foreign = True
            self.transport.abortConnection()

    def _build_command(self, *args: Arg, **options: Any) -> bytes:
        command: bytes = super()._build_command(*args, **options)  # type: ignore[misc]
        self.traffic.bytes_out += len(command)
        return command

    def connectionLost(self, reason: Failure) -> None:
        self.why = NO_REDIS if self.is_foreign else reason.getErrorMessage()
        self.lost.callback(None)
        super().connectionLost(reason)  # type: ignore[misc]


@functools.cache
def protocol_kinds() -> ProtocolKinds:
    """Import txredisapi and return what it offers."""
    import txredisapi

    more = {"nonsense": txredisapi.InvalidData}
    commands = type("CommandsProtocol", (_Extras, txredisapi.RedisProtocol), more)
    subscriber = type("SubscriberProtocol", (_Extras, txredisapi.SubscriberProtocol), more)
    native = txredisapi.RedisProtocol is not txredisapi.BaseRedisProtocol
    return ProtocolKinds(commands, subscriber, txredisapi.ResponseError, txredisapi.RedisError, native)


def make_protocol(kind: type[Any], clock: IReactorTime, timeout: float, traffic: Traffic) -> Any:
    """Return a protocol whose replies are bytes, whole numbers, lists of these or ``None``.

    :param timeout: seconds for each reply; then the connection is aborted and all that wait for it fail.
    """
    protocol = kind(charset=None, replyTimeout=timeout, convertNumbers=False)
    protocol.callLater = clock.callLater
    protocol.traffic = traffic
    protocol.lost, protocol.why = Deferred(), ""
    return protocol


def unavailable(error: Exception, where: str) -> StoreUnavailable:
    """Return what the rest of the broker is told of an error of the protocol; it quotes no argument.

    Redis quotes arguments after "with args beginning with" only (measured on 6.2).
    """
    text = str(error).partition(", with args beginning")[0]
    if isinstance(error, protocol_kinds().response_error):
        return StoreUnavailable(f"Redis ({where}) refused: {text}")
    return StoreUnavailable(f"no answer from Redis ({where}): {text}")


def is_refusal(error: Exception, *codes: str) -> bool:
    """Tell whether Redis answered with an error that begins with one of ``codes``."""
    return isinstance(error, protocol_kinds().response_error) and str(error).startswith(codes)
