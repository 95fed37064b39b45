"""Killed between any two steps, every job still ends once and shows one grade."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import Config
from crowdai_broker.core.model import JobState
from crowdai_broker.memory_store import When

from .crashing import SCORES, Fuse, Story
from .world import World, a_config, organized

LONG = 300  # s of the story; every wait that a crash costs is shorter
BEFORE: When = "before"
AFTER: When = "after"


class CrashTests(SynchronousTestCase):
    def story(self, *fuses: Fuse, config: Config | None = None, silent: int = 0) -> Story:
        """Tell the story to its end."""
        story = Story(World(config or organized(job_timeout=60)), list(fuses), silent)
        story.tell(LONG)
        return story

    def check(self, story: Story, tale: str) -> None:
        """Look at what is left: one end of each job, one submission, one grade, every event, nothing open."""
        state, webapp = story.world.redis, story.world.webapp
        self.assertEqual(story.world.problems(), [], tale)
        (stored,) = state.executions.values()
        jobs = story.world.jobs(stored.execution.execution_id)
        self.assertEqual([job.state for job in jobs], [JobState.COMPLETE] * len(SCORES), tale)
        marks = [json.loads(row.meta or "{}")["broker_job"] for row in webapp.rows.values()]
        self.assertEqual(sorted(marks), [job.job_id for job in jobs], tale)
        for job, score in zip(jobs, SCORES.values(), strict=True):
            grades = webapp.rows[job.submission_id].grades
            self.assertEqual([(g.grading_status, g.score) for g in grades], [("graded", score)], tale)
        self.assertEqual((state.effects, state.attempts, state.backlog.counts()), ({}, {}, {}), tale)
        self.assertEqual(stored.execution.open, 0, tale)
        self.check_events(story, tale)

    def check_events(self, story: Story, tale: str) -> None:
        """Look at what the participant was told in the end: all that was logged, from the first on."""
        assert story.ada is not None
        (stored,) = story.world.redis.executions.values()
        logged = [json.loads(event.text) for event in stored.log]
        self.assertEqual([event["event_no"] for event in logged], list(range(1, len(logged) + 1)), tale)
        self.assertEqual(story.ada.events, logged, tale)
        for number in range(len(SCORES)):
            kinds = story.ada.kinds(number)
            self.assertEqual((kinds.count("ENQUEUED"), kinds.count("COMPLETE")), (1, 1), tale)
            last = story.ada.of_job(number)[kinds.index("COMPLETE") - 1]
            self.assertEqual(last["data"], {"percent_complete": 90.0}, tale)
        ((first, second),) = story.ada.acks
        self.assertEqual((first.data["score"], second.data["score"]), tuple(SCORES.values()), tale)

    def test_without_a_crash(self) -> None:
        """The story itself ends well, and has enough steps to be cut at."""
        fuse = Fuse()
        story = self.story(fuse)
        self.check(story, "no crash")
        self.assertGreater(fuse.calls, 40)

    def test_crash_at_each_step(self) -> None:
        """Cut before and after each step of the store and the webapp, and gone on with by another node."""
        for when in (BEFORE, AFTER):
            for last in range(1, self.steps() + 1):
                self.check(self.story(Fuse(last, when)), f"crash {when} {last}")

    def test_crash_with_a_silent_grader(self) -> None:
        """Cut at each step while the grader never answers the first order: the second attempt counts."""
        for last in range(1, self.steps(silent=1) + 1, 2):
            self.check(self.story(Fuse(last, AFTER), silent=1), f"silent, crash after {last}")

    def test_two_crashes(self) -> None:
        """Cut again while the first crash is being made good."""
        steps = self.steps()
        for last in range(1, steps + 1, 5):
            for again in range(1 + last % 7, steps, 13):
                tale = f"crashes after {last} and before {again}"
                self.check(self.story(Fuse(last, AFTER), Fuse(again, BEFORE)), tale)

    def test_crash_where_doubt_stays(self) -> None:
        """Without the organizer's key no crash costs a second slot: a job ends, or waits for an operator."""
        for when in (BEFORE, AFTER):
            for last in range(1, self.steps() + 1):
                tale = f"no organizer, crash {when} {last}"
                story = self.story(Fuse(last, when), config=a_config(job_timeout=60))
                state = story.world.redis
                held = {effect.job_id for effect in state.held_effects(9)}
                rows = list(story.world.webapp.rows.values())
                marks = [json.loads(row.meta or "{}")["broker_job"] for row in rows]
                self.assertEqual(len(set(marks)), len(marks), tale)
                for job in state.jobs.values():
                    end = JobState.REGISTERING if job.job_id in held else JobState.COMPLETE
                    self.assertEqual(job.state, end, tale)

    def steps(self, silent: int = 0) -> int:
        """Return how many steps the story has without a crash."""
        fuse = Fuse()
        self.story(fuse, silent=silent)
        return fuse.calls
