"""Killed between any two steps of handing out, hearing and watching: graders on HTTP grade each job once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import ChallengeTable, Config, Secret
from crowdai_broker.core.model import JobState, Taken
from crowdai_broker.core.webapp_model import GradeFields
from crowdai_broker.errors import StoreUnavailable
from crowdai_broker.interfaces import IGrader
from crowdai_broker.memory_store import When
from crowdai_broker.testing import LooseGraders

from .crashing import SCORES, Crashed, Fuse, Guarded, Story
from .world import ORGANIZER, World, a_config, result_of

LONG = 400  # s of the story
BOTH: tuple[When, ...] = ("before", "after")


def http_config(posted_by: str) -> Config:
    """Return a configuration whose challenge has graders on HTTP, and whose doubts settle themselves."""
    values = {"number": 28, "organizer_api_key": Secret(ORGANIZER), "grades_posted_by": posted_by}
    grader = {"kind": "http", "url": "http://grader.example"}
    return a_config({"C": ChallengeTable(values=values, grader=grader)}, job_timeout=60)


class HttpStory(Story):
    """The story of two items with graders that are called; a call is a step that a node may die at."""

    def __init__(self, posted_by: str, fuses: list[Fuse]) -> None:
        self.graders = LooseGraders()
        super().__init__(World(http_config(posted_by), {"http": self.graders}), fuses)
        self._at_webapp = posted_by == "grader"
        self._begun: list[tuple[int, Taken]] = []

    def _graders(self, fuse: Fuse) -> Mapping[str, IGrader]:
        return {"http": cast("IGrader", Guarded(self.graders, fuse, {"dispatch"}))}

    def _grade(self) -> None:
        """Grade what was handed out, a second after it came; who cannot be told is told again."""
        begun = [*self._begun, *((0, taken) for taken in self.graders.given)]
        self.graders.given = []
        self._begun = [(age + 1, taken) for age, taken in begun if age == 0 or not self._told(taken)]

    def _told(self, taken: Taken) -> bool:
        """Tell how a job went; return whether that was heard."""
        score = SCORES[json.loads(taken.order)["data"]]
        if self._at_webapp:
            row = self.world.webapp.rows[taken.job.submission_id]
            row.grades.append(GradeFields(grading_status="graded", score=score))
            return True
        event = {"response_type": "CrowdAI.Event.Job.COMPLETE", "data": {"score": score}}
        return self._posted(taken.job.attempt, json.dumps(event).encode())

    def _posted(self, number: str, event: bytes) -> bool:
        if not self.world.nodes:
            return False
        try:
            result_of(self.world.nodes[0].node.relay.apply(number, [event]))
        except StoreUnavailable:
            return False
        except Crashed:
            self._bury()
            return False
        return True


class HttpCrashTests(SynchronousTestCase):
    posted_by: ClassVar[tuple[str, str]] = ("broker", "grader")

    def story(self, posted_by: str, *fuses: Fuse) -> HttpStory:
        """Tell the story to its end."""
        story = HttpStory(posted_by, list(fuses))
        story.tell(LONG)
        return story

    def check(self, story: HttpStory, posted_by: str, tale: str) -> None:
        """Look at what is left: each job ended once, one submission, one score, nothing open."""
        state, webapp = story.world.redis, story.world.webapp
        self.assertEqual(story.world.problems(), [], tale)
        (stored,) = state.executions.values()
        jobs = story.world.jobs(stored.execution.execution_id)
        self.assertEqual([job.state for job in jobs], [JobState.COMPLETE] * len(SCORES), tale)
        self.assertEqual(len(webapp.rows), len(SCORES), tale)
        for job, score in zip(jobs, SCORES.values(), strict=True):
            grades = [(grade.grading_status, grade.score) for grade in webapp.rows[job.submission_id].grades]
            self.assertEqual(set(grades), {("graded", score)}, tale)
            if posted_by == "broker":
                self.assertEqual(len(grades), 1, tale)
        if posted_by == "grader":
            self.assertEqual(webapp.count("grade"), 0, tale)
        self.assertEqual((state.effects, state.attempts, state.backlog.counts()), ({}, {}, {}), tale)
        self.assertEqual(stored.execution.open, 0, tale)
        self.check_told(story, tale)

    def check_told(self, story: HttpStory, tale: str) -> None:
        """Look at what the participant was told: every event once, the end of each job once, both scores."""
        assert story.ada is not None
        (stored,) = story.world.redis.executions.values()
        logged: list[dict[str, Any]] = [json.loads(event.text) for event in stored.log]
        self.assertEqual(story.ada.events, logged, tale)
        for number in range(len(SCORES)):
            self.assertEqual(story.ada.kinds(number).count("COMPLETE"), 1, tale)
        (outcomes,) = story.ada.acks
        self.assertEqual([outcome.data["score"] for outcome in outcomes], list(SCORES.values()), tale)

    def test_without_a_crash(self) -> None:
        """The story itself ends well, each order is handed out once, and there are steps to be cut at."""
        for posted_by in self.posted_by:
            fuse = Fuse()
            story = self.story(posted_by, fuse)
            self.check(story, posted_by, "no crash")
            self.assertGreater(fuse.calls, 30)

    def test_crash_at_each_step(self) -> None:
        """Cut before and after each step of store, webapp and grader, and gone on with by another node."""
        for posted_by in self.posted_by:
            fuse = Fuse()
            self.story(posted_by, fuse)
            for when in BOTH:
                for last in range(1, fuse.calls + 1):
                    tale = f"{posted_by}: crash {when} {last}"
                    self.check(self.story(posted_by, Fuse(last, when)), posted_by, tale)

    def test_two_crashes(self) -> None:
        """Cut again while the first crash is being made good."""
        for posted_by in self.posted_by:
            fuse = Fuse()
            self.story(posted_by, fuse)
            for last in range(1, fuse.calls + 1, 5):
                for again in range(1 + last % 7, fuse.calls, 13):
                    tale = f"{posted_by}: crashes after {last} and before {again}"
                    story = self.story(posted_by, Fuse(last, "after"), Fuse(again, "before"))
                    self.check(story, posted_by, tale)
