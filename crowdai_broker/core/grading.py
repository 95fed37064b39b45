"""The *grade* effect: the score, or the failure, of a registered submission on the leaderboard.

The same PATCH twice leaves the same score but adds a row of grades at the webapp, so one whose answer never
came is compared with what the webapp has before it is repeated.
"""

from __future__ import annotations

import math

import msgspec

from ..errors import WebappError, WebappRefused, WebappUnavailable
from ..interfaces import IWebapp
from .lifecycle import graded, noted
from .model import TERMINAL, Effect, EffectState, Job
from .outbox import Again, Settled, Verdict, until_it_shows
from .webapp_model import GradeFields, Submission

_decode = msgspec.json.Decoder(GradeFields).decode

WAITS = (
    "Your result is safe here. The challenge site cannot be reached right now; the result will be posted on "
    "the leaderboard as soon as the site answers."
)
REFUSED = (
    "Your result is safe here, but the challenge site did not take it ({reason}). "
    "Its operators were told; you need not submit again."
)


class Grading:
    """Handles *grade* effects.

    :param doubt: seconds to let pass before a doubtful grade is looked for.
    """

    def __init__(self, webapp: IWebapp, doubt: float) -> None:
        self._webapp = webapp
        self._doubt = doubt

    async def __call__(self, effect: Effect, job: Job) -> Verdict:
        """Post the grade, unless it is there already."""
        fields = _decode(effect.body)
        if effect.state is EffectState.SENT:
            try:
                submission = await self._webapp.submission_info(job.submission_id)
            except WebappError as error:
                return _wait(EffectState.SENT, job, error)
            if submission is not None and shows(submission, fields):
                return Settled(graded(job.job_id))
        return await self._post(job, fields)

    async def _post(self, job: Job, fields: GradeFields) -> Verdict:
        """Post a grade that the webapp does not have."""
        try:
            await self._webapp.grade(job.submission_id, fields)
        except WebappRefused as error:
            notice = noted(job, TERMINAL, REFUSED.format(reason=error.message))
            return Again(EffectState.HELD, f"the webapp refused it: {error.message}", notice)
        except WebappUnavailable as error:
            if error.definitely_not_done:
                return _wait(EffectState.NEW, job, error)
            return _wait(EffectState.SENT, job, error, until_it_shows(self._doubt, error))
        except WebappError as error:  # the broker's key was denied: nothing was done
            return _wait(EffectState.NEW, job, error)
        return Settled(graded(job.job_id))


def _wait(state: EffectState, job: Job, error: WebappError, doubt: float | None = None) -> Again:
    """Try again when the webapp asked for it, after ``doubt`` seconds, or after growing waits."""
    asked = error.retry_after if isinstance(error, WebappUnavailable) else None
    return Again(state, str(error), noted(job, TERMINAL, WAITS), after=doubt if asked is None else asked)


def shows(submission: Submission, fields: GradeFields) -> bool:
    """Tell whether a submission has this grade already."""
    return (
        submission.grading_status == fields.grading_status
        and _same(submission.score, fields.score)
        and _same(submission.score_secondary, fields.score_secondary)
        and (fields.grading_status == "graded" or submission.grading_message == fields.grading_message)
    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
