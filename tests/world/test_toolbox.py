"""The children of the tests: what is waited for, and what is said when it does not come."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from .toolbox.process import Child

REPEATER = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
ENDING = "import sys; print('{\"a\": 1}'); print('plain'); print('why', file=sys.stderr); sys.exit(3)"


class ChildTests(SynchronousTestCase):
    """A process that repeats its input, and one that ends."""

    def child(self, program: str) -> Child:
        """Start a program."""
        child = Child([sys.executable, "-c", program])
        self.addCleanup(child.stop)
        return child

    def test_expect(self) -> None:
        """A line is found by what it holds, once; others stay for later."""
        child = self.child(REPEATER)
        for number in (1, 2, 1):
            child.send({"n": number, "x": "y"})
        self.assertEqual(child.expect(n=2), {"n": 2, "x": "y"})
        child.expect(n=1, x="y")
        child.expect(n=1)
        self.assertEqual(child.unread(), [])

    def test_late(self) -> None:
        """Waiting ends, and tells what came instead."""
        child = self.child(REPEATER)
        child.send({"n": 1})
        child.expect(n=1)
        child.send({"n": 2})
        error = self.assertRaises(AssertionError, child.expect, patience=0.3, n=3)
        self.assertIn("the program runs", str(error))
        self.assertIn('{"n": 2}', str(error))

    def test_ended(self) -> None:
        """Waiting ends at once when the program does; its last words are in the failure."""
        child = self.child(ENDING)
        self.assertEqual(child.expect(text="plain"), {"text": "plain"})
        error = self.assertRaises(AssertionError, child.expect, patience=30, n=3)
        self.assertIn("ended with 3", str(error))
        self.assertIn("why", str(error))
        self.assertFalse(child.running)

    def test_kill(self) -> None:
        """A killed child is gone when the call returns."""
        child = self.child(REPEATER)
        child.kill()
        self.assertFalse(child.running)
