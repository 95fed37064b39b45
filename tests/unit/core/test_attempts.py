"""What a node remembers of the attempts whose events it relays."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.attempts import Attempts
from tests.contracts.making import a_job


class AttemptsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Keep nothing yet."""
        super().setUp()
        self.attempts = Attempts()

    def test_kept_until_over(self) -> None:
        """An attempt is known by its number until it is forgotten; adding it again changes nothing."""
        kept = self.attempts.add(a_job("x", attempt="1"))
        self.assertIs(self.attempts.add(a_job("x", attempt="1")), kept)
        self.assertIs(self.attempts.get("1"), kept)
        self.attempts.forget("1")
        self.attempts.forget("1")
        self.assertEqual((self.attempts.get("1"), len(self.attempts)), (None, 0))

    def test_pruned(self) -> None:
        """Attempts long past their deadline are dropped: another node may have ended them."""
        for number, due in (("1", 10), ("2", 20)):
            self.attempts.add(a_job(number, attempt=number, due=due))
        self.attempts.prune(15)
        self.assertIsNone(self.attempts.get("1"))
        self.assertIsNotNone(self.attempts.get("2"))

    def test_held_progress(self) -> None:
        """Held progress is released when its time has come, once; newer progress waits until it is out."""
        attempt = self.attempts.add(a_job("x", attempt="1"))
        attempt.next_progress = 5.0
        self.attempts.hold(attempt)
        self.assertEqual(self.attempts.release_due(4.9), [])
        self.assertEqual(self.attempts.release_due(5.0), [attempt])
        self.assertEqual(self.attempts.release_due(9.0), [])
        self.assertTrue(attempt.holding)
        self.attempts.released(attempt)
        self.assertFalse(attempt.holding)

    def test_held_again_while_it_is_released(self) -> None:
        """Progress that is held while older is on its way out stays held."""
        attempt = self.attempts.add(a_job("x", attempt="1"))
        self.attempts.hold(attempt)
        self.attempts.release_due(0.0)
        self.attempts.hold(attempt)
        self.attempts.released(attempt)
        self.assertTrue(attempt.holding)
        self.assertEqual(self.attempts.release_due(0.0), [attempt])

    def test_held_by_another_node(self) -> None:
        """Of an attempt learnt from the store, progress that is held there is known."""
        attempt = self.attempts.add(a_job("x", attempt="1", held='"message":""}'))
        self.assertEqual(self.attempts.release_due(0.0), [attempt])

    def test_over_while_it_holds(self) -> None:
        """Nothing is released of an attempt that is over."""
        self.attempts.hold(self.attempts.add(a_job("x", attempt="1")))
        self.attempts.forget("1")
        self.assertEqual(self.attempts.release_due(9.0), [])

    def test_by_challenge(self) -> None:
        """Attempts are found by their challenge."""
        for number, challenge in (("1", "C"), ("2", "D"), ("3", "C")):
            self.attempts.add(a_job(number, attempt=number, challenge=challenge))
        groups = {name: len(kept) for name, kept in self.attempts.by_challenge().items()}
        self.assertEqual(groups, {"C": 2, "D": 1})
