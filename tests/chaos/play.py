"""One run: a load, faults, calm, and the count."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from tests.world.broker.programs import until
from tests.world.toolbox.process import resident_megabytes

from .count import Count, left_over
from .director import Director
from .participant import Participant, read_again
from .work import PLAIN
from .world import World

JOBS_A_REQUEST = 1.6  # scored ones, on average
CUTS = 0.004  # chance that a participant's link is cut after something came
SETTLED = 120.0  # s after the last fault within which all must be done
MEGABYTES = 200.0  # that a broker may have in use at the end
PATIENCE = 20.0  # s for an answer when all is calm
LONGEST = 540.0  # s of faults


@dataclass(frozen=True)
class Terms:
    """What a run is made of.

    :ivar share: part of the faults that are done.
    :ivar duration: s over which the load is spread.
    """

    seed: int
    jobs: int = 1000
    participants: int = 20
    brokers: int = 2
    graders: int = 2
    share: float = 1.0
    duration: float = 150.0

    def short(self) -> Terms:
        """Return the short form: some of the faults, the rest with other seeds."""
        return replace(self, jobs=min(self.jobs, 200), participants=8, share=0.25, duration=40.0)


@dataclass(frozen=True)
class Report:
    """What came of a run.

    :ivar wrong: what must not be, in words; empty: all is well.
    """

    terms: Terms
    seconds: dict[str, float]
    numbers: Counter[str]
    injected: Counter[str]
    reached: Counter[str]
    wrong: list[str]

    def text(self) -> str:
        """Return all of it, for people."""
        lines = [f"seed {self.terms.seed}"]
        for title, counts in (
            ("killed at a step", self.reached),
            ("faults", self.injected),
            ("counted", self.numbers),
        ):
            lines += ["", f"{title}:", *(f"  {count:7d}  {name}" for name, count in sorted(counts.items()))]
        lines += ["", *(f"{name}: {seconds:.1f} s" for name, seconds in self.seconds.items())]
        lines += ["", f"{len(self.wrong)} wrong", *(f"  {text}" for text in self.wrong), ""]
        return "\n".join(lines)


class Play:
    """One run.

    :param keep: where logs are written if something is wrong.
    """

    def __init__(self, terms: Terms, keep: Path | None = None) -> None:
        self._terms = terms
        self._keep = keep
        self._wrong: list[str] = []
        self._seconds: dict[str, float] = {}
        self._world = World(terms.brokers, terms.graders, terms.participants)
        self._director = Director(self._world, random.Random(terms.seed), terms.share)
        think = terms.participants * terms.duration * JOBS_A_REQUEST / terms.jobs
        self._people = [
            Participant(f"Participant {number}", key, self._world.ports, terms.seed, think, CUTS)
            for number, key in enumerate(self._world.keys, 1)
        ]

    def run(self) -> Report:
        """Play, and end everything that was started."""
        try:
            report = self._run()
        except BaseException:
            self._save()
            self._end()
            raise
        if report.wrong:
            self._save()
        ended = self._end()
        if any(status not in (0, -9) for status in ended):
            report.wrong.append(f"brokers ended with {ended}")
        return report

    def _run(self) -> Report:
        self._world.ready()
        for person in self._people:
            person.start()
        self._timed("faults", self._faults)
        for person in self._people:
            person.enough()
            person.cuts = 0
        self._timed("calm again", self._director.calm)
        self._timed("until every participant knew the end", self._participants_done)
        self._timed("until nothing was left to be done", self._nothing_left)
        self._timed("reading everything again", self._read_again)
        for person in self._people:
            person.leave()
        return self._report()

    # --- acts ----------------------------------------------------------------------------------------------

    def _faults(self) -> None:
        began = time.monotonic()
        self._director.run()
        while self._scored() < self._terms.jobs and time.monotonic() < began + LONGEST:
            self._director.one()

    def _scored(self) -> int:
        made = [submission for person in self._people for submission in tuple(person.made)]
        return sum(len(submission.items) for submission in made if submission.scored)

    def _participants_done(self) -> None:
        self._wait(lambda: not any(person.open for person in self._people))
        for person in self._people:
            for submission in person.open:
                heard = [submission.events[number] for number in sorted(submission.events)]
                self._wrong.append(
                    f"{person.name} waits for {submission.execution_id or 'acceptance'}: {heard}"
                )

    def _nothing_left(self) -> None:
        self._wait(lambda: not left_over(self._world.redis))

    def _wait(self, done: object) -> None:
        """Wait for the end of something; what is not done is found when all is counted."""
        deadline = time.monotonic() + SETTLED
        while not done() and time.monotonic() < deadline:  # type: ignore[operator]
            time.sleep(0.2)

    def _read_again(self) -> None:
        for number, person in enumerate(self._people):
            port = self._world.ports[number % len(self._world.ports)]
            self._wrong += read_again(port, person, PATIENCE)

    def _timed(self, name: str, act: object) -> None:
        began = time.monotonic()
        act()  # type: ignore[operator]
        self._seconds[name] = time.monotonic() - began

    # --- the end -------------------------------------------------------------------------------------------

    def _report(self) -> Report:
        state = self._world.webapp.state()
        board = state["leaderboards"][PLAIN]
        count = Count(self._world.redis, state["submissions"], board, self._people)
        for broker in self._world.brokers:
            megabytes = resident_megabytes(broker.pid)
            count.numbers[f"MiB that the broker on port {broker.port} has in use"] = round(megabytes)
            if megabytes > MEGABYTES:
                self._wrong.append(f"a broker has {megabytes:.0f} MiB in use")
        missed = sorted(step for step in self._director.wanted if not self._director.reached[step])
        self._wrong += [f"nobody died at the step {step}" for step in missed]
        self._wrong += self._logged()
        injected = self._director.injected + Counter(
            {f"the webapp fails: {what}": times for what, times in state["faults"].items()}
        )
        for person in self._people:
            injected["a participant's link is cut"] += person.counts["links cut"]
            injected["a participant's link is lost with a broker"] += person.counts["links lost"]
            count.numbers["times that participants resumed"] += person.counts["resumed"]
            count.numbers["requests sent again"] += person.counts["sent"] - len(person.made)
            count.numbers["requests refused for now"] += person.counts["refused for now"]
        wrong = self._wrong + count.wrong
        return Report(self._terms, self._seconds, count.numbers, injected, self._director.reached, wrong)

    def _logged(self) -> list[str]:
        """Return what brokers must not have logged."""
        marks = ("Traceback", "Unhandled", "mistake in the broker", "could not stop")
        lines = self._world.logs().splitlines()
        return [f"logged: {line}" for line in lines if any(mark in line for mark in marks)]

    def _save(self) -> None:
        if self._keep is not None:
            self._world.keep(self._keep / f"seed-{self._terms.seed}")

    def _end(self) -> list[int]:
        for person in self._people:
            person.leave()
        until(lambda: not any(person.is_alive() for person in self._people), "the participants left")
        return self._world.close()
