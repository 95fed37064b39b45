"""What the webapp is told and what it answers, as plain values.

The wire fields of :class:`RegisterFields` and :class:`GradeFields` have the names that the webapp's API
gives them (``/api/external_graders``); what is ``None`` or empty is left out of a request's body.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Literal

from msgspec import Struct

JsonObject = dict[str, object]
GradingStatus = Literal["graded", "failed", "initiated", "submitted"]


class Lookup(enum.Enum):
    """What became of asking the webapp for a challenge by its client name."""

    FOUND = "found"  #: 200: the challenge exists; it may have a configuration of its own
    UNKNOWN = "unknown"  #: 400: no challenge has that name
    UNSUPPORTED = "unsupported"  #: 404: a webapp without that endpoint; only the operator's file counts


class ChallengeLookup(Struct, frozen=True):
    """Answer to ``challenge_config``; ``config`` is given only where one was found, and may be ``None``."""

    outcome: Lookup
    config: JsonObject | None = None


class Round(Struct, frozen=True, kw_only=True):
    """A round of a challenge; what the webapp left out or garbled is ``None``."""

    id: int
    name: str = ""
    active: bool = False
    submission_limit: int | None = None
    submission_limit_period: str = ""  #: "day", "week" or "round"
    start: datetime | None = None
    end: datetime | None = None
    failed_submissions: int | None = None  #: failed ones that do not count against the limit
    parallel_submissions: int | None = None  #: how many may wait for a grade at once; 0: any number


class ChallengeInfo(Struct, frozen=True, kw_only=True):
    """A challenge and its rounds, as ``GET /api/challenges/<number>`` tells them."""

    id: int
    name: str = ""
    status: str = ""  #: "draft", "running", "completed", "terminated", "starting_soon"
    primary_sort_order: str = ""  #: "ascending" (small scores are better), "descending"
    perpetual: bool = False
    grading_factor: float | None = None
    rounds: tuple[Round, ...] = ()


class RegisterFields(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of the POST that creates a submission.

    ``meta`` travels as a *string* of JSON, and may be given as one.
    """

    api_key: str
    challenge_client_name: str
    grading_status: GradingStatus = "submitted"
    grading_message: str = ""
    score: float | None = None
    score_secondary: float | None = None
    description_markdown: str = ""
    meta: JsonObject | str | None = None
    media_large: str = ""
    media_thumbnail: str = ""
    media_content_type: str = ""
    challenge_round_id: int | None = None

    def __repr__(self) -> str:
        return f"<RegisterFields {self.challenge_client_name} {self.grading_status}>"


class GradeFields(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of the PATCH that grades a submission; ``meta`` as in :class:`RegisterFields`."""

    grading_status: GradingStatus
    grading_message: str = ""
    score: float | None = None
    score_secondary: float | None = None
    description_markdown: str = ""
    meta: JsonObject | str | None = None
    media_large: str = ""
    media_thumbnail: str = ""
    media_content_type: str = ""
    challenge_round_id: int | None = None


class Registered(Struct, frozen=True, kw_only=True):
    """The submission that a POST created, and how many more the participant may make until when."""

    submission_id: int
    message: str = ""
    submissions_remaining: int | None = None
    reset_dttm: datetime | None = None


class Graded(Struct, frozen=True, kw_only=True):
    """Answer to a PATCH."""

    submission_id: int
    message: str = ""
    submissions_remaining: int | None = None
    reset_dttm: datetime | None = None


class Submission(Struct, frozen=True, kw_only=True):
    """A submission as the webapp keeps it; ``meta`` is ``None`` where it has none or is no JSON object."""

    id: int
    grading_status: str = ""
    grading_message: str = ""
    score: float | None = None
    score_secondary: float | None = None
    meta: JsonObject | None = None
