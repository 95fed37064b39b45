"""``/metrics`` and the counting of requests."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from crowdai_broker.web.health import Healthz
from crowdai_broker.web.metrics import MeteredSite, Metrics

NAME = "crowdai_broker_http_requests_total"


class RequestsTests(SynchronousTestCase):
    """The counter of requests."""

    def setUp(self) -> None:
        """Have a site with two routes."""
        self.registry = CollectorRegistry()
        root = Resource()
        root.putChild(b"healthz", Healthz())
        root.putChild(b"metrics", Metrics(self.registry))
        self.clock = Clock()
        self.site = MeteredSite(root, self.clock, self.registry)

    def _request(self, line: bytes) -> bytes:
        channel = self.site.buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(line + b" HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer: bytes = transport.value()
        return answer

    def _counted(self, **labels: str) -> float | None:
        return self.registry.get_sample_value(NAME, labels)

    def test_known_route(self) -> None:
        """A request is counted under the route that served it."""
        self._request(b"GET /healthz")
        self.assertEqual(self._counted(route="/healthz", method="GET", status="2xx"), 1)

    def test_unknown_path(self) -> None:
        """What a client made up becomes no label."""
        self._request(b"BREW /pot-of-coffee")
        self.assertEqual(self._counted(route="other", method="other", status="4xx"), 1)

    def test_shown(self) -> None:
        """``/metrics`` shows what was counted."""
        self._request(b"GET /healthz")
        self.assertIn(NAME.encode(), self._request(b"GET /metrics"))
