"""Run it: ``python -m tests.chaos --seed 1 --jobs 1000 --participants 20``."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from .play import Play, Terms


def main() -> int:
    """Play once; the status is 0 if nothing was lost, doubled, stuck or out of order."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of everything random; default: any")
    parser.add_argument("--jobs", type=int, default=1000, help="scored jobs, at least (%(default)s)")
    parser.add_argument("--participants", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--brokers", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--graders", type=int, default=2, help="(%(default)s)")
    parser.add_argument(
        "--short", action="store_true", help="a part of the faults, fewer jobs: about a minute"
    )
    parser.add_argument("--keep", type=Path, help="write the logs to this directory if something is wrong")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    terms = Terms(seed, given.jobs, given.participants, given.brokers, given.graders)
    if given.short:
        terms = terms.short()
    report = Play(terms, keep=given.keep).run()
    sys.stdout.write(report.text())
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
