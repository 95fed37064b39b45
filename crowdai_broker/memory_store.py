"""A store without a server: for tests of the broker and of what is built on it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from zope.interface import implementer
from zope.interface.verify import verifyClass

from .core.model import (
    Acceptance,
    Accepted,
    Effect,
    EffectKind,
    EffectState,
    Execution,
    Inbox,
    Job,
    Line,
    LoggedEvent,
    Move,
    Moved,
    Session,
    Take,
    Taken,
)
from .errors import StoreUnavailable
from .interfaces import EventsListener, IStore
from .memory_redis import MemoryRedis

T = TypeVar("T")
When = Literal["before", "after"]


@implementer(IStore)
class MemoryStore:
    """A store in memory: one node's view of a :class:`~crowdai_broker.memory_redis.MemoryRedis`.

    Every method has done its work when its coroutine first runs, and never waits.

    :param state: the "server"; stores that share one are nodes of one broker.
    :param node: the node whose listener this is.
    """

    def __init__(self, state: MemoryRedis | None = None, node: str = "node-1") -> None:
        self.state = state or MemoryRedis()
        self.node = node
        self._failures: defaultdict[str, deque[When]] = defaultdict(deque)
        self._listener: EventsListener | None = None
        self._on_gap: Callable[[], None] | None = None
        self._on_work: Callable[[str], None] | None = None
        self.state.views.append(self._hear)
        self.state.announcing.append(self._hear_of_work)

    def fail_next(self, method: str, when: When) -> None:
        """Let the next call of ``method`` fail before it did anything, or after it did all; calls add up."""
        if method not in IStore:
            raise ValueError(f"a store has no method {method}")
        self._failures[method].append(when)

    def gap(self) -> None:
        """Behave as if the connection that brings other nodes' events had been lost for a moment."""
        if self._on_gap is not None:
            self._on_gap()

    def _hear_of_work(self, challenge: str) -> None:
        if self._on_work is not None and self.node in self.state.nodes:
            self._on_work(challenge)

    def _step(self, method: str, work: Callable[[], T]) -> T:
        failures = self._failures[method]
        when = failures.popleft() if failures else None
        if when == "before":
            raise StoreUnavailable("the store failed as it was told to")
        self.state.expire()
        answer = work()
        if when == "after":
            raise StoreUnavailable("the store failed as it was told to")
        return answer

    async def open_session(self, token_hash: str, session: Session, ttl: int) -> None:
        """See the interface; so for all that follow."""
        self._step("open_session", lambda: self.state.open_session(token_hash, session, ttl))

    async def session(self, token_hash: str) -> Session | None:
        """Return a session."""
        found = self._step("session", lambda: self.state.sessions.get(token_hash))
        return found and found[1]

    async def close_session(self, token_hash: str) -> bool:
        """Forget a session."""
        return self._step("close_session", lambda: self.state.sessions.pop(token_hash, None)) is not None

    async def unfinished(self, challenge: str) -> int:
        """Count jobs that are not terminal."""
        return self._step("unfinished", lambda: self.state.unfinished.get(challenge, 0))

    async def announce(self, challenge: str) -> None:
        """Tell all nodes that a job waits."""
        self._step("announce", lambda: [tell(challenge) for tell in self.state.announcing])

    async def accept(self, acceptance: Acceptance) -> Accepted:
        """Store an execution."""
        return self._step("accept", lambda: self.state.accept(acceptance))

    async def execution(self, execution_id: str) -> Execution | None:
        """Return an execution."""
        found = self._step("execution", lambda: self.state.executions.get(execution_id))
        return found.execution if found else None

    async def idempotent(self, idempotency: str) -> str | None:
        """Return the execution accepted with that hash."""
        return self._step("idempotent", lambda: self.state.idempotency.get(idempotency))

    async def jobs(self, execution_id: str) -> list[Job]:
        """Return the jobs of an execution."""
        found = self._step("jobs", lambda: self.state.executions.get(execution_id))
        return [self.state.jobs[job_id] for job_id in found.jobs] if found else []

    async def job(self, job_id: str) -> Job | None:
        """Return a job."""
        return self._step("job", lambda: self.state.jobs.get(job_id))

    async def submission_known(self, submission_id: int) -> bool:
        """Tell whether a submission was met before."""
        return self._step("submission_known", lambda: submission_id in self.state.submissions)

    async def secret(self, name: str) -> bytes:
        """Return a shared secret."""
        return self._step("secret", lambda: self.state.secrets[name])

    async def attempts(self, numbers: Sequence[str]) -> list[Job | None]:
        """Return the jobs that attempts belong to."""
        held = self.state.attempts
        return self._step(
            "attempts", lambda: [self.state.jobs.get(held.get(number, "")) for number in numbers]
        )

    async def events(self, execution_id: str, after: int, limit: int) -> list[LoggedEvent]:
        """Return logged events."""
        found = self._step("events", lambda: self.state.executions.get(execution_id))
        return [event for event in found.log if event.event_no > after][:limit] if found else []

    async def watch(self, execution_id: str, node: str) -> None:
        """Tell a node of the execution's events."""
        found = self._step("watch", lambda: self.state.executions.get(execution_id))
        if found is not None:
            found.watchers.add(node)

    async def unwatch(self, execution_id: str, node: str) -> None:
        """Undo :meth:`watch`."""
        found = self._step("unwatch", lambda: self.state.executions.get(execution_id))
        if found is not None:
            found.watchers.discard(node)

    async def move(
        self, moves: Sequence[Move], node: str, now: int, inbox: Inbox | None = None
    ) -> list[Moved]:
        """Apply moves."""

        def work() -> list[Moved]:
            moved, news = self.state.move(moves, now, inbox)
            for execution_id, events in news.items():
                watchers = self.state.executions[execution_id].watchers - {node}
                for hear in self.state.views:
                    hear(watchers, execution_id, events)
            return moved

        return self._step("move", work)

    def _hear(self, watchers: set[str], execution_id: str, events: Sequence[LoggedEvent]) -> None:
        if events and self.node in watchers and self._listener is not None:
            self._listener(execution_id, events)

    async def take(self, take: Take) -> list[Taken]:
        """Dispatch waiting jobs."""
        return self._step("take", lambda: self.state.take(take))

    async def backlog(self) -> dict[str, int]:
        """Count waiting jobs."""
        return self._step("backlog", self.state.backlog.counts)

    async def line(self, challenge: str, limit: int) -> Line:
        """Return waiting jobs in their order."""
        return self._step("line", lambda: self.state.line(challenge, limit))

    async def due_jobs(self, now: int, limit: int) -> list[Job]:
        """Return jobs that are due."""
        return self._step("due_jobs", lambda: self.state.due_jobs(now, limit))

    async def lease_effects(
        self, now: int, lease: int, limit: int, node: str, call: str = "", again: bool = False
    ) -> list[Effect]:
        """Lease effects that are due."""
        return self._step(
            "lease_effects", lambda: self.state.lease_effects(now, lease, limit, node, call, again)
        )

    async def postpone_effect(
        self, kind: EffectKind, job_id: str, state: EffectState, due: int, note: str, node: str
    ) -> bool:
        """End a lease."""
        return self._step(
            "postpone_effect", lambda: self.state.postpone_effect(kind, job_id, state, due, note, node)
        )

    async def held_effects(self, limit: int) -> list[Effect]:
        """Return effects that wait for an operator."""
        return self._step("held_effects", lambda: self.state.held_effects(limit))

    async def open_executions(self, limit: int) -> list[str]:
        """Return executions of which something is open."""
        return self._step("open_executions", lambda: self.state.open_executions(limit))

    async def effects_of(self, job_id: str) -> list[Effect]:
        """Return a job's effects."""
        return self._step("effects_of", lambda: self.state.effects_of(job_id))

    async def nodes(self) -> dict[str, int]:
        """Return the nodes and until when they live."""
        return self._step("nodes", lambda: dict(self.state.nodes))

    async def show(self, node: str, text: str) -> None:
        """Keep what a node says of itself."""
        self._step("show", lambda: self.state.shown.update({node: text}))

    async def shown(self) -> dict[str, str]:
        """Return what nodes say of themselves."""
        return self._step("shown", lambda: dict(self.state.shown))

    async def counts(self) -> dict[str, int]:
        """Count for the metrics."""
        return self._step("counts", self.state.counts)

    async def beat(self, node: str, now: int, ttl: int) -> None:
        """Say that a node is alive."""
        self._step("beat", lambda: self.state.beat(node, now, ttl))

    async def adopt(self, node: str, now: int, pause: int = 0) -> list[str]:
        """Take over the lists of dead nodes."""
        return self._step("adopt", lambda: self.state.adopt(node, now, pause, self.response_list))

    async def drop_adopted(self, node: str, dead: str) -> bool:
        """Forget a dead node's list."""
        return self._step(
            "drop_adopted", lambda: self.state.drop_adopted(node, dead, self.response_list(dead))
        )

    async def leave(self, node: str) -> None:
        """Say that a node is going."""

        def work() -> None:
            self.state.shown.pop(node, None)
            self.state.nodes[node] = 0

        self._step("leave", work)

    def response_list(self, node: str) -> str:
        """Return the name of a node's response list."""
        return f"memory:responses:{node}"

    def listen(
        self, listener: EventsListener, on_gap: Callable[[], None], on_work: Callable[[str], None]
    ) -> None:
        """Call the listener with other nodes' events."""
        self._listener, self._on_gap, self._on_work = listener, on_gap, on_work


verifyClass(IStore, MemoryStore)
