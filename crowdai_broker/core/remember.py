"""A bounded cache of answers from outside: fresh for a while, stale in need, asked for once at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

Answer = TypeVar("Answer")
Ask = Callable[[], Coroutine[Any, Any, Answer]]


class Remembered(Generic[Answer]):
    """Answers by key.

    :param ttl: seconds for which an answer is used without asking again.
    :param limit: answers kept; the one used longest ago goes first.
    """

    def __init__(self, clock: IReactorTime, ttl: float, limit: int) -> None:
        self._clock = clock
        self._ttl = ttl
        self._limit = limit
        self._kept: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._asking: dict[str, list[Deferred[Answer]]] = {}

    def fresh(self, key: str) -> Answer | None:
        """Return the answer if it is younger than ``ttl``."""
        kept = self._kept.get(key)
        if kept is None or kept[0] <= self._clock.seconds():
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def stale(self, key: str) -> Answer | None:
        """Return the last answer, however old."""
        kept = self._kept.get(key)
        return None if kept is None else kept[1]

    async def get(self, key: str, ask: Ask[Answer]) -> Answer:
        """Return the fresh answer, or ask for it; whoever wants the same one meanwhile waits with us.

        ``None`` is an answer that is not kept. What ``ask`` raises is raised to all who wait.
        """
        answer = self.fresh(key)
        if answer is not None:
            return answer
        if key in self._asking:
            waiting: Deferred[Answer] = Deferred()
            self._asking[key].append(waiting)
            return await waiting
        self._asking[key] = []
        try:
            answer = await ask()
        except BaseException:
            failure = Failure()
            for waiting in self._asking.pop(key):
                waiting.errback(failure)
            raise
        self._keep(key, answer, self._ttl)
        for waiting in self._asking.pop(key):
            waiting.callback(answer)
        return answer

    def use_again(self, key: str, answer: Answer, seconds: float) -> Answer:
        """Use a stale answer, or one made up for want of one, for some seconds before asking again."""
        self._keep(key, answer, seconds)
        return answer

    def _keep(self, key: str, answer: Answer, seconds: float) -> None:
        if answer is None:
            return
        self._kept[key] = (self._clock.seconds() + seconds, answer)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
