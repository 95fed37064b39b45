"""From the backlog to the graders: challenges side by side, participants in turn."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..config import ChallengeConfig
from ..errors import BrokerError, StoreUnavailable
from ..interfaces import IGrader, IStore, Spawn
from .attempts import Attempts
from .catalogue import Catalogue
from .leases import lease_end
from .lifecycle import unseen
from .model import Handing, Move, Take, Taken

AT_ONCE = 32  # jobs taken in one step
NUMBER_BITS = 46  # unguessable, and exact in every language's numbers


def new_attempt_number() -> str:
    """Return a fresh number for an attempt, decimal digits."""
    return str(secrets.randbits(NUMBER_BITS) | 1 << NUMBER_BITS - 1)


class Dispatcher:
    """Gives waiting jobs to graders; a challenge at a time is worked on once at a time on this node.

    :param on_effects: called when orders were stored as effects.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        node: str,
        catalogue: Catalogue,
        graders: Mapping[str, IGrader],
        attempts: Attempts,
        spawn: Spawn,
        on_effects: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._node = node
        self._catalogue = catalogue
        self._graders = graders
        self._attempts = attempts
        self._spawn = spawn
        self._on_effects = on_effects
        self._busy: dict[str, bool] = {}  # challenges worked on; true: look once more
        self._failed: dict[str, Take | None] = {}  # challenges where the store failed; a take to be repeated
        self._unreturned: dict[str, list[Move]] = {}  # jobs that could not be handed out
        self._heard: set[str] = set()  # challenges whose work another node announced
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether jobs may be on their way to graders at this moment."""
        return bool(self._busy)

    def stop(self) -> None:
        """Take no more jobs."""
        self._stopped = True

    def poke(self, challenge: str) -> None:
        """Look whether a job of the challenge can go: one was queued, or a grader's place became free."""
        if self._stopped:
            return
        if challenge in self._busy:
            self._busy[challenge] = True
            return
        self._busy[challenge] = False
        self._spawn("dispatch", self._run(challenge))

    def hear(self, challenge: str) -> None:
        """Look whether a job that another node announced can go here."""
        if challenge not in self._busy:
            self._heard.add(challenge)
            self.poke(challenge)

    async def poke_all(self) -> None:
        """Look at every challenge that has a backlog."""
        for challenge in await self._store.backlog():
            self.poke(challenge)

    def mend(self) -> None:
        """Look again where the store failed."""
        for challenge in tuple(self._failed):
            self.poke(challenge)

    async def _run(self, challenge: str) -> None:
        try:
            config = await self._catalogue.get(challenge)
            await self._give_back(challenge)
            while not self._stopped and (await self._take(challenge, config) or self._busy[challenge]):
                continue
        except StoreUnavailable as error:
            self._failed.setdefault(challenge, None)
            self.log.warn("jobs of {challenge} wait: {error}", challenge=challenge, error=error)
        except BrokerError as error:
            self.log.warn("jobs of {challenge} cannot go out: {error}", challenge=challenge, error=error)
        finally:
            del self._busy[challenge]
            self._heard.discard(challenge)

    async def _take(self, challenge: str, config: ChallengeConfig) -> bool:
        """Dispatch up to :data:`AT_ONCE` jobs; return whether there may be more."""
        self._busy[challenge] = False
        grader = self._graders.get(config.grader.kind)
        if grader is None:
            self.log.error("no grader of kind {kind} is served here", kind=config.grader.kind)
            return False
        handing = grader.handing(config)
        room = min(AT_ONCE, grader.room(challenge, config)) if handing is Handing.HERE else AT_ONCE
        if room <= 0:
            await self._announce(challenge)
            return False
        take = self._prepared(challenge, config, handing, room)
        try:
            taken = await self._store.take(take)
        except StoreUnavailable:
            self._failed[challenge] = take
            raise
        for one in taken:
            self._attempts.add(one.job)
        if handing is Handing.HERE:
            return await self._hand_out(grader, config, taken) and len(taken) == room
        if taken and handing is Handing.BY_EFFECT:
            self._on_effects()
        return len(taken) == room

    async def _announce(self, challenge: str) -> None:
        """Nobody is connected here who could take a job: another node may know somebody."""
        if challenge not in self._heard and challenge in await self._store.backlog():
            await self._store.announce(challenge)

    def _prepared(self, challenge: str, config: ChallengeConfig, handing: Handing, room: int) -> Take:
        """Return what to ask for; after a failure with the same numbers, which name what was taken."""
        earlier = self._failed.pop(challenge, None)
        now = int(self._clock.seconds() * 1000)
        due = now + int(config.job_timeout * 1000)
        return Take(
            challenge=challenge,
            node=self._node,
            attempts=earlier.attempts if earlier else tuple(new_attempt_number() for _ in range(room)),
            limit=config.grader.max_in_flight,
            response_channel=self._store.response_list(self._node),
            push=handing is Handing.IN_STORE,
            effect=handing is Handing.BY_EFFECT,
            queue=config.grader.queue,
            now=now,
            due=lease_end(now, due) if handing is Handing.HERE else due,
        )

    async def _hand_out(self, grader: IGrader, config: ChallengeConfig, taken: Sequence[Taken]) -> bool:
        """Give orders to graders that are connected here; tell whether each found one."""
        returned = 0
        for one in taken:
            try:
                await grader.dispatch(config, one)
            except BrokerError as error:
                self.log.warn("{job} goes back: {error}", job=one.job.job_id, error=error)
                self._attempts.forget(one.job.attempt)
                self._unreturned.setdefault(one.job.challenge, []).append(unseen(one.job))
                returned += 1
        if returned:
            await self._give_back(taken[0].job.challenge)
        return not returned

    async def _give_back(self, challenge: str) -> None:
        """Put jobs back that could not be handed out."""
        moves = self._unreturned.get(challenge)
        if moves:
            await self._store.move(moves, self._node, int(self._clock.seconds() * 1000))
            del self._unreturned[challenge]
