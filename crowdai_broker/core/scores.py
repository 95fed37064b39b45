"""From a grader's result to what the leaderboard gets.

The field names are the webapp's; what public graders call otherwise (``secondary_score``, ``comment``) is
renamed. Keys that are null or empty count as absent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import BrokerError
from .events import shorten
from .grader_events import as_finite
from .webapp_model import GradeFields, JsonObject

_MEDIA = ("media_large", "media_thumbnail", "media_content_type")


class NoScore(BrokerError):
    """A grader's result has no score that could go on a leaderboard; the text is for the participant."""


def grade_fields(result: dict[str, Any], marks: JsonObject) -> GradeFields:
    """Return the body of the call that grades a submission.

    :param result: the ``data`` of a grader's ``COMPLETE``.
    :param marks: what ``meta`` must keep saying, so that the submission can be found by it.
    :raises NoScore: ``score`` is missing, or a score is no finite number.
    """
    score = _score(result, "score")
    if score is None:
        raise NoScore(
            "The grader returned no score. Nothing was put on the leaderboard; "
            "please tell the organizers of the challenge."
        )
    meta = _given(result, "meta")
    round_id = as_finite(_given(result, "challenge_round_id"))
    return GradeFields(
        grading_status="graded",
        score=score,
        score_secondary=_score(result, "score_secondary", "secondary_score"),
        description_markdown=str(_given(result, "description_markdown", "comment") or ""),
        meta=None if meta is None else {**_object(meta), **marks},
        challenge_round_id=None if round_id is None else int(round_id),
        **_media(result),
    )


def failure_fields(message: str) -> GradeFields:
    """Return the body of the call that says that a submission's grading failed."""
    return GradeFields(
        grading_status="failed", grading_message=shorten(message.strip()) or "The grading failed."
    )


def _given(result: dict[str, Any], *names: str) -> Any:
    """Return the first of these members that is neither null nor empty, else ``None``."""
    for name in names:
        value = result.get(name)
        if value is not None and value != "":
            return value
    return None


def _score(result: dict[str, Any], *names: str) -> float | None:
    """Return the score under the first of ``names`` that is given.

    :raises NoScore: it is given but is not a finite number (a number in a string counts as one).
    """
    value = _given(result, *names)
    if value is None:
        return None
    number = as_finite(value)
    if number is None:
        raise NoScore(
            f"The grader returned a {names[0]} that is not a finite number: {str(value)[:80]!r}. "
            "Nothing was put on the leaderboard; please tell the organizers of the challenge."
        )
    return number


def _media(result: dict[str, Any]) -> dict[str, str]:
    """Return the media fields: the webapp refuses a grade that has only some of the three."""
    values = {name: _given(result, name) for name in _MEDIA}
    if any(value is None for value in values.values()):
        return {}
    return {name: str(value) for name, value in values.items()}


def _object(meta: Any) -> JsonObject:
    """Return ``meta`` as an object; public graders give it as one or as a string of JSON."""
    if isinstance(meta, str):
        try:
            meta = msgspec.json.decode(meta)
        except msgspec.DecodeError:
            return {"meta": meta}
    return meta if isinstance(meta, dict) else {"meta": meta}
