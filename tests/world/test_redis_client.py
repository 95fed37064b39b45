"""The Redis client against real servers that are killed, restarted, frozen and reconfigured."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from crowdai_broker.backends.redis_client import RedisClient, RedisSubscriber, Script, connect
from crowdai_broker.config import parse_redis_url
from crowdai_broker.errors import StoreUnavailable
from tests.redis_server import RedisServer, free_port, start_server


class ClientCase(TestCase):
    """Makes clients that are closed with the test."""

    timeout = 20

    def client(self, url: str, patience: float = 5.0) -> RedisClient:
        """Return a started client."""
        client = RedisClient(reactor, parse_redis_url(url), patience)
        client.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        return client

    async def until_up(self, client: RedisClient) -> None:
        """Return once the server answers again."""
        while True:
            try:
                await client.execute("PING")
            except StoreUnavailable:
                continue
            return

    async def refused(self, client: RedisClient, *command: str | int) -> str:
        """Return the text with which a command must fail."""
        failing = Deferred.fromCoroutine(client.execute(*command))
        error = await self.assertFailure(failing, StoreUnavailable)
        return str(error)


class CommandTests(ClientCase):
    async def test_answers(self) -> None:
        """Answers are bytes, numbers, lists and None as Redis gave them; numbers in text stay text."""
        client = self.client(start_server(self).url)
        self.assertEqual(await client.execute("SET", "k", "1.5"), b"OK")
        self.assertEqual(await client.execute("GET", "k"), b"1.5")
        self.assertEqual(await client.execute("GET", "no"), None)
        self.assertEqual(await client.execute("RPUSH", "l", "a", b"\xff", 3), 3)
        self.assertEqual(await client.execute("LRANGE", "l", 0, -1), [b"a", b"\xff", b"3"])

    async def test_what_is_no_redis(self) -> None:
        """A server that speaks something else is said to be none, in a line and without a traceback."""

        class Http(Protocol):
            def dataReceived(self, data: bytes) -> None:
                """Answer as a web server does."""
                assert self.transport is not None
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        anything: Any = reactor
        port = anything.listenTCP(0, Factory.forProtocol(Http), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = self.client(f"redis://127.0.0.1:{port.getHost().port}/0", 0.5)
        self.assertIn("no Redis", await self.refused(client, "PING"))
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_traffic_is_counted(self) -> None:
        """Bytes are counted both ways, over all connections of a client."""
        client = self.client(start_server(self).url)
        await client.execute("SET", "k", b"x" * 100_000)
        self.assertGreater(client.traffic.bytes_out, 100_000)
        blocking = client.blocking()
        blocking.start()
        await blocking.execute("GET", "k")
        await blocking.close()
        self.assertGreater(client.traffic.bytes_in, 100_000)

    async def test_many_at_once_keep_their_order(self) -> None:
        """Commands sent without waiting are each answered with their own answer."""
        client = self.client(start_server(self).url)
        answers = [Deferred.fromCoroutine(client.execute("ECHO", number)) for number in range(200)]
        self.assertEqual(await gatherResults(answers), [str(number).encode() for number in range(200)])

    async def test_refusal_is_told_without_arguments(self) -> None:
        """What Redis refuses is told with its reason, and no argument of the command is quoted."""
        client = self.client(start_server(self).url)
        await client.execute("SET", "k", "v")
        self.assertIn("WRONGTYPE", await self.refused(client, "LPUSH", "k", "v"))
        text = await self.refused(client, "NOSUCH", "the-secret")
        self.assertIn("unknown command", text)
        self.assertNotIn("the-secret", text)

    async def test_script_is_known_again_after_restart(self) -> None:
        """A script runs by its name, and again on a server that has forgotten it."""
        server = start_server(self)
        client = self.client(server.url)
        script = Script("return {KEYS[1], ARGV[1]}")
        for _ in range(2):
            self.assertEqual(await client.script(script, ["k"], [b"\x00a"]), [b"k", b"\x00a"])
        self.assertEqual(await client.execute("SCRIPT", "EXISTS", script.sha), [1])
        server.kill()
        server.start()
        await self.until_up(client)
        self.assertEqual(await client.script(script, ["k"], ["b"]), [b"k", b"b"])

    async def test_error_in_a_script_is_told(self) -> None:
        """A script that fails is an unavailable store, not a crash."""
        client = self.client(start_server(self).url)
        failing = Deferred.fromCoroutine(client.script(Script("return nil .. 'x'"), [], []))
        await self.assertFailure(failing, StoreUnavailable)


class ConnectTests(ClientCase):
    async def test_connect_proves_itself(self) -> None:
        """``connect`` answers with a client that works."""
        client = await connect(reactor, start_server(self).url)
        self.assertTrue(client.connected)
        await client.close()
        self.assertFalse(client.connected)

    async def test_the_log_says_which_connection(self) -> None:
        """Each of a broker's connections is told apart in the log."""
        with capturedLogs() as said:
            client = self.client(start_server(self).url)
            blocking = client.blocking()
            stands: Deferred[None] = Deferred()
            subscriber = client.subscriber("c", lambda _: None, lambda: stands.callback(None))
            for more in (blocking, subscriber):
                more.start()
            await stands
            for one in (client, blocking):
                await one.execute("PING")
            for more in (blocking, subscriber):
                await more.close()
        lines = [text for text in map(formatEvent, said) if text.startswith("connected to Redis")]
        where = client.address.describe()
        purposes = ("blocking reads", "commands", "subscription")
        self.assertEqual(sorted(lines), [f"connected to Redis ({where}, {name})" for name in purposes])

    async def test_database_is_selected(self) -> None:
        """The URL's database is used, on every connection."""
        server = start_server(self)
        await self.client(server.url + "?db=3").execute("SET", "k", "v")
        self.assertEqual(await self.client(server.url).execute("GET", "k"), None)
        self.assertEqual(await self.client(server.url + "?db=3").execute("GET", "k"), b"v")

    async def test_password(self) -> None:
        """The URL's password is used; a wrong or missing one is told without being shown."""
        server = start_server(self, "--requirepass", "open/sesame")
        good = f"unix://:open%2Fsesame@{server.socket}"
        self.assertEqual(await self.client(good).execute("PING"), b"PONG")
        text = await self.refused(self.client(f"unix://:wr0ng@{server.socket}", 0.3), "PING")
        self.assertIn("WRONGPASS", text)
        self.assertNotIn("wr0ng", text)
        self.assertIn("NOAUTH", await self.refused(self.client(server.url, 0.3), "PING"))

    async def test_tcp(self) -> None:
        """A server is reached over TCP; one that is not there is told with its address."""
        port = free_port()
        start_server(self, "--port", str(port))
        self.assertEqual(await self.client(f"redis://127.0.0.1:{port}/1").execute("PING"), b"PONG")
        unused = free_port()
        text = await self.refused(self.client(f"redis://127.0.0.1:{unused}", 1.0), "PING")
        self.assertIn(f"127.0.0.1:{unused}", text)
        self.assertIn("refused", text)

    async def test_close_ends_the_attempts(self) -> None:
        """A client that is closed before it started, or while it tries, leaves nothing behind."""
        nowhere = RedisClient(reactor, parse_redis_url("unix:///nowhere/redis.sock"))
        await nowhere.close()
        nowhere.start()
        waiting = self.assertFailure(Deferred.fromCoroutine(nowhere.execute("PING")), StoreUnavailable)
        await nowhere.close()
        await waiting
        self.assertIn("closed", await self.refused(nowhere, "PING"))


class LossTests(ClientCase):
    async def test_outstanding_commands_fail_at_once(self) -> None:
        """When the server dies, what waits for an answer fails; later commands wait for the next."""
        server = start_server(self)
        client = self.client(server.url)
        blocking = self.client(server.url)
        await blocking.execute("PING")
        waiting = Deferred.fromCoroutine(blocking.execute("BLPOP", "k", 0, wait=60))
        await client.execute("CLIENT", "LIST")
        server.kill()
        await self.assertFailure(waiting, StoreUnavailable)
        server.start()
        self.assertEqual(await client.execute("PING"), b"PONG")
        self.assertEqual(await blocking.execute("PING"), b"PONG")

    async def test_server_that_hangs(self) -> None:
        """A server that does not answer in time is left: everything that waits for it fails."""
        server = start_server(self)
        client = self.client(server.url, 0.3)
        await client.execute("PING")
        server.freeze()
        self.addCleanup(server.freeze, frozen=False)
        failing = [Deferred.fromCoroutine(client.execute("PING")) for _ in range(3)]
        for one in failing:
            await self.assertFailure(one, StoreUnavailable)
        blocking = self.client(server.url, 0.3)
        self.assertIn("no connection", await self.refused(blocking, "PING"))
        server.freeze(frozen=False)
        await self.until_up(client)

    async def test_blocking_read_that_hangs(self) -> None:
        """A blocking read is given its own time and ours, and no more."""
        server = start_server(self)
        client = self.client(server.url, 0.2)
        self.assertEqual(await client.execute("BLPOP", "k", "0.3", wait=0.3), None)
        server.freeze()
        self.addCleanup(server.freeze, frozen=False)
        failing = Deferred.fromCoroutine(client.execute("BLPOP", "k", "0.1", wait=0.1))
        await self.assertFailure(failing, StoreUnavailable)

    async def test_master_that_became_a_replica(self) -> None:
        """A server that turned read-only is unavailable, and its connection is made anew."""
        server = start_server(self)
        client = self.client(server.url)
        other = self.client(server.url)
        name = await client.execute("CLIENT", "ID")
        await other.execute("REPLICAOF", "127.0.0.1", free_port())
        self.assertIn("READONLY", await self.refused(client, "SET", "k", "v"))
        await other.execute("REPLICAOF", "NO", "ONE")
        self.assertEqual(await client.execute("SET", "k", "v"), b"OK")
        self.assertNotEqual(await client.execute("CLIENT", "ID"), name)

    async def test_full_server(self) -> None:
        """A server without room is unavailable for writes."""
        client = self.client(start_server(self, "--maxmemory", "1").url)
        self.assertIn("OOM", await self.refused(client, "SET", "k", "v"))

    async def test_no_room_for_another_client(self) -> None:
        """A server that turns clients away is tried again with pauses, and told why meanwhile."""
        server = start_server(self, "--maxclients", "1")
        first = self.client(server.url)
        await first.execute("PING")
        second = self.client(server.url, 0.3)
        self.assertIn("max number of clients", await self.refused(second, "PING"))
        await first.close()
        self.assertEqual(await second.execute("PING"), b"PONG")


class SubscriberTests(ClientCase):
    def subscribe(self, client: RedisClient) -> tuple[RedisSubscriber, DeferredQueue[bytes]]:
        """Return a started subscription and a queue of what it hears; a gap is ``b"gap"``."""
        heard: DeferredQueue[bytes] = DeferredQueue()
        subscriber = client.subscriber("c", heard.put, lambda: heard.put(b"gap"))
        subscriber.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(subscriber.close()))
        return subscriber, heard

    async def test_messages_and_gaps(self) -> None:
        """Messages are heard as they are; a gap is told whenever the subscription begins to stand."""
        server = start_server(self)
        client = self.client(server.url)
        _, heard = self.subscribe(client)
        self.assertEqual(await heard.get(), b"gap")
        await client.execute("PUBLISH", "c", b"\xfe1")
        self.assertEqual(await heard.get(), b"\xfe1")
        server.kill()
        server.start()
        self.assertEqual(await heard.get(), b"gap")
        await client.execute("PUBLISH", "c", "2")
        self.assertEqual(await heard.get(), b"2")

    async def test_silent_death_is_noticed(self) -> None:
        """A subscription whose server hangs is found out by a ping and made anew."""
        server = start_server(self)
        client = self.client(server.url, 0.3)
        subscriber, heard = self.subscribe(client)
        self.assertEqual(await heard.get(), b"gap")
        server.freeze()
        self.addCleanup(server.freeze, frozen=False)
        await subscriber.ping()
        server.freeze(frozen=False)
        self.assertEqual(await heard.get(), b"gap")


class SentinelTests(ClientCase):
    def sentinel(self, port: int) -> RedisServer:
        """Return a sentinel that knows of the master ``m`` at ``port``."""
        rules = f"sentinel monitor m 127.0.0.1 {port} 1\n"
        server = RedisServer()
        self.addCleanup(server.remove)
        server.start_sentinel(free_port(), rules)
        return server

    async def test_master_is_found(self) -> None:
        """The first sentinel that answers names the master; those that are down are passed over."""
        port = free_port()
        start_server(self, "--port", str(port))
        sentinel = self.sentinel(port)
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/m/2"
        client = self.client(url)
        await client.execute("SET", "k", "v")
        self.assertEqual(await self.client(f"redis://127.0.0.1:{port}/2").execute("GET", "k"), b"v")

    async def test_service_that_no_sentinel_knows(self) -> None:
        """A service that no sentinel knows is told with each sentinel's answer."""
        port = free_port()
        sentinel = self.sentinel(port)
        client = self.client(f"redis+sentinel://127.0.0.1:{sentinel.port}/other", 0.5)
        self.assertIn("knows no such service", await self.refused(client, "PING"))

    async def test_replica_is_not_used(self) -> None:
        """A server that the sentinels still call the master but that is a replica is not written to."""
        port = free_port()
        server = start_server(self, "--port", str(port))
        direct = self.client(server.url)
        await direct.execute("REPLICAOF", "127.0.0.1", free_port())
        sentinel = self.sentinel(port)
        client = self.client(f"redis+sentinel://127.0.0.1:{sentinel.port}/m", 0.5)
        self.assertIn("is a slave", await self.refused(client, "SET", "k", "v"))
