"""The *dispatch* effect: hands an order to graders that the store cannot reach itself.

An order that may have been handed out, because whoever tried is gone, is not handed out again: the job gets
another attempt, and what the first one says from then on is late. While no grader can be reached, no time
and no attempt of the job is used up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..config import ChallengeConfig
from ..errors import BrokerError, GraderBusy, GraderRefused, GraderUnreachable
from ..interfaces import IGrader, IStore
from .attempts import Attempts
from .catalogue import Catalogue
from .events import JobEvent, draft
from .lifecycle import (
    handed_out,
    never_handed_out,
    noted,
    outdated,
    pointless,
    refused_by_grader,
    returned,
)
from .model import IN_FLIGHT, Effect, EffectKind, EffectState, Job, JobState, Taken, order_text
from .outbox import Again, Settled, Verdict
from .polling import poll_effects
from .presence import NOBODY, SOMEBODY

FOR_HOURS: Final = 48  # for which an order is tried to be handed out
LONGEST_WAIT: Final = 15.0  # s between tries to reach a grader
BUSY_WAIT: Final = 0.25  # s until an order is tried again that others stood in the way of

_DISPATCH = EffectKind.DISPATCH


class HandingOut:
    """Handles *dispatch* effects."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        catalogue: Catalogue,
        graders: Mapping[str, IGrader],
        attempts: Attempts,
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._graders = graders
        self._attempts = attempts

    async def __call__(self, effect: Effect, job: Job) -> Verdict:
        """Hand the order out, if its attempt is still the job's."""
        if job.attempt != effect.body:
            return Settled(outdated(job, _DISPATCH))
        try:
            config = await self._catalogue.get(job.challenge)
            if effect.state is EffectState.SENT:
                return self._after_doubt(effect, job, config)
            await self._hand_out(config, job)
        except GraderRefused as error:
            return Settled(refused_by_grader(job, str(error), self._now()), pointless(job, _DISPATCH))
        except GraderBusy:
            return Again(EffectState.NEW, effect.note, after=BUSY_WAIT, quiet=True)
        except BrokerError as error:
            return self._later(effect, job, error)
        return self._taken(effect, job, config)

    async def _hand_out(self, config: ChallengeConfig, job: Job) -> None:
        grader = self._graders.get(config.grader.kind)
        if grader is None:
            raise GraderUnreachable(f"no grader of kind {config.grader.kind} is served here")
        order = order_text(job, job.attempt, self._store.response_list(job.node))
        await grader.dispatch(config, Taken(job, order))

    def _after_doubt(self, effect: Effect, job: Job, config: ChallengeConfig) -> Verdict:
        """Settle an order that may have been handed out: a grader that was heard of has it."""
        if job.state is JobState.RUNNING:
            return self._taken(effect, job, config)
        return Settled(replace(returned(job), done=_DISPATCH), pointless(job, _DISPATCH))

    def _taken(self, effect: Effect, job: Job, config: ChallengeConfig) -> Settled:
        now = self._now()
        due = now + int(config.job_timeout * 1000)
        self._attempts.restart(job.attempt, now, due, job.state)
        told = [draft(job, JobEvent.INFO, SOMEBODY)] if effect.note else []
        return Settled(handed_out(job, due, poll_effects(job, config, now), told), pointless(job, _DISPATCH))

    def _later(self, effect: Effect, job: Job, error: BrokerError) -> Verdict:
        """Try again later, but not for ever.

        That no grader is there is told once, and once more when one took the order.
        """
        now = self._now()
        if now - effect.since >= FOR_HOURS * 3_600_000:
            return Settled(never_handed_out(job, FOR_HOURS, now), pointless(job, _DISPATCH))
        after = min(LONGEST_WAIT, 2.0 ** min(effect.tries - 1, 10))
        if isinstance(error, GraderUnreachable):
            return Again(EffectState.NEW, str(error), noted(job, IN_FLIGHT, NOBODY), after=after)
        self.log.warn("the order of {job} waits: {error}", job=job.job_id, error=error)
        return Again(effect.state, effect.note, after=after, quiet=True)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
