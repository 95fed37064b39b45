"""Capabilities of attempts: any node checks what another gave out; nothing else passes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.capabilities import Capabilities
from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.testing import MemoryRedis, MemoryStore

from .world import result_of

NUMBER = "52229015682152"


class CapabilityTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Have two nodes."""
        super().setUp()
        self.redis = MemoryRedis()
        self.store = MemoryStore(self.redis, "n1")
        self.here = Capabilities(self.store)
        self.there = Capabilities(MemoryStore(self.redis, "n2"))

    def test_any_node(self) -> None:
        """One that a node gave out is checked by another, and fits in a path without escapes."""
        capability = result_of(self.here.of(NUMBER))
        self.assertEqual(result_of(self.there.number_of(capability)), NUMBER)
        self.assertRegex(capability, r"\A[A-Za-z0-9_-]+\Z")

    def test_forged(self) -> None:
        """Nothing but the whole of it passes: not another attempt's, not one character changed."""
        capability = result_of(self.here.of(NUMBER))
        number, _, proof = capability.partition("-")
        wrong = [
            "",
            "-",
            number,
            f"{number}-",
            f"1-{proof}",
            capability + "A",
            capability[:-1],
            f"{number}-{'A' * 43}",
        ]
        wrong += [f"{number}-{'é' * 43}", "x" * 10_000, f"0{capability}", capability.swapcase()]
        wrong += [result_of(Capabilities(MemoryStore()).of(NUMBER))]
        for text in wrong:
            self.assertIsNone(result_of(self.there.number_of(text)), text)

    def test_asked_for_once(self) -> None:
        """The secret is read once; while it never was, a store that is away is told of."""
        self.store.fail_next("secret", "before")
        with self.assertRaises(StoreUnavailable):
            result_of(self.here.of(NUMBER))
        result_of(self.here.of(NUMBER))
        self.store.fail_next("secret", "before")
        self.assertTrue(result_of(self.here.of("1")).startswith("1-"))
