"""What operators see and may do: the same truth for the command line and for pages."""

from __future__ import annotations

from msgspec import Struct
from twisted.internet.interfaces import IReactorTime

from ..errors import OperatorError
from ..interfaces import IStore
from .lifecycle import cancelled, graded, registered, registered_too_late, retried
from .model import IN_FLIGHT, OPEN, TERMINAL, Effect, EffectKind, EffectState, Job, JobState, Move
from .roster import GraderView, connected_graders
from .webapp_model import Registered

MOST = 10_000  # executions looked through for one list
WORD = "by an operator"


class JobView(Struct, frozen=True):
    """A job as operators see it. Times in seconds; nothing of what was handed in is shown.

    :ivar why: what it waits for.
    :ivar age: since it was accepted.
    """

    job_id: str
    challenge: str
    participant_id: int
    state: str
    why: str
    age: float
    attempts: int
    submission_id: int


class EffectView(Struct, frozen=True):
    """An outside effect that is not settled. ``age`` in seconds since it was decided."""

    kind: str
    job_id: str
    state: str
    tries: int
    age: float
    note: str


class NodeView(Struct, frozen=True):
    """A broker process; ``silent_for`` is how many seconds ago it should have been heard of, 0: it lives."""

    node: str
    silent_for: float


class Status(Struct, frozen=True):
    """The whole at a glance.

    :ivar waiting: jobs in the backlog, by challenge.
    :ivar graders: those that are connected, by node.
    :ivar oldest: seconds since the oldest open execution was accepted; 0: there is none.
    """

    in_flight: int
    waiting: dict[str, int]
    effects: int
    held: int
    oldest: float
    nodes: list[NodeView]
    graders: dict[str, list[GraderView]]


class Operators:
    """Reads and acts on what is stored.

    :param node: under which name acts are logged to the store; no broker has it.
    """

    def __init__(self, clock: IReactorTime, store: IStore, node: str) -> None:
        self._clock = clock
        self._store = store
        self._node = node

    async def status(self) -> Status:
        """Return the whole at a glance."""
        counts = await self._store.counts()
        oldest = 0.0
        for execution_id in await self._store.open_executions(1):
            execution = await self._store.execution(execution_id)
            oldest = self._age(execution.accepted_at) if execution else 0.0
        nodes = await self._store.nodes()
        return Status(
            in_flight=counts["in_flight"],
            waiting=await self._store.backlog(),
            effects=counts["effects"],
            held=counts["effects_held"],
            oldest=oldest,
            nodes=[NodeView(name, max(0.0, self._age(till))) for name, till in sorted(nodes.items())],
            graders=await connected_graders(self._store),
        )

    async def jobs(self, challenge: str = "", state: str = "", limit: int = 100) -> list[JobView]:
        """Return jobs of open executions, those accepted first at the front."""
        found: list[JobView] = []
        for execution_id in await self._store.open_executions(MOST):
            for job in await self._store.jobs(execution_id):
                fits = challenge in ("", job.challenge) and state in ("", job.state)
                if fits and len(found) < limit:
                    found.append(await self._view(job))
            if len(found) >= limit:
                break
        return found

    async def job(self, job_id: str) -> tuple[JobView, list[EffectView], list[str]]:
        """Return a job, its effects that are not settled, and the events that its participant was sent.

        :raises OperatorError: there is no such job.
        """
        job = await self._job(job_id)
        effects = [self._effect_view(effect) for effect in await self._store.effects_of(job_id)]
        events = await self._store.events(job.execution_id, 0, 1000)
        mark = f'"job_id":"{job_id}"'
        return await self._view(job), effects, [event.text for event in events if mark in event.text]

    async def retry_job(self, job_id: str) -> None:
        """Take a job from its grader and give it to the next one, ahead of the others.

        :raises OperatorError: it is not with a grader.
        """
        job = await self._job(job_id)
        if job.state not in IN_FLIGHT:
            raise OperatorError(f"{job_id} is {job.state}: only a job that is with a grader can be retried.")
        await self._move(retried(job))

    async def cancel_job(self, job_id: str) -> None:
        """End a job; no grade is posted for it.

        :raises OperatorError: it has ended.
        """
        job = await self._job(job_id)
        if job.state not in OPEN:
            raise OperatorError(f"{job_id} is {job.state} and cannot be cancelled any more.")
        await self._move(cancelled(job, WORD))

    async def held(self, limit: int = 100) -> list[EffectView]:
        """Return registrations and grades that cannot settle themselves, longest first."""
        return [self._effect_view(effect) for effect in await self._store.held_effects(limit)]

    async def retry_grade(self, job_id: str) -> None:
        """Try what is held again; a doubtful registration is looked for before it is repeated.

        :raises OperatorError: nothing of the job is held.
        """
        effect = await self._held_of(job_id)
        await self._again(effect, EffectState.SENT)

    async def settle_registration(self, job_id: str, submission_id: int) -> None:
        """Say which submission a doubtful registration created; 0: none, so it is registered again.

        :raises OperatorError: no registration of the job is held.
        """
        effect = await self._held_of(job_id, EffectKind.REGISTER)
        if not submission_id:
            await self._again(effect, EffectState.NEW)
            return
        job = await self._job(job_id)
        if job.state in TERMINAL:
            await self._move(registered_too_late(job, submission_id))
        else:
            await self._move(registered(job, Registered(submission_id=submission_id)))

    async def settle_grade(self, job_id: str) -> None:
        """Say that a grade that is held stands on the leaderboard, or never will.

        :raises OperatorError: no grade of the job is held.
        """
        await self._held_of(job_id, EffectKind.GRADE)
        await self._move(graded(job_id))

    async def _held_of(self, job_id: str, kind: EffectKind | None = None) -> Effect:
        for effect in await self._store.effects_of(job_id):
            if effect.state is EffectState.HELD and kind in (None, effect.kind):
                return effect
        what = f"no {kind.value}" if kind else "nothing"
        raise OperatorError(f"{what} of {job_id} is held; 'grades list' shows what is.")

    async def _again(self, effect: Effect, state: EffectState) -> None:
        now = self._now()
        note = f"{effect.note}; again {WORD}"
        await self._store.postpone_effect(effect.kind, effect.job_id, state, now, note, self._node)

    async def _move(self, move: Move) -> None:
        (moved,) = await self._store.move([move], self._node, self._now())
        if not moved.applied:
            raise OperatorError(f"{move.job_id} has changed meanwhile; look at it again.")

    async def _job(self, job_id: str) -> Job:
        job = await self._store.job(job_id)
        if job is None:
            raise OperatorError(f"There is no job {job_id}; finished ones are kept for 48 hours.")
        return job

    async def _view(self, job: Job) -> JobView:
        effects = await self._store.effects_of(job.job_id)
        return JobView(
            job_id=job.job_id,
            challenge=job.challenge,
            participant_id=job.participant_id,
            state=job.state,
            why=_why(job, effects),
            age=self._age(job.created),
            attempts=job.attempts,
            submission_id=job.submission_id,
        )

    def _effect_view(self, effect: Effect) -> EffectView:
        age = self._age(effect.since)
        return EffectView(effect.kind, effect.job_id, effect.state, effect.tries, age, effect.note)

    def _age(self, since: int) -> float:
        return round(self._clock.seconds() - since / 1000, 1)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)


def _why(job: Job, effects: list[Effect]) -> str:
    """Say what a job waits for."""
    for effect in effects:
        if effect.note:
            return f"{effect.kind}: {effect.note}"
    if job.state in TERMINAL:
        return "its grade is to be posted" if effects else ""
    return _WAITS[job.state]


_WAITS = {
    JobState.REGISTERING: "the webapp is asked for a submission",
    JobState.QUEUED: "a grader's place",
    JobState.DISPATCHED: "a grader's first word",
    JobState.RUNNING: "its grader",
}
