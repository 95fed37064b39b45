"""The named steps of a job's life, at each of which a broker is killed: calls of the store and the webapp.

A step is a name of :data:`STORE_STEPS` or :data:`WEBAPP_STEPS` with ``.before`` or ``.after``.
"""

from __future__ import annotations

from collections.abc import Sequence

from crowdai_broker.core.model import EffectKind, JobState, Move

MOVES = (
    "registered",  # the webapp's submission is known: the job goes into the backlog
    "refused",  # the webapp refused it
    "running",  # a grader's event that does not end the job
    "held",  # progress that is kept back
    "flushed",  # progress that was kept back is logged
    "complete",
    "failed",
    "overdue",  # a silent grader's job goes to another
    "given_up",  # the last attempt was silent too
    "graded",  # the webapp has the grade
)
STORE_STEPS = ("accept", "take", "lease", "postpone", "adopt", "drop", *MOVES)
WEBAPP_STEPS = ("register", "grade", "submissions", "submission_info")

EVERY_STEP = tuple(f"{name}.{when}" for name in (*STORE_STEPS, *WEBAPP_STEPS) for when in ("before", "after"))

SLOW = frozenset(
    f"{name}.{when}" for name in ("adopt", "drop", "overdue", "given_up") for when in ("before", "after")
) - {"adopt.before"}
"""Steps that take seconds to come: somebody has to be missed first."""

_GRADERS_WORD = {JobState.RUNNING: "running", JobState.COMPLETE: "complete", JobState.QUEUED: "overdue"}


def names_of_moves(moves: Sequence[Move]) -> set[str]:
    """Return what a batch of moves stands for; moves that only tell the participant something, nothing."""
    return {name for name in map(_name_of_move, moves) if name}


def _name_of_move(move: Move) -> str:
    if move.done is EffectKind.GRADE:
        return "graded"
    if move.done is EffectKind.REGISTER:
        return {JobState.QUEUED: "registered", JobState.FAILED: "refused"}.get(
            move.to or JobState.RUNNING, ""
        )
    if move.hold is not None:
        return "held"
    if move.flush:
        return "flushed"
    if move.to is JobState.FAILED:
        return "given_up" if "Platform error:" in move.fields["result"] else "failed"
    return _GRADERS_WORD.get(move.to, "") if move.to is not None else ""
