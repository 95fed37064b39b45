"""Connections to the webapp: verified, kept, bounded, and never used to send a change twice."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from crowdai_broker import http_client
from crowdai_broker.backends import webapp as webapp_module
from crowdai_broker.backends.webapp import MAX_ANSWER, Webapp
from crowdai_broker.core.webapp_model import GradeFields
from crowdai_broker.errors import ConfigError, WebappError, WebappUnavailable
from crowdai_broker.http_client import tls_policy
from tests.contracts.webapp_case import ADA, BROKER_KEY, register_fields

GRADE = GradeFields(grading_status="graded", score=0.5)
NOT_FOUND = b'{"message": "none", "participant_id": null}'


def http(status: int, body: bytes, *headers: str) -> bytes:
    """Return an answer as bytes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Scripted(Protocol):
    """A server's side of one connection: calls ``answer`` with itself for each request that came whole."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.requests = 0
        self.gone: Deferred[None] = Deferred()
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        """Cut requests out of what comes; a body has a ``Content-Length``."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            self.requests += 1
            self.server.requests.append(head)
            self.server.answer(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell who waits for it."""
        self.gone.callback(None)

    def write(self, data: bytes) -> None:
        """Send."""
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        """Close properly."""
        assert self.transport is not None
        self.transport.loseConnection()


class ScriptedServer(Factory):
    """Knows its connections, and every request's head."""

    noisy = False

    def __init__(self, answer: Callable[[Scripted], None]) -> None:
        self.answer = answer
        self.connections: list[Scripted] = []
        self.requests: list[bytes] = []

    def buildProtocol(self, addr: Any) -> Scripted:
        """Make one more."""
        self.connections.append(Scripted(self))
        return self.connections[-1]


class ConnectionCase(TestCase):
    """Starts scripted servers and clients."""

    async def serve(
        self, answer: Callable[[Scripted], None], endpoint: IStreamServerEndpoint | None = None
    ) -> tuple[ScriptedServer, int]:
        """Return a server that answers so, and its port."""
        server = ScriptedServer(answer)
        endpoint = endpoint or TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(server)

        async def stop() -> None:
            await port.stopListening()
            for each in server.connections:
                each.close()
                await each.gone

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return server, port.getHost().port

    def connecting(self, url: str, timeout: float = 10.0, **options: Any) -> Webapp:
        """Return a client that is closed before the servers are."""
        client = Webapp.connecting(reactor, url, BROKER_KEY, timeout=timeout, **options)
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    async def unavailable(self, call: Any) -> WebappUnavailable:
        """Return the failure that a call must end with."""
        try:
            await call
        except WebappUnavailable as error:
            return error
        raise AssertionError("it was answered")


class KeptConnectionTests(ConnectionCase):
    """A kept connection that dies under a request."""

    async def _first_ok_then(self, then: Callable[[Scripted], None]) -> tuple[ScriptedServer, Webapp]:
        """Return a server that answers the first request of a connection, and a client that had it."""

        def answer(connection: Scripted) -> None:
            if connection.requests == 1:
                connection.write(http(404, NOT_FOUND))
            else:
                then(connection)

        server, port = await self.serve(answer)
        client = self.connecting(f"http://127.0.0.1:{port}")
        self.assertIsNone(await client.participant(ADA))
        return server, client

    async def test_connections_are_kept(self) -> None:
        """A second call uses the connection of the first."""
        server, client = await self._first_ok_then(lambda it: it.write(http(404, NOT_FOUND)))
        await client.participant(ADA)
        self.assertEqual((len(server.connections), len(server.requests)), (1, 2))

    async def test_unused_connections_are_closed(self) -> None:
        """A connection that is not used for a while is closed by us, before its server does."""
        self.patch(http_client, "IDLE_CONNECTION", 0.05)
        server, _ = await self._first_ok_then(lambda it: it.close())
        await server.connections[0].gone

    async def test_a_post_is_sent_once(self) -> None:
        """A server that closes the kept connection upon a POST sees that one POST and no other."""
        server, client = await self._first_ok_then(lambda it: it.close())
        error = await self.unavailable(client.register(register_fields()))
        self.assertFalse(error.definitely_not_done)
        self.assertEqual([head[:4] for head in server.requests], [b"GET ", b"POST"])
        self.assertEqual(len(server.connections), 1)

    async def test_a_patch_is_sent_once(self) -> None:
        """The same with a PATCH."""
        server, client = await self._first_ok_then(lambda it: it.close())
        error = await self.unavailable(client.grade(1, GRADE))
        self.assertFalse(error.definitely_not_done)
        self.assertEqual([head[:5] for head in server.requests], [b"GET /", b"PATCH"])
        self.assertEqual(len(server.connections), 1)

    async def test_a_question_is_asked_again(self) -> None:
        """A GET that met a closing connection is asked once more on a new one."""
        server, client = await self._first_ok_then(lambda it: it.close())
        self.assertIsNone(await client.participant(ADA))
        self.assertEqual((len(server.connections), len(server.requests)), (2, 3))


class AnswerTests(ConnectionCase):
    """Answers of a kind that must not be swallowed."""

    async def _asked(self, answer: Callable[[Scripted], None], seconds: float = 10.0) -> ScriptedServer:
        """Ask a server something that fails; return it once its connection is gone."""
        server, port = await self.serve(answer)
        await self.unavailable(self.connecting(f"http://127.0.0.1:{port}", seconds).participant(ADA))
        await server.connections[0].gone
        return server

    async def test_a_long_answer_is_cut(self) -> None:
        """A body longer than its limit ends the connection, announced or not."""
        await self._asked(lambda it: it.write(http(200, b" " * (MAX_ANSWER + 1))))
        await self._asked(lambda it: it.write(b"HTTP/1.1 200 X\r\n\r\n" + b"x" * (MAX_ANSWER + 1)))

    async def test_a_list_has_its_own_limit(self) -> None:
        """The list of submissions may be longer than other answers, and is bounded too."""
        self.patch(webapp_module, "MAX_LIST", MAX_ANSWER + 10)
        for length, read in ((MAX_ANSWER + 10, True), (MAX_ANSWER + 11, False)):
            listed = http(200, b"[" + b" " * (length - 2) + b"]")
            _, port = await self.serve(lambda it, listed=listed: it.write(listed))  # type: ignore[misc]
            call = self.connecting(f"http://127.0.0.1:{port}").submissions(1, "organizer")
            if read:
                self.assertEqual(await call, [])
            else:
                await self.unavailable(call)

    async def test_an_answer_at_the_limit_is_read(self) -> None:
        """The longest answer that is allowed is read."""
        padding = b" " * (MAX_ANSWER - len(NOT_FOUND))
        _, port = await self.serve(lambda it: it.write(http(404, NOT_FOUND + padding)))
        self.assertIsNone(await self.connecting(f"http://127.0.0.1:{port}").participant(ADA))

    async def test_a_body_that_never_ends(self) -> None:
        """A server that stops in the middle of a body costs one timeout, and its connection is closed."""
        await self._asked(lambda it: it.write(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"), 0.2)

    async def test_a_body_that_breaks_off(self) -> None:
        """Half a body is no answer."""

        def answer(connection: Scripted) -> None:
            connection.write(b"HTTP/1.1 404 X\r\nContent-Length: 99\r\n\r\n" + NOT_FOUND)
            connection.close()

        await self._asked(answer)

    async def test_what_is_no_http(self) -> None:
        """A server of another protocol gives no answer."""
        await self._asked(lambda it: it.write(b"-ERR unknown command\r\n"))

    async def test_redirects_are_not_followed(self) -> None:
        """A redirect elsewhere does not carry the key there."""
        other, other_port = await self.serve(lambda it: it.write(http(200, b'{"participant_id": 1}')))
        location = f"Location: http://127.0.0.1:{other_port}/"
        for status in (301, 302, 307, 308):
            redirect = http(status, b"", location)
            _, port = await self.serve(lambda it, redirect=redirect: it.write(redirect))  # type: ignore[misc]
            await self.unavailable(self.connecting(f"http://127.0.0.1:{port}").participant(ADA))
        self.assertEqual(other.connections, [])

    async def test_cookies_are_not_kept(self) -> None:
        """A cookie of one call is not sent with the next, which may be in another's name."""
        server, port = await self.serve(lambda it: it.write(http(404, NOT_FOUND, "Set-Cookie: a=b; Path=/")))
        client = self.connecting(f"http://127.0.0.1:{port}")
        for _ in range(2):
            await client.participant(ADA)
        self.assertNotIn(b"cookie", server.requests[1].lower())


def self_signed(name: str, path: Path) -> PrivateCertificate:
    """Return a certificate for a host, which is its own authority; its PEM is written to ``path``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    path.write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem + private)
    return loaded


class TLSTests(ConnectionCase):
    """The webapp's certificate is always verified, and before a request is sent."""

    async def _secure(
        self, name: str, answer: Callable[[Scripted], None] | None = None
    ) -> tuple[ScriptedServer, int, str]:
        """Return a TLS server with a certificate for ``name``, its port, and its authority's file."""
        path = Path(self.mktemp())
        options = self_signed(name, path).options()
        endpoint = SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")
        server, port = await self.serve(answer or (lambda it: it.write(http(404, NOT_FOUND))), endpoint)
        return server, port, str(path)

    async def test_a_private_authority(self) -> None:
        """With its authority's file a server is believed, on kept connections too."""
        server, port, ca_file = await self._secure("127.0.0.1")
        client = self.connecting(f"https://127.0.0.1:{port}", ca_file=ca_file)
        for _ in range(2):
            self.assertIsNone(await client.participant(ADA))
        self.assertEqual((len(server.connections), len(server.requests)), (1, 2))

    async def _not_sent(self, server: ScriptedServer, client: Webapp) -> None:
        """A registration fails as certainly not done, and the server saw nothing of it."""
        error = await self.unavailable(client.register(register_fields()))
        self.assertTrue(error.definitely_not_done)
        self.assertEqual(server.requests, [])

    async def test_an_unknown_authority(self) -> None:
        """Without that file it is not believed, and nothing is sent."""
        server, port, _ = await self._secure("127.0.0.1")
        await self._not_sent(server, self.connecting(f"https://127.0.0.1:{port}"))

    async def test_another_host(self) -> None:
        """A believed authority's certificate for another host is refused before anything is sent."""
        server, port, ca_file = await self._secure("elsewhere.example")
        await self._not_sent(server, self.connecting(f"https://127.0.0.1:{port}", ca_file=ca_file))

    async def test_no_tls_there(self) -> None:
        """A server that speaks plain HTTP on that port gets nothing."""
        server, port = await self.serve(lambda it: it.write(http(404, NOT_FOUND)))
        client = self.connecting(f"https://127.0.0.1:{port}", 0.5)
        await self._not_sent(server, client)

    async def test_a_post_is_sent_once(self) -> None:
        """Over TLS, too, a connection that dies under a POST is the end of it."""

        def answer(connection: Scripted) -> None:
            if connection.requests == 1:
                connection.write(http(404, NOT_FOUND))
            else:
                connection.close()

        server, port, ca_file = await self._secure("127.0.0.1", answer)
        client = self.connecting(f"https://127.0.0.1:{port}", ca_file=ca_file)
        await client.participant(ADA)
        error = await self.unavailable(client.register(register_fields()))
        self.assertFalse(error.definitely_not_done)
        self.assertEqual(len(server.requests), 2)

    async def test_a_silent_body_is_closed(self) -> None:
        """A timeout in the middle of a body closes a TLS connection without waiting for a farewell."""
        half = b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"
        server, port, ca_file = await self._secure("127.0.0.1", lambda it: it.write(half))
        client = self.connecting(f"https://127.0.0.1:{port}", 0.3, ca_file=ca_file)
        await self.unavailable(client.participant(ADA))
        await server.connections[0].gone

    def test_a_bad_authority_file(self) -> None:
        """A file that cannot be used is an error of the configuration, at once."""
        empty = Path(self.mktemp())
        empty.write_bytes(b"nothing here")
        for path in ("/nonexistent/ca.pem", str(empty)):
            with self.assertRaises(ConfigError) as caught:
                tls_policy(path)
            self.assertIn("webapp.ca_file", str(caught.exception))


class NobodyThereTests(ConnectionCase):
    """Where no connection comes about, nothing was done."""

    async def test_refused(self) -> None:
        """Nobody listens there."""
        with socket.socket() as bound:  # bound, so that nobody else listens there; but not listening
            bound.bind(("127.0.0.1", 0))
            client = self.connecting(f"http://127.0.0.1:{bound.getsockname()[1]}")
            error = await self.unavailable(client.register(register_fields()))
        self.assertTrue(error.definitely_not_done)

    async def test_unknown_host(self) -> None:
        """No address has that name."""
        client = self.connecting("http://webapp.invalid")
        error = await self.unavailable(client.register(register_fields()))
        self.assertTrue(error.definitely_not_done)
        self.assertIsInstance(error, WebappError)

    async def test_closed_while_idle(self) -> None:
        """Kept connections are closed with the client."""
        server, port = await self.serve(lambda it: it.write(http(404, NOT_FOUND)))
        client = self.connecting(f"http://127.0.0.1:{port}")
        await client.participant(ADA)
        await client.close()
        await server.connections[0].gone
