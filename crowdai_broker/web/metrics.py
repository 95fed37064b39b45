"""``/metrics`` for Prometheus, and the counting of HTTP requests.

Each process has a registry of its own, handed to whoever counts. No label holds anything that a client
chose: each has a fixed, short list of values.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource

from .site import BoundedSite

_METHODS = {b"GET": "GET", b"POST": "POST", b"HEAD": "HEAD", b"OPTIONS": "OPTIONS"}
_OTHER = "other"


def new_registry() -> CollectorRegistry:
    """Return a registry that already knows the process: memory, CPU, open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class Metrics(Resource):
    """``/metrics``, put together in the reactor's thread, where everything it reads is changed."""

    isLeaf = True

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry = registry

    def render_GET(self, request: Request) -> bytes:
        """Answer in the newest of Prometheus' formats that the client accepts."""
        encode, content_type = choose_encoder(request.getHeader("accept") or "")
        request.setHeader(b"content-type", content_type.encode())
        request.setHeader(b"cache-control", b"no-store")
        return encode(self._registry)


class MeteredSite(BoundedSite):
    """A site that counts its requests and writes no access log: paths hold capabilities."""

    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        registry: CollectorRegistry,
        max_connections: int = 0,
    ) -> None:
        super().__init__(resource, reactor, max_connections=max_connections)
        known: list[bytes] = resource.listNames() if isinstance(resource, Resource) else []
        self._routes = {name.decode() for name in known}
        self._requests = Counter(
            "crowdai_broker_http_requests",
            "HTTP requests that were answered",
            ["route", "method", "status"],
            registry=registry,
        )

    def log(self, request: Request) -> None:
        """Count a request that was answered."""
        _, _, rest = request.path.partition(b"/")
        route = rest.partition(b"/")[0].decode("ascii", "replace")
        self._requests.labels(
            route=f"/{route}" if route in self._routes else _OTHER,
            method=_METHODS.get(request.method, _OTHER),
            status=f"{request.code // 100}xx",
        ).inc()
