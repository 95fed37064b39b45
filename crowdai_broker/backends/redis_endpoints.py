"""From a Redis address to an endpoint that reaches it, asking the sentinels first where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from zope.interface import implementer

from ..config import RedisAddress
from ..errors import StoreUnavailable
from .redis_protocol import Arg, is_refusal, protocol_kinds, unavailable

MakeProtocol = Callable[[], Any]


def login(address: RedisAddress) -> list[Arg]:
    """Return the AUTH command for this address; empty: none is needed."""
    if not address.password:
        return []
    name: list[Arg] = [address.username] if address.username else []
    return ["AUTH", *name, address.password.reveal()]


def endpoint_for(
    reactor: Any, address: RedisAddress, make_protocol: MakeProtocol, timeout: float, trust_root: Any = None
) -> IStreamClientEndpoint:
    """Return an endpoint for ``address``; each of its connections is tried for ``timeout`` seconds.

    :param make_protocol: makes the protocol that talks to a sentinel.
    :param trust_root: whose certificates are believed over TLS; ``None``: the system's.
    """
    if address.kind == "unix":
        return UNIXClientEndpoint(reactor, address.path, timeout=timeout)
    if address.kind == "sentinel":
        return SentinelEndpoint(reactor, address, make_protocol, timeout)
    if address.kind == "embedded":
        raise ValueError("an embedded Redis is reached by the path of its socket")
    ((host, port),) = address.hosts
    plain = HostnameEndpoint(reactor, host, port, timeout=timeout)
    if address.kind == "tls":
        return wrapClientTLS(optionsForClientTLS(host, trustRoot=trust_root), plain)
    return plain


@implementer(IStreamClientEndpoint)
class SentinelEndpoint:
    """Connects to whichever server the first sentinel that answers calls the master.

    Asked anew for every connection, as Redis's guide for clients of sentinels wants it; whether the server
    believes itself to be the master is for the caller to ask it.
    """

    def __init__(
        self, reactor: Any, address: RedisAddress, make_protocol: MakeProtocol, timeout: float
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._make_protocol = make_protocol
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the master; fails with :class:`StoreUnavailable` if no sentinel names one."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        reasons = []
        for host, port in self._address.hosts:
            try:
                master = await self._ask(host, port)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the next may know
                reasons.append(f"{host}:{port}: {error}")
                continue
            if master:
                name, number = master
                place = HostnameEndpoint(self._reactor, name.decode(), int(number), timeout=self._timeout)
                return await place.connect(factory)
            reasons.append(f"{host}:{port} knows no such service")
        raise StoreUnavailable(f"no sentinel names a master of {self._address.service}: {'; '.join(reasons)}")

    async def _ask(self, host: str, port: int) -> Any:
        endpoint = HostnameEndpoint(self._reactor, host, port, timeout=self._timeout)
        protocol: Any = await endpoint.connect(Factory.forProtocol(self._make_protocol))
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
        try:
            try:
                return await protocol.execute_command(*question)
            except protocol_kinds().response_error as error:
                if not is_refusal(error, "NOAUTH") or not self._address.password:
                    raise
            await protocol.execute_command(*login(self._address))
            return await protocol.execute_command(*question)
        except protocol_kinds().any_error as error:
            raise unavailable(error, f"sentinel {host}:{port}") from None
        finally:
            protocol.transport.abortConnection()
            await protocol.lost
