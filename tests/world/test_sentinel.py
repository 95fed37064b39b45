"""Redis behind sentinels: its master dies, the replica takes its place, and the broker goes on."""

from __future__ import annotations

import time
from typing import Any

import redis
from twisted.trial.unittest import SynchronousTestCase

from tests.redis_server import RedisServer

from .broker.hands import Hands, Order
from .broker.participant import Participant
from .broker.programs import until
from .broker.world import Plan, World
from .toolbox.ports import free_port

PLAIN = "Plain"
SERVICE = "m"
SENTINELS = 3
RECOVERED = 30.0  # s from the master's death until the broker can do its work
RULES = (
    "sentinel monitor {service} 127.0.0.1 {port} 2\n"
    "sentinel down-after-milliseconds {service} 500\n"
    "sentinel failover-timeout {service} 3000\n"
)


class SentinelTests(SynchronousTestCase):
    """A master, a replica, three sentinels, and one broker that is never restarted."""

    def setUp(self) -> None:
        """Start all of it."""
        super().setUp()
        self.master_port, self.replica_port = free_port(), free_port()
        self.master = self.server("--port", str(self.master_port))
        self.server("--port", str(self.replica_port), "--replicaof", "127.0.0.1", str(self.master_port))
        self.redis = self.client(self.master_port)
        until(self.in_step, "the replica is in step", 30)
        self.sentinels = [self.sentinel() for _ in range(SENTINELS)]
        until(lambda: all(map(self.knows_all, self.sentinels)), "the sentinels know each other", 30)
        self.world = World(Plan(challenges={PLAIN: {}}))
        self.addCleanup(self.close)
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        url = f"redis+sentinel://{hosts}/{SERVICE}/0"
        self.broker = self.world.launch(self.world.config(redis={"url": url})).ready()

    def close(self) -> None:
        """End the world; nothing may have gone wrong in it."""
        self.assertEqual(self.world.close(), [])

    def server(self, *options: str) -> RedisServer:
        """Start a server."""
        server = RedisServer(*options)
        self.addCleanup(server.remove)
        server.start()
        server.wait()
        return server

    def sentinel(self) -> int:
        """Start a sentinel; return its port."""
        server = RedisServer()
        self.addCleanup(server.remove)
        server.start_sentinel(free_port(), RULES.format(service=SERVICE, port=self.master_port))
        return server.port

    def client(self, port: int) -> Any:
        """Return a client of the server on a port."""
        client = redis.Redis(port=port, decode_responses=True)
        self.addCleanup(client.close)
        return client

    def in_step(self) -> bool:
        """Tell whether the replica has all that the master has."""
        told = self.redis.info("replication")
        replica = told.get("slave0", {})
        return bool(
            replica and replica["state"] == "online" and replica["offset"] == told["master_repl_offset"]
        )

    def knows_all(self, port: int) -> bool:
        """Tell whether a sentinel knows the replica and the other sentinels."""
        try:
            told = self.client(port).sentinel_master(SERVICE)
        except redis.RedisError:
            return False
        return bool(told["num-slaves"] == 1 and told["num-other-sentinels"] == SENTINELS - 1)

    def participant(self) -> Participant:
        """Return a participant who is connected all the time."""
        made = Participant(self.broker.port, self.world.keys[0], PLAIN)
        self.addCleanup(made.leave)
        made.authenticate()
        return made

    def test_fail_over(self) -> None:
        """Jobs in hand, in line and submitted afterwards are finished, each once; no program is restarted."""
        participant = self.participant()
        running = participant.execute("running", "submit")
        in_hand = Hands(self.redis).take(PLAIN)
        in_hand.running()
        running.expect("RUNNING")
        waiting = participant.execute("waiting", "submit")
        until(lambda: Hands(self.redis).lying(PLAIN), "its order lies there")
        until(self.in_step, "the replica is in step")
        self.master.kill()
        died = time.monotonic()
        hands = Hands(self.client(self.replica_port))
        until(self.is_promoted, "the replica is the master", RECOVERED)
        self.broker.ready(RECOVERED)
        self.assertLess(time.monotonic() - died, RECOVERED)
        later = participant.execute("later", "submit")
        Order(self.client(self.replica_port), in_hand.text).complete({"score": 0.1})
        for score in (0.2, 0.3):
            hands.take(PLAIN).complete({"score": score})
        for execution, score in ((running, 0.1), (waiting, 0.2), (later, 0.3)):
            (outcome,) = execution.result(RECOVERED)
            self.assertEqual(outcome["data"]["score"], score)
            numbers = [event["event_no"] for event in execution.events]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        rows = self.world.webapp.settled(3)
        self.assertEqual([(row["posts"], row["patches"]) for row in rows], [(1, 1)] * 3)

    def is_promoted(self) -> bool:
        """Tell whether the replica has become the master."""
        return bool(self.client(self.replica_port).info("replication")["role"] == "master")
