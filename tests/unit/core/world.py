"""A broker without servers: nodes over one memory store, a webapp in memory, time that a test moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from crowdai_broker.config import (
    BrokerConfig,
    ChallengeTable,
    Config,
    LimitsConfig,
    RedisConfig,
    Secret,
    WebappConfig,
)
from crowdai_broker.core.delivery import Subscription
from crowdai_broker.core.model import Inbox, Job
from crowdai_broker.core.node import Node
from crowdai_broker.core.webapp_model import ChallengeInfo
from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.interfaces import IGrader
from crowdai_broker.testing import (
    MemoryRedis,
    MemoryStore,
    Peer,
    QueueGraders,
    ScriptedGrader,
    Spawned,
    StubWebapp,
)

T = TypeVar("T")
START = 1_500_000_000  # s: some day in 2017
ADA, BOB = "key-of-ada", "key-of-bob"
ORGANIZER = "key-of-the-organizer"
BATCH = 100  # events read off a response list at once


def result_of(work: Coroutine[Any, Any, T]) -> T:
    """Run work that must not have to wait; return its result, or raise what it raised."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    if not outcome:
        raise AssertionError("it waits")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    answer: T = outcome[0]
    return answer


def a_config(
    challenges: Mapping[str, ChallengeTable] | None = None,
    limits: LimitsConfig | None = None,
    **defaults: Any,
) -> Config:
    """Return a configuration; ``defaults`` are those of all challenges."""
    return Config(
        path=Path("broker.toml"),
        broker=BrokerConfig(public_url="http://broker.example/"),
        limits=limits or LimitsConfig(),
        redis=RedisConfig(),
        webapp=WebappConfig(api_key=Secret("key-of-the-broker")),
        challenge_defaults=ChallengeTable(values=defaults),
        challenges=challenges or {},
    )


class Tally:
    """Counts what the metrics are told."""

    def __init__(self) -> None:
        self.relayed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.tried: Counter[tuple[str, str]] = Counter()

    def event_relayed(self, kind: str) -> None:
        """Count an event that was applied."""
        self.relayed[kind] += 1

    def event_dropped(self, why: str) -> None:
        """Count an event that was dropped."""
        self.dropped[why] += 1

    def effect_tried(self, kind: str, outcome: str) -> None:
        """Count a try of an effect."""
        self.tried[kind, outcome] += 1


@implementer(IReactorTime)
class NodeClock:
    """A node's own view of the world's clock: its timers end with it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: list[IDelayedCall] = []

    def seconds(self) -> float:
        """Return the world's time."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Any, *args: Any, **kwargs: Any) -> IDelayedCall:  # noqa: A002
        """Set a timer."""
        self._calls = [call for call in self._calls if call.active()]
        self._calls.append(self._clock.callLater(delay, callable, *args, **kwargs))
        return self._calls[-1]

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Return the timers that are set."""
        return [call for call in self._calls if call.active()]

    def stop(self) -> None:
        """Cancel every timer."""
        for call in self.getDelayedCalls():
            call.cancel()


class Running:
    """A node that runs, with what reads its response lists."""

    def __init__(
        self,
        world: World,
        name: str,
        store: Any,
        webapp: Any,
        config: Config,
        graders: Mapping[str, IGrader],
    ) -> None:
        self.world = world
        self.name = name
        self.store = store
        self.spawned = Spawned()
        self.tally = Tally()
        self.adopted: list[str] = []
        self.clock = NodeClock(world.clock)
        self.node = Node(
            self.clock,
            config,
            name,
            store,
            webapp,
            graders,
            self.spawned,
            self.tally,
            self._adopt,
            jitter=lambda: 0.0,
        )

    def _adopt(self, names: list[str]) -> None:
        self.adopted = names

    def start(self) -> None:
        """Start the node."""
        result_of(self.node.start())

    def pump(self) -> None:
        """Read the node's response lists until they are empty; a store that fails is asked later."""
        for name in (self.name, *self.adopted):
            key = self.store.response_list(name)
            while self.read(key):
                continue

    def read(self, key: str, most: int = BATCH) -> bool:
        """Hand a batch of a response list in; tell whether that changed anything."""
        state = self.store.state
        batch = list(state.lists[key][:most])
        if not batch:
            return False
        inbox = Inbox(key, len(batch), state.consumed[key])
        try:
            result_of(self.node.relay.handle(batch, inbox))
        except StoreUnavailable:
            return False
        return True


class World:
    """What several nodes share.

    :param config: of all nodes.
    """

    def __init__(self, config: Config | None = None, graders: Mapping[str, IGrader] | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.config = config or organized()
        self.redis = MemoryRedis(self.clock.seconds)
        self.webapp = StubWebapp(self.clock.seconds)
        self.webapp.participants = {ADA: 1, BOB: 2}
        self.webapp.add_challenge("C", info=ChallengeInfo(id=28), organizer_api_key=ORGANIZER)
        self.grader = ScriptedGrader(self.redis, "C")
        self.graders = {"redis": QueueGraders(self.redis)} if graders is None else graders
        self.nodes: list[Running] = []

    def make_node(self, name: str = "n1") -> Running:
        """Start a node and keep it running."""
        store = MemoryStore(self.redis, name)
        running = Running(self, name, store, self.webapp, self.config, self.graders)
        self.nodes.append(running)
        running.start()
        return running

    def kill(self, running: Running) -> None:
        """End a node as ``kill -9`` does: of its timers nothing is left, and it says nothing."""
        self.nodes.remove(running)
        running.clock.stop()
        running.store.listen(lambda execution_id, events: None, lambda: None, lambda challenge: None)

    def run(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass; graders' events are read as they come."""
        for _ in range(round(seconds / step)):
            self.pump()
            self.clock.advance(step)
        self.pump()

    def pump(self) -> None:
        """Read what graders have said."""
        for running in self.nodes:
            running.pump()

    def jobs(self, execution_id: str) -> list[Job]:
        """Return the jobs of an execution as they are stored."""
        return [self.redis.jobs[job_id] for job_id in self.redis.executions[execution_id].jobs]

    def problems(self) -> list[str]:
        """Return what no node may leave behind: background work that failed."""
        return [
            f"{running.name}: {name}: {failure.getTraceback()}"
            for running in self.nodes
            for name, failure in running.spawned.failures
        ]


class Participant(Peer):
    """A participant on one connection to one node."""

    def __init__(self, running: Running, api_key: str = ADA, challenge: str = "C") -> None:
        super().__init__()
        self.running = running
        self.api_key = api_key
        self.challenge = challenge
        self.token = ""

    def authenticate(self, **more: Any) -> str:
        """Open a session."""
        asked = {"API_KEY": self.api_key, "challenge_id": self.challenge, "client_version": "1.0.22"}
        self.token = result_of(
            self.running.node.participants.authenticate([asked | more], "192.0.2.1"),
        )
        return self.token

    def request(self, function: str, data: Any, **more: Any) -> dict[str, Any]:
        """Return an ``execute_function`` request."""
        return {
            "response_channel": f"{self.challenge}::1",
            "session_token": self.token,
            "api_key": self.api_key,
            "challenge_id": self.challenge,
            "function_name": function,
            "data": data,
            "dry_run": False,
            "parallel": False,
            **more,
        }

    def execute(self, function: str = "submit", data: Any = "d", **more: Any) -> Subscription:
        """Ask for an execution, authenticated if not yet."""
        if not self.token:
            self.authenticate()
        request = self.request(function, data, **more)
        return result_of(self.running.node.participants.execute([request], self.send, self.finish))

    def resume(self, execution_id: str, after: int = 0) -> dict[str, Any]:
        """Ask for missed events; return the receipt."""
        if not self.token:
            self.authenticate()
        asked = {"session_token": self.token, "execution_id": execution_id, "after_event_no": after}
        _, receipt = result_of(self.running.node.participants.resume([asked], self.send))
        return receipt

    def status(self, **which: Any) -> dict[str, Any]:
        """Ask for a receipt."""
        return result_of(self.running.node.participants.status([{"session_token": self.token, **which}]))


def organized(**defaults: Any) -> Config:
    """Return a configuration in which doubtful registrations of challenge ``C`` settle themselves."""
    own = ChallengeTable(values={"number": 28, "organizer_api_key": Secret(ORGANIZER)})
    return a_config({"C": own}, **defaults)
