"""What the webapp's answers mean: from status and body to values and errors.

Pure functions. Everything is read leniently, for the answers were written by several ages of a Rails
site: numbers come as strings, ids too, dates in Ruby's or in ISO form, ``meta`` as an object or as text.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

import msgspec
from msgspec import Struct

from ..core.webapp_model import (
    ChallengeInfo,
    ChallengeLookup,
    Graded,
    JsonObject,
    Lookup,
    Registered,
    Round,
    Submission,
)
from ..errors import WebappDenied, WebappRefused, WebappUnavailable

MAX_RETRY_AFTER = 3600.0  # seconds; more is not waited for at the server's word
MAX_MESSAGE = 2000  # characters of a message that are passed on

TURNED_AWAY = frozenset({301, 307, 308, 403, 404, 405, 413, 414, 429})
"""Statuses with which a server or a proxy before it turns a request away without acting on it."""

GATEWAY_TIMEOUT = 504  #: a proxy's word that the webapp has not answered it

_RUBY_UTC = re.compile(r"\s+UTC$")
_SPACED_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")


class Answer(Struct, frozen=True):
    """An answer as it came: its status, its body, and the seconds of its ``Retry-After``."""

    status: int
    body: bytes = b""
    retry_after: float | None = None


# --- values -------------------------------------------------------------------------------------------


def as_time(value: object) -> datetime | None:
    """Read ``2017-10-30 06:02:02 UTC`` or an ISO form; without a zone it is UTC; anything else: ``None``."""
    if not isinstance(value, str):
        return None
    text = _SPACED_OFFSET.sub("", _RUBY_UTC.sub("+00:00", value.strip()))
    try:
        read = datetime.fromisoformat(text)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def as_int(value: object) -> int | None:
    """Read a whole number of 64 bits, in a string too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value):
        value = int(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def as_float(value: object) -> float | None:
    """Read a finite number, in a string too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_text(value: object) -> str:
    """Read a text; of anything that is not one, nothing."""
    return value[:MAX_MESSAGE] if isinstance(value, str) else ""


def as_object(value: object) -> JsonObject | None:
    """Read an object, or a string of JSON that is one."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def retry_after(header: str | None, now: float) -> float | None:
    """Read ``Retry-After`` (RFC 9110, section 10.2.3): seconds, or a date; bounded to an hour.

    :param now: seconds since the epoch.
    """
    if header is None:
        return None
    seconds = as_float(header)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


# --- answers ------------------------------------------------------------------------------------------


def _decoded(answer: Answer) -> object:
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _unusable(answer: Answer, what: str) -> NoReturn:
    """Raise for an answer that no rule of ``what`` covers."""
    if answer.status == 401:
        raise WebappDenied(f"the webapp does not accept the key used for {what}")
    raise WebappUnavailable(
        f"the webapp answered {what} with status {answer.status}"
        + ("" if answer.status >= 300 else " and nothing that could be read"),
        definitely_not_done=answer.status in TURNED_AWAY,
        retry_after=answer.retry_after,
        still_at_work=answer.status == GATEWAY_TIMEOUT,
    )


def _object(answer: Answer, *statuses: int) -> JsonObject | None:
    """Return the JSON object of an answer that has one of these statuses, else ``None``."""
    body = _decoded(answer) if answer.status in statuses else None
    return body if isinstance(body, dict) else None


def participant(answer: Answer) -> int | None:
    """Read ``GET /api/external_graders/<participant key>``; a 404 counts only if it is the webapp's own."""
    found = _object(answer, 200)
    number = as_int(found.get("participant_id")) if found is not None else None
    if number is not None:
        return number
    if _object(answer, 404) is not None:
        return None
    _unusable(answer, "the check of a participant's key")


def challenge_config(answer: Answer) -> ChallengeLookup:
    """Read ``GET …/challenge_config``; a 404, JSON or page, is a webapp that does not have it."""
    found = _object(answer, 200)
    if found is not None and isinstance(found.get("config"), (dict, type(None))):
        return ChallengeLookup(Lookup.FOUND, as_object(found.get("config")))
    if _object(answer, 400) is not None:
        return ChallengeLookup(Lookup.UNKNOWN)
    if answer.status == 404:
        return ChallengeLookup(Lookup.UNSUPPORTED)
    _unusable(answer, "the look-up of a challenge")


def challenge(answer: Answer) -> ChallengeInfo | None:
    """Read ``GET /api/challenges/<number>``."""
    found = _object(answer, 200)
    info = found.get("message") if found is not None else None
    number = as_int(info.get("id")) if isinstance(info, dict) else None
    if isinstance(info, dict) and number is not None:
        return _challenge(number, info)
    if answer.status == 404:
        return None
    _unusable(answer, "the question for a challenge's rounds")


def _challenge(number: int, info: JsonObject) -> ChallengeInfo:
    listed = info.get("challenge_rounds")
    rounds = (_round(each) for each in listed) if isinstance(listed, list) else ()
    return ChallengeInfo(
        id=number,
        name=as_text(info.get("challenge")),
        status=as_text(info.get("status_cd")),
        primary_sort_order=as_text(info.get("primary_sort_order_cd")),
        perpetual=info.get("perpetual_challenge") is True,
        grading_factor=as_float(info.get("grading_factor")),
        rounds=tuple(each for each in rounds if each is not None),
    )


def _round(given: object) -> Round | None:
    number = as_int(given.get("id")) if isinstance(given, dict) else None
    if not isinstance(given, dict) or number is None:
        return None
    return Round(
        id=number,
        name=as_text(given.get("challenge_round")),
        active=given.get("active") is True,
        submission_limit=as_int(given.get("submission_limit")),
        submission_limit_period=as_text(given.get("submission_limit_period_cd")),
        start=as_time(given.get("start_dttm")),
        end=as_time(given.get("end_dttm")),
        failed_submissions=as_int(given.get("failed_submissions")),
        parallel_submissions=as_int(given.get("parallel_submissions")),
    )


def _refuse(answer: Answer, what: str) -> None:
    """Raise :class:`WebappRefused` if the answer is a 400."""
    if answer.status != 400:
        return
    body = _object(answer, 400) or {}
    message = as_text(body.get("message")) or f"The webapp refused {what} without saying why."
    raise WebappRefused(
        message,
        submissions_remaining=as_int(body.get("submissions_remaining")),
        reset_dttm=as_time(body.get("reset_dttm")) or as_time(body.get("reset_date")),
    )


def registered(answer: Answer) -> Registered:
    """Read the answer to the POST that creates a submission (202; any 2xx with an id counts)."""
    _refuse(answer, "the submission")
    done = _object(answer, 200, 201, 202)
    number = as_int(done.get("submission_id")) if done is not None else None
    if done is None or number is None:
        _unusable(answer, "the registration of a submission")
    return Registered(
        submission_id=number,
        message=as_text(done.get("message")),
        submissions_remaining=as_int(done.get("submissions_remaining")),
        reset_dttm=as_time(done.get("reset_dttm")),
    )


def graded(answer: Answer, submission_id: int) -> Graded:
    """Read the answer to the PATCH that grades a submission; its reset is called ``reset_date``."""
    _refuse(answer, "the grade")
    done = _object(answer, 200, 202)
    if done is None:
        _unusable(answer, "the grade of a submission")
    return Graded(
        submission_id=submission_id,
        message=as_text(done.get("message")),
        submissions_remaining=as_int(done.get("submissions_remaining")),
        reset_dttm=as_time(done.get("reset_date")) or as_time(done.get("reset_dttm")),
    )


def submission_info(answer: Answer) -> Submission | None:
    """Read ``…/submission_info``, whose ``body`` is a string of JSON; 400: there is no such submission."""
    found = _object(answer, 200)
    kept = submission(as_object(found.get("body"))) if found is not None else None
    if kept is not None:
        return kept
    if _object(answer, 400) is not None:
        return None
    _unusable(answer, "the question for a submission")


def submission(given: object) -> Submission | None:
    """Read one submission; ``None`` where it has no id."""
    number = as_int(given.get("id")) if isinstance(given, dict) else None
    if not isinstance(given, dict) or number is None:
        return None
    return Submission(
        id=number,
        grading_status=as_text(given.get("grading_status_cd")),
        grading_message=as_text(given.get("grading_message")),
        score=as_float(given.get("score")),
        score_secondary=as_float(given.get("score_secondary")),
        meta=as_object(given.get("meta")),
    )


def submissions(answer: Answer) -> list[Submission]:
    """Read a challenge's list of submissions.

    The list is asked for to learn that a submission is *not* there, so one whose items do not show their
    ``meta`` at all (an older serializer of the webapp) is no answer.
    """
    listed = _decoded(answer) if answer.status == 200 else None
    if not isinstance(listed, list):
        _unusable(answer, "the question for a challenge's submissions")
    read = [submission(each) for each in listed]
    kept = [each for each in read if each is not None]
    if len(kept) != len(listed) or not all("meta" in each for each in listed):
        raise WebappUnavailable(
            "the webapp's list of submissions shows no meta, so nothing can be found in it",
            definitely_not_done=True,
        )
    return kept
