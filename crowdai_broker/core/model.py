"""The words of the broker as types: executions, jobs, their states, and the moves between them.

Everything here is a plain value. What a store keeps, what the core decides and what a peer is told are
made of these, so this module may be imported from everywhere.

Times are integers, milliseconds since the epoch, unless a name says otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from msgspec import Struct

LOG_CAP = 10_000  #: events kept of an execution, the newest; a store may keep a few more
MAX_MOVES = 512  #: moves in one step
TAKE_BYTES = 4_000_000  #: a take ends once its orders come to this
MOVABLE_FIELDS = frozenset(
    {"submission_id", "submission", "result", "percent", "attempts"}
)  #: what a move may set


class JobState(enum.StrEnum):
    """Where a job is; ``docs/lifecycle.rst`` has the table of moves between these."""

    REGISTERING = "registering"  #: stored; the webapp is asked for its submission before any grader sees it
    QUEUED = "queued"  #: in the broker's backlog, in its participant's lane
    DISPATCHED = "dispatched"  #: given to a grader, which has not been heard of yet
    RUNNING = "running"  #: a grader sent an event about it
    COMPLETE = "complete"  #: terminal: there is a result
    FAILED = "failed"  #: terminal: refused, failed by its grader, timed out, or given up
    CANCELLED = "cancelled"  #: terminal: the participant took it back


TERMINAL = frozenset({JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED})
IN_FLIGHT = frozenset({JobState.DISPATCHED, JobState.RUNNING})
OPEN = frozenset(JobState) - TERMINAL


class Lane(enum.StrEnum):
    """Which backlog a waiting job stands in: re-grades wait behind all live work of their challenge."""

    LIVE = "live"
    REGRADE = "regrade"


class Place(enum.StrEnum):
    """Where in its participant's lane a job is put."""

    BACK = "back"
    FRONT = "front"


class Handing(enum.Enum):
    """How a challenge's orders get from the backlog to its graders."""

    IN_STORE = "in_store"  #: the store pushes them to a list in the step that takes the jobs
    BY_EFFECT = "by_effect"  #: each is an outside effect, stored in that step
    HERE = "here"  #: to graders that are connected to this node, as many as they have room for


class EffectKind(enum.StrEnum):
    """An outside effect that must happen once, whatever crashes."""

    DISPATCH = "dispatch"  #: hands a job's order to a grader; its body is the attempt's number
    POLL = "poll"  #: watches a submission that its grader grades at the webapp; its body as above
    REGISTER = "register"  #: POST: creates the submission of a scored job
    GRADE = "grade"  #: PATCH: puts the score, or the failure, on the leaderboard


class EffectState(enum.StrEnum):
    """How far an effect is.

    ``SENT`` is written *before* the request leaves, so an effect that is found in it after its lease ran
    out may or may not have happened: it is asked about before it is repeated.
    """

    NEW = "new"  #: never sent, or known not to have happened
    SENT = "sent"  #: a request was begun; no answer is stored
    HELD = "held"  #: in doubt and cannot settle itself; waits for an operator


class Session(Struct, frozen=True):
    """What ``authenticate`` opens. Stored under a hash of its token; the key only as a hash too."""

    participant_id: int
    challenge: str
    api_key_hash: str  # hex SHA-256
    client_version: str = ""


class EventDraft(Struct, frozen=True):
    """A job event that has no number yet.

    :ivar fragment: the event as JSON text without its opening brace, e.g.
        ``"execution_id":"…","job_id":"…",…}``; the store puts ``{"event_no":N,`` before it in the same
        step that gives it the number, so the log holds exactly what is sent.
    """

    fragment: str


class LoggedEvent(Struct, frozen=True):
    """An event of an execution's log: its number, from 1, and the JSON text sent to clients."""

    event_no: int
    text: str


class EffectDraft(Struct, frozen=True):
    """An effect to be stored with the move that decided it; ``body`` is JSON text, opaque to the store."""

    kind: EffectKind
    body: str
    due: int


class Effect(Struct, frozen=True):
    """A leased effect, as the outbox worker gets it.

    :ivar state: the state *before* this lease.
    :ivar tries: leases so far, this one included.
    :ivar since: when it was stored.
    :ivar note: why it is not done yet; for people.
    """

    kind: EffectKind
    job_id: str
    body: str
    state: EffectState
    tries: int
    since: int
    note: str = ""


class Execution(Struct, frozen=True, kw_only=True):
    """One accepted ``execute_function`` request."""

    execution_id: str
    participant_id: int
    challenge: str
    function_name: str
    response_channel: str
    job_count: int
    accepted_at: int
    progress_key: str = ""  #: capability of its progress picture
    api_key: str = ""  #: the participant's; erased by the store when nothing of the execution is open
    scored: bool = False  #: its jobs are registered at the webapp and graded there by the broker
    dry_run: bool = False
    open: int = 0  #: jobs not terminal plus effects not done; 0: everything about it may expire
    unfinished: int = 0  #: jobs not terminal
    event_no: int = 0  #: number of the newest event


class Job(Struct, frozen=True, kw_only=True):
    """One item of an execution.

    :ivar data_sequence_no: its index in the request, from 0.
    :ivar order: what a grader is given, as JSON text open at the end: the object lacks its last members
        and the closing braces of ``extra_params`` and of itself (see :func:`order_text`).
    :ivar attempt: the number given to the grader as ``data_sequence_no``; ``""`` while none is running.
    :ivar attempts: dispatches so far.
    :ivar due: when the sweep looks at it unless it moved before.
    :ivar held: a progress event held back by the rate limit, to be logged before the next other one.
    :ivar result: the terminal event's ``{"data", "response_type", "message"}`` as JSON text.
    """

    job_id: str
    execution_id: str
    data_sequence_no: int
    participant_id: int
    challenge: str
    state: JobState
    order: str
    lane: Lane = Lane.LIVE
    scored: bool = False
    grades_posted_by: str = "broker"
    grader_id: str = ""  #: which the request named; names the queue where the configuration does not
    attempt: str = ""
    attempts: int = 0
    node: str = ""
    submission_id: int = 0
    submission: str = ""  #: what the webapp said of the remaining slots, JSON text
    due: int = 0
    held: str = ""
    result: str = ""
    percent: str = ""  #: the newest ``percent_complete``, 0 to 100; ``""``: none was heard
    created: int = 0
    dispatched_at: int = 0


class NewJob(Struct, frozen=True):
    """A job as it is accepted: its record, and the effect to be stored with it, if any."""

    job: Job
    effects: tuple[EffectDraft, ...] = ()


class Acceptance(Struct, frozen=True, kw_only=True):
    """All that is stored in the one step that accepts an execution."""

    execution: Execution
    jobs: tuple[NewJob, ...]
    events: tuple[EventDraft, ...]
    watcher: str = ""  #: node to be told of its events; "" for none
    idempotency: str = ""  #: hash of participant, challenge and key; "" for none


class Accepted(Struct, frozen=True):
    """Answer to an acceptance; ``fresh`` is false when the idempotency key names an earlier execution."""

    execution_id: str
    fresh: bool


class Move(Struct, frozen=True, kw_only=True):
    """One step of a job: applied whole if the job is what the mover believed, else not at all.

    :ivar expect: states the job may be in.
    :ivar attempt: the attempt it must be in; ``None``: any.
    :ivar to: the new state; ``None``: stays. Into a terminal one the attempt ends; into ``QUEUED`` the
        attempt ends and ``place`` says where in its lane it goes.
    :ivar events: logged in order; before them, if ``to`` is terminal, the held progress event if there is one
        (held progress of an attempt that ends otherwise is dropped).
    :ivar hold: replaces the held progress event (``events`` is empty then).
    :ivar flush: logs the held progress event, if there is one, and nothing else.
    :ivar fields: further members of :class:`Job` to set: ``submission_id``, ``submission``, ``result``,
        ``percent``, ``attempts``.
    :ivar done: the effect that this move settles; the move is refused if it is no longer stored.
    :ivar due: new time for the sweep; ``None``: stays.
    :ivar extend: what ``extra_params`` of its order gets in addition, as JSON text beginning with a comma.
    """

    job_id: str
    expect: frozenset[JobState]
    attempt: str | None = None
    to: JobState | None = None
    place: Place = Place.BACK
    events: tuple[EventDraft, ...] = ()
    hold: EventDraft | None = None
    flush: bool = False
    fields: dict[str, str] = {}
    effects: tuple[EffectDraft, ...] = ()
    done: EffectKind | None = None
    due: int | None = None
    extend: str = ""


class Moved(Struct, frozen=True):
    """What became of a move.

    :ivar applied: false: the job was not what the mover believed; nothing was changed.
    :ivar events: the events that were logged, numbered.
    :ivar unfinished: jobs of its execution that are not terminal, after the move.
    """

    applied: bool
    execution_id: str = ""
    events: tuple[LoggedEvent, ...] = ()
    unfinished: int = -1


class Inbox(Struct, frozen=True):
    """Entries at the head of a response list that a batch of moves stands for; removed in the same step.

    Whoever reads the list makes it; the core only passes it on. If the entries have been removed already,
    because the step is repeated or another node reads the same list, the whole step is refused: no move is
    applied and nothing is removed.

    :ivar first: how many entries had ever been removed from the list when these were read.
    :ivar remote: the list is not on the store's own Redis: the store only counts the entries as removed.
    """

    key: str
    count: int
    first: int
    remote: bool = False


class Take(Struct, frozen=True, kw_only=True):
    """Asks for waiting jobs of a challenge to be given to its graders.

    :ivar attempts: fresh attempt numbers, one for each job that may be taken.
    :ivar limit: jobs the grader side may hold (``max_in_flight``), those it already holds included.
    :ivar response_channel: list where the grader puts its events.
    :ivar push: put each order on its list of the store's own Redis in the same step.
    :ivar effect: store an effect for each in the same step, which hands its order out.
    :ivar queue: configured queue; ``""``: the job's ``grader_id``, and if that is empty the challenge's name.
        The list is :func:`queue_key` of it.
    """

    challenge: str
    node: str
    attempts: tuple[str, ...]
    limit: int
    response_channel: str
    push: bool
    effect: bool = False
    queue: str = ""
    now: int
    due: int


class Taken(Struct, frozen=True):
    """A job that was just dispatched, and the order for its grader as JSON text."""

    job: Job
    order: str


class Line(Struct, frozen=True):
    """A challenge's waiting jobs.

    :ivar in_flight: jobs that its graders hold.
    :ivar waiting: ids of jobs in the order in which they will be dispatched if none comes or goes.
    """

    in_flight: int
    waiting: tuple[str, ...]


def job_id_of(execution_id: str, number: int) -> str:
    """Return the id of the ``number``-th job of an execution."""
    return f"{execution_id}-{number}"


def execution_of(job_id: str) -> str:
    """Return the id of a job's execution."""
    return job_id.rpartition("-")[0]


def queue_key(queue: str) -> str:
    """Return the list that graders of ``queue`` pop orders from (measured on the public job factories)."""
    return f"{queue}::enqueue_job"


def queue_of(job: Job, configured: str) -> str:
    """Return the queue of a job's graders: the configured one, else its ``grader_id``, else its challenge."""
    return configured or job.grader_id or job.challenge


def order_text(job: Job, attempt: str, response_channel: str) -> str:
    """Return the order that a grader gets for ``job``, as JSON text.

    The list's name stands under both names that graders know (measured on the public job factories).
    """
    return (
        f'{job.order}}},"data_sequence_no":{attempt},'
        f'"broker_response_channel":"{response_channel}","respond_to_me_at":"{response_channel}"}}'
    )


def check_moves(moves: Sequence[Move]) -> None:
    """Raise :class:`ValueError` for a batch that no store takes."""
    if len(moves) > MAX_MOVES:
        raise ValueError(f"{len(moves)} moves in one step; at most {MAX_MOVES}")
    for move in moves:
        strange = move.fields.keys() - MOVABLE_FIELDS
        if strange:
            raise ValueError(f"no move may set {', '.join(sorted(strange))}")
