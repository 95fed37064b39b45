"""How often something may happen a minute."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core import quotas
from crowdai_broker.core.quotas import PerMinute


class PerMinuteTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Allow two uses a minute."""
        super().setUp()
        self.clock = Clock()
        self.quota = PerMinute(self.clock, 2)

    def test_limit(self) -> None:
        """Uses up to the limit are allowed, of each key on its own; what is refused is not counted."""
        self.assertEqual([self.quota.use("a") for _ in range(4)], [True, True, False, False])
        self.assertFalse(self.quota.allows("a"))
        self.assertTrue(self.quota.use("b"))

    def test_window(self) -> None:
        """A minute after a key's first use it may be used anew, and says how long that takes."""
        self.quota.use("a")
        self.clock.advance(59.4)
        self.quota.use("a")
        self.assertEqual(self.quota.wait("a"), 1)
        self.assertFalse(self.quota.use("a"))
        self.clock.advance(0.6)
        self.assertTrue(self.quota.use("a"))
        self.assertEqual(self.quota.wait("a"), 60)
        self.assertEqual(self.quota.wait("unheard of"), 1)

    def test_no_limit(self) -> None:
        """0 is no limit, and nothing is kept."""
        quota = PerMinute(self.clock, 0)
        self.assertTrue(all(quota.use("a") for _ in range(1000)))
        self.assertTrue(quota.allows("a"))

    def test_keys_are_bounded(self) -> None:
        """Of too many keys the one heard of longest ago is forgotten first."""
        self.patch(quotas, "MAX_KEYS", 3)
        for key in "abbcd":
            self.quota.use(key)
        self.assertFalse(self.quota.allows("b"))
        self.quota.use("e")
        self.assertTrue(self.quota.allows("b"))
