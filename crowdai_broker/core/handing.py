"""The *dispatch* effect: hands an order to graders that the store cannot reach itself.

An order that may have been handed out, because whoever tried is gone, is not handed out again: the job gets
another attempt, and what the first one says from then on is late.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace
from twisted.internet.interfaces import IReactorTime

from ..errors import BrokerError, GraderRefused, GraderUnreachable
from ..interfaces import IGrader, IStore
from .catalogue import Catalogue
from .lifecycle import noted, refused_by_grader, returned, settled
from .model import IN_FLIGHT, Effect, EffectKind, EffectState, Job, Taken, order_text
from .outbox import Again, Settled, Verdict
from .presence import NOBODY, SOMEBODY


class HandingOut:
    """Handles *dispatch* effects."""

    def __init__(
        self, clock: IReactorTime, store: IStore, catalogue: Catalogue, graders: Mapping[str, IGrader]
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._graders = graders

    async def __call__(self, effect: Effect, job: Job) -> Verdict:
        """Hand the order out, if its attempt is still the job's."""
        over = settled(job, EffectKind.DISPATCH)
        if job.attempt != effect.body:
            return Settled(over)
        if effect.state is EffectState.SENT:
            return Settled(replace(returned(job), done=EffectKind.DISPATCH), over)
        try:
            await self._hand_out(job)
        except GraderRefused as error:
            now = int(self._clock.seconds() * 1000)
            return Settled(refused_by_grader(job, str(error), now), over)
        except BrokerError as error:
            return Again(EffectState.NEW, str(error), noted(job, IN_FLIGHT, NOBODY))
        if effect.note:  # its participant was told that nobody is there
            told = replace(noted(job, IN_FLIGHT, SOMEBODY), done=EffectKind.DISPATCH)
            return Settled(told, over)
        return Settled(over)

    async def _hand_out(self, job: Job) -> None:
        config = await self._catalogue.get(job.challenge)
        grader = self._graders.get(config.grader.kind)
        if grader is None:
            raise GraderUnreachable(f"no grader of kind {config.grader.kind} is served here")
        order = order_text(job, job.attempt, self._store.response_list(job.node))
        await grader.dispatch(config, Taken(job, order))
