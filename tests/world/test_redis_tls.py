"""Redis over TLS: certificates are checked, against the name in the URL."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates
from twisted.trial.unittest import TestCase

from crowdai_broker.backends.redis_client import RedisClient
from crowdai_broker.config import parse_redis_url
from crowdai_broker.errors import StoreUnavailable


class Pong(Protocol):
    """Answers PONG to whatever it hears, as a Redis does to a PING."""

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        assert self.transport is not None
        self.transport.write(b"+PONG\r\n")


def certificate_for(name: str) -> PrivateCertificate:
    """Return a self-signed certificate for a host name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoded = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(encoded)
    return loaded


class TLSTests(TestCase):
    timeout = 20

    def ask(self, served: PrivateCertificate, trusted: PrivateCertificate | None) -> Deferred[object]:
        """Ask a server that shows one certificate for an answer, believing in another, or in the system's."""
        port = reactor.listenSSL(  # type: ignore[attr-defined]
            0, Factory.forProtocol(Pong), served.options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        address = parse_redis_url(f"rediss://localhost:{port.getHost().port}")
        root = trusted and trustRootFromCertificates([Certificate.loadPEM(trusted.dumpPEM())])
        client = RedisClient(reactor, address, 2.0, root)
        client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return Deferred.fromCoroutine(client.execute("PING"))

    async def test_trusted(self) -> None:
        """A server whose certificate is believed and bears its name is used."""
        certificate = certificate_for("localhost")
        self.assertEqual(await self.ask(certificate, certificate), b"PONG")

    async def test_not_trusted(self) -> None:
        """A server whose certificate nobody vouches for is not used, and the reason is told."""
        error = await self.assertFailure(self.ask(certificate_for("localhost"), None), StoreUnavailable)
        self.assertIn("certificate verify failed", str(error))

    async def test_another_name(self) -> None:
        """A server whose certificate is believed but bears another name is not used."""
        certificate = certificate_for("elsewhere.test")
        await self.assertFailure(self.ask(certificate, certificate), StoreUnavailable)
