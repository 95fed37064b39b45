"""The seams: what the core asks of the outside, and nothing of how it is done.

Every method that talks to an outside server returns an awaitable and raises the errors named with it;
all of them may raise :class:`~crowdai_broker.errors.BrokerError`'s subclasses only.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from zope.interface import Interface

from .config import ChallengeConfig
from .core.model import (
    Acceptance,
    Accepted,
    Effect,
    EffectKind,
    EffectState,
    Execution,
    Handing,
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
from .core.webapp_model import (
    ChallengeInfo,
    ChallengeLookup,
    Graded,
    GradeFields,
    Registered,
    RegisterFields,
    Submission,
)


class Spawn(Protocol):
    """Starts named background work; its failure is logged, its end is waited for on stop."""

    def __call__(self, name: str, work: Coroutine[Any, Any, Any]) -> object:
        """Run ``work``."""


EventsListener = Callable[[str, Sequence[LoggedEvent]], None]
"""Called with an execution's id and events that were logged by *another* node, in order."""


class IStore(Interface):
    """Stored truth: sessions, executions, jobs, event logs, the backlog and the outbox.

    Each method is one atomic step: it happens whole or not at all, and once its awaitable has fired it
    has happened for good. A failed one (:class:`~crowdai_broker.errors.StoreUnavailable`) may have
    happened or not; every method may be repeated.
    """

    async def open_session(token_hash: str, session: Session, ttl: int) -> None:
        """Keep ``session`` under ``token_hash`` (hex) for ``ttl`` seconds."""

    async def session(token_hash: str) -> Session | None:
        """Return the session of that token, or ``None`` if there is none (any more)."""

    async def close_session(token_hash: str) -> bool:
        """Forget the session; tell whether there was one."""

    async def unfinished(challenge: str) -> int:
        """Return how many jobs of ``challenge`` are not terminal."""

    async def announce(challenge: str) -> None:
        """Tell all nodes that a job of ``challenge`` waits: another one may have a grader for it."""

    async def accept(acceptance: Acceptance) -> Accepted:
        """Store an execution with its jobs, events and effects; put its queued jobs in their lanes.

        With an idempotency key that is known, nothing is stored and the earlier execution is named.
        """

    async def execution(execution_id: str) -> Execution | None:
        """Return an execution, or ``None`` if there is none (any more)."""

    async def idempotent(idempotency: str) -> str | None:
        """Return the id of the execution that was accepted with this idempotency hash, if one is kept."""

    async def jobs(execution_id: str) -> list[Job]:
        """Return the jobs of an execution in the order of their ``data_sequence_no``."""

    async def job(job_id: str) -> Job | None:
        """Return a job, or ``None``."""

    async def submission_known(submission_id: int) -> bool:
        """Tell whether a job was ever accepted with this submission, or given it by a move."""

    async def secret(name: str) -> bytes:
        """Return the 32 random bytes that all nodes share under ``name``, made when first asked for."""

    async def attempts(numbers: Sequence[str]) -> list[Job | None]:
        """Return the job that each attempt number belongs to, ``None`` where the attempt is over."""

    async def events(execution_id: str, after: int, limit: int) -> list[LoggedEvent]:
        """Return up to ``limit`` logged events with a number above ``after``, in order."""

    async def watch(execution_id: str, node: str) -> None:
        """Tell ``node``'s listener of the execution's events from now on."""

    async def unwatch(execution_id: str, node: str) -> None:
        """Undo :meth:`watch`."""

    async def move(moves: Sequence[Move], node: str, now: int, inbox: Inbox | None = None) -> list[Moved]:
        """Apply each move or refuse it, in order, and remove the inbox entries they stand for; one step.

        Events go to the listeners of all watching nodes but ``node``, which has them in the answer.
        Repeated after a failure, a move that was applied the first time is refused: who must know reads the
        job again. A move that changes nothing a repeat would be refused for (it only logs events) is logged
        twice then, unless it has an inbox.

        :raises ValueError: more than 512 moves in one step, or ``fields`` that no move may set.
        """

    async def take(take: Take) -> list[Taken]:
        """Dispatch waiting jobs: live lanes before re-grades, participants of a lane in turn.

        Repeated at once with the same attempt numbers, it answers with the jobs that the first call took;
        they are on their lists already. A number that is in use otherwise is passed over. A call ends early
        when the orders it took come to 4 MB.
        """

    async def backlog() -> dict[str, int]:
        """Return the number of waiting jobs of every challenge that has any."""

    async def line(challenge: str, limit: int) -> Line:
        """Return up to ``limit`` of a challenge's waiting jobs in the order in which they will go."""

    async def due_jobs(now: int, limit: int) -> list[Job]:
        """Return jobs whose ``due`` has passed, longest first; they stay due until moved."""

    async def lease_effects(
        now: int, lease: int, limit: int, node: str, call: str = "", again: bool = False
    ) -> list[Effect]:
        """Lease effects that are due for ``lease`` ms, marking each ``SENT``; held ones are never due.

        :param call: a name for this call, fresh for the node.
        :param again: this call was made before and its answer was lost: what it leased, and no other node
            has taken since, is answered first and as it was answered then, so that no doubt comes of it.
        """

    async def postpone_effect(
        kind: EffectKind, job_id: str, state: EffectState, due: int, note: str, node: str
    ) -> bool:
        """End a lease without having settled the effect, and say what to do with it and when.

        False if it is no longer stored or another node has leased it since.
        """

    async def held_effects(limit: int) -> list[Effect]:
        """Return effects that wait for an operator, longest first."""

    async def open_executions(limit: int) -> list[str]:
        """Return executions of which something is open (jobs or effects), the first accepted first."""

    async def effects_of(job_id: str) -> list[Effect]:
        """Return the effects of a job that are not settled."""

    async def nodes() -> dict[str, int]:
        """Return until when (ms) each node counts as alive; dead ones too until they are adopted."""

    async def show(node: str, text: str) -> None:
        """Keep what ``node`` says of itself, for as long as it lives."""

    async def shown() -> dict[str, str]:
        """Return what each node says of itself."""

    async def counts() -> dict[str, int]:
        """Return ``effects`` (stored), ``effects_held``, ``jobs_due`` and ``in_flight`` for the metrics."""

    async def beat(node: str, now: int, ttl: int) -> None:
        """Say that ``node`` is alive for ``ttl`` ms more and owns its response list."""

    async def adopt(node: str, now: int, pause: int = 0) -> list[str]:
        """Take over the response lists of dead nodes; return the names of all adopted by ``node`` so far.

        The effects that a dead node had leased become due after ``pause`` ms.
        """

    async def drop_adopted(node: str, dead: str) -> bool:
        """Forget a dead node's list when it is empty and no attempt can write to it; tell whether so."""

    async def leave(node: str) -> None:
        """Say that ``node`` is going: what it leaves may be adopted at once."""

    def response_list(node: str) -> str:
        """Return the name of the list that graders of ``node``'s jobs put their events on."""

    def listen(listener: EventsListener, on_gap: Callable[[], None], on_work: Callable[[str], None]) -> None:
        """Call ``listener`` with the events of watched executions that other nodes log.

        ``on_work`` is called with each challenge that a node :meth:`announces <announce>`, this one too.

        ``on_gap`` is called when some may have been missed, because listening begins later than this call
        or was interrupted: logs of watched executions are to be read again.
        """


class IGrader(Interface):
    """One kind of graders: how jobs get to them."""

    def handing(challenge: ChallengeConfig) -> Handing:
        """Tell how this challenge's orders are handed out."""

    def room(name: str, challenge: ChallengeConfig) -> int:
        """Return how many more jobs of a challenge can be handed out here now; asked only if ``HERE``."""

    async def dispatch(challenge: ChallengeConfig, order: Taken) -> None:
        """Hand out an order; never asked if ``IN_STORE``.

        :raises crowdai_broker.errors.GraderRefused: the grader will not grade it; its text is the reason.
        :raises crowdai_broker.errors.GraderUnreachable: it may have been handed out or not.
        :raises crowdai_broker.errors.GraderBusy: it was not handed out, and that says nothing of the grader.
        """

    async def untaken(challenge: ChallengeConfig, queue: str) -> int:
        """Return how many orders lie on ``queue`` that no grader has taken yet."""

    async def lies(challenge: ChallengeConfig, job: Job) -> bool:
        """Tell whether the order of the job's attempt waits for a grader to take it."""

    async def withdraw(challenge: ChallengeConfig, job: Job) -> bool:
        """Take back the order of the job's attempt if no grader has taken it; tell whether it was there."""


class IWebapp(Interface):
    """The site that owns participants, challenges and leaderboards.

    Every method may raise :class:`~crowdai_broker.errors.WebappDenied` (the key is not accepted) and
    :class:`~crowdai_broker.errors.WebappUnavailable` (no usable answer). No method repeats a request that
    changes anything: that is for the caller, who can ask first.
    """

    async def participant(api_key: str) -> int | None:
        """Return the id of the participant with that key; ``None``: nobody has it."""

    async def challenge_config(challenge: str) -> ChallengeLookup:
        """Look a challenge up by its client name."""

    async def challenge(number: int) -> ChallengeInfo | None:
        """Return the challenge with that number and its rounds; ``None``: there is none."""

    async def register(fields: RegisterFields) -> Registered:
        """Create a submission. Each call that succeeds creates one more.

        :raises crowdai_broker.errors.WebappRefused: the webapp said no; a row may exist all the same.
        """

    async def grade(submission_id: int, fields: GradeFields) -> Graded:
        """Put a grade on a submission; the same grade twice leaves the same score.

        :raises crowdai_broker.errors.WebappRefused: the webapp said no.
        """

    async def submission_info(submission_id: int) -> Submission | None:
        """Return a submission as it stands; ``None``: there is none with that id."""

    async def submissions(number: int, organizer_api_key: str) -> list[Submission]:
        """Return all submissions of a challenge; needs the key of its organizer."""

    async def check_key() -> None:
        """Return if the webapp is there and accepts the broker's key; raise as every method does if not."""
