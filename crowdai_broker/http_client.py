"""HTTP to one outside server: verified TLS, a pool of connections, bounded answers, and exact failures.

A request that creates something must not be repeated unless it cannot have arrived. So a connection is
handed to HTTP only once it is *whole*, its TLS handshake included: whatever fails before that is
:class:`NotConnected`, and no byte of the request has left.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, cast
from typing import Protocol as Shape

from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.crypto import X509
from OpenSSL.SSL import Context
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import platformTrust
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.error import SchemeNotSupported
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from .errors import ConfigError

MAX_PARALLEL = 32  # connections, and requests under way, to the server
IDLE_CONNECTION = 2.0
"""Seconds an unused connection is kept. Shorter than the limit of any server in common use (5 s and more):
one that closes a connection just when a POST is being written leaves that POST in doubt."""


class NotConnected(Exception):
    """There was no connection to send the request on; the reason is in the text, without addresses."""


class AnswerTooLong(Exception):
    """The body of an answer is longer than it may be."""


class Client(Shape):
    """What is used of :class:`treq.client.HTTPClient`; :class:`treq.testing.StubTreq` has it too."""

    def request(self, method: str, url: str, **kwargs: Any) -> Deferred[IResponse]:
        """Send a request; fire with its answer once the headers are there."""
        ...


@implementer(IOpenSSLTrustRoot)
class _PlatformAnd:
    """Trusts the platform's authorities and those of one file."""

    def __init__(self, certificates: list[X509]) -> None:
        self._platform = platformTrust()
        self._certificates = certificates

    def _addCACertsToContext(self, context: Context) -> None:
        self._platform._addCACertsToContext(context)
        store = context.get_cert_store()
        assert store is not None, "a new context has a store"
        for certificate in self._certificates:
            store.add_cert(certificate)


def tls_policy(ca_file: Path | str | None = None) -> IPolicyForHTTPS:
    """Return the policy that verifies every server; ``ca_file`` (PEM) adds authorities to the platform's.

    :raises ConfigError: the file cannot be read or holds no certificate.
    """
    if not ca_file:
        return cast("IPolicyForHTTPS", BrowserLikePolicyForHTTPS())
    try:
        loaded = load_pem_x509_certificates(Path(ca_file).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "holds no PEM certificate"
        raise ConfigError([f"webapp.ca_file: {ca_file}: {reason}"]) from None
    trust = _PlatformAnd([X509.from_cryptography(each) for each in loaded])
    return cast("IPolicyForHTTPS", BrowserLikePolicyForHTTPS(trustRoot=trust))


@implementer(IHandshakeListener)
class _Gate(Protocol):
    """Stands between the transport and the HTTP protocol until the connection is whole."""

    def __init__(self, factory: IProtocolFactory, address: IAddress | None, secure: bool) -> None:
        self.whole: Deferred[IProtocol] = Deferred(lambda _: self._give_up())
        self._factory = factory
        self._address = address
        self._secure = secure
        self._inner: IProtocol | None = None

    def _give_up(self) -> None:
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionMade(self) -> None:
        if not self._secure:
            self._open()

    def handshakeCompleted(self) -> None:
        # Twisted verifies the certificate inside the handshake and reports its end all the same when it
        # was refused; the connection is then already being torn down.
        assert self.transport is not None
        if not self.transport.disconnecting:  # type: ignore[attr-defined]
            self._open()

    def _open(self) -> None:
        inner = self._factory.buildProtocol(cast("IAddress", self._address))
        assert inner is not None
        assert self.transport is not None
        self._inner = inner
        inner.makeConnection(self.transport)
        self.whole.callback(inner)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.whole.called:
            self.whole.errback(reason)


class _GateFactory(Factory):
    noisy = False

    def __init__(self, factory: IProtocolFactory, secure: bool) -> None:
        self._factory = factory
        self._secure = secure

    def buildProtocol(self, addr: IAddress | None) -> _Gate:
        return _Gate(self._factory, addr, self._secure)


@implementer(IStreamClientEndpoint)
class _WholeEndpoint:
    """Connects; fails with :class:`NotConnected` whatever the reason."""

    def __init__(self, endpoint: IStreamClientEndpoint, secure: bool) -> None:
        self._endpoint = endpoint
        self._secure = secure

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        try:
            gate = cast("_Gate", await self._endpoint.connect(_GateFactory(factory, self._secure)))
            return await gate.whole
        except Exception as error:  # noqa: BLE001 - each of them means the same: nothing was sent
            raise NotConnected(type(error).__name__) from None


@implementer(IAgentEndpointFactory)
class _WholeEndpoints:
    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, connect_timeout: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout = connect_timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        plain = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=self._timeout)
        if uri.scheme == b"http":
            return cast("IStreamClientEndpoint", _WholeEndpoint(plain, secure=False))
        if uri.scheme != b"https":
            raise SchemeNotSupported(f"unsupported scheme: {uri.scheme!r}")
        creator = self._policy.creatorForNetloc(uri.host, uri.port)
        return cast("IStreamClientEndpoint", _WholeEndpoint(wrapClientTLS(creator, plain), secure=True))


def connection_pool(reactor: Any) -> HTTPConnectionPool:
    """Return a pool of persistent connections.

    A GET that met a connection which the server had just closed is repeated once by Twisted on a new one;
    it repeats no method that changes anything (``_RetryingHTTP11ClientProtocol``; held by a test).
    """
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.retryAutomatically = True
    pool.maxPersistentPerHost = MAX_PARALLEL
    pool.cachedConnectionTimeout = IDLE_CONNECTION  # type: ignore[assignment]
    return pool


def http_client(
    reactor: Any, pool: HTTPConnectionPool, policy: IPolicyForHTTPS, connect_timeout: float
) -> Client:
    """Return a treq client on ``pool`` that keeps no cookies; ``connect_timeout`` in seconds."""
    endpoints = _WholeEndpoints(reactor, policy, connect_timeout)
    agent = Agent.usingEndpointFactory(reactor, endpoints, pool)
    no_cookies = IndexableCookieJar(policy=DefaultCookiePolicy(allowed_domains=()))
    return cast("Client", HTTPClient(agent, no_cookies))


class _BoundedBody(Protocol):
    """Collects up to ``limit`` bytes; what is longer, or is cancelled, closes the connection at once."""

    def __init__(self, limit: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._close())
        self._left = limit
        self._parts: list[bytes] = []

    def _close(self) -> None:
        assert self.transport is not None
        # Of a TLS connection ``loseConnection`` would wait for the other side's farewell, without limit.
        self.transport.stopProducing()  # type: ignore[attr-defined]

    def dataReceived(self, data: bytes) -> None:
        too_long = self._left < 0
        self._left -= len(data)
        if self._left >= 0:
            self._parts.append(data)
        elif not too_long:
            self._parts.clear()
            self._close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:  # it was cancelled
            return
        if self._left < 0:
            self.whole.errback(AnswerTooLong())
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(reason)


async def read_body(response: IResponse, limit: int) -> bytes:
    """Return the body of an answer.

    :raises AnswerTooLong: it has more than ``limit`` bytes, after decompression.
    """
    if response.length == 0:
        return b""
    body = _BoundedBody(limit)
    response.deliverBody(body)
    return await body.whole
