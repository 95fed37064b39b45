"""One connection to Redis that comes back by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import SystemRandom
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004 - Twisted's own
from twisted.internet.interfaces import IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..errors import StoreUnavailable
from .redis_protocol import Arg, is_refusal, protocol_kinds, unavailable

_RANDOM = SystemRandom()
#: the server will not do what a master does: look for the master again
_STALE = ("READONLY", "MASTERDOWN")


class RedisConnection:
    """Connects, prepares the connection, hands commands to it, and begins again when it is lost.

    Twisted's ``ClientService`` forgets its back-off at the first byte and has no place for a connection that
    is lost while it is prepared (a wrong password, a server that is no master), so the loop is here.

    :param where: the server's address, for logs and errors.
    :param purpose: which of the broker's connections to it this is, for logs.
    :param prepare: is awaited with each new protocol before any command is let through.
    :param timeout: seconds that a command waits for a connection, and again for its answer.
    :param on_ready: called whenever commands are let through from then on.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        where: str,
        purpose: str,
        make_protocol: Callable[[], Any],
        prepare: Callable[[Any], Awaitable[None]],
        timeout: float,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.where = where
        self._name = f"{where}, {purpose}"
        self._reactor = reactor
        self._endpoint = endpoint
        self._factory = Factory.forProtocol(make_protocol)
        self._prepare = prepare
        self._timeout = timeout
        self._on_ready = on_ready
        self._backoff = backoffPolicy(0.02, 5.0, 1.7, jitter=lambda: _RANDOM.uniform(0, 0.05))
        self._protocol: Any = None
        self._waiting: list[Deferred[Any]] = []
        self._reason = "not connected yet"
        self._stopping = False
        self._loop: Deferred[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a command would be sent at once."""
        return self._protocol is not None

    def start(self) -> None:
        """Begin to connect; commands wait for it. What was stopped does not start again."""
        if self._loop is None and not self._stopping:
            self._loop = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Close the connection; commands that wait for an answer fail, and so do later ones."""
        self._stopping, self._reason = True, "the broker closed the connection"
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._protocol is not None:
            self._protocol.transport.abortConnection()
        else:
            loop.cancel()
        await loop

    async def command(self, *args: Arg, wait: float = 0) -> Any:
        """Send one command and return its answer.

        :param wait: seconds that the command itself may wait on the server, in addition.
        :raises StoreUnavailable: no connection, no answer in time, or Redis refused.
        """
        protocol = self._protocol or await self._connection()
        try:
            if wait:
                return await self._patiently(protocol, args, wait)
            return await protocol.execute_command(*args)
        except protocol_kinds().any_error as error:
            if is_refusal(error, *_STALE):
                protocol.transport.abortConnection()
            if is_refusal(error, "NOSCRIPT"):
                raise
            raise unavailable(error, self.where) from None

    async def ping(self) -> None:
        """Prove that the connection works if there is one; one that does not is aborted and made again."""
        if self._protocol is not None:
            try:
                await self._protocol.execute_command("PING")
            except protocol_kinds().any_error as error:
                self.log.info("Redis ({where}): {error}", where=self._name, error=error)

    async def _patiently(self, protocol: Any, args: tuple[Arg, ...], wait: float) -> Any:
        answer = protocol.execute_command(*args, apply_timeout=False)
        try:
            return await answer.addTimeout(wait + self._timeout, self._reactor)
        except TimeoutError:
            protocol.transport.abortConnection()
            raise StoreUnavailable(f"no answer from Redis ({self.where}) in time") from None

    async def _connection(self) -> Any:
        if self._loop is None:
            raise StoreUnavailable(f"no connection to Redis ({self.where}): {self._reason}")
        waiting: Deferred[Any] = Deferred()
        self._waiting.append(waiting)
        try:
            return await waiting.addTimeout(self._timeout, self._reactor)
        except TimeoutError:
            self._waiting.remove(waiting)
            raise StoreUnavailable(f"no connection to Redis ({self.where}): {self._reason}") from None

    # -- the loop

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            try:
                protocol = await self._connect()
            except CancelledError:
                break
            except Exception as error:  # noqa: BLE001 - whatever it is: said, and tried again
                if self._stopping:  # cancelled: Twisted's endpoints have an error of their own for it
                    break
                failures += 1
                self._note(str(error), failures)
            else:
                failures = 0
                await self._serve(protocol)
            await self._pause(failures)
        self._fail_waiting()

    async def _connect(self) -> Any:
        protocol: Any = await self._endpoint.connect(self._factory)
        if ITCPTransport.providedBy(protocol.transport):
            protocol.transport.setTcpNoDelay(True)  # else a second command waits for the first one's answer
            protocol.transport.setTcpKeepAlive(True)
        try:
            await self._prepare(protocol)
        except BaseException as error:
            protocol.transport.abortConnection()
            await protocol.lost
            if isinstance(error, protocol_kinds().any_error):
                raise StoreUnavailable(f"{unavailable(error, self.where)} {protocol.why}".strip()) from None
            raise
        return protocol

    async def _serve(self, protocol: Any) -> None:
        if self._stopping:
            protocol.transport.abortConnection()
        else:
            self.log.info("connected to Redis ({where})", where=self._name)
            self._protocol = protocol
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(protocol)
            self._tell_ready()
        await protocol.lost
        self._protocol = None
        if not self._stopping:
            self._note("the connection was lost", 1)

    def _tell_ready(self) -> None:
        try:
            self._on_ready()
        except Exception:  # noqa: BLE001 - a listener's mistake must not end the connection
            self.log.failure("Redis ({where}): a listener failed", where=self._name)

    async def _pause(self, failures: int) -> None:
        if self._stopping:
            return
        try:
            await deferLater(self._reactor, self._backoff(failures))
        except CancelledError:
            self._stopping = True

    def _note(self, reason: str, failures: int) -> None:
        self._reason = reason
        if failures == 1:
            self.log.warn("Redis ({where}): {reason}; trying again", where=self._name, reason=reason)

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(StoreUnavailable(f"no connection to Redis ({self.where}): {self._reason}"))
