"""Ends a node at any step: its calls of the store and the webapp are counted, and one of them is the last."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from crowdai_broker.core.delivery import Subscription
from crowdai_broker.interfaces import IGrader, IStore, IWebapp
from crowdai_broker.memory_store import MemoryStore, When
from crowdai_broker.testing import GraderJob

from .world import Participant, Running, World

SCORES = {"a": 0.25, "b": 0.5}  # by item


class Crashed(BaseException):
    """The process is gone. Nothing catches it, so nothing happens after it."""


class Fuse:
    """Counts calls, and burns at one of them.

    :param last: number of the call, from 1, that is the last; 0: none is.
    :param when: whether the last call still does its work, its answer unseen.
    """

    def __init__(self, last: int = 0, when: When = "before") -> None:
        self.calls = 0
        self.burnt = False
        self._last = last
        self._when = when

    async def call(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Let a call through, unless the node is gone."""
        if self.burnt:
            raise Crashed
        self.calls += 1
        if self.calls != self._last:
            return await method(*args, **kwargs)
        self.burnt = True
        if self._when == "after":
            await method(*args, **kwargs)
        raise Crashed


class Guarded:
    """Something whose calls end with a fuse.

    :param names: of the methods that answer later; others go through.
    """

    def __init__(self, whole: Any, fuse: Fuse, names: Collection[str]) -> None:
        self._whole = whole
        self._fuse = fuse
        self._names = names

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._whole, name)
        if name not in self._names:
            return method
        return lambda *args, **kwargs: self._fuse.call(method, args, kwargs)


class Story:
    """One submission of two items, told from request to leaderboard through any number of crashes.

    The participant's client asks again with its idempotency key, the graders and the webapp never notice.

    :param fuses: one for each node but the last, which has none.
    :param silent: orders that the grader takes and never answers.
    """

    def __init__(self, world: World, fuses: list[Fuse], silent: int = 0) -> None:
        self.world = world
        self.fuses = [*fuses, Fuse()]
        self.started = 0
        self.ada: Participant | None = None
        self.subscription: Subscription | None = None
        self._silent = silent
        self._grading: list[tuple[int, GraderJob]] = []

    def tell(self, seconds: int) -> None:
        """Let it happen, at most for so long after the last crash."""
        quiet_since = 0
        for _ in range(seconds):
            self._step()
            quiet_since = quiet_since + 1 if self._over() else 0
            if quiet_since > 2:
                return

    def _step(self) -> None:
        if not self.world.nodes:
            self._guarded(self._start)
        elif self.subscription is None:
            self._guarded(self._ask)
        self._grade()
        self._guarded(self.world.pump)
        self.world.clock.advance(1)
        self._bury()

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except Crashed:
            self._bury()

    def _start(self) -> None:
        number = self.started = self.started + 1
        fuse = self.fuses[number - 1]
        store = MemoryStore(self.world.redis, f"n{number}")
        running = Running(
            self.world,
            store.node,
            Guarded(store, fuse, set(IStore) - {"response_list", "listen"}),
            Guarded(self.world.webapp, fuse, set(IWebapp)),
            self.world.config,
            self._graders(fuse),
        )
        self.world.nodes.append(running)
        running.start()

    def _graders(self, fuse: Fuse) -> Mapping[str, IGrader]:
        """Return the graders as a node has them."""
        return self.world.graders

    def _ask(self) -> None:
        self.ada = Participant(self.world.nodes[0])
        self.subscription = self.ada.execute(data=list(SCORES), parallel=True, idempotency_key="k")

    def _grade(self) -> None:
        """Take what lies there; say something of it now, more a second later, and the result then."""
        grading = [(0, job) for job in self.world.grader.take_all()]
        while self._silent and grading:
            grading.pop()
            self._silent -= 1
        for age, job in self._grading + grading:
            if age == 0:
                job.say("RUNNING")
                job.progress(1)
                job.progress(2)
            elif age == 1:
                job.progress(90)
            else:
                job.complete(score=SCORES[job.order["data"]])
                continue
            grading = [other for other in grading if other[1] is not job] + [(age + 1, job)]
        self._grading = grading

    def _bury(self) -> None:
        """Remove a node whose fuse has burnt, and the participant's connection with it."""
        if self.world.nodes and self.fuses[self.started - 1].burnt:
            self.world.kill(self.world.nodes[0])
            self.subscription = None

    def _over(self) -> bool:
        state = self.world.redis
        return bool(self.ada and self.ada.acks and self.subscription) and not state.effects
