"""Background work in tests: what was begun, what still runs, what failed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Spawned:
    """Runs background work at once, as far as it gets.

    :ivar running: names of work that has not ended.
    :ivar failures: what work failed with, by the name of the work.
    """

    def __init__(self) -> None:
        self.running: list[str] = []
        self.failures: list[tuple[str, Failure]] = []

    def __call__(self, name: str, work: Coroutine[Any, Any, Any]) -> object:
        """Run ``work``; see :class:`~crowdai_broker.interfaces.Spawn`."""
        self.running.append(name)
        done = Deferred.fromCoroutine(work)
        done.addBoth(self._ended, name)
        return done

    def _ended(self, outcome: object, name: str) -> None:
        self.running.remove(name)
        if isinstance(outcome, Failure):
            self.failures.append((name, outcome))

    def raise_if_failed(self) -> None:
        """Raise what the first failed work failed with: background work must catch what it expects."""
        for _, failure in self.failures:
            failure.raiseException()
