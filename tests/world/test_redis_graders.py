"""Orders reach graders' queues, here or on a Redis of the graders, and answers come back once."""

from __future__ import annotations

import json

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from crowdai_broker.backends.redis_graders import RedisGraders
from crowdai_broker.backends.redis_lists import RemoteList
from crowdai_broker.backends.redis_servers import MOST, RedisServers
from crowdai_broker.config import ChallengeConfig, Secret
from crowdai_broker.config.declaration import GraderConfig
from crowdai_broker.core.model import Handing, Taken
from crowdai_broker.errors import GraderUnreachable, StoreUnavailable
from tests.contracts.making import COMPLETE, a_job, a_move, a_take, acceptance
from tests.redis_server import start_server

from .test_response_lists import ListsCase


class ElsewhereCase(ListsCase):
    """Has a second server, which is the graders'."""

    def setUp(self) -> None:
        """Start it and say so to the broker."""
        super().setUp()
        self.theirs = start_server(self)
        self.servers = RedisServers(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.servers.close()))
        self.graders = RedisGraders(self.client, self.store, self.servers)
        self.url = Secret(self.theirs.url)
        self.here = ChallengeConfig()
        self.there = ChallengeConfig(grader=GraderConfig(redis_url=self.url))

    async def taken(self, *names: str, push: bool = False) -> list[Taken]:
        """Take one job of each execution."""
        for name in names:
            await self.store.accept(acceptance(name, [a_job(name, grader_id="pool" if name == "p" else "")]))
        numbers = [str(number) for number in range(1, len(names) + 1)]
        return await self.store.take(a_take(*numbers, push=push, response_channel=self.key))


class QueueTests(ElsewhereCase):
    async def test_store_hands_out_its_own(self) -> None:
        """Whether the store pushes orders is decided by where the challenge's graders are."""
        self.assertEqual(self.graders.handing(self.here), Handing.IN_STORE)
        self.assertEqual(self.graders.handing(self.there), Handing.BY_EFFECT)

    async def test_orders_reach_their_queues(self) -> None:
        """Orders are pushed on the graders' server, each to its queue, and popped first come first served."""
        taken = await self.taken("a", "p", "b")
        for one in taken:
            await self.graders.dispatch(self.there, one)
        theirs = self.servers.client(self.url)
        popped = [await theirs.execute("RPOP", "C::enqueue_job") for _ in range(3)]
        self.assertEqual(popped, [taken[0].order.encode(), taken[2].order.encode(), None])
        self.assertEqual(json.loads(await theirs.execute("RPOP", "pool::enqueue_job"))["data"], [1])
        self.assertEqual(await self.client.execute("EXISTS", "C::enqueue_job", "pool::enqueue_job"), 0)

    async def test_untaken_and_withdrawn(self) -> None:
        """Orders that lie there are found, counted and can be taken back, once, on either server."""
        for config in (self.here, self.there):
            taken = await self.taken("a", "b", push=config is self.here)
            for one in taken if config is self.there else ():
                await self.graders.dispatch(config, one)
            self.assertEqual(await self.graders.untaken(config, "C"), 2)
            self.assertTrue(await self.graders.lies(config, taken[0].job))
            self.assertTrue(await self.graders.withdraw(config, taken[0].job))
            self.assertFalse(await self.graders.lies(config, taken[0].job))
            self.assertFalse(await self.graders.withdraw(config, taken[0].job))
            self.assertFalse(await self.graders.withdraw(config, replace(taken[1].job, attempt="9")))
            self.assertEqual(await self.graders.untaken(config, "C"), 1)

    async def test_server_that_is_away(self) -> None:
        """Orders that cannot be pushed are an error of the kind that is tried again."""
        taken = await self.taken("a")
        self.theirs.kill()
        failing = Deferred.fromCoroutine(self.graders.dispatch(self.there, taken[0]))
        await self.servers.close()
        await self.assertFailure(failing, GraderUnreachable)

    async def test_servers_are_bounded(self) -> None:
        """A node connects to so many servers of graders and no more; known ones are used again."""
        urls = [Secret(f"{self.theirs.url}?db={number}") for number in range(MOST + 1)]
        first = self.servers.client(urls[0])
        for url in urls[1:-1]:
            self.servers.client(url)
        self.assertRaises(StoreUnavailable, self.servers.client, urls[-1])
        self.assertIs(self.servers.client(urls[0]), first)


class RemoteListTests(ElsewhereCase):
    async def say(self, *values: bytes, node: str = "n1") -> None:
        """Answer as a grader does, on its own server."""
        key = self.store.response_list(node)
        await self.servers.client(self.url).execute("RPUSH", key, *values)

    async def left(self) -> list[bytes]:
        """Return what lies on the graders' server."""
        found: list[bytes] = await self.servers.client(self.url).execute("LRANGE", self.key, 0, -1)
        return found

    async def test_answers_are_read_there(self) -> None:
        """A server that becomes known while the reader runs is read, too; what was consumed goes."""
        await self.reading(servers=self.servers)
        await self.say(b"1", b"2")
        self.assertEqual(await self.several(2), [b"1", b"2"])
        await self.push(self.key, b"here")
        self.assertEqual(await self.several(1), [b"here"])
        await self.say(b"3")
        self.assertEqual(await self.several(1), [b"3"])
        while await self.left():
            pass

    async def test_known_before_the_start(self) -> None:
        """A server that was known before the reader began is read from the start."""
        await self.say(b"1")
        await self.reading(servers=self.servers)
        self.assertEqual(await self.several(1), [b"1"])

    async def test_killed_between_consuming_and_removing(self) -> None:
        """Entries that the store consumed, but that still lie there, are removed and not handed in again."""
        await self.say(b"1", b"2", b"3")
        ((name, theirs),) = self.servers.known()
        batch = await RemoteList(self.client, theirs, name, "p", self.key).read()
        self.assertEqual(batch.entries, [b"1", b"2", b"3"])
        await self.store.move([], "n1", 1, replace(batch.inbox, count=2))
        self.assertEqual(await self.left(), [b"1", b"2", b"3"])
        await self.reading(servers=self.servers)
        self.assertEqual(await self.several(1), [b"3"])

    async def test_server_that_lost_its_data(self) -> None:
        """What a server says that lost everything it knew is new, however much was consumed before."""
        await self.reading(servers=self.servers)
        await self.say(b"1", b"2")
        await self.several(2)
        await self.servers.client(self.url).execute("FLUSHALL")
        await self.say(b"new")
        self.assertEqual(await self.several(1), [b"new"])

    async def test_adopted_there(self) -> None:
        """The list of a dead node on the graders' server is read, and leaves nothing on either."""
        await self.store.accept(acceptance("x"))
        await self.store.take(a_take("1", node="n2"))
        lists = await self.reading(servers=self.servers)
        await self.say(b"1", node="n2")
        await self.store.beat("n2", 0, 10)
        lists.adopt(await self.store.adopt("n1", 10))
        self.assertEqual(await self.several(1), [b"1"])
        await self.store.move([a_move("x-0", to=COMPLETE)], "n1", 12)
        key = self.store.response_list("n2")
        while await self.client.execute("HGETALL", "p:consumed"):
            pass
        theirs = self.servers.client(self.url)
        while await theirs.execute("HEXISTS", "p:removed", key):
            pass
        self.assertEqual(await theirs.execute("EXISTS", key), 0)

    async def test_server_away_delays_no_other(self) -> None:
        """While the graders' server is away the lists here are read, own and adopted."""
        self.theirs.kill()
        self.servers.client(self.url)
        lists = await self.reading(servers=self.servers)
        await self.push(self.key, b"own")
        self.assertEqual(await self.several(1), [b"own"])
        await self.store.beat("n2", 0, 10)
        await self.store.beat("n3", 0, 10)
        lists.adopt(await self.store.adopt("n1", 10))
        for node in ("n2", "n3"):
            await self.push(self.store.response_list(node), node.encode())
        self.assertEqual(sorted(entry or b"" for entry in await self.several(2)), [b"n2", b"n3"])
