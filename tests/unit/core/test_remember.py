"""Answers from outside, remembered for a while."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.remember import Remembered
from crowdai_broker.errors import WebappUnavailable

from .world import result_of


class RememberedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Remember two answers, for ten seconds each."""
        super().setUp()
        self.clock = Clock()
        self.kept: Remembered[str] = Remembered(self.clock, 10, 2)
        self.asked: list[Deferred[str]] = []

    async def ask(self) -> str:
        """Ask the outside; the test answers."""
        self.asked.append(Deferred())
        return await self.asked[-1]

    async def answer(self, answer: Any = "answer") -> Any:
        """Answer at once."""
        return answer

    def get(self, key: str = "k", ask: Coroutine[Any, Any, str] | None = None) -> Deferred[str]:
        """Begin to get an answer."""
        return Deferred.fromCoroutine(self.kept.get(key, lambda: ask or self.ask()))

    def test_asked_once_while_fresh(self) -> None:
        """A fresh answer is used again; one that is too old is asked for anew, and is still there in need."""
        result_of(self.kept.get("k", lambda: self.answer("first")))
        self.clock.advance(9.9)
        self.assertEqual(self.successResultOf(self.get()), "first")
        self.clock.advance(0.1)
        self.assertNoResult(self.get())
        self.assertEqual((self.kept.fresh("k"), self.kept.stale("k")), (None, "first"))

    def test_many_wait_for_one_answer(self) -> None:
        """Whoever asks while the answer is on its way gets the same one; nobody asks twice."""
        waiting = [self.get() for _ in range(3)]
        self.assertEqual(len(self.asked), 1)
        self.asked[0].callback("answer")
        self.assertEqual([self.successResultOf(each) for each in waiting], ["answer"] * 3)

    def test_failure_is_shared_and_not_kept(self) -> None:
        """A failure reaches all who wait for it, and the next one asks again."""
        waiting = [self.get() for _ in range(3)]
        self.asked[0].errback(WebappUnavailable("down", definitely_not_done=True))
        for each in waiting:
            self.failureResultOf(each, WebappUnavailable)
        again = self.get()
        self.asked[1].callback("up")
        self.assertEqual(self.successResultOf(again), "up")

    def test_cancelled_asker(self) -> None:
        """If the one who asks is cancelled, the others are not left waiting."""
        first, second = self.get(), self.get()
        first.cancel()
        self.failureResultOf(first)
        self.failureResultOf(second)
        self.assertNoResult(self.get())
        self.assertEqual(len(self.asked), 2)

    def test_bounded(self) -> None:
        """Of too many answers the one used longest ago goes first."""
        for key in ("a", "b"):
            result_of(self.kept.get(key, self.answer))
        self.kept.fresh("a")
        result_of(self.kept.get("c", self.answer))
        self.assertEqual([self.kept.stale(key) for key in "abc"], ["answer", None, "answer"])

    def test_none_is_not_kept(self) -> None:
        """No answer is no knowledge: it is asked for each time."""
        result_of(self.kept.get("k", lambda: self.answer(None)))
        self.assertNoResult(self.get())

    def test_used_again(self) -> None:
        """A stale answer can be used for a while without asking."""
        result_of(self.kept.get("k", lambda: self.answer("old")))
        self.clock.advance(100)
        self.kept.use_again("k", "old", 5)
        self.assertEqual(self.kept.fresh("k"), "old")
        self.clock.advance(5)
        self.assertIsNone(self.kept.fresh("k"))
