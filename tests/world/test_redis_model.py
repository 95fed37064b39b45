"""The store in Redis and the one in memory agree on whatever is asked of them, in whatever order."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import hiredis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.backends.redis_client import RedisClient, Script
from crowdai_broker.backends.redis_store import RedisStore
from crowdai_broker.core.model import (
    TERMINAL,
    EffectKind,
    EffectState,
    Inbox,
    Job,
    JobState,
    Lane,
    Move,
    Place,
    Taken,
)
from crowdai_broker.interfaces import IStore
from crowdai_broker.testing import MemoryStore
from tests.contracts.making import ANY, a_job, a_take, acceptance, draft, effect
from tests.redis_server import RedisServer

T = TypeVar("T")

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
NODES = st.sampled_from(["n1", "n2", "n3"])
TIMES = st.integers(0, 60)
KINDS = st.sampled_from(EffectKind)
SOME_KINDS = st.sampled_from([(), (EffectKind.GRADE,), (EffectKind.REGISTER, EffectKind.GRADE)])
MOSTLY_NOT = st.none() | st.none() | st.none()
LISTS = st.sampled_from(["n1", "n2"])


class BlockingClient(RedisClient):
    """Answers before it returns, so that a store on it can be run without a reactor."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._reader = hiredis.Reader()

    async def execute(self, *args: bytes | str | int, wait: float = 0) -> Any:
        """Send one command and return its answer."""
        self._socket.sendall(hiredis.pack_command(args))  # type: ignore[arg-type]
        answer = self._reader.gets()
        while answer is False:
            self._reader.feed(self._socket.recv(65536))
            answer = self._reader.gets()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def script(
        self, script: Script, keys: Sequence[bytes | str | int], args: Sequence[bytes | str | int]
    ) -> Any:
        """Run a script."""
        return await self.execute("EVAL", script.text, len(keys), *keys, *args)

    def hang_up(self) -> None:
        """Close the connection."""
        self._socket.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine that never waits returns."""
    try:
        work.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    raise AssertionError("it waited")


@st.composite
def moves(draw: st.DrawFn) -> Move:
    """Draw a move: any that a store must be able to judge."""
    hold = draw(MOSTLY_NOT | st.just(draft("held")))
    some = st.frozensets(st.sampled_from(JobState), min_size=3)
    return Move(
        job_id=f"{draw(NAMES)}-{draw(st.integers(0, 1))}",
        expect=draw(st.just(ANY) | st.just(ANY) | some),
        attempt=draw(MOSTLY_NOT | st.sampled_from(["", "1", "2"])),
        to=draw(st.none() | st.sampled_from([JobState.QUEUED, JobState.RUNNING]) | st.sampled_from(JobState)),
        place=draw(st.sampled_from(Place)),
        events=() if hold else tuple(draft(word) for word in draw(st.sampled_from(["", "x", "yz"]))),
        hold=hold,
        flush=draw(st.booleans()),
        fields=draw(st.sampled_from([{}, {"submission_id": "5", "result": "{}"}])),
        effects=tuple(effect(kind, due=draw(TIMES)) for kind in draw(SOME_KINDS)),
        done=draw(MOSTLY_NOT | KINDS),
        due=draw(st.none() | TIMES),
        extend=draw(st.sampled_from(["", ',"e":1'])),
    )


@st.composite
def a_drawn_job(draw: st.DrawFn, name: str, number: int) -> Job:
    """Draw a job as it may be accepted: mostly one that waits."""
    state = draw(st.just(JobState.QUEUED) | st.sampled_from([JobState.REGISTERING, JobState.FAILED]))
    return a_job(
        name,
        number,
        state=state,
        participant_id=draw(st.integers(1, 3)),
        lane=draw(st.sampled_from(Lane)),
        challenge="D" if name == "e" else "C",
        due=0 if state in TERMINAL else draw(TIMES),
        grader_id=draw(st.sampled_from(["", "pool"])),
    )


class Agreement(RuleBasedStateMachine):
    """Asks both stores the same and compares what they answer."""

    path = ""

    def __init__(self) -> None:
        super().__init__()
        self.client = BlockingClient(self.path)
        run(self.client.execute("FLUSHALL"))
        self.redis = RedisStore(self.client, "p", "n1")
        self.memory = MemoryStore()
        self.taken: list[Taken] = []

    def same(self, ask: Callable[[IStore], Coroutine[Any, Any, T]]) -> T:
        """Ask both, and return the answer that they agree on."""
        expected, found = run(ask(self.memory)), run(ask(self.redis))
        assert found == expected, (found, expected)
        return found

    @initialize(waiting=st.integers(0, 5), data=st.data())
    def begin(self, waiting: int, data: st.DataObject) -> None:
        """Begin with a few executions."""
        for name in "abcde"[:waiting]:
            jobs = [data.draw(a_drawn_job(name, number)) for number in range(2)]
            self.accept(name, jobs, data.draw(SOME_KINDS), 5, "")

    @rule(data=st.data(), name=NAMES, kinds=SOME_KINDS, due=TIMES, hashed=st.sampled_from(["", "h1", "h2"]))
    def accept_one(
        self, data: st.DataObject, name: str, kinds: list[EffectKind], due: int, hashed: str
    ) -> None:
        """Accept an execution of one job, perhaps one that was accepted before."""
        self.accept(name, [data.draw(a_drawn_job(name, 0))], kinds, due, hashed)

    def accept(
        self, name: str, jobs: Sequence[Job], kinds: Sequence[EffectKind], due: int, idempotency: str
    ) -> None:
        """Accept an execution."""
        effects = [effect(kind, due=due) for kind in kinds]
        given = acceptance(name, jobs, effects, words=["in"], idempotency=idempotency)
        self.same(lambda store: store.accept(given))

    @rule(batch=st.lists(moves(), max_size=6), node=NODES, now=TIMES)
    def move(self, batch: list[Move], node: str, now: int) -> None:
        """Move jobs."""
        self.same(lambda store: store.move(batch, node, now))

    @rule(batch=st.lists(moves(), max_size=2), which=LISTS, count=st.integers(0, 2), first=st.integers(0, 3))
    def move_for_an_inbox(self, batch: list[Move], which: str, count: int, first: int) -> None:
        """Move jobs for entries of a response list."""
        for store in (self.memory, self.redis):
            run(store.move(batch, "n1", 1, Inbox(store.response_list(which), count, first)))
        self.lists_agree(which)

    @rule(which=LISTS)
    def push(self, which: str) -> None:
        """Let a grader say something."""
        run(self.client.execute("RPUSH", self.redis.response_list(which), "entry"))
        self.memory.state.lists[self.memory.response_list(which)].append(b"entry")
        self.lists_agree(which)

    def lists_agree(self, which: str) -> None:
        """Compare a node's response list."""
        found = run(self.client.execute("LRANGE", self.redis.response_list(which), 0, -1))
        assert found == self.memory.state.lists[self.memory.response_list(which)]

    @rule(
        numbers=st.lists(st.sampled_from("123456"), max_size=3, unique=True),
        limit=st.integers(0, 5),
        node=NODES,
        handing=st.sampled_from(["push", "effect", ""]),
        challenge=st.sampled_from("CD"),
    )
    def take(self, numbers: list[str], limit: int, node: str, handing: str, challenge: str) -> None:
        """Dispatch jobs."""
        asked = a_take(*numbers, limit=limit, node=node, challenge=challenge, due=30)
        asked = replace(asked, **({handing: True} if handing else {}))
        self.same(lambda store: store.take(asked))
        for key in (f"{challenge}::enqueue_job", "pool::enqueue_job"):
            assert run(self.client.execute("LRANGE", key, 0, -1)) == self.memory.state.lists[key]

    @rule(now=TIMES, limit=st.integers(0, 3))
    def due_jobs(self, now: int, limit: int) -> None:
        """Look for jobs that are due."""
        self.same(lambda store: store.due_jobs(now, limit))

    @rule(now=TIMES, lease=TIMES, limit=st.integers(0, 3), node=NODES)
    def lease(self, now: int, lease: int, limit: int, node: str) -> None:
        """Lease effects."""
        self.same(lambda store: store.lease_effects(now, lease, limit, node))

    @rule(kind=KINDS, name=NAMES, state=st.sampled_from(EffectState), due=TIMES, node=NODES)
    def postpone(self, kind: EffectKind, name: str, state: EffectState, due: int, node: str) -> None:
        """End a lease."""
        self.same(lambda store: store.postpone_effect(kind, f"{name}-0", state, due, "why", node))

    @rule(node=NODES, now=TIMES)
    def beat(self, node: str, now: int) -> None:
        """Let a node live."""
        self.same(lambda store: store.beat(node, now, 20))

    @rule(node=NODES, now=TIMES)
    def adopt(self, node: str, now: int) -> None:
        """Adopt dead nodes."""
        self.same(lambda store: store.adopt(node, now))

    @rule(node=NODES, dead=NODES)
    def drop(self, node: str, dead: str) -> None:
        """Drop an adopted list."""
        self.same(lambda store: store.drop_adopted(node, dead))

    @rule(node=NODES)
    def leave(self, node: str) -> None:
        """Let a node go."""
        self.same(lambda store: store.leave(node))

    @invariant()
    def counts_agree(self) -> None:
        """Compare what is counted."""
        self.same(lambda store: store.counts())
        self.same(lambda store: store.backlog())
        self.same(lambda store: store.held_effects(9))
        self.same(lambda store: store.line("C", 4))
        for challenge in "CD":
            self.same(lambda store, of=challenge: store.unfinished(of))  # type: ignore[misc]

    def teardown(self) -> None:
        """Compare all that is stored."""
        for name in "abcde":
            self.same(lambda store, of=name: store.execution(of))  # type: ignore[misc]
            self.same(lambda store, of=name: store.jobs(of))  # type: ignore[misc]
            self.same(lambda store, of=name: store.events(of, 0, 99))  # type: ignore[misc]
        self.same(lambda store: store.attempts(list("123456")))
        self.client.hang_up()


class AgreementTests(SynchronousTestCase):
    def test_stores_agree(self) -> None:
        """Two stores that are asked the same, at random, answer the same and hold the same."""
        server = RedisServer("--appendonly", "no")
        self.addCleanup(server.remove)
        server.start()
        server.wait()
        Agreement.path = str(server.socket)
        run_state_machine_as_test(
            Agreement,
            settings=settings(
                max_examples=100,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
