"""A webapp without HTTP: the rules of the real one that the broker depends on, and faults on order."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..core.webapp_model import (
    ChallengeInfo,
    ChallengeLookup,
    Graded,
    GradeFields,
    JsonObject,
    Lookup,
    Registered,
    RegisterFields,
    Submission,
)
from ..errors import WebappDenied, WebappError, WebappRefused, WebappUnavailable
from ..interfaces import IWebapp

T = TypeVar("T")
When = Literal["before", "after"]
DAY = 86_400  # s


class StubChallenge(Struct, kw_only=True):
    """A challenge of the webapp.

    :ivar limit: submissions a participant may make a day; ``None``: any number.
    """

    name: str
    config: JsonObject | None = None
    info: ChallengeInfo | None = None
    organizer_api_key: str = ""
    limit: int | None = None


class StubSubmission(Struct, kw_only=True):
    """A submission as the webapp keeps it; ``meta`` is the string of JSON that it is sent as."""

    id: int
    participant: int
    challenge: str
    created: float
    meta: str | None = None
    grades: list[GradeFields]

    @property
    def status(self) -> str:
        """Its newest grading status."""
        return self.grades[-1].grading_status if self.grades else "submitted"


@implementer(IWebapp)
class StubWebapp:
    """A webapp in memory.

    :param seconds: its clock.
    :ivar down: while true every call ends before it began.
    :ivar participants: ids by API key.
    :ivar calls: the name of each method that was called, in order, and what it was called with.
    """

    def __init__(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self.down = False
        self.participants: dict[str, int] = {}
        self.challenges: dict[str, StubChallenge] = {}
        self.rows: dict[int, StubSubmission] = {}
        self.calls: list[tuple[str, Any]] = []
        self._seconds = seconds
        self._failures: defaultdict[str, deque[tuple[When, WebappError]]] = defaultdict(deque)

    def add_challenge(self, name: str, **fields: Any) -> StubChallenge:
        """Add a challenge; ``fields`` are those of :class:`StubChallenge`."""
        challenge = self.challenges[name] = StubChallenge(name=name, **fields)
        return challenge

    def fail_next(self, method: str, when: When, error: WebappError | None = None) -> None:
        """Let the next call of ``method`` fail before it did anything, or after it did all; calls add up.

        :param error: what it fails with; by default its answer is lost.
        """
        if method not in IWebapp:
            raise ValueError(f"a webapp has no method {method}")
        lost = WebappUnavailable("the answer was lost as it was told to", definitely_not_done=False)
        self._failures[method].append((when, error or lost))

    def count(self, method: str) -> int:
        """Return how many times a method was called."""
        return sum(name == method for name, _ in self.calls)

    def _step(self, method: str, argument: Any, work: Callable[[], T]) -> T:
        self.calls.append((method, argument))
        if self.down:
            raise WebappUnavailable("the webapp is down", definitely_not_done=True)
        failures = self._failures[method]
        when, error = failures.popleft() if failures else ("", None)
        if error is not None and when == "before":
            raise error
        answer = work()
        if error is not None:
            raise error
        return answer

    async def participant(self, api_key: str) -> int | None:
        """See the interface; so for all that follow."""
        return self._step("participant", api_key, lambda: self.participants.get(api_key))

    async def challenge_config(self, challenge: str) -> ChallengeLookup:
        """Look a challenge up."""
        return self._step("challenge_config", challenge, lambda: self._lookup(challenge))

    def _lookup(self, name: str) -> ChallengeLookup:
        challenge = self.challenges.get(name)
        if challenge is None:
            return ChallengeLookup(Lookup.UNKNOWN)
        return ChallengeLookup(Lookup.FOUND, challenge.config)

    async def challenge(self, number: int) -> ChallengeInfo | None:
        """Return a challenge's rounds."""
        infos = (challenge.info for challenge in self.challenges.values())
        return self._step(
            "challenge", number, lambda: next((info for info in infos if info and info.id == number), None)
        )

    async def register(self, fields: RegisterFields) -> Registered:
        """Create a submission, one more each time."""
        return self._step("register", fields, lambda: self._register(fields))

    def _register(self, fields: RegisterFields) -> Registered:
        participant = self.participants.get(fields.api_key)
        if participant is None:
            raise WebappRefused("The API key did not match any participant record.")
        challenge = self.challenges.get(fields.challenge_client_name)
        if challenge is None:
            raise WebappRefused("The Challenge Client Name string did not match any challenge.")
        remaining, reset = self._slots(participant, challenge)
        if remaining == 0:
            raise WebappRefused(
                "The participant has no submission slots remaining for today.",
                submissions_remaining=0,
                reset_dttm=reset,
            )
        number = len(self.rows) + 1
        self.rows[number] = StubSubmission(
            id=number,
            participant=participant,
            challenge=challenge.name,
            created=self._seconds(),
            meta=_text(fields.meta),
            grades=[],
        )
        left = None if remaining is None else remaining - 1
        return Registered(
            submission_id=number, message="Participant scored", submissions_remaining=left, reset_dttm=reset
        )

    def _slots(self, participant: int, challenge: StubChallenge) -> tuple[int | None, datetime | None]:
        """Return how many submissions are left to a participant, and when the next slot opens."""
        if challenge.limit is None:
            return None, None
        now = self._seconds()
        times = [
            row.created
            for row in self.rows.values()
            if (row.participant, row.challenge) == (participant, challenge.name) and row.created > now - DAY
        ]
        opens = datetime.fromtimestamp(min(times, default=now) + DAY, UTC)
        return max(0, challenge.limit - len(times)), opens

    async def grade(self, submission_id: int, fields: GradeFields) -> Graded:
        """Put a grade on a submission."""
        return self._step("grade", (submission_id, fields), lambda: self._grade(submission_id, fields))

    def _grade(self, submission_id: int, fields: GradeFields) -> Graded:
        row = self.rows.get(submission_id)
        if row is None:
            raise WebappRefused(f"Couldn't find Submission with 'id'={submission_id}")
        if fields.grading_status == "graded" and fields.score is None:
            raise WebappRefused("A graded submission needs a score.")
        if fields.grading_status == "failed" and not fields.grading_message:
            raise WebappRefused("Grading message must be provided if grading = failed.")
        media = (fields.media_large, fields.media_thumbnail, fields.media_content_type)
        if any(media) and not all(media):
            raise WebappRefused(
                "Either all or none of media_large, media_thumbnail and media_content_type must be provided."
            )
        row.grades.append(fields)
        if fields.meta is not None:
            row.meta = _text({**(_object(row.meta) or {}), **(_object(_text(fields.meta)) or {})})
        return Graded(submission_id=submission_id, message=f"Submission {submission_id} updated")

    async def submission_info(self, submission_id: int) -> Submission | None:
        """Return a submission as it stands."""
        return self._step("submission_info", submission_id, lambda: self._shown(submission_id))

    def _shown(self, submission_id: int) -> Submission | None:
        row = self.rows.get(submission_id)
        if row is None:
            return None
        grade = row.grades[-1] if row.grades else None
        return Submission(
            id=row.id,
            grading_status=row.status,
            grading_message=grade.grading_message if grade else "",
            score=grade.score if grade else None,
            score_secondary=grade.score_secondary if grade else None,
            meta=_object(row.meta),
        )

    async def submissions(self, number: int, organizer_api_key: str) -> list[Submission]:
        """List the submissions of a challenge to its organizer."""
        return self._step("submissions", number, lambda: self._list(number, organizer_api_key))

    def _list(self, number: int, key: str) -> list[Submission]:
        for challenge in self.challenges.values():
            if challenge.info is not None and challenge.info.id == number:
                if not key or key != challenge.organizer_api_key:
                    raise WebappDenied("the key is not the organizer's")
                shown = [self._shown(row.id) for row in self.rows.values() if row.challenge == challenge.name]
                return [each for each in shown if each]
        return []

    async def check_key(self) -> None:
        """Return if the webapp is there."""
        self._step("check_key", None, lambda: None)


def _text(meta: JsonObject | str | None) -> str | None:
    return meta if meta is None or isinstance(meta, str) else msgspec.json.encode(meta).decode()


def _object(meta: str | None) -> JsonObject | None:
    try:
        value = msgspec.json.decode(meta or "null")
    except msgspec.DecodeError:
        return None
    return value if isinstance(value, dict) else None


verifyClass(IWebapp, StubWebapp)
