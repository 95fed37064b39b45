"""What the memory store keeps: the same truth as the Redis store's, as plain dictionaries.

Every function here does its work whole before it returns, as a script in Redis does.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from secrets import token_bytes

from msgspec.structs import replace

from .core.model import (
    LOG_CAP,
    TAKE_BYTES,
    TERMINAL,
    Acceptance,
    Accepted,
    Effect,
    EffectDraft,
    EffectKind,
    EffectState,
    EventDraft,
    Inbox,
    Job,
    JobState,
    Line,
    LoggedEvent,
    Move,
    Moved,
    Place,
    Session,
    Take,
    Taken,
    check_moves,
    order_text,
    queue_key,
)
from .memory_backlog import MemoryBacklog
from .memory_records import StoredEffect, StoredExecution, with_events

KEEP = 172_800  #: s that a finished execution is kept

Key = tuple[EffectKind, str]
News = dict[str, list[LoggedEvent]]


class MemoryRedis:
    """One "server": the state that several memory stores (nodes) share.

    :param seconds: the server's clock; only expiry follows it.
    :param keep: seconds that an execution is kept once nothing of it is open.
    :param log_cap: events kept of an execution, the newest.
    :ivar lists: the server's lists: grader queues and response lists. Graders take orders from the right.
    """

    def __init__(
        self, seconds: Callable[[], float] = lambda: 0.0, keep: int = KEEP, log_cap: int = LOG_CAP
    ) -> None:
        self.lists: defaultdict[str, list[bytes]] = defaultdict(list)
        self.consumed: defaultdict[str, int] = defaultdict(int)
        self.sessions: dict[str, tuple[float, Session]] = {}
        self.executions: dict[str, StoredExecution] = {}
        self.idempotency: dict[str, str] = {}
        self.jobs: dict[str, Job] = {}
        self.submissions: set[int] = set()
        self.secrets: defaultdict[str, bytes] = defaultdict(lambda: token_bytes(32))
        self.attempts: dict[str, str] = {}
        self.flight: defaultdict[str, set[str]] = defaultdict(set)
        self.unfinished: defaultdict[str, int] = defaultdict(int)
        self.backlog = MemoryBacklog()
        self.effects: dict[Key, StoredEffect] = {}
        self.nodes: dict[str, int] = {}
        self.shown: dict[str, str] = {}
        self.adopted: dict[str, str] = {}
        self.dropped: set[str] = set()
        self.announcing: list[Callable[[str], None]] = []
        self.views: list[Callable[[set[str], str, Sequence[LoggedEvent]], None]] = []
        self._seconds = seconds
        self._keep = keep
        self._log_cap = log_cap

    # -- lifetime

    def expire(self) -> None:
        """Forget what has expired."""
        now = self._seconds()
        for token in [token for token, (end, _) in self.sessions.items() if end <= now]:
            del self.sessions[token]
        over = [e for e in self.executions.values() if e.expires is not None and e.expires <= now]
        for stored in over:
            self._forget(stored)

    def _forget(self, stored: StoredExecution) -> None:
        for job_id in stored.jobs:
            del self.jobs[job_id]
        self.idempotency.pop(stored.idempotency, None)
        del self.executions[stored.execution.execution_id]

    def _count(self, stored: StoredExecution, opened: int, unfinished: int = 0) -> None:
        execution = stored.execution
        self.unfinished[execution.challenge] += unfinished
        stored.execution = replace(
            execution, open=execution.open + opened, unfinished=execution.unfinished + unfinished
        )
        if stored.execution.open:
            stored.expires = None
        elif stored.expires is None:
            self._close(stored)

    def _close(self, stored: StoredExecution) -> None:
        stored.expires = self._seconds() + self._keep
        stored.execution = replace(stored.execution, api_key="")
        for job_id in stored.jobs:
            self.jobs[job_id] = replace(self.jobs[job_id], order="")

    def open_session(self, token_hash: str, session: Session, ttl: int) -> None:
        """See the store's method of this name; so for all that follow."""
        self.sessions[token_hash] = (self._seconds() + ttl, session)

    # -- executions

    def accept(self, acceptance: Acceptance) -> Accepted:
        """Store an execution."""
        execution_id = acceptance.execution.execution_id
        known = self.idempotency.get(acceptance.idempotency, "")
        if known or execution_id in self.executions:
            known = known or execution_id
            return Accepted(known, fresh=known == execution_id)
        stored = StoredExecution(
            replace(acceptance.execution, open=0, unfinished=0, event_no=0),
            tuple(new.job.job_id for new in acceptance.jobs),
            acceptance.idempotency,
            deque(maxlen=self._log_cap),
            {acceptance.watcher} - {""},
        )
        self.executions[execution_id] = stored
        if acceptance.idempotency:
            self.idempotency[acceptance.idempotency] = execution_id
        self._log(stored, acceptance.events)
        self._admit(stored, acceptance)
        return Accepted(execution_id, fresh=True)

    def _admit(self, stored: StoredExecution, acceptance: Acceptance) -> None:
        for new in acceptance.jobs:
            self.jobs[new.job.job_id] = new.job
            self.submissions.update({new.job.submission_id} - {0})
        waiting = 0
        for new in acceptance.jobs:
            if new.job.state is JobState.QUEUED:
                self.backlog.put(new.job, Place.BACK)
            waiting += new.job.state not in TERMINAL
            for draft in new.effects:
                self.effects[draft.kind, new.job.job_id] = self._effect(new.job.job_id, draft, stored)
        effects = sum(len(new.effects) for new in acceptance.jobs)
        self._count(stored, waiting + effects, waiting)

    @staticmethod
    def _effect(job_id: str, draft: EffectDraft, stored: StoredExecution, now: int = -1) -> StoredEffect:
        since = stored.execution.accepted_at if now < 0 else now
        return StoredEffect(Effect(draft.kind, job_id, draft.body, EffectState.NEW, 0, since), draft.due)

    def _log(self, stored: StoredExecution, drafts: Sequence[EventDraft]) -> list[LoggedEvent]:
        first = stored.execution.event_no + 1
        logged = [LoggedEvent(n, f'{{"event_no":{n},{d.fragment}') for n, d in enumerate(drafts, first)]
        stored.log.extend(logged)
        stored.execution = replace(stored.execution, event_no=first - 1 + len(logged))
        return logged

    def line(self, challenge: str, limit: int) -> Line:
        """Return waiting jobs in their order."""
        waiting = self.backlog.line(challenge, limit)
        return Line(len(self.flight.get(challenge, ())), tuple(waiting))

    # -- attempts

    def take(self, take: Take) -> list[Taken]:
        """Dispatch waiting jobs."""
        taken = [self._again(take, number) for number in take.attempts if number in self.attempts]
        answer = [again for again in taken if again]
        free = deque(number for number in take.attempts if number not in self.attempts)
        size = 0
        while free and len(self.flight[take.challenge]) < take.limit and size < TAKE_BYTES:
            job_id = self.backlog.next(take.challenge)
            if job_id is None:
                break
            answer.append(self._dispatch(self.jobs[job_id], take, free.popleft()))
            size += len(answer[-1].order.encode())
        return answer

    def _again(self, take: Take, number: str) -> Taken | None:
        job = self.jobs[self.attempts[number]]
        if job.state is not JobState.DISPATCHED or job.node != take.node or job.challenge != take.challenge:
            return None
        return Taken(job, order_text(job, number, take.response_channel))

    def _dispatch(self, job: Job, take: Take, number: str) -> Taken:
        job = replace(
            job,
            state=JobState.DISPATCHED,
            attempt=number,
            attempts=job.attempts + 1,
            node=take.node,
            due=take.due,
            dispatched_at=take.now,
        )
        self.jobs[job.job_id] = job
        self.attempts[number] = job.job_id
        self.flight[job.challenge].add(job.job_id)
        order = order_text(job, number, take.response_channel)
        if take.effect:
            draft = EffectDraft(EffectKind.DISPATCH, number, take.now)
            stored = self.executions[job.execution_id]
            self._count(stored, self._add_effects(job, (draft,), stored, take.now))
        if take.push:
            self.lists[queue_key(take.queue or job.grader_id or job.challenge)].insert(0, order.encode())
        return Taken(job, order)

    # -- moves

    def move(
        self, moves: Sequence[Move], now: int, inbox: Inbox | None
    ) -> tuple[list[Moved], dict[str, list[LoggedEvent]]]:
        """Apply moves; the second answer is what was logged, by execution."""
        check_moves(moves)
        if inbox is not None and not self._consume(inbox):
            return [Moved(applied=False) for _ in moves], {}
        news: News = defaultdict(list)
        return [self._move(move, now, news) for move in moves], news

    def _consume(self, inbox: Inbox) -> bool:
        if self.consumed[inbox.key] != inbox.first:
            return False
        self.consumed[inbox.key] += inbox.count
        if not inbox.remote:
            del self.lists[inbox.key][: inbox.count]
        return True

    def _refused(self, move: Move, job: Job) -> bool:
        return (
            job.state not in move.expect
            or (move.attempt is not None and move.attempt != job.attempt)
            or (move.to is not None and job.state in TERMINAL)
            or (move.done is not None and (move.done, job.job_id) not in self.effects)
        )

    def _move(self, move: Move, now: int, news: News) -> Moved:
        job = self.jobs.get(move.job_id)
        if job is None or self._refused(move, job):
            return Moved(applied=False)
        stored = self.executions[job.execution_id]
        job, drafts = with_events(job, move)
        logged = self._log(stored, drafts)
        news[job.execution_id].extend(logged)
        fields = dict(move.fields)
        submission_id = int(fields.pop("submission_id", job.submission_id))
        attempts = int(fields.pop("attempts", job.attempts))
        self.submissions.update({submission_id} - {0})
        due = job.due if move.due is None else move.due
        job = replace(job, order=job.order + move.extend, submission_id=submission_id, due=due, **fields)
        job = replace(job, attempts=attempts)
        self.jobs[job.job_id] = job = self._to(job, move)
        left = -(move.to in TERMINAL)
        opened = self._settle(job, move) + self._add_effects(job, move.effects, stored, now)
        self._count(stored, left + opened, left)
        return Moved(True, job.execution_id, tuple(logged), stored.execution.unfinished)

    def _to(self, job: Job, move: Move) -> Job:
        if move.to is None:
            return job
        if job.state is JobState.QUEUED:
            self.backlog.remove(job)
        if job.attempt and (move.to in TERMINAL or move.to is JobState.QUEUED):
            del self.attempts[job.attempt]
            self.flight[job.challenge].discard(job.job_id)
            job = replace(job, attempt="", node="")
        if move.to is JobState.QUEUED:
            self.backlog.put(job, move.place)
        return replace(job, state=move.to, due=0 if move.to in TERMINAL else job.due)

    def _settle(self, job: Job, move: Move) -> int:
        if move.done is None:
            return 0
        del self.effects[move.done, job.job_id]
        return -1

    def _add_effects(self, job: Job, drafts: Sequence[EffectDraft], stored: StoredExecution, now: int) -> int:
        added = 0
        for draft in drafts:
            added += (draft.kind, job.job_id) not in self.effects
            self.effects[draft.kind, job.job_id] = self._effect(job.job_id, draft, stored, now)
        return added

    # -- for operators

    def open_executions(self, limit: int) -> list[str]:
        """Return executions of which something is open."""
        found = [stored.execution for stored in self.executions.values() if stored.execution.open]
        found.sort(key=lambda execution: (execution.accepted_at, execution.execution_id))
        return [execution.execution_id for execution in found[: max(0, limit)]]

    def effects_of(self, job_id: str) -> list[Effect]:
        """Return a job's effects."""
        keys = [(kind, job_id) for kind in EffectKind]
        return [self.effects[key].effect for key in keys if key in self.effects]

    # -- the sweep and the outbox

    def due_jobs(self, now: int, limit: int) -> list[Job]:
        """Return jobs that are due."""
        due = sorted((job.due, job.job_id) for job in self.jobs.values() if 0 < job.due <= now)
        return [self.jobs[job_id] for _, job_id in due[:limit]]

    def _by_age(self, *, held: bool) -> list[tuple[int, str, StoredEffect]]:
        of_kind = [e for e in self.effects.values() if (e.effect.state is EffectState.HELD) is held]
        rows = [(e.effect.since if held else e.due, f"{e.effect.kind}:{e.effect.job_id}", e) for e in of_kind]
        return sorted(rows, key=lambda row: row[:2])

    def lease_effects(
        self, now: int, lease: int, limit: int, node: str, call: str, again: bool
    ) -> list[Effect]:
        """Lease effects that are due."""
        mine = [e for e in self.effects.values() if again and (e.node, e.call) == (node, call)]
        for stored in mine:
            stored.due = now + lease
        due = [stored for when, _, stored in self._by_age(held=False) if when <= now]
        for stored in due[: limit - len(mine)]:
            stored.answer = replace(stored.effect, tries=stored.effect.tries + 1)
            stored.effect = replace(stored.answer, state=EffectState.SENT)
            stored.due, stored.node, stored.call = now + lease, node, call
            mine.append(stored)
        return [stored.answer for stored in mine if stored.answer is not None]

    def postpone_effect(
        self, kind: EffectKind, job_id: str, state: EffectState, due: int, note: str, node: str
    ) -> bool:
        """End a lease."""
        stored = self.effects.get((kind, job_id))
        if stored is None or stored.node not in ("", node):
            return False
        stored.effect = replace(stored.effect, state=state, note=note)
        stored.due, stored.node = due, ""
        return True

    def held_effects(self, limit: int) -> list[Effect]:
        """Return held effects."""
        return [stored.effect for _, _, stored in self._by_age(held=True)[:limit]]

    def counts(self) -> dict[str, int]:
        """Count for the metrics."""
        return {
            "effects": len(self.effects),
            "effects_held": len(self._by_age(held=True)),
            "jobs_due": sum(job.due > 0 for job in self.jobs.values()),
            "in_flight": len(self.attempts),
        }

    # -- nodes

    def beat(self, node: str, now: int, ttl: int) -> None:
        """Say that a node is alive."""
        self.nodes[node] = now + ttl
        self.adopted.pop(node, None)
        self.dropped.discard(node)

    def adopt(self, node: str, now: int, pause: int, response_list: Callable[[str], str]) -> list[str]:
        """Take over the lists of dead nodes."""
        dead = {name for name, end in self.nodes.items() if end <= now} - {node}
        for name in dead:
            del self.nodes[name]
            self.shown.pop(name, None)
            self.adopted[name] = node
            for stored in self.effects.values():
                if stored.node == name:
                    stored.due, stored.node = now + pause, ""
        for name, adopter in self.adopted.items():
            if adopter in dead:
                self.adopted[name] = node
        for name in self.dropped:
            if not self._is_written_to(name):
                self.lists.pop(response_list(name), None)
        return sorted(name for name, adopter in self.adopted.items() if adopter == node)

    def drop_adopted(self, node: str, dead: str, response_list: str) -> bool:
        """Forget a dead node's list."""
        if self.adopted.get(dead) != node or self._is_written_to(dead) or self.lists.get(response_list):
            return False
        del self.adopted[dead]
        self.lists.pop(response_list, None)
        self.consumed.pop(response_list, None)
        self.dropped.add(dead)
        return True

    def _is_written_to(self, node: str) -> bool:
        return any(job.attempt and job.node == node for job in self.jobs.values())
