"""One grader that is connected to this node: what it is ready for, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall

from .model import Job

UNCONFIRMED = 3  # orders on their way to one grader; each may have a megabyte, and its connection is bounded


class GraderPeer(Protocol):
    """A grader's connection."""

    def give(self, order: dict[str, Any], answered: Callable[[bool], None]) -> None:
        """Send an order; ``answered`` is called with whether the grader takes it, if it answers."""

    def cancel(self, attempt_id: str) -> None:
        """Say that nobody waits for an attempt any more."""

    def dismiss(self, reason: str) -> None:
        """End the connection, and say why."""


class Hello(Struct, frozen=True, kw_only=True):
    """What a grader says of itself.

    :ivar key: names it among all graders, also those of other organizers who chose the same ``grader_id``.
    :ivar functions: what it can do; empty: anything.
    :ivar running: names of the attempts that it still works on; ``None``: it does not say.
    """

    grader_id: str
    key: str
    slots: int
    functions: frozenset[str]
    challenges: frozenset[str]
    running: tuple[str, ...] | None = None


class Held(Struct):
    """A job in a grader's hands.

    :ivar deadline: when (ms) its time is up.
    :ivar extend_at: when (s) its lease is to be extended again.
    :ivar waiting: runs until the grader has confirmed that it has the order.
    """

    job: Job
    attempt_id: str
    deadline: int
    extend_at: float = 0.0
    waiting: IDelayedCall | None = None


class ConnectedGrader:
    """A grader and the jobs that it holds.

    :ivar since: when (s) it came.
    :ivar held: its jobs, by attempt number.
    :ivar resting: time (s) until which it gets nothing, since it did not answer.
    """

    def __init__(self, hello: Hello, peer: GraderPeer, since: float) -> None:
        self.hello = hello
        self.peer = peer
        self.since = since
        self.slots = hello.slots
        self.held: dict[str, Held] = {}
        self.resting = 0.0

    def room(self, challenge: str, now: float) -> int:
        """Return how many more orders of a challenge it can be given now."""
        if challenge not in self.hello.challenges or now < self.resting:
            return 0
        unconfirmed = sum(held.waiting is not None for held in self.held.values())
        return max(0, min(self.slots - len(self.held), UNCONFIRMED - unconfirmed))

    def can(self, function: str) -> bool:
        """Tell whether it offers a function."""
        return not self.hello.functions or function in self.hello.functions

    def confirm(self, held: Held) -> None:
        """Note that the grader has an order, and answers."""
        self.resting = 0.0
        _calm(held)

    def let_go(self, number: str) -> Held | None:
        """Forget a job."""
        held = self.held.pop(number, None)
        if held is not None:
            _calm(held)
        return held


def _calm(held: Held) -> None:
    if held.waiting is not None and held.waiting.active():
        held.waiting.cancel()
    held.waiting = None
