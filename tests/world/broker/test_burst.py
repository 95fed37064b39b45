"""Many at once: every submission completes, is registered once and graded once."""

from __future__ import annotations

from typing import ClassVar

from .case import WorldCase
from .hands import JOB
from .world import Plan, World

BUSY = "Busy"
PEOPLE, JOBS = 20, 10


class BurstTests(WorldCase):
    """Twenty participants with ten scored jobs each, and two graders."""

    plan: ClassVar[Plan] = Plan(challenges={BUSY: {"max_parallel_jobs": JOBS}}, participants=PEOPLE)

    @classmethod
    def begin(cls, world: World) -> None:
        """Have two graders."""
        super().begin(world)
        for _ in range(2):
            world.grader(BUSY)

    def test_burst(self) -> None:
        """Half of them ask ten times, the others once for all: all get what is theirs."""
        people = [self.participant(BUSY, number) for number in range(PEOPLE)]
        executions = []
        for number, participant in enumerate(people):
            data = [{"score": number + job / 100} for job in range(JOBS)]
            if number % 2:
                executions += [(number, [one], participant.execute(one, "submit")) for one in data]
            else:
                executions.append((number, data, participant.execute(data, "submit", parallel=True)))
        given: dict[int, tuple[int, float]] = {}
        for number, data, execution in executions:
            outcomes = execution.result(60)
            self.assertEqual([one["response_type"] for one in outcomes], [JOB + "COMPLETE"] * len(data))
            self.assertEqual([one["data"]["score"] for one in outcomes], [one["score"] for one in data])
            numbers = [event["event_no"] for event in execution.events]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            given |= {one["data"]["submission_id"]: (number, one["data"]["score"]) for one in outcomes}
        self.assertEqual(len(given), PEOPLE * JOBS)
        rows = self.world.webapp.settled(PEOPLE * JOBS, patience=30)
        self.assertEqual(len(rows), PEOPLE * JOBS)
        for row in rows:
            number, score = given[row["id"]]
            self.assertEqual((row["participant_id"], row["score"]), (number + 1, score))
            self.assertEqual((row["posts"], row["patches"], len(row["grades"])), (1, 1, 2))
        calls = self.world.webapp.state()["calls"]
        self.assertEqual((calls["register"], calls["grade"]), (PEOPLE * JOBS, PEOPLE * JOBS))
