"""Calls to graders on HTTP over real connections: verified, bounded in time, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint

from crowdai_broker.backends import http_graders
from crowdai_broker.backends.http_graders import MAX_ANSWER, HttpGraders
from crowdai_broker.config import ChallengeConfig, GraderConfig
from crowdai_broker.core.capabilities import Capabilities
from crowdai_broker.errors import GraderRefused, GraderUnreachable
from crowdai_broker.testing import MemoryStore
from tests.unit.backends.test_http_graders import order

from .test_webapp_connections import ConnectionCase, http, self_signed

TAKEN = http(200, b'{"message": "Task successfully submitted"}')


class HttpGraderConnections(ConnectionCase):
    """Graders are called as the webapp is: by the same client."""

    def graders(self, **options: Any) -> HttpGraders:
        """Return graders that are closed before the servers are."""
        made = HttpGraders.connecting(
            reactor, Capabilities(MemoryStore()), "http://broker.invalid", **options
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(made.close()))
        return made

    async def call(self, graders: HttpGraders, url: str) -> str:
        """Hand an order out; return how that failed, ``""`` if it did not."""
        challenge = ChallengeConfig(grader=GraderConfig(kind="http", url=url))
        try:
            await graders.dispatch(challenge, order({"file_key": "x"}))
        except (GraderRefused, GraderUnreachable) as error:
            return str(error)
        return ""

    async def test_certificates_are_checked(self) -> None:
        """A grader whose certificate no known authority made is not called; with its authority it is."""
        pem = Path(self.mktemp())
        certificate = self_signed("127.0.0.1", pem)
        endpoint = SSL4ServerEndpoint(reactor, 0, certificate.options(), interface="127.0.0.1")
        server, port = await self.serve(lambda it: it.write(TAKEN), endpoint)
        url = f"https://127.0.0.1:{port}"
        self.assertIn("cannot be reached", await self.call(self.graders(), url))
        self.assertEqual(server.requests, [])
        self.assertEqual(await self.call(self.graders(ca_file=pem), url), "")
        self.assertEqual(len(server.requests), 1)

    async def test_connections_are_kept(self) -> None:
        """Orders go over one connection, one after the other."""
        server, port = await self.serve(lambda it: it.write(TAKEN))
        graders = self.graders()
        for _ in range(3):
            self.assertEqual(await self.call(graders, f"http://127.0.0.1:{port}"), "")
        self.assertEqual((len(server.connections), len(server.requests)), (1, 3))

    async def test_silence(self) -> None:
        """A grader that takes the call and says nothing costs one timeout."""
        self.patch(http_graders, "TIMEOUT", 0.2)
        server, port = await self.serve(lambda it: None)
        self.assertIn("did not answer", await self.call(self.graders(), f"http://127.0.0.1:{port}"))
        await server.connections[0].gone

    async def test_body_that_never_ends(self) -> None:
        """200 counts though its body never ends, or is too long; a refusal without its text is none."""
        self.patch(http_graders, "TIMEOUT", 0.2)
        for answer, said in (
            (b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{", ""),
            (http(200, b"x" * (MAX_ANSWER + 1)), ""),
            (
                b"HTTP/1.1 400 X\r\nContent-Length: 99\r\n\r\n" + b'{"message": "no"}',
                "the grader answered with status 400",
            ),
        ):
            server, port = await self.serve(lambda it, answer=answer: it.write(answer))  # type: ignore[misc]
            self.assertEqual(said, await self.call(self.graders(), f"http://127.0.0.1:{port}"))
            await server.connections[0].gone
