"""Graders that are connected to this node, and the jobs that they hold.

A grader that loses its connection and comes back in time, to any node, goes on: the name of an attempt is
all that is needed to take it up again. Until then its jobs are leased (see :mod:`.leases`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer
from zope.interface.verify import verifyClass

from ..config import ChallengeConfig
from ..errors import BrokerError, GraderUnreachable, PeerError
from ..interfaces import IGrader, IStore, Spawn
from .capabilities import Capabilities
from .catalogue import Catalogue
from .connected_grader import ConnectedGrader, GraderPeer, Held, Hello
from .delivery import Delivery
from .leases import EXTEND, LEASE, Leases
from .model import IN_FLIGHT, Handing, Job, Taken
from .relay import Relay

LOOK = 1.0  # s between looks at leases; what the store did not take is tried again
CONFIRM = 20.0  # s for which a grader may take to confirm that it has an order
REST = 20.0  # s for which a grader that did not, or declined, gets no other one

SILENT = f"its grader did not confirm it within {CONFIRM:g} s"
LEFT = "its grader left"
REPLACED = "its grader was started anew"
ANOTHER = "another grader with this grader_id has connected"


@implementer(IGrader)
class ConnectedGraders:
    """Hands out jobs to the graders that are connected here.

    :param poke: called with a challenge when one of its graders may have room.
    :ivar on_joined: called with the challenges of a grader that has come, before it gets anything.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        catalogue: Catalogue,
        delivery: Delivery,
        relay: Relay,
        spawn: Spawn,
        poke: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._store = store
        self._catalogue = catalogue
        self._relay = relay
        self._spawn = spawn
        self._poke = poke
        self.on_joined: Callable[[frozenset[str]], None] = lambda challenges: None
        self._leases = Leases(clock, catalogue, delivery, relay.attempts, poke)
        self._capabilities = Capabilities(store)
        self._graders: dict[str, ConnectedGrader] = {}  # by key
        self._lost: dict[str, list[Held]] = {}  # what those held that were lost lately, by key
        self._holders: dict[str, ConnectedGrader] = {}  # by attempt number
        self._busy = False
        self._extending = LoopingCall(self._extend)
        self._extending.clock = clock

    def start(self) -> None:
        """Begin to extend leases."""
        self._extending.start(LOOK, now=False)

    def stop(self) -> None:
        """Extend no more: what is held goes on at another node, or comes back."""
        if self._extending.running:
            self._extending.stop()

    @property
    def graders(self) -> Sequence[ConnectedGrader]:
        """Those that are connected."""
        return tuple(self._graders.values())

    # -- handing out

    def handing(self, challenge: ChallengeConfig) -> Handing:
        """Orders go to who is connected here."""
        return Handing.HERE

    def room(self, name: str, challenge: ChallengeConfig) -> int:
        """Return how many more jobs of a challenge the graders here can take."""
        now = self._clock.seconds()
        return sum(grader.room(name, now) for grader in self._graders.values())

    async def dispatch(self, challenge: ChallengeConfig, order: Taken) -> None:
        """Send an order to the grader with the most room that can do it."""
        job = order.job
        content = json.loads(order.order)
        attempt_id = await self._capabilities.of(job.attempt)
        grader = self._choose(job.challenge, str(content["function_name"]))
        held = self._hold(grader, job, attempt_id, challenge)
        held.waiting = self._clock.callLater(CONFIRM, self._unconfirmed, grader, held)
        content["extra_params"]["api_key"] = ""
        content["attempt_id"] = attempt_id
        grader.peer.give(content, lambda taken: self._answered(grader, held, taken=taken))

    def _choose(self, challenge: str, function: str) -> ConnectedGrader:
        now = self._clock.seconds()
        rooms = [(grader.room(challenge, now), grader) for grader in self._graders.values()]
        able = [(room, grader) for room, grader in rooms if room and grader.can(function)]
        if not able:
            raise GraderUnreachable(f"no grader that is connected here has room for the function {function}")
        return max(able, key=lambda one: one[0])[1]

    def _hold(self, grader: ConnectedGrader, job: Job, attempt_id: str, challenge: ChallengeConfig) -> Held:
        deadline = job.dispatched_at + int(challenge.job_timeout * 1000)
        held = Held(job, attempt_id, deadline, self._clock.seconds() + EXTEND)
        grader.held[job.attempt] = held
        self._holders[job.attempt] = grader
        return held

    def _answered(self, grader: ConnectedGrader, held: Held, *, taken: bool) -> None:
        if held.waiting is None or grader.held.get(held.job.attempt) is not held:
            return
        if taken:
            grader.confirm(held)
            self._poke(held.job.challenge)
        else:
            self._rest(grader, held.job.challenge)
            self._give_back(grader, [held], None)

    def _unconfirmed(self, grader: ConnectedGrader, held: Held) -> None:
        self._rest(grader, held.job.challenge)
        grader.peer.cancel(held.attempt_id)
        self._give_back(grader, [held], SILENT)

    def _rest(self, grader: ConnectedGrader, challenge: str) -> None:
        grader.resting = self._clock.seconds() + REST
        self._clock.callLater(REST, self._poke, challenge)

    async def untaken(self, challenge: ChallengeConfig, queue: str) -> int:
        """Nothing lies anywhere: what nobody can take stays in the backlog."""
        return 0

    async def lies(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Nothing lies anywhere."""
        return False

    async def withdraw(self, challenge: ChallengeConfig, job: Job) -> bool:
        """Tell the job's grader, if it is here, that nobody waits for it."""
        grader = self._holders.get(job.attempt)
        if grader is None:
            return False
        held = grader.held[job.attempt]
        unconfirmed = held.waiting is not None
        self._cancel(grader, held)
        return unconfirmed

    # -- graders come and go

    def join(self, hello: Hello, peer: GraderPeer) -> ConnectedGrader:
        """Take in a grader that has proved who it is; an earlier connection of it ends."""
        grader = ConnectedGrader(hello, peer, self._clock.seconds())
        left = self._lost.pop(hello.key, [])
        earlier = self._graders.get(hello.key)
        self._graders[hello.key] = grader
        if earlier is not None:
            left = self._empty(earlier)
            earlier.peer.dismiss(ANOTHER)
        self.on_joined(hello.challenges)
        self._spawn("grader", self._take_up(grader, left))
        self.log.info("grader {grader} came", grader=hello.grader_id)
        return grader

    def leave(self, grader: ConnectedGrader, *, on_purpose: bool) -> None:
        """Note that a grader's connection has ended: what it held waits for it, unless it meant to go."""
        if self._graders.get(grader.hello.key) is not grader:
            return
        del self._graders[grader.hello.key]
        self.log.info("grader {grader} went", grader=grader.hello.grader_id)
        lost = [held for held in grader.held.values() if on_purpose or held.waiting is not None]
        self._give_back(grader, lost, LEFT)
        left = self._empty(grader)
        if left:
            self._lost[grader.hello.key] = left
            self._clock.callLater(LEASE, self._miss, grader.hello.key, left)
            self._spawn("leases", self._extend_all(left))

    def _miss(self, key: str, left: list[Held]) -> None:
        """Forget what a grader has held that did not come back."""
        if self._lost.get(key) is left:
            del self._lost[key]

    def _empty(self, grader: ConnectedGrader) -> list[Held]:
        """Take everything from a grader; nobody here holds it then."""
        everything = list(grader.held.values())
        for held in everything:
            self._forget(grader, held.job.attempt)
        return everything

    async def _take_up(self, grader: ConnectedGrader, left: Sequence[Held]) -> None:
        """Let a grader that came back go on with what it held.

        :param left: what it held until now. What it does not name goes to others; if it names nothing, it
            has the time of a lease to say something of it.
        """
        running = grader.hello.running
        for attempt_id in running or ():
            if not await self._is_its_own(grader, attempt_id):
                grader.peer.cancel(attempt_id)
        if running is None:
            await self._extend_all(left)
        else:
            unnamed = [held.job for held in left if held.attempt_id not in running]
            await self._leases.give_back(unnamed, REPLACED)
        for challenge in grader.hello.challenges:
            self._poke(challenge)

    async def _is_its_own(self, grader: ConnectedGrader, attempt_id: str) -> bool:
        """Tell whether a grader holds an attempt; one that is in nobody's hands comes into its own."""
        number = await self._capabilities.number_of(attempt_id)
        if number is None:
            return False
        if number in grader.held:
            return True
        (job,) = await self._store.attempts([number])
        if job is None or job.state not in IN_FLIGHT or job.challenge not in grader.hello.challenges:
            return False
        try:
            challenge = await self._catalogue.get(job.challenge)
        except PeerError:
            return False
        holder = self._holders.get(number)
        if holder is not None:
            self._forget(holder, number)
        held = self._hold(grader, job, attempt_id, challenge)
        (kept,) = await self._leases.extend([held])
        if not kept:
            self._forget(grader, number)
        return kept

    # -- what graders say

    async def hear(self, grader: ConnectedGrader, attempt_id: str, events: Sequence[bytes]) -> bool:
        """Apply events of an attempt; false if it is over, or not the grader's.

        :raises StoreUnavailable: they were applied or not; they are to be handed in again.
        """
        if not await self._is_its_own(grader, attempt_id):
            return False
        number = attempt_id.partition("-")[0]
        held = grader.held.get(number)
        if held is not None:
            grader.confirm(held)
        applied = await self._relay.apply(number, events)
        if held is not None and self._relay.attempts.get(number) is None:
            self._forget(grader, number)
            self._poke(held.job.challenge)
        return applied

    def resize(self, grader: ConnectedGrader, slots: int) -> None:
        """Let a grader take more jobs at once, or fewer; 0: it takes none any more."""
        grader.slots = slots
        for challenge in grader.hello.challenges:
            self._poke(challenge)

    # -- leases

    def _extend(self) -> None:
        now = self._clock.seconds()
        held = [held for grader in self._graders.values() for held in grader.held.values()]
        held = [one for one in held if one.extend_at <= now]
        if held and not self._busy:
            self._busy = True
            self._spawn("leases", self._extend_all(held))

    async def _extend_all(self, held: Sequence[Held]) -> None:
        try:
            kept = await self._leases.extend(held)
        except BrokerError as error:
            self.log.warn("leases of {count} jobs wait: {error}", count=len(held), error=error)
            return
        finally:
            self._busy = False
        for one, goes_on in zip(held, kept, strict=True):
            grader = self._holders.get(one.job.attempt)
            if not goes_on and grader is not None:
                self._cancel(grader, one)
                self._poke(one.job.challenge)

    def _give_back(self, grader: ConnectedGrader, given: Sequence[Held], why: str | None) -> None:
        for held in given:
            self._forget(grader, held.job.attempt)
            self._relay.attempts.forget(held.job.attempt)
        if given:
            self._spawn("giving back", self._leases.give_back([held.job for held in given], why))

    def _cancel(self, grader: ConnectedGrader, held: Held) -> None:
        grader.peer.cancel(held.attempt_id)
        self._forget(grader, held.job.attempt)

    def _forget(self, grader: ConnectedGrader, number: str) -> None:
        grader.let_go(number)
        if self._holders.get(number) is grader:
            del self._holders[number]


verifyClass(IGrader, ConnectedGraders)
