"""The store in Redis: each of its steps is one script or one command.

Every key begins with the configured prefix and a colon, left out here; ``x`` is an execution's id.

=============================  ======  ===========================================  =========================
key                            type    meaning                                      lives
=============================  ======  ===========================================  =========================
``session:<token hash>``       string  a session, JSON                              its time
``x:<x>``                      hash    an execution; ``jobs``, its job ids; counts  execution (see below)
``x:<x>:events``               stream  its log; ids are ``<event_no>-0``            execution; newest 10,000
``x:<x>:watch``                set     nodes that hear of its events                execution
``job:<job>``                  hash    a job                                        execution
``idem:<hash>``                string  execution accepted with an idempotency key   execution
``submissions:<n>``            string  bit ``i``: submission ``8192 n + i`` is known  always
``secret:<name>``              string  32 random bytes that all nodes share         always
``attempts``                   hash    attempt number → job                         while the attempt runs
``flight:<challenge>``         set     jobs that its graders hold                   while the attempts run
``writers``                    hash    node → attempts that write to its list       while the attempts run
``unfinished``                 hash    challenge → jobs that are not terminal       while there are any
``backlog``                    hash    challenge → jobs that wait                   while there are any
``ring:<challenge>:<lane>``    list    participants with waiting jobs, by turn      while there are any
``lane:<c.>:<lane>:<part.>``   list    a participant's waiting jobs                 while there are any
``open``                       zset    executions by when they were accepted        while anything is open
``due``                        zset    jobs by the time the sweep looks at them     until moved or terminal
``effect:<kind>:<job>``        hash    an effect                                    until settled
``outbox``, ``held``           zset    effects by their time; those held, by age    until settled
``node:<node>:effects``        set     effects that the node has leased             until its leases end
``nodes``                      zset    nodes by the time until which they live      until they are adopted
``shown``                      hash    node → the graders connected to it, JSON     until it is adopted
``adopted``                    hash    dead node → node that reads its list         until the list is dropped
``dropped``                    zset    nodes whose lists were dropped               48 h
``responses:<node>``           list    what graders say of the node's attempts      until read
``consumed``                   hash    list → entries ever removed from it          until the list is dropped
=============================  ======  ===========================================  =========================

Channels: ``node:<node>`` tells a node of events that others logged. Grader queues
(``<queue>::enqueue_job``) have no prefix: graders know them by that name. On a Redis of graders are only
their queues, ``responses:<node>``, and ``removed``: hash, list → entries ever removed from it.

An *execution* and all that is said to live as long does not expire while a job of it is not terminal or an
effect is not settled; then its participant's key is erased at once, and the rest 48 hours later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from secrets import token_bytes
from typing import Any

import msgspec
from twisted.logger import Logger
from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..core.model import (
    LOG_CAP,
    TAKE_BYTES,
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
    check_moves,
    order_text,
)
from ..interfaces import EventsListener, IStore
from . import redis_records as records
from .redis_client import RedisClient, RedisSubscriber
from .redis_scripts import Scripts

KEEP = 172_800.0  #: s that a finished execution is kept
SUBMISSIONS_A_KEY = 8192  #: as in ``lua/records.lua``
STALE_SKIPS = 256  #: lane entries that one take passes over because their jobs do not wait any more

_SESSION = msgspec.json.Decoder(Session)
_NEWS = msgspec.msgpack.Decoder(tuple[str, list[Any] | bool])  # an execution's events, or a challenge's work


@implementer(IStore)
class RedisStore:
    """One node's view of what is stored in Redis.

    :param client: started and closed by whoever made it.
    :param prefix: what the store's keys begin with.
    :param node: the node whose listener is told of other nodes' events.
    :param keep: seconds that an execution is kept once nothing of it is open.
    :param log_cap: events kept of an execution, the newest; up to a hundred more may be.
    """

    log = Logger()

    def __init__(
        self, client: RedisClient, prefix: str, node: str, keep: float = KEEP, log_cap: int = LOG_CAP
    ) -> None:
        self.node = node
        self._client = client
        self._prefix = prefix
        self._scripts = Scripts(client, prefix)
        self._kept = {"keep": int(keep * 1000), "log_cap": log_cap}
        self._subscriber: RedisSubscriber | None = None

    def _key(self, *parts: str) -> str:
        return ":".join((self._prefix, *parts))

    # -- sessions

    async def open_session(self, token_hash: str, session: Session, ttl: int) -> None:
        """See the interface; so for all that follow."""
        await self._client.execute(
            "SET", self._key("session", token_hash), msgspec.json.encode(session), "EX", ttl
        )

    async def session(self, token_hash: str) -> Session | None:
        """Return a session."""
        found = await self._client.execute("GET", self._key("session", token_hash))
        return None if found is None else _SESSION.decode(found)

    async def close_session(self, token_hash: str) -> bool:
        """Forget a session."""
        return bool(await self._client.execute("DEL", self._key("session", token_hash)))

    # -- executions

    async def unfinished(self, challenge: str) -> int:
        """Count jobs that are not terminal."""
        return int(await self._client.execute("HGET", self._key("unfinished"), challenge) or 0)

    async def announce(self, challenge: str) -> None:
        """Tell all nodes that a job waits."""
        await self._scripts.call("announce", challenge=challenge)

    async def accept(self, acceptance: Acceptance) -> Accepted:
        """Store an execution."""
        asked = records.asked_acceptance(acceptance)
        execution_id, fresh = await self._scripts.call("accept", **asked, **self._kept)
        return Accepted(execution_id, fresh)

    async def execution(self, execution_id: str) -> Execution | None:
        """Return an execution."""
        key = self._key("x", execution_id)
        return records.read_execution(await self._client.execute("HMGET", key, *records.EXECUTION_FIELDS))

    async def idempotent(self, idempotency: str) -> str | None:
        """Return the execution accepted with that hash."""
        found = await self._client.execute("GET", self._key("idem", idempotency))
        return None if found is None else str(found.decode())

    async def jobs(self, execution_id: str) -> list[Job]:
        """Return the jobs of an execution."""
        return [records.read_job(row) for row in await self._scripts.call("jobs", execution=execution_id)]

    async def job(self, job_id: str) -> Job | None:
        """Return a job."""
        (found,) = await self._jobs(ids=[job_id])
        return found

    async def submission_known(self, submission_id: int) -> bool:
        """Tell whether a submission was met before."""
        key, bit = divmod(submission_id, SUBMISSIONS_A_KEY)
        return bool(await self._client.execute("GETBIT", self._key("submissions", str(key)), bit))

    async def secret(self, name: str) -> bytes:
        """Return a shared secret; whoever sets it first has set it for good."""
        key = self._key("secret", name)
        await self._client.execute("SET", key, token_bytes(32), "NX")
        return bytes(await self._client.execute("GET", key))

    async def attempts(self, numbers: Sequence[str]) -> list[Job | None]:
        """Return the jobs that attempts belong to."""
        return await self._jobs(attempts=list(numbers)) if numbers else []

    async def _jobs(self, **named: Any) -> list[Job | None]:
        rows = await self._scripts.call("jobs", **named)
        return [records.read_job(row) if row else None for row in rows]

    async def events(self, execution_id: str, after: int, limit: int) -> list[LoggedEvent]:
        """Return logged events."""
        key = self._key("x", execution_id, "events")
        found = await self._client.execute("XRANGE", key, f"{after + 1}-0", "+", "COUNT", limit)
        return [records.read_event(entry) for entry in found]

    async def watch(self, execution_id: str, node: str) -> None:
        """Tell a node of the execution's events."""
        await self._scripts.call("watch", execution=execution_id, node=node)

    async def unwatch(self, execution_id: str, node: str) -> None:
        """Undo :meth:`watch`."""
        await self._client.execute("SREM", self._key("x", execution_id, "watch"), node)

    # -- moves

    async def move(
        self, moves: Sequence[Move], node: str, now: int, inbox: Inbox | None = None
    ) -> list[Moved]:
        """Apply moves."""
        check_moves(moves)
        asked = {
            "moves": [records.asked_move(move) for move in moves],
            "node": node,
            "now": now,
            **self._kept,
        }
        keys: list[str] = []
        if inbox is not None:
            asked["inbox"] = records.asked_inbox(inbox)
            keys = [] if inbox.remote else [inbox.key]
        rows = await self._scripts.call("move", keys, **asked)
        return [records.read_moved(row) for row in rows] or [Moved(applied=False) for _ in moves]

    async def take(self, take: Take) -> list[Taken]:
        """Dispatch waiting jobs."""
        asked = records.asked_take(take)
        rows = await self._scripts.call("take", **asked, bytes=TAKE_BYTES, skips=STALE_SKIPS)
        jobs = [records.read_job(row) for row in rows]
        return [Taken(job, order_text(job, job.attempt, take.response_channel)) for job in jobs]

    async def backlog(self) -> dict[str, int]:
        """Count waiting jobs."""
        found = await self._client.execute("HGETALL", self._key("backlog"))
        return {name.decode(): int(count) for name, count in zip(found[::2], found[1::2], strict=True)}

    async def line(self, challenge: str, limit: int) -> Line:
        """Return waiting jobs in the order in which they will go."""
        in_flight, waiting = await self._scripts.call("line", challenge=challenge, limit=limit)
        return Line(in_flight, tuple(waiting))

    async def due_jobs(self, now: int, limit: int) -> list[Job]:
        """Return jobs that are due."""
        rows = await self._scripts.call("jobs", due=now, limit=limit)
        return [records.read_job(row) for row in rows]

    # -- effects

    async def lease_effects(
        self, now: int, lease: int, limit: int, node: str, call: str = "", again: bool = False
    ) -> list[Effect]:
        """Lease effects that are due."""
        asked = {"now": now, "till": now + lease, "limit": limit, "node": node, "call": call, "again": again}
        rows = await self._scripts.call("lease", **asked)
        return [records.read_effect(row) for row in rows]

    async def postpone_effect(
        self, kind: EffectKind, job_id: str, state: EffectState, due: int, note: str, node: str
    ) -> bool:
        """End a lease."""
        member = f"{kind}:{job_id}"
        return bool(
            await self._scripts.call("postpone", member=member, state=state, due=due, note=note, node=node)
        )

    async def held_effects(self, limit: int) -> list[Effect]:
        """Return effects that wait for an operator."""
        return [records.read_effect(row) for row in await self._scripts.call("held", limit=limit)]

    # -- for operators

    async def open_executions(self, limit: int) -> list[str]:
        """Return executions of which something is open."""
        found = await self._client.execute("ZRANGE", self._key("open"), 0, limit - 1) if limit > 0 else []
        return [execution_id.decode() for execution_id in found]

    async def effects_of(self, job_id: str) -> list[Effect]:
        """Return a job's effects."""
        found = []
        for kind in EffectKind:
            key = self._key("effect", f"{kind}:{job_id}")
            body, state, *rest = await self._client.execute(
                "HMGET", key, "body", "state", "tries", "since", "note"
            )
            if body is not None:
                tries, since, note = int(rest[0]), int(rest[1]), rest[2].decode()
                found.append(
                    Effect(kind, job_id, body.decode(), EffectState(state.decode()), tries, since, note)
                )
        return found

    async def nodes(self) -> dict[str, int]:
        """Return the nodes and until when they live."""
        found = await self._client.execute("ZRANGE", self._key("nodes"), 0, -1, "WITHSCORES")
        return {name.decode(): int(float(till)) for name, till in zip(found[::2], found[1::2], strict=True)}

    async def show(self, node: str, text: str) -> None:
        """Keep what a node says of itself."""
        await self._client.execute("HSET", self._key("shown"), node, text)

    async def shown(self) -> dict[str, str]:
        """Return what nodes say of themselves."""
        found = await self._client.execute("HGETALL", self._key("shown"))
        return {name.decode(): text.decode() for name, text in zip(found[::2], found[1::2], strict=True)}

    async def counts(self) -> dict[str, int]:
        """Count for the metrics."""
        return dict(await self._scripts.call("counts"))

    # -- nodes

    async def beat(self, node: str, now: int, ttl: int) -> None:
        """Say that a node is alive."""
        await self._scripts.call("beat", node=node, till=now + ttl)

    async def adopt(self, node: str, now: int, pause: int = 0) -> list[str]:
        """Take over the lists of dead nodes."""
        graves = int(KEEP * 1000)
        asked = {
            "node": node,
            "now": now,
            "pause": pause,
            "list": self.response_list(""),
            "graves": graves,
        }
        return list(await self._scripts.call("adopt", **asked))

    async def drop_adopted(self, node: str, dead: str) -> bool:
        """Forget a dead node's list."""
        return bool(await self._scripts.call("drop", [self.response_list(dead)], node=node, dead=dead))

    async def leave(self, node: str) -> None:
        """Say that a node is going."""
        await self._client.execute("HDEL", self._key("shown"), node)
        await self._client.execute("ZADD", self._key("nodes"), 0, node)

    def response_list(self, node: str) -> str:
        """Return the name of a node's response list."""
        return self._key("responses", node)

    # -- other nodes' events

    def listen(
        self, listener: EventsListener, on_gap: Callable[[], None], on_work: Callable[[str], None]
    ) -> None:
        """Call the listener with other nodes' events, from now until :meth:`close`."""
        if self._subscriber is not None:
            raise ValueError("a store has one listener")

        def heard(message: bytes) -> None:
            name, parts = _NEWS.decode(message)
            if isinstance(parts, bool):
                on_work(name)
            else:
                listener(name, records.read_parts(parts))

        self._subscriber = self._client.subscriber(self._key("node", self.node), heard, on_gap)
        self._subscriber.start()

    async def close(self) -> None:
        """Listen no more; the client is left as it is."""
        if self._subscriber is not None:
            await self._subscriber.close()


verifyClass(IStore, RedisStore)
