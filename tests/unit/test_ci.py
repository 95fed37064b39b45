"""Tests of ``.ci/run``: it counts what happened, and nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ..source import ROOT

STEPS = 7
"""Steps beside the tests: environment, ruff, format, types, wheel, nothing left behind."""


class CountTests(SynchronousTestCase):
    """Runs the script with a ``make`` that prints what the test says."""

    def run_with(self, trial: str, status: int = 0, failing: str = "") -> tuple[str, int]:
        """Return the last line and the exit status.

        :param trial: the last lines that ``make test`` prints; it ends with ``status``.
        :param failing: another target that fails.
        """
        place = Path(self.mktemp())
        place.mkdir()
        (place / "said").write_text(trial)
        make = place / "make"
        make.write_text(
            '#!/bin/sh\n[ "$1" = --no-print-directory ] && shift\n'
            f'[ "$1" = "{failing}" ] && exit 2\n'
            f'if [ "$1" = test ]; then cat "{(place / "said").absolute()}"; exit {status}; fi\n'
        )
        make.chmod(0o755)
        done = subprocess.run(
            [ROOT / ".ci" / "run"],
            env={**os.environ, "PATH": f"{place.absolute()}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.splitlines()[-1], done.returncode

    def test_all_good(self) -> None:
        """Trial's tests and the steps are added up."""
        said = "Ran 12 tests in 0.1s\n\nPASSED (successes=12)\n"
        self.assertEqual(self.run_with(said), (f"{12 + STEPS} passed, 0 failed", 0))

    def test_failures_errors_and_skips_have_not_passed(self) -> None:
        """What did not run to a good end is counted as failed, whatever trial calls it."""
        said = "Ran 9 tests in 0.1s\n\nFAILED (skips=1, failures=2, errors=3, successes=3)\n"
        self.assertEqual(self.run_with(said, 2), (f"{3 + STEPS} passed, 6 failed", 1))

    def test_a_skip_alone_fails_the_run(self) -> None:
        """Trial calls a run with skipped tests passed; this does not."""
        said = "Ran 9 tests in 0.1s\n\nPASSED (skips=1, successes=8)\n"
        self.assertEqual(self.run_with(said), (f"{8 + STEPS} passed, 1 failed", 1))

    def test_a_run_without_an_end_has_failed(self) -> None:
        """A test runner that was killed, found nothing, or lies about its status is a failure."""
        for said, status in (
            ("tests.unit\n  x ... [OK]\n", 137),
            ("", 0),
            ("Ran 0 tests in 0.0s\n\nPASSED\n", 0),
        ):
            self.assertEqual(self.run_with(said, status), (f"{STEPS} passed, 1 failed", 1))
        said = "Ran 3 tests in 0.1s\n\nPASSED (successes=3)\n"
        self.assertEqual(self.run_with(said, 1), (f"{3 + STEPS} passed, 1 failed", 1))

    def test_each_step_counts_and_the_rest_still_runs(self) -> None:
        """One failing step fails the run and keeps none of the others from running."""
        said = "Ran 3 tests in 0.1s\n\nPASSED (successes=3)\n"
        self.assertEqual(self.run_with(said, failing="types"), (f"{2 + STEPS} passed, 1 failed", 1))

    def test_what_python_mutters_fails_the_run(self) -> None:
        """A coroutine that was never awaited is a mistake, though no test failed."""
        said = (
            "RuntimeWarning: coroutine 'f' was never awaited\nRan 1 tests in 0.1s\n\nPASSED (successes=1)\n"
        )
        self.assertEqual(self.run_with(said), (f"{STEPS} passed, 1 failed", 1))
