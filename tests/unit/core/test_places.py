"""Participants whose jobs wait are told where they stand."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.delivery import Delivery, Subscription
from crowdai_broker.core.places import LOOK, LOOK_AT, TOLD_AT_ONCE, Places, duration_text, place_text
from crowdai_broker.testing import MemoryRedis, MemoryStore, Spawned
from tests.contracts.making import a_job, a_take, acceptance

from .world import result_of


class PlacesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a node's delivery and its places over one store."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = MemoryStore(MemoryRedis(self.clock.seconds), "n1")
        self.spawned = Spawned()
        self.delivery = Delivery(self.store, "n1", self.spawned)
        self.places = Places(self.clock, self.store, self.delivery, self.spawned)
        self.texts: dict[str, list[str]] = {}
        self.places.start()
        self.addCleanup(self.places.stop)

    def wait_in_line(self, name: str, participant: int, *, followed: bool = True) -> None:
        """Accept a job, and follow it."""
        result_of(
            self.store.accept(acceptance(name, [a_job(name, participant_id=participant)], watcher="n1"))
        )
        heard = self.texts.setdefault(name, [])
        if followed:
            subscription = Subscription(name, "C::1", lambda _, text: heard.append(text), lambda _: None)
            result_of(self.delivery.follow(subscription, watched=True))

    def take(self, *numbers: str) -> None:
        """Dispatch as many jobs as there are numbers."""
        result_of(self.store.take(a_take(*numbers)))

    def test_told_when_it_changes_notably(self) -> None:
        """The first look tells the place; after that only half of it gained, or much, is worth a word."""
        for number in range(9):
            self.wait_in_line(f"x{number}", number)
        self.clock.advance(LOOK)
        self.assertIn("8 ahead of you.", self.texts["x8"][-1])
        self.assertIn("You are next.", self.texts["x0"][-1])
        self.clock.advance(LOOK)
        self.assertEqual(len(self.texts["x8"]), 1)
        self.take("1", "2", "3", "4")  # in flight they are still ahead
        self.clock.advance(LOOK)
        self.assertEqual(len(self.texts["x8"]), 1)

    def test_estimate_follows_the_speed(self) -> None:
        """Who moves up four places in five seconds and has four ahead waits about five seconds more."""
        for number in range(9):
            self.wait_in_line(f"x{number}", number)
        self.clock.advance(LOOK)
        self.take("1", "2", "3", "4")
        for job in ("x0", "x1", "x2", "x3"):
            self.store.state.flight["C"].discard(f"{job}-0")
        self.clock.advance(LOOK)
        self.assertIn("4 ahead of you, about 5 s.", self.texts["x8"][-1])

    def test_only_followers_here_are_told(self) -> None:
        """Jobs that nobody here follows get no events from here, and without followers nobody looks."""
        self.wait_in_line("x", 1, followed=False)
        self.clock.advance(LOOK)
        self.assertEqual(len(result_of(self.store.events("x", 0, 9))), 0)
        self.wait_in_line("y", 2)
        self.clock.advance(LOOK)
        self.assertEqual(len(result_of(self.store.events("x", 0, 9))), 0)
        self.assertEqual(len(self.texts["y"]), 1)

    def test_bounded(self) -> None:
        """One look tells a hundred, the next ones the others; who is far behind is not placed."""
        for number in range(LOOK_AT + 5):
            self.wait_in_line(f"x{number}", number)
        self.clock.advance(LOOK)
        self.assertEqual(sum(map(len, self.texts.values())), TOLD_AT_ONCE)
        self.clock.advance(LOOK)
        self.assertEqual(sum(map(len, self.texts.values())), 2 * TOLD_AT_ONCE)
        self.assertEqual(self.texts[f"x{LOOK_AT + 1}"], [])

    def test_store_that_fails_is_asked_again(self) -> None:
        """A store that does not answer costs one look."""
        self.wait_in_line("x", 1)
        self.store.fail_next("backlog", "before")
        self.clock.advance(LOOK)
        self.assertEqual(self.texts["x"], [])
        self.clock.advance(LOOK)
        self.assertEqual(len(self.texts["x"]), 1)

    def test_texts(self) -> None:
        """Estimates are said as one would say them."""
        self.assertEqual(place_text(3, 0.025), "3 ahead of you, about 2 min.")
        self.assertEqual([duration_text(s) for s in (0.2, 89, 91, 5399, 7200)],
                         ["about 1 s", "about 89 s", "about 2 min", "about 90 min", "about 2 h"])  # fmt: skip
