"""Waiting with an end: for something to be over, and for an answer, but not for ever."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime

Answer = TypeVar("Answer")


class Ending:
    """Something that ends once; any number may wait for it."""

    def __init__(self) -> None:
        self.over = False
        self._waiting: list[Deferred[None]] = []

    def happened(self) -> None:
        """Note the end and wake everybody who waits."""
        self.over = True
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def wait(self) -> Deferred[None]:
        """Return a Deferred that fires at the end; cancelling it harms nobody else."""
        one: Deferred[None] = Deferred(self._waiting.remove)
        if self.over:
            one.callback(None)
        else:
            self._waiting.append(one)
        return one


async def within(clock: IReactorTime, seconds: float, answer: Deferred[Answer]) -> Answer | None:
    """Wait for ``answer`` no longer than ``seconds``; ``None`` if it did not come."""
    try:
        return await answer.addTimeout(seconds, clock)
    except TookTooLong:
        return None
