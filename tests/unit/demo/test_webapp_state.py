"""The small webapp's rules that the client's contract does not reach."""

from __future__ import annotations

from typing import Any

import msgspec
from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.demo import webapp_site
from crowdai_broker.demo.webapp import DemoWebapp, seed
from crowdai_broker.demo.webapp_faults import CALLS, Fault, Faults
from crowdai_broker.demo.webapp_files import MAX_FILES, UploadedFiles
from crowdai_broker.demo.webapp_records import DAY, NO_SLOTS, NOT_OPEN, Refusal, Submission
from crowdai_broker.demo.webapp_state import WebappState


class RuleTests(SynchronousTestCase):
    """Rounds, slots and the leaderboard."""

    def setUp(self) -> None:
        """Make records with two participants."""
        self.now = 1_000_000.0
        self.state = WebappState(lambda: self.now)
        for name in ("Ada", "Bob"):
            self.state.add_participant(name, f"key-of-{name}")

    def submit(self, name: str = "Ada", challenge: str = "C", score: float | None = None) -> Submission:
        """Make a submission, graded if there is a score."""
        params = {"api_key": f"key-of-{name}", "challenge_client_name": challenge}
        made, _ = self.state.create(params | {"grading_status": "submitted"})
        if score is not None:
            self.state.update(str(made.id), {"grading_status": "graded", "score": score})
        return made

    def refusal(self, challenge: str = "C") -> str:
        """Return why a submission of Ada is refused."""
        with self.assertRaises(Refusal) as caught:
            self.submit(challenge=challenge)
        return str(caught.exception)

    def test_best_score_of_each_participant(self) -> None:
        """Each participant has one line with its best score and all its entries; failed ones count not."""
        self.state.add_challenge(1, "C")
        for name, score in (("Ada", 0.2), ("Bob", 0.5), ("Ada", 0.9), ("Ada", 0.4)):
            self.submit(name, score=score)
        self.submit("Bob")
        lines = self.state.leaderboard(self.state.challenges[1])
        self.assertEqual(
            [(each["rank"], each["participant"], each["score"], each["entries"]) for each in lines],
            [(1, "Ada", 0.9, 3), (2, "Bob", 0.5, 1)],
        )

    def test_small_scores_may_be_the_better_ones(self) -> None:
        """``ascending`` turns the order round; the earlier of equals comes first."""
        self.state.add_challenge(1, "C", primary_sort_order="ascending")
        for name, score in (("Ada", 0.5), ("Bob", 0.5), ("Ada", 0.7)):
            self.submit(name, score=score)
        lines = self.state.leaderboard(self.state.challenges[1])
        self.assertEqual(
            [(each["participant"], each["score"]) for each in lines], [("Ada", 0.5), ("Bob", 0.5)]
        )

    def test_a_perpetual_challenge_is_open(self) -> None:
        """After its last round a perpetual challenge still takes submissions, another does not."""
        self.state.add_challenge(1, "C", rounds=[self.state.round(-3, -1)], perpetual=True)
        self.state.add_challenge(2, "D", rounds=[self.state.round(-3, -1)])
        self.submit()
        self.assertEqual(self.refusal(challenge="D"), NOT_OPEN)

    def test_an_inactive_round_is_closed(self) -> None:
        """The dates alone do not open a round."""
        self.state.add_challenge(1, "C", rounds=[self.state.round(active=False)])
        self.assertEqual(self.refusal(), NOT_OPEN)

    def test_a_limit_of_the_whole_round(self) -> None:
        """Slots of a round do not come back, and there is no date to wait for."""
        only = self.state.round(submission_limit=1, submission_limit_period="round")
        self.state.add_challenge(1, "C", rounds=[only])
        self.submit()
        self.now += 9 * DAY
        self.assertEqual(self.refusal(), NO_SLOTS)
        self.assertEqual(self.state.slots(self.state.challenges[1], 1), (0, None))
        self.submit("Bob")

    def test_a_weekly_limit(self) -> None:
        """Slots of a week come back after seven days."""
        only = self.state.round(submission_limit=1, submission_limit_period="week")
        self.state.add_challenge(1, "C", rounds=[only])
        self.submit()
        self.now += 6 * DAY
        self.assertEqual(self.refusal(), NO_SLOTS)
        self.now += DAY + 1
        self.submit()

    def test_scores_as_rails_reads_them(self) -> None:
        """A number in a string is a number; a text in a column of numbers is zero."""
        self.state.add_challenge(1, "C")
        made = self.submit()
        for given, kept in (("0.25", 0.25), ("much", 0.0)):
            self.state.update(str(made.id), {"grading_status": "graded", "score": given})
            self.assertEqual(made.score, kept)

    def test_seed(self) -> None:
        """A seed file fills the records; what it must not hold is an error."""
        rounds = [{"start_day": -2, "end_day": 2, "submission_limit": 7}]
        content = {
            "participants": [{"name": "Eve", "api_key": "e"}],
            "challenges": [{"number": 9, "client_name": "N", "rounds": rounds}],
        }
        seed(self.state, msgspec.json.encode(content))
        self.assertEqual(self.state.challenges[9].rounds[0].submission_limit, 7)
        self.assertEqual(self.state.participants[3].name, "Eve")
        with self.assertRaises(msgspec.ValidationError):
            seed(self.state, b'{"participant": []}')


class FaultTests(SynchronousTestCase):
    """Planning faults."""

    def test_order_of_plans(self) -> None:
        """Faults come in the planned order, then what always happens, then nothing once cleared."""
        faults = Faults()
        faults.next("register", Fault.DROP, times=2)
        faults.next("register", Fault.ERROR)
        faults.always("register", Fault.BUSY, seconds=3)
        met = [faults.take("register") for _ in range(4)]
        self.assertEqual([each.fault for each in met if each], ["drop", "drop", "error", "busy"])
        faults.clear()
        self.assertIsNone(faults.take("register"))
        self.assertIsNone(faults.take("grade"))
        self.assertEqual(faults.met, {"register/drop": 2, "register/error": 1, "register/busy": 1})

    def test_chances_repeat_with_their_seed(self) -> None:
        """Faults by chance are the same in every run, and about as many as asked for."""

        def run() -> list[bool]:
            faults = Faults(seed=7)
            faults.chance("grade", Fault.DROP, 0.3)
            return [faults.take("grade") is not None for _ in range(1000)]

        self.assertEqual(run(), run())
        self.assertTrue(250 < sum(run()) < 350)

    def test_unknown_calls(self) -> None:
        """A fault for a call that there is not is an error, not a fault that never comes."""
        for plan in (Faults().next, Faults().always):
            with self.assertRaises(ValueError):
                plan("registre", Fault.DROP)
        self.assertIn("register", CALLS)

    def test_release(self) -> None:
        """What hangs goes on at the release, once; what was given up in between is forgotten."""
        faults = Faults()
        first, second = faults.hang(), faults.hang()
        second.cancel()
        self.failureResultOf(second)
        self.assertEqual(faults.release(), 1)
        self.successResultOf(first)
        self.assertEqual(faults.release(), 0)


class MemoryTests(SynchronousTestCase):
    """What is remembered of requests."""

    def test_only_the_newest(self) -> None:
        """The requests remembered are bounded; their counts go on."""
        self.patch(webapp_site, "MAX_SEEN", 2)
        webapp = DemoWebapp(Clock())
        http: Any = StubTreq(webapp.resource)
        for path in ("/a", "/b", "/c"):
            self.successResultOf(http.get(f"http://webapp.invalid{path}"))
        self.assertEqual([each.path for each in webapp.resource.seen], ["/b", "/c"])
        self.assertEqual(webapp.resource.counts["nowhere"], 3)


class FileTests(SynchronousTestCase):
    """Uploads."""

    def test_only_with_the_signature(self) -> None:
        """A file is taken only at its own presigned address."""
        files = UploadedFiles()
        (key, signature), (other, _) = files.presign(), files.presign()
        self.assertFalse(files.put(key, "", b"x"))
        self.assertFalse(files.put(other, signature, b"x"))
        self.assertFalse(files.put("submissions/none", signature, b"x"))
        self.assertIsNone(files.get(key))
        self.assertTrue(files.put(key, signature, b"x"))
        self.assertEqual(files.get(key), b"x")

    def test_the_oldest_goes(self) -> None:
        """The number of files is bounded."""
        files = UploadedFiles()
        keys = []
        for _ in range(MAX_FILES + 1):
            key, signature = files.presign()
            self.assertTrue(files.put(key, signature, b""))
            keys.append(key)
        self.assertIsNone(files.get(keys[0]))
        self.assertEqual(files.get(keys[1]), b"")
