"""The fakes that ship keep the rules of what they stand for, and fail when told to."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import ChallengeConfig
from crowdai_broker.core.events import Outcome
from crowdai_broker.core.model import Taken
from crowdai_broker.core.webapp_model import ChallengeInfo, GradeFields, Lookup, RegisterFields
from crowdai_broker.errors import WebappDenied, WebappRefused, WebappUnavailable
from crowdai_broker.testing import (
    LooseGraders,
    MemoryRedis,
    MemoryStore,
    Peer,
    QueueGraders,
    ScriptedGrader,
    Spawned,
    StubWebapp,
)
from tests.contracts.making import a_job, a_take, acceptance
from tests.unit.core.world import result_of

FIELDS = RegisterFields(api_key="k", challenge_client_name="C", meta={"broker_job": "x-0"})
GRADED = GradeFields(grading_status="graded", score=1.0)


class StubWebappTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Know a participant and a challenge."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_500_000_000)
        self.webapp = StubWebapp(self.clock.seconds)
        self.webapp.participants = {"k": 7}
        self.challenge = self.webapp.add_challenge("C", info=ChallengeInfo(id=28), organizer_api_key="o")

    def test_who_is_who(self) -> None:
        """Participants and challenges are those that were added."""
        self.assertEqual(result_of(self.webapp.participant("k")), 7)
        self.assertIsNone(result_of(self.webapp.participant("n")))
        self.assertIs(result_of(self.webapp.challenge_config("C")).outcome, Lookup.FOUND)
        self.assertIs(result_of(self.webapp.challenge_config("D")).outcome, Lookup.UNKNOWN)
        self.assertEqual(result_of(self.webapp.challenge(28)), ChallengeInfo(id=28))
        self.assertIsNone(result_of(self.webapp.challenge(29)))
        result_of(self.webapp.check_key())

    def test_each_registration_makes_one(self) -> None:
        """The same registration twice makes two submissions; only the organizer's key lists them."""
        ids = [result_of(self.webapp.register(FIELDS)).submission_id for _ in range(2)]
        listed = result_of(self.webapp.submissions(28, "o"))
        self.assertEqual([row.id for row in listed], ids)
        self.assertEqual(listed[0].meta, {"broker_job": "x-0"})
        for key in ("", "k"):
            with self.assertRaises(WebappDenied):
                result_of(self.webapp.submissions(28, key))
        self.assertEqual(result_of(self.webapp.submissions(29, "o")), [])

    def test_slots(self) -> None:
        """After the last slot of the day it refuses, and says when the next opens."""
        self.challenge.limit = 1
        self.assertEqual(result_of(self.webapp.register(FIELDS)).submissions_remaining, 0)
        with self.assertRaises(WebappRefused) as caught:
            result_of(self.webapp.register(FIELDS))
        assert caught.exception.reset_dttm is not None
        self.assertEqual(caught.exception.reset_dttm.timestamp(), self.clock.seconds() + 86_400)
        self.clock.advance(86_400)
        result_of(self.webapp.register(FIELDS))

    def test_refusals(self) -> None:
        """What the real one refuses is refused: strangers, and grades that lack something."""
        for api_key, name in (("n", "C"), ("k", "D")):
            with self.assertRaises(WebappRefused):
                fields = RegisterFields(api_key=api_key, challenge_client_name=name)
                result_of(self.webapp.register(fields))
        result_of(self.webapp.register(FIELDS))
        bad = [
            GradeFields(grading_status="graded"),
            GradeFields(grading_status="failed"),
            GradeFields(grading_status="graded", score=1.0, media_large="a"),
        ]
        for grade in bad:
            with self.assertRaises(WebappRefused):
                result_of(self.webapp.grade(1, grade))
        with self.assertRaises(WebappRefused):
            result_of(self.webapp.grade(2, GRADED))
        self.assertEqual(self.webapp.rows[1].grades, [])

    def test_grades(self) -> None:
        """Each grade is kept; the newest shows, and adds to what meta held."""
        result_of(self.webapp.register(FIELDS))
        result_of(self.webapp.grade(1, GRADED))
        result_of(self.webapp.grade(1, GradeFields(grading_status="graded", score=2.0, meta='{"rows": 3}')))
        shown = result_of(self.webapp.submission_info(1))
        assert shown is not None
        self.assertEqual((shown.score, shown.meta), (2.0, {"broker_job": "x-0", "rows": 3}))
        self.assertEqual(len(self.webapp.rows[1].grades), 2)
        self.assertIsNone(result_of(self.webapp.submission_info(2)))

    def test_faults(self) -> None:
        """It fails before or after it did its work, once an order, or at every call while it is down."""
        self.webapp.fail_next("register", "before")
        self.webapp.fail_next("register", "after", WebappDenied("no"))
        for error, rows in ((WebappUnavailable, 0), (WebappDenied, 1)):
            with self.assertRaises(error):
                result_of(self.webapp.register(FIELDS))
            self.assertEqual(len(self.webapp.rows), rows)
        self.webapp.down = True
        with self.assertRaises(WebappUnavailable) as caught:
            result_of(self.webapp.register(FIELDS))
        self.assertTrue(caught.exception.definitely_not_done)
        self.assertEqual((self.webapp.count("register"), len(self.webapp.rows)), (3, 1))
        self.assertRaises(ValueError, self.webapp.fail_next, "regster", "before")


class GradersTests(SynchronousTestCase):
    def test_scripted_grader(self) -> None:
        """It takes orders first to last, and its events land on the list that the order names."""
        state = MemoryRedis()
        store = MemoryStore(state, "n1")
        for name in ("a", "b", "c"):
            result_of(store.accept(acceptance(name)))
        taken = result_of(store.take(a_take("1", "2", "3", push=True, response_channel="list")))
        graders, grader = QueueGraders(state), ScriptedGrader(state, "C")
        self.assertEqual(result_of(graders.untaken(ChallengeConfig(), "C")), 3)
        self.assertTrue(result_of(graders.withdraw(ChallengeConfig(), taken[1].job)))
        self.assertFalse(result_of(graders.withdraw(ChallengeConfig(), taken[1].job)))
        jobs = grader.take_all()
        self.assertEqual([job.order["data_sequence_no"] for job in jobs], [1, 3])
        self.assertIsNone(grader.take())
        jobs[0].progress(5)
        jobs[0].complete(score=1)
        jobs[1].fail("bad")
        events = [json.loads(raw) for raw in state.lists["list"]]
        self.assertEqual([event["data_sequence_no"] for event in events], [1, 1, 3])
        self.assertEqual([event["data"] for event in events], [{"percent_complete": 5}, {"score": 1}, {}])

    def test_loose_graders(self) -> None:
        """They keep what they are given, and fail when told to."""
        graders = LooseGraders()
        order = Taken(a_job("x"), "{}")
        graders.fail_next(WebappDenied("away"))
        with self.assertRaises(WebappDenied):
            result_of(graders.dispatch(ChallengeConfig(), order))
        result_of(graders.dispatch(ChallengeConfig(), order))
        self.assertEqual(graders.given, [order])
        self.assertEqual(graders.room("C", ChallengeConfig()), 99)


class RecordersTests(SynchronousTestCase):
    def test_peer(self) -> None:
        """It keeps events, channels and ends, and shows them by kind and by job."""
        peer = Peer()
        for number, kind in enumerate(("ENQUEUED", "INFO", "COMPLETE"), 1):
            event = {
                "event_no": number,
                "response_type": f"CrowdAI.Event.Job.{kind}",
                "message": kind.lower(),
            }
            peer.send("C::1", json.dumps(event | {"data_sequence_no": number % 2}))
        peer.finish([Outcome({}, "t", "m")])
        self.assertEqual((peer.numbers, peer.kinds(1)), ([1, 2, 3], ["ENQUEUED", "COMPLETE"]))
        self.assertEqual((peer.messages("INFO"), len(peer.acks)), (["info"], 1))

    def test_spawned(self) -> None:
        """It knows what runs, and raises what work failed with."""
        spawned = Spawned()
        waits: Deferred[None] = Deferred()

        async def work() -> None:
            await waits

        spawned("work", work())
        self.assertEqual(spawned.running, ["work"])
        spawned.raise_if_failed()
        waits.errback(WebappDenied("no"))
        self.assertEqual(spawned.running, [])
        self.assertRaises(WebappDenied, spawned.raise_if_failed)
