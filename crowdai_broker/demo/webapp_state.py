"""The small webapp's rules: who may submit, how often, and what a grade does.

The rules and their order were read off the public crowdAI webapp, awkward ones included: a submission is
made *before* its media fields and its grade are looked at, so a refusal can leave a row behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from .webapp_records import (
    DAY,
    GRADING_STATUSES,
    INCOMPLETE_MEDIA,
    MEDIA,
    NO_CHALLENGE,
    NO_MESSAGE,
    NO_PARTICIPANT,
    NO_ROUND,
    NO_SCORE,
    NO_SLOTS,
    NO_STATUS,
    NOT_OPEN,
    NOT_QUALIFIED,
    TOO_MANY_PARALLEL,
    Challenge,
    Participant,
    Refusal,
    Round,
    Submission,
    ruby_time,
)

Params = dict[str, Any]

_PERIODS = {"day": DAY, "week": 7 * DAY}


def _given(params: Params, name: str) -> Any:
    """Return a parameter, or ``None`` where Rails would call it blank."""
    value = params.get(name)
    return None if isinstance(value, str) and not value.strip() else value


def _object(meta: Any) -> dict[str, Any]:
    if isinstance(meta, str):
        try:
            meta = msgspec.json.decode(meta)
        except msgspec.DecodeError:
            return {}
    return meta if isinstance(meta, dict) else {}


class WebappState:
    """All of the small webapp's records.

    :param clock: returns the time in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.participants: dict[int, Participant] = {}
        self.challenges: dict[int, Challenge] = {}
        self.submissions: dict[int, Submission] = {}
        self._numbers = itertools.count(1)
        self._round_numbers = itertools.count(1)

    # --- filling it -----------------------------------------------------------------------------------

    def add_participant(self, name: str, api_key: str) -> Participant:
        """Add a participant, numbered from 1."""
        added = Participant(len(self.participants) + 1, name, api_key)
        self.participants[added.id] = added
        return added

    def add_challenge(
        self, number: int, client_name: str, *, rounds: Iterable[Round] | None = None, **fields: Any
    ) -> Challenge:
        """Add a challenge; without ``rounds`` it has one, open from yesterday for thirty days.

        :param fields: further members of :class:`Challenge`.
        """
        if rounds is None:
            rounds = [self.round()]
        fields.setdefault("title", client_name)
        fields.setdefault("organizer_api_key", f"organizer-of-{number}")
        added = Challenge(number=number, client_name=client_name, rounds=list(rounds), **fields)
        self.challenges[number] = added
        return added

    def round(self, start_day: float = -1, end_day: float = 30, **fields: Any) -> Round:
        """Return a new round that begins and ends so many days from now."""
        number = next(self._round_numbers)
        now = self.clock()
        fields.setdefault("name", f"Round {number}")
        return Round(id=number, start=now + start_day * DAY, end=now + end_day * DAY, **fields)

    # --- asking it ------------------------------------------------------------------------------------

    def participant(self, api_key: Any) -> Participant | None:
        """Return whose key that is."""
        return next((each for each in self.participants.values() if each.api_key == api_key), None)

    def challenge_named(self, client_name: Any) -> Challenge | None:
        """Return the challenge that clients call so."""
        return next((each for each in self.challenges.values() if each.client_name == client_name), None)

    def is_organizer(self, key: str) -> bool:
        """Tell whether some organizer has that key."""
        return any(key == each.organizer_api_key for each in self.challenges.values())

    def current_round(self, challenge: Challenge) -> Round | None:
        """Return the round that is open now; of a perpetual challenge the last one always is."""
        now = self.clock()
        for each in challenge.rounds:
            if each.active and each.start <= now <= each.end:
                return each
        return challenge.rounds[-1] if challenge.perpetual and challenge.rounds else None

    def slots(self, challenge: Challenge, participant_id: int) -> tuple[int, str | None]:
        """Return how many submissions are left to a participant, and when the next slot opens."""
        current = self.current_round(challenge)
        if current is None:
            return 1, None
        made = self._made(challenge, current, participant_id)
        failed = sum(each.grading_status == "failed" for each in made)
        left = current.submission_limit - len(made) + min(failed, current.failed_submissions)
        period = _PERIODS.get(current.submission_limit_period)
        return left, ruby_time(made[0].created_at + period) if made and period else None

    def _made(self, challenge: Challenge, current: Round, participant_id: int) -> list[Submission]:
        """Return the submissions that count against the round's limit now, oldest first."""
        period = _PERIODS.get(current.submission_limit_period)
        since = self.clock() - period if period else float("-inf")
        return [
            each
            for each in self.submissions.values()
            if each.participant_id == participant_id
            and each.challenge_number == challenge.number
            and each.created_at >= since
            and (period or each.round_id == current.id)
        ]

    def of_challenge(self, number: int) -> list[Submission]:
        """Return a challenge's submissions in the order they were made."""
        return [each for each in self.submissions.values() if each.challenge_number == number]

    # --- submitting -----------------------------------------------------------------------------------

    def create(self, params: Params) -> tuple[Submission, str]:
        """Make a submission, as the webapp's POST does; return it and its participant's name.

        :raises Refusal: a rule forbids it, or, with the row already there, its fields are wrong.
        """
        participant = self.participant(params.get("api_key"))
        if participant is None:
            raise Refusal(NO_PARTICIPANT)
        challenge = self.challenge_named(params.get("challenge_client_name"))
        if challenge is None:
            raise Refusal(NO_CHALLENGE)
        round_id = self._round_id(challenge, params)
        self._check_allowed(challenge, participant)
        remaining, reset = self.slots(challenge, participant.id)
        if remaining < 1:
            raise Refusal(NO_SLOTS, remaining, reset)
        made = Submission(
            next(self._numbers),
            participant.id,
            challenge.number,
            round_id,
            self.clock(),
            meta=params.get("meta"),
        )
        self.submissions[made.id] = made
        try:
            self._describe(made, params)
            self._grade(made, params)
        except Refusal as refusal:
            raise Refusal(str(refusal), remaining, reset) from None
        return made, participant.name

    def _round_id(self, challenge: Challenge, params: Params) -> int:
        asked = _given(params, "challenge_round_id")
        if asked is not None:
            if str(asked) not in {str(each.id) for each in challenge.rounds}:
                raise Refusal(NO_ROUND)
            return int(asked)
        current = self.current_round(challenge)
        if current is None:
            raise Refusal(NOT_OPEN)
        return current.id

    def _check_allowed(self, challenge: Challenge, participant: Participant) -> None:
        current = self.current_round(challenge)
        if current is None:
            raise Refusal(NOT_OPEN)
        before = challenge.rounds.index(current) - 1
        if before >= 0 and not self._qualified(challenge, challenge.rounds[before], participant):
            raise Refusal(NOT_QUALIFIED)
        waiting = sum(
            each.grading_status == "submitted" and each.participant_id == participant.id
            for each in self.of_challenge(challenge.number)
        )
        if current.parallel_submissions and waiting >= current.parallel_submissions:
            raise Refusal(TOO_MANY_PARALLEL)

    def _qualified(self, challenge: Challenge, previous: Round, participant: Participant) -> bool:
        if previous.minimum_score is None:
            return True
        scores = [
            each.score
            for each in self.of_challenge(challenge.number)
            if each.participant_id == participant.id and each.round_id == previous.id
        ]
        return any(score is not None and score >= previous.minimum_score for score in scores)

    def update(self, submission_id: str, params: Params) -> Submission:
        """Change a submission, as the webapp's PATCH does; with a ``grading_status`` it gets a grade more.

        :raises Refusal: there is no such submission, or its fields are wrong.
        """
        found = self.find(submission_id)
        found.patches += 1
        self._describe(found, params)
        if _given(params, "meta") is not None:
            found.meta = {**_object(found.meta), **_object(params["meta"])}
        if _given(params, "grading_status") is not None:
            self._grade(found, params)
        return found

    def find(self, submission_id: str) -> Submission:
        """Return a submission.

        :raises Refusal: there is none, in the words of Rails.
        """
        found = self.submissions.get(int(submission_id)) if submission_id.isdecimal() else None
        if found is None:
            raise Refusal(f"Couldn't find Submission with 'id'={submission_id}")
        return found

    def _describe(self, row: Submission, params: Params) -> None:
        media = {name: str(params[name]) for name in MEDIA if _given(params, name) is not None}
        if len(media) not in (0, len(MEDIA)):
            raise Refusal(INCOMPLETE_MEDIA)
        row.media = media or row.media
        text = _given(params, "description_markdown") or _given(params, "comment")
        if text is not None:
            row.description_markdown = str(text)

    def _grade(self, row: Submission, params: Params) -> None:
        status = params.get("grading_status")
        if status not in GRADING_STATUSES:
            raise Refusal(NO_STATUS)
        message = _given(params, "grading_message")
        if status == "failed" and message is None:
            raise Refusal(NO_MESSAGE)
        if status == "graded" and _given(params, "score") is None:
            raise Refusal(NO_SCORE)
        scored = status == "graded"
        row.grading_status = status
        row.grading_message = message
        row.score = _number(params, "score") if scored else None
        row.score_secondary = _number(params, "score_secondary") if scored else None
        row.grades.append({"grading_status": status, "score": row.score, "grading_message": message})

    # --- the leaderboard ------------------------------------------------------------------------------

    def leaderboard(self, challenge: Challenge) -> list[dict[str, Any]]:
        """Return one line a participant with a grade, the best first: its best score and its entries."""
        ascending = challenge.primary_sort_order == "ascending"
        best: dict[int, Submission] = {}
        entries: dict[int, int] = {}
        for each in self.of_challenge(challenge.number):
            if each.score is None:
                continue
            entries[each.participant_id] = entries.get(each.participant_id, 0) + 1
            held = best.get(each.participant_id)
            if held is None or _rank(each, ascending) < _rank(held, ascending):
                best[each.participant_id] = each
        ordered = sorted(best.values(), key=lambda row: _rank(row, ascending))
        return [
            {
                "rank": rank,
                "participant": self.participants[row.participant_id].name,
                "score": row.score,
                "score_secondary": row.score_secondary,
                "entries": entries[row.participant_id],
                "submission_id": row.id,
            }
            for rank, row in enumerate(ordered, 1)
        ]


def _rank(row: Submission, ascending: bool) -> tuple[float, float, int]:
    assert row.score is not None
    second = row.score_secondary or 0.0
    return (row.score if ascending else -row.score, -second, row.id)


def _number(params: Params, name: str) -> float | None:
    value = _given(params, name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0  # what Rails makes of a text in a column of numbers
