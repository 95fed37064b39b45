"""Redis for the rest of the broker: commands, scripts, blocking reads and subscriptions.

Answers are bytes, whole numbers, lists of these, or ``None``. Everything that goes wrong between the broker
and Redis is a :class:`~crowdai_broker.errors.StoreUnavailable` whose text holds no password and no argument:
no connection, no answer in time, a server that is loading, read-only, full or does not know the user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..config import RedisAddress, parse_redis_url
from ..errors import StoreUnavailable
from .redis_connection import RedisConnection
from .redis_endpoints import endpoint_for, login
from .redis_protocol import Arg, MessageListener, Traffic, is_refusal, make_protocol, protocol_kinds

TIMEOUT = 5.0  #: s that a command waits for a connection, and again for its answer
PING_EVERY = 10.0  #: s between two proofs that a subscription still stands


class Script:
    """A Lua script and the name Redis keeps it under (the SHA-1 of its text: no secret, only a name)."""

    __slots__ = ("sha", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisClient:
    """One connection for commands; others for blocking reads and subscriptions are made from it.

    :param address: not ``embedded:``; that server is known by the path of its socket.
    :param timeout: see :data:`TIMEOUT`.
    :param trust_root: whose certificates are believed over TLS; ``None``: the system's.
    :param purpose: what the connection is for, for logs.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        address: RedisAddress,
        timeout: float = TIMEOUT,
        trust_root: Any = None,
        traffic: Traffic | None = None,
        purpose: str = "commands",
    ) -> None:
        self.traffic = traffic or Traffic()
        self.address = address
        self._reactor = reactor
        self._timeout = timeout
        self._trust_root = trust_root
        self._connection = self._make(purpose, protocol_kinds().commands, self._prepare)

    def _make(
        self,
        purpose: str,
        kind: type[Any],
        prepare: Callable[[Any], Any],
        on_ready: Callable[[], None] = lambda: None,
    ) -> RedisConnection:
        make = partial(make_protocol, protocol_kinds().commands, self._reactor, self._timeout, Traffic())
        endpoint = endpoint_for(self._reactor, self.address, make, self._timeout, self._trust_root)
        return RedisConnection(
            self._reactor,
            endpoint,
            self.address.describe(),
            purpose,
            partial(make_protocol, kind, self._reactor, self._timeout, self.traffic),
            prepare,
            self._timeout,
            on_ready,
        )

    async def _prepare(self, protocol: Any) -> None:
        if auth := login(self.address):
            await protocol.execute_command(*auth)
        await protocol.execute_command("PING")  # not while it loads, nor where it has no room for us
        if self.address.database:
            await protocol.execute_command("SELECT", self.address.database)
        if self.address.kind == "sentinel":
            (role, *_) = await protocol.execute_command("ROLE")
            if role != b"master":
                raise StoreUnavailable(f"the server that the sentinels name is a {role.decode()}")

    @property
    def connected(self) -> bool:
        """Whether a command would be sent at once."""
        return self._connection.connected

    def start(self) -> None:
        """Begin to connect, and to connect again whenever the connection is lost, until :meth:`close`."""
        if not protocol_kinds().native:
            self.log.warn("hiredis is not in use: large answers of Redis will cost several times as much")
        self._connection.start()

    async def close(self) -> None:
        """Close the connection; whoever waits for an answer gets :class:`StoreUnavailable`."""
        await self._connection.stop()

    async def execute(self, *args: Arg, wait: float = 0) -> Any:
        """Send one command and return its answer.

        :param wait: seconds that the command itself may wait on the server (BLMOVE and its like).
        """
        return await self._connection.command(*args, wait=wait)

    async def script(self, script: Script, keys: Sequence[Arg], args: Sequence[Arg]) -> Any:
        """Run a script by its name, with its text if the server does not know it (any more)."""
        rest = (len(keys), *keys, *args)
        try:
            return await self._connection.command("EVALSHA", script.sha, *rest)
        except protocol_kinds().response_error as error:
            if not is_refusal(error, "NOSCRIPT"):
                raise
        return await self._connection.command("EVAL", script.text, *rest)

    def blocking(self) -> RedisClient:
        """Return a client of its own connection, for reads that wait; start and close it apart."""
        return RedisClient(
            self._reactor, self.address, self._timeout, self._trust_root, self.traffic, "blocking reads"
        )

    def subscriber(
        self, channel: str, on_message: MessageListener, on_gap: Callable[[], None]
    ) -> RedisSubscriber:
        """Return a subscription to ``channel`` on its own connection; start and close it apart."""
        return RedisSubscriber(self, self._reactor, channel, on_message, on_gap)


class RedisSubscriber:
    """Hears what is published on one channel, and knows when it may have missed something.

    :param on_gap: called whenever the subscription stands, for the first time or again after it was lost:
        what was published before that was not heard.
    """

    log = Logger()

    def __init__(
        self,
        client: RedisClient,
        reactor: Any,
        channel: str,
        on_message: MessageListener,
        on_gap: Callable[[], None],
    ) -> None:
        self._client = client
        self._channel = channel
        self._on_message = on_message
        self._connection = client._make("subscription", protocol_kinds().subscriber, self._prepare, on_gap)
        self._pinging = LoopingCall(self.ping)
        self._pinging.clock = reactor

    @property
    def connected(self) -> bool:
        """Whether the subscription stands."""
        return self._connection.connected

    def start(self) -> None:
        """Begin to listen."""
        self._connection.start()
        self._pinging.start(PING_EVERY, now=False)

    async def ping(self) -> None:
        """Prove that the subscription works; one that does not is made anew."""
        await self._connection.ping()

    async def close(self) -> None:
        """Listen no more."""
        if self._pinging.running:
            self._pinging.stop()
        await self._connection.stop()

    async def _prepare(self, protocol: Any) -> None:
        await self._client._prepare(protocol)
        protocol.messageReceived = self._heard
        await protocol.execute_command("SUBSCRIBE", self._channel)

    def _heard(self, pattern: object, channel: object, message: bytes) -> None:
        self._on_message(message)


async def connect(reactor: Any, url: str) -> RedisClient:
    """Return a client of the server at ``url`` that has answered a PING.

    :raises ValueError: the URL cannot be used.
    :raises StoreUnavailable: the server did not answer; nothing is left running.
    """
    client = RedisClient(reactor, parse_redis_url(url))
    client.start()
    try:
        await client.execute("PING")
    except BaseException:
        await client.close()
        raise
    return client
