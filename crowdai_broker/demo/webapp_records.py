"""The small webapp's records and words: participants, challenges, rounds, submissions, refusals.

The texts are those of the public crowdAI webapp; participants get to read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

DAY = 86_400.0
GRADING_STATUSES = ("graded", "failed", "initiated", "submitted")
MEDIA = ("media_large", "media_thumbnail", "media_content_type")

NO_PARTICIPANT = "The API key did not match any participant record."
NO_CHALLENGE = "The Challenge Client Name string did not match any challenge."
NO_SLOTS = "The participant has no submission slots remaining for today."
NOT_OPEN = (
    "The challenge is not open for submissions at this time."
    " Please check the challenge page at www.crowdai.org"
)
NOT_QUALIFIED = "You have not qualified for this round. Please review the challenge rules at www.crowdai.org"
TOO_MANY_PARALLEL = (
    "You have exceeded the allowed number of parallel submissions."
    " Please wait until your other submission(s) are graded."
)
NO_ROUND = "This challenge_round_id does not exist"
INCOMPLETE_MEDIA = (
    "Either all or none of media_large, media_thumbnail and media_content_type must be provided."
)
NO_MESSAGE = "Grading message must be provided if grading = failed"
NO_STATUS = "Grading status must be one of (graded|failed|initiated|submitted)"
NO_SCORE = "Validation failed: Score can't be blank"


class Refusal(Exception):
    """A 400 of the webapp, with what it tells of the participant's slots where it got that far."""

    def __init__(self, message: str, remaining: int | None = None, reset: str | None = None) -> None:
        super().__init__(message)
        self.remaining = remaining
        self.reset = reset


@dataclass(slots=True)
class Participant:
    """Somebody with an API key."""

    id: int
    name: str
    api_key: str


@dataclass(slots=True)
class Round:
    """A round; ``start`` and ``end`` in seconds since the epoch."""

    id: int
    name: str
    start: float
    end: float
    active: bool = True
    submission_limit: int = 5
    submission_limit_period: str = "day"  # "day", "week" or "round"
    failed_submissions: int = 0  # failed ones that do not use up a slot
    parallel_submissions: int = 0  # ungraded ones at once; 0: any number
    minimum_score: float | None = None  # needed here to be let into the next round


@dataclass(slots=True)
class Challenge:
    """A challenge; ``number`` is its id, ``client_name`` what clients and graders call it."""

    number: int
    client_name: str
    title: str
    organizer_api_key: str
    rounds: list[Round]
    status: str = "running"
    primary_sort_order: str = "descending"
    perpetual: bool = False
    grading_factor: float = 1.0
    config: dict[str, Any] | None = None


@dataclass(slots=True)
class Submission:
    """A row of the webapp; ``grades`` is its history, ``posts`` and ``patches`` count the calls about it."""

    id: int
    participant_id: int
    challenge_number: int
    round_id: int
    created_at: float
    grading_status: str = "ready"
    grading_message: str | None = None
    score: float | None = None
    score_secondary: float | None = None
    description_markdown: str | None = None
    meta: Any = None
    media: dict[str, str] = field(default_factory=dict)
    grades: list[dict[str, Any]] = field(default_factory=list)
    posts: int = 1
    patches: int = 0


def ruby_time(seconds: float) -> str:
    """Write a time as Ruby's ``to_s`` does: ``2017-10-30 06:02:02 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
