"""What participants submit, and what must come of it; known beforehand, without the broker."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from typing import Any

PLAIN = "Plain"  # everything can be graded here
NARROW = "Narrow"  # the webapp gives each participant few slots
SILENT = "Silent"  # one attempt, and orders that are never answered
CHALLENGES = (PLAIN, NARROW, SILENT)
SLOTS = 3  # of a participant in NARROW
NO_SLOTS = "no submission slots remaining"
PLATFORM = "Platform error:"


@dataclass(frozen=True)
class Item:
    """A job to be.

    :ivar data: what the grader gets.
    :ivar score: what it is worth; ``None``: it must fail.
    :ivar error: what the participant must be told if it fails.
    """

    data: dict[str, Any]
    score: float | None
    error: str = ""


@dataclass
class Submission:
    """A request of a participant and what the participant knows of it.

    :ivar events: every event that came, by its number.
    :ivar next: number of the event that must come next on this link.
    """

    challenge: str
    function: str
    items: tuple[Item, ...]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    execution_id: str = ""
    events: dict[int, str] = field(default_factory=dict)
    next: int = 1
    ended: set[int] = field(default_factory=set)
    finished: bool = False

    @property
    def channel(self) -> str:
        """The event that its job events come as."""
        return f"{self.challenge}::{self.key}"

    @property
    def scored(self) -> bool:
        """Whether its jobs go on the leaderboard."""
        return self.function == "submit"


def _good(chance: random.Random) -> Item:
    score, spread = chance.random(), chance.random()
    return Item({"values": [score - spread, score, score + spread]}, score)


def _bad(chance: random.Random) -> Item:
    text = f"Row {chance.randrange(10**6)} cannot be read"
    return Item({"error": text}, None, text)


def make(chance: random.Random) -> Submission:
    """Return a request of a usual mixture."""
    kind = chance.random()
    if kind < 0.03:
        return Submission(SILENT, "submit", (Item({"lost": True}, None, PLATFORM),))
    if kind < 0.15:
        return Submission(NARROW, "submit", (_good(chance),))
    count = chance.choice((1, 1, 1, 2, 4))
    items = tuple(_bad(chance) if chance.random() < 0.15 else _good(chance) for _ in range(count))
    return Submission(PLAIN, "evaluate" if kind < 0.2 else "submit", items)
