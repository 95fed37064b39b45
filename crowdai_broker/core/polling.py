"""The *poll* effect: watches the submission of a job whose grader puts the grade on it by itself.

Public HTTP graders know no broker: they answer that they have an order, and change its submission at the
webapp some time later. So the broker asks how the submission stands, and turns what it finds into the events
that another grader would have sent. It changes nothing there.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from ..config import ChallengeConfig
from ..errors import WebappError, WebappUnavailable
from ..interfaces import IWebapp
from .attempts import Attempts
from .events import JobEvent
from .grader_events import GraderEvent
from .lifecycle import finished, outdated, pointless, progressed
from .model import Effect, EffectDraft, EffectKind, EffectState, Job, JobState, Lane
from .outbox import Again, Settled, Verdict
from .webapp_model import JsonObject, Submission

FIRST: Final = 2.0  # s until a submission is looked at, and between the first looks
LONGEST: Final = 30.0  # s between looks
GROWS: Final = 1.3  # from each wait to the next
AT_ONCE: Final = 8  # looks under way on this node; the webapp has others to answer, too
NEXT: Final = 1.0  # s until a look that would be one more
OLD_GRADE: Final = 6  # looks for which the grade of a re-grade may be the old one

FINISHED: Final = frozenset({"graded", "failed"})
BEGUN: Final = "initiated"
OPEN: Final = "the submission waits for its grade"

_POLL = EffectKind.POLL
_FAILED = "The grader said that the grading failed, and not why."


def poll_effects(job: Job, config: ChallengeConfig, now: int) -> tuple[EffectDraft, ...]:
    """Return what is stored when a grader took an order and may never say anything of it here."""
    if config.grader.kind != "http" or job.grades_posted_by != "grader" or not job.submission_id:
        return ()
    return (EffectDraft(_POLL, job.attempt, now + int(FIRST * 1000)),)


class Polling:
    """Handles *poll* effects.

    The note of an effect says whether its submission was seen without a grade.
    """

    def __init__(self, clock: IReactorTime, webapp: IWebapp, attempts: Attempts) -> None:
        self._clock = clock
        self._webapp = webapp
        self._attempts = attempts
        self._under_way = 0

    async def __call__(self, effect: Effect, job: Job) -> Verdict:
        """Look how the submission stands."""
        if job.attempt != effect.body:
            return Settled(outdated(job, _POLL))
        if self._under_way >= AT_ONCE:
            return Again(EffectState.NEW, effect.note, after=NEXT, quiet=True)
        self._under_way += 1
        try:
            found = await self._webapp.submission_info(job.submission_id)
        except WebappError as error:
            asked = error.retry_after if isinstance(error, WebappUnavailable) else None
            return _later(effect, effect.note, at_least=asked or 0.0)
        finally:
            self._under_way -= 1
        if found is None:
            note = f"the webapp has no submission {job.submission_id}"
            return replace(_later(effect, note), quiet=effect.note == note)
        if found.grading_status not in FINISHED:
            return self._open(effect, job, found)
        if job.lane is Lane.REGRADE and effect.note != OPEN and effect.tries < OLD_GRADE:
            return _later(effect, effect.note)
        return self._finished(job, found)

    def _open(self, effect: Effect, job: Job, found: Submission) -> Again:
        """Wait on; a grader that says that it began is told of like one that says so here."""
        again = _later(effect, OPEN)
        if found.grading_status != BEGUN or job.state is JobState.RUNNING:
            return again
        return replace(again, notice=progressed(job, self._event(job, JobEvent.RUNNING, {}, "")), insist=True)

    def _finished(self, job: Job, found: Submission) -> Settled:
        now = int(self._clock.seconds() * 1000)
        self._attempts.forget(job.attempt)
        if found.grading_status == "graded":
            event = self._event(job, JobEvent.COMPLETE, _result(found), found.grading_message)
        else:
            event = self._event(job, JobEvent.ERROR, {}, found.grading_message or _FAILED)
        return Settled(replace(finished(job, event, now), done=_POLL), pointless(job, _POLL))

    @staticmethod
    def _event(job: Job, kind: JobEvent, data: JsonObject, message: str) -> GraderEvent:
        return GraderEvent(job.attempt, kind, data, message)


def _later(effect: Effect, note: str, at_least: float = 0.0) -> Again:
    wait = min(LONGEST, FIRST * GROWS ** min(effect.tries - 1, 20))
    return Again(EffectState.NEW, note, after=max(wait, at_least), quiet=True)


def _result(found: Submission) -> JsonObject:
    result: JsonObject = {"score": found.score}
    if found.score_secondary is not None:
        result["score_secondary"] = found.score_secondary
    return result
