"""The one place where the parts of a broker are put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource

from .backends.embedded_redis import EmbeddedRedis
from .backends.http_graders import HttpGraders
from .backends.redis_client import RedisClient
from .backends.redis_graders import RedisGraders
from .backends.redis_servers import RedisServers
from .backends.redis_store import RedisStore
from .backends.response_lists import ResponseLists
from .backends.webapp import Webapp
from .config import Config, RedisAddress, parse_redis_url
from .core.capabilities import Capabilities
from .core.model import Inbox
from .core.node import Node, new_node_id
from .core.progress import Progress
from .errors import StartupError, StoreUnavailable, WebappDenied, WebappError
from .services import Background, Stage
from .web.broker_metrics import BrokerMetrics
from .web.callbacks import Callbacks, grader_pages
from .web.enqueue import PATH, EnqueueGradingJob, watch_body
from .web.graders import GraderEvents
from .web.health import Healthz, Readiness, Readyz
from .web.listening import Listening
from .web.metrics import MeteredSite, Metrics, new_registry
from .web.participants import ParticipantEvents
from .web.progress import ProgressPages
from .web.socketio import SocketIOServer, SocketIOSettings

BEFORE_AUTHENTICATION = 65_536  # bytes of one message of a connection that has not authenticated
NO_LIMIT = 100_000_000  # bytes of one message where the configuration sets no limit
SPARE_CONNECTIONS = 100  # of TCP, for health and metrics, beside two for each session
COUNT = 10.0  # s between two looks at what is stored, for the metrics


class Assembly:
    """All parts of one broker process; :meth:`stages` starts and stops them."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._registry = new_registry()
        self._metrics = BrokerMetrics(self._registry)
        self._background = Background(reactor)
        self._embedded, address = find_redis(config, reactor)
        self._redis = RedisClient(reactor, address)
        node_id = new_node_id()
        self._store = RedisStore(self._redis, config.redis.prefix, node_id)
        self._webapp = Webapp.connecting(
            reactor,
            config.webapp.url,
            config.webapp.api_key.reveal(),
            timeout=config.webapp.timeout,
            ca_file=str(config.webapp.ca_file or ""),
            observer=self._metrics.webapp_called,
        )
        self._sockets = self._socket_server()
        self._servers = RedisServers(reactor)
        self._capabilities = Capabilities(self._store)
        self._http_graders = HttpGraders.connecting(
            reactor, self._capabilities, config.broker.public_url, str(config.webapp.ca_file or "")
        )
        self._lists = ResponseLists(
            reactor, self._redis, self._store, config.redis.prefix, node_id, self._handle, self._servers
        )
        self._node = Node(
            reactor,
            config,
            node_id,
            self._store,
            self._webapp,
            {
                "redis": RedisGraders(self._redis, self._store, self._servers),
                "http": self._http_graders,
            },
            self._background,
            self._metrics,
            self._lists.adopt,
        )
        ParticipantEvents(self._node.participants, config.limits.max_message_bytes or NO_LIMIT).bind(
            self._sockets.namespace("/")
        )
        GraderEvents(reactor, self._node.connected, self._node.door, self._background).bind(
            self._sockets.namespace("/grader")
        )
        self._counting = LoopingCall(lambda: self._background("metrics", self._count()))
        self._counting.clock = reactor
        readiness = Readiness(
            reactor,
            {"redis": partial(self._redis.execute, "PING"), "webapp": self._webapp.check_key},
        )
        sessions = config.limits.max_connections
        connections = 2 * sessions + SPARE_CONNECTIONS if sessions else 0
        site = MeteredSite(self._root(readiness), reactor, self._registry, connections)
        site.add_watcher(b"/socket.io/", self._sockets.body_watcher)
        site.add_watcher(PATH, watch_body)
        self._http = Listening(reactor, site, config.broker.listen)

    def stages(self) -> list[Stage]:
        """Return the parts in the order in which they start; they stop in the reverse."""
        drain = self._config.broker.drain_timeout
        stages = [
            Stage("the connection to Redis", self._connect, self._redis.close),
            Stage("the graders' Redis", self._connect_graders, self._servers.close),
            Stage("the webapp", self._check_webapp, self._webapp.close),
            Stage("graders on HTTP", _nothing, self._http_graders.close),
            Stage("the store", _nothing, self._store.close),
            Stage("the node", self._node.start, self._node.stop),
            Stage("work in hand", _nothing, partial(self._background.stop, drain), drain + 10, drains=True),
            Stage("graders' events", self._lists.start, self._lists.stop),
            Stage("the Socket.IO server", _nothing, self._sockets.close),
            Stage("the metrics", self._start_counting, self._stop_counting),
            Stage("participants", _nothing, self._node.drain, drain, drains=True),
            Stage("the HTTP server", self._http.start, self._http.stop),
        ]
        if self._embedded is not None:
            stages.insert(0, Stage("the embedded Redis", self._embedded.start, self._embedded.stop))
        return stages

    def _socket_server(self) -> SocketIOServer:
        limits = self._config.limits
        largest = limits.max_message_bytes or NO_LIMIT
        settings = SocketIOSettings(
            max_message_bytes=min(BEFORE_AUTHENTICATION, largest),
            max_payload=largest,
            max_connections=limits.max_connections,
            max_connections_per_address=limits.max_connections_per_address,
            allowed_origins=limits.allowed_origins,
        )
        return SocketIOServer(self._reactor, settings, observer=self._metrics)

    def _root(self, readiness: Readiness) -> Resource:
        root = Resource()
        root.putChild(b"healthz", Healthz())  # type: ignore[no-untyped-call]
        root.putChild(b"readyz", Readyz(readiness))
        root.putChild(b"metrics", Metrics(self._registry))
        root.putChild(b"socket.io", self._sockets.resource)
        root.putChild(b"progress", ProgressPages(Progress(self._store)))
        callbacks = Callbacks(self._capabilities, self._node.relay, self._background)
        root.putChild(b"graders", grader_pages(callbacks))
        enqueue = EnqueueGradingJob(self._node.enqueuing, self._config.webapp.api_key, self._background)
        root.putChild(PATH[1:], enqueue)
        return root

    async def _handle(self, batch: Sequence[bytes | None], inbox: Inbox) -> None:
        await self._node.relay.handle(batch, inbox)

    async def _connect(self) -> None:
        """Connect to Redis; at the start it must be there."""
        self._redis.start()
        try:
            await self._redis.execute("PING")
        except StoreUnavailable as why:
            await self._redis.close()
            where = f"{self._config.path}: redis.url"
            raise StartupError(f"{where}: {why}; start it, or correct the URL") from None
        except BaseException:
            await self._redis.close()
            raise

    async def _connect_graders(self) -> None:
        """Begin to connect to the servers that the operator's file names: dead nodes may have used them."""
        for name in self._config.challenges:
            if url := self._config.challenge(name).grader.redis_url:
                self._servers.client(url)

    async def _check_webapp(self) -> None:
        """Check the broker's key; a webapp that is not there yet is waited for while the broker runs."""
        try:
            await self._webapp.check_key()
        except WebappDenied as why:
            await self._webapp.close()
            raise StartupError(f"{self._config.path}: webapp.api_key: {why}") from None
        except WebappError as why:
            self.log.warn("{why}; the broker is not ready until it does", why=why)

    async def _start_counting(self) -> None:
        self._counting.start(COUNT)

    async def _stop_counting(self) -> None:
        self._counting.stop()

    async def _count(self) -> None:
        here = self._node.roster.here()
        self._metrics.graders(len(here), sum(one.slots for one in here), sum(one.busy for one in here))
        try:
            counts = await self._store.counts()
            self._metrics.stored(counts, sum((await self._store.backlog()).values()))
        except StoreUnavailable as error:
            self.log.warn("what is stored cannot be counted: {error}", error=error)


async def _nothing() -> None:
    """Have nothing to start: what this part stops works as soon as it is used."""


def find_redis(config: Config, reactor: Any) -> tuple[EmbeddedRedis | None, RedisAddress]:
    """Return where Redis is, and its server if that is ours to run (it is not started)."""
    address = parse_redis_url(config.redis.url.reveal())
    if address.kind != "embedded":
        return None, address
    embedded = EmbeddedRedis(reactor, config.broker.data_dir)
    return embedded, parse_redis_url(embedded.url)


async def open_store(reactor: Any, config: Config) -> tuple[RedisStore, Callable[[], Awaitable[None]]]:
    """Return what the brokers of this configuration have stored, for a command beside them, and its end.

    :raises StoreUnavailable: Redis does not answer; an embedded one runs only as long as a broker does.
    """
    _, address = find_redis(config, reactor)
    client = RedisClient(reactor, address)
    client.start()
    try:
        await client.execute("PING")
    except BaseException:
        await client.close()
        raise
    return RedisStore(client, config.redis.prefix, "operator"), client.close
