"""Ways in which a webapp fails, on demand: what a broker must live through can be asked for here."""

from __future__ import annotations

import enum
import random
from collections import deque

from msgspec import Struct
from twisted.internet.defer import Deferred

CALLS = (
    "participant",
    "challenge_config",
    "challenge",
    "register",
    "grade",
    "submission_info",
    "submissions",
    "presign",
    "upload",
    "download",
)


class Fault(enum.StrEnum):
    """What can go wrong with one call; "after" means that the work was done and only the answer is lost."""

    ERROR = "error"  #: 500, a page
    ERROR_AFTER = "error_after"
    EMPTY = "empty"  #: 502, no body
    HANG = "hang"  #: no answer until released, then the work is done and answered
    HANG_AFTER = "hang_after"
    DROP = "drop"  #: the connection is closed
    DROP_AFTER = "drop_after"
    SLOW = "slow"  #: answered after ``seconds``
    DENIED = "denied"  #: 401, plain text
    TOO_MANY = "too_many"  #: 429 with ``Retry-After: seconds``
    BUSY = "busy"  #: 503, a page, with ``Retry-After: seconds``
    GARBAGE = "garbage"  #: the right status, a body that is no JSON
    MISSING = "missing"  #: 404, a page


AFTER = frozenset({Fault.ERROR_AFTER, Fault.HANG_AFTER, Fault.DROP_AFTER, Fault.SLOW, Fault.GARBAGE})
"""Faults before which the call does its work."""


class Planned(Struct, frozen=True):
    """A fault that a call will meet; ``seconds`` is how slow, or what ``Retry-After`` says."""

    fault: Fault
    seconds: float = 1.0


class Faults:
    """What is planned to go wrong, by the name of the call (one of :data:`CALLS`)."""

    def __init__(self, seed: int = 0) -> None:
        self._queues: dict[str, deque[Planned]] = {}
        self._always: dict[str, Planned] = {}
        self._chances: dict[str, list[tuple[float, Planned]]] = {}
        self._random = random.Random(seed)  # noqa: S311 - a repeatable test, not a secret
        self._hanging: set[Deferred[None]] = set()
        self.met: dict[str, int] = {}  #: faults that happened, by call and fault: ``"register/drop"``

    def next(self, call: str, fault: Fault, times: int = 1, seconds: float = 1.0) -> None:
        """Let the next ``times`` calls of that name fail so, after those already planned."""
        self._queues.setdefault(_known(call), deque()).extend([Planned(fault, seconds)] * times)

    def always(self, call: str, fault: Fault, seconds: float = 1.0) -> None:
        """Let every call of that name fail so, until :meth:`clear`."""
        self._always[_known(call)] = Planned(fault, seconds)

    def chance(self, call: str, fault: Fault, probability: float, seconds: float = 1.0) -> None:
        """Let each call of that name fail so with that probability (0 to 1)."""
        self._chances.setdefault(_known(call), []).append((probability, Planned(fault, seconds)))

    def clear(self) -> None:
        """Plan nothing any more; what hangs goes on hanging until :meth:`release`."""
        self._queues.clear()
        self._always.clear()
        self._chances.clear()

    def take(self, call: str) -> Planned | None:
        """Return what this call meets, and count it."""
        planned = self._choose(call)
        if planned is not None:
            name = f"{call}/{planned.fault}"
            self.met[name] = self.met.get(name, 0) + 1
        return planned

    def _choose(self, call: str) -> Planned | None:
        queue = self._queues.get(call)
        if queue:
            return queue.popleft()
        if call in self._always:
            return self._always[call]
        for probability, planned in self._chances.get(call, ()):
            if self._random.random() < probability:
                return planned
        return None

    def hang(self) -> Deferred[None]:
        """Return what fires at the next :meth:`release`."""
        waiting: Deferred[None] = Deferred(self._hanging.discard)
        self._hanging.add(waiting)
        return waiting

    def release(self) -> int:
        """Let all that hangs go on; return how many calls did hang."""
        released, self._hanging = self._hanging, set()
        for each in released:
            if not each.called:
                each.callback(None)
        return len(released)


def _known(call: str) -> str:
    if call not in CALLS:
        raise ValueError(f"no call is named {call!r}: {', '.join(CALLS)}")
    return call
