"""The *grade* effect: the score, or the failure, of a registered submission on the leaderboard.

The same PATCH twice leaves the same score but adds a row of grades at the webapp, so one whose answer never
came is compared with what the webapp has before it is repeated.
"""

from __future__ import annotations

import math

import msgspec

from ..errors import WebappDenied, WebappRefused, WebappUnavailable
from ..interfaces import IWebapp
from .lifecycle import graded, noted
from .model import TERMINAL, Effect, EffectState, Job
from .outbox import Again, Settled, Verdict
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
        try:
            if effect.state is EffectState.SENT and await self._is_there(job, fields):
                return Settled(graded(job.job_id))
            await self._webapp.grade(job.submission_id, fields)
        except WebappRefused as error:
            notice = noted(job, TERMINAL, REFUSED.format(reason=error.message))
            return Again(EffectState.HELD, f"the webapp refused it: {error.message}", notice)
        except WebappDenied as error:
            return Again(EffectState.NEW, str(error), noted(job, TERMINAL, WAITS))
        except WebappUnavailable as error:
            return self._unavailable(effect, job, error)
        return Settled(graded(job.job_id))

    def _unavailable(self, effect: Effect, job: Job, error: WebappUnavailable) -> Verdict:
        notice = noted(job, TERMINAL, WAITS)
        if error.definitely_not_done and effect.state is EffectState.NEW:
            return Again(EffectState.NEW, str(error), notice, after=error.retry_after)
        first = effect.state is EffectState.NEW
        return Again(EffectState.SENT, str(error), notice, after=self._doubt if first else error.retry_after)

    async def _is_there(self, job: Job, fields: GradeFields) -> bool:
        submission = await self._webapp.submission_info(job.submission_id)
        return submission is not None and shows(submission, fields)


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
