"""A webapp that fails in every way: nothing is lost, and nobody is charged twice."""

from __future__ import annotations

from typing import ClassVar

from .case import WorldCase
from .hands import JOB
from .participant import Execution, Participant
from .programs import until
from .webapp import Row
from .world import Plan, World

PLAIN = "Plain"
SEALED = "Sealed"
IN_FILE = "InTheFile"
ONLY_THERE = "OnlyAtTheWebapp"
FAULTS = (
    "drop",
    "drop_after",
    "hang",
    "hang_after",
    "error",
    "error_after",
    "garbage",
    "empty",
    "too_many",
    "busy",
)


class WebappFaultTests(WorldCase):
    """Faults at each call, with and without the organizer's key; a call is given up after one second."""

    plan: ClassVar[Plan] = Plan(
        challenges={PLAIN: {}, IN_FILE: {}, SEALED: {"organizer_api_key": None}},
        at_webapp={ONLY_THERE: {}},
        tables={"webapp": {"timeout": 1}},
    )

    def setUp(self) -> None:
        """Have a webapp in good order, now and afterwards."""
        super().setUp()
        self.addCleanup(self.world.webapp.mend)

    def rows_of(self, execution: Execution) -> list[Row]:
        """Return the submissions of an execution."""
        marks = execution.execution_id
        return [row for row in self.world.webapp.submissions() if marks in str(row["meta"])]

    def met(self, call: str) -> list[int]:
        """Return how often each fault was met by a call."""
        return [self.world.webapp.met(call, fault) for fault in FAULTS]

    def assert_once(self, execution: Execution, *scores: float) -> None:
        """Each job has exactly one submission with exactly one grade."""

        def graded() -> bool:
            rows = self.rows_of(execution)
            return len([row for row in rows if row["grading_status_cd"] == "graded"]) == len(scores)

        until(graded, f"{len(scores)} grades", 30)
        rows = self.rows_of(execution)
        self.assertEqual(sorted(row["score"] for row in rows), sorted(scores))
        for row in rows:
            self.assertEqual([grade["grading_status"] for grade in row["grades"]], ["submitted", "graded"])

    def test_down_at_registration(self) -> None:
        """With the webapp away a submission is kept and told so; it is registered once it is back."""
        participant = self.participant(PLAIN)
        self.world.line.cut()
        self.addCleanup(self.world.line.mend)
        execution = participant.execute("x", "submit")
        event = execution.expect("INFO", saying="cannot be reached")
        self.assertIn("need not submit again", event["message"])
        self.assertEqual(self.hands.lying(PLAIN), 0)
        self.world.line.mend()
        self.hands.take(PLAIN).complete({"score": 0.1})
        execution.result()
        self.assert_once(execution, 0.1)

    def test_down_at_grade(self) -> None:
        """The participant's result does not wait for the webapp; the grade is posted once it is back."""
        execution = self.participant(PLAIN).execute("x", "submit")
        order = self.hands.take(PLAIN)
        self.world.line.cut()
        self.addCleanup(self.world.line.mend)
        order.complete({"score": 0.2})
        (outcome,) = execution.result()
        self.assertEqual(outcome["data"]["score"], 0.2)
        execution.expect("INFO", saying="Your result is safe")
        self.world.line.mend()
        self.assert_once(execution, 0.2)

    def test_down_for_newcomers(self) -> None:
        """Whoever authenticates meanwhile is told what is wrong and what to do."""
        self.participant(PLAIN)
        self.world.line.cut()
        self.addCleanup(self.world.line.mend)
        known = self.participant(PLAIN, authenticate=False)
        self.assertIn("session_token", known.authenticate())
        self.world.secrets.add(known.token)
        stranger = Participant(self.broker().port, "never-seen-before", PLAIN)
        self.addCleanup(stranger.leave)
        answer = stranger.authenticate()
        self.assertEqual(answer["response_type"], "CrowdAI.Event.Authentication.ERROR")
        self.assertIn("cannot be checked right now", answer["message"])
        self.assertIn("try again", answer["message"])

    def test_every_fault_at_registration(self) -> None:
        """Ten registrations meet ten faults: with the organizer's key each doubt settles itself."""
        participant = self.participant(PLAIN)
        before = self.met("register")
        for fault in FAULTS:
            self.world.webapp.fault("register", fault)
        execution = participant.execute([n / 10 for n in range(10)], "submit", parallel=True)
        for _ in FAULTS:
            order = self.hands.take(PLAIN, 30)
            order.complete({"score": order.data})
        outcomes = execution.result(30)
        self.assertEqual({outcome["response_type"] for outcome in outcomes}, {JOB + "COMPLETE"})
        self.assert_once(execution, *(n / 10 for n in range(10)))
        self.assertEqual(self.met("register"), [count + 1 for count in before])

    def test_every_fault_at_grade(self) -> None:
        """Ten grades meet ten faults: each is on the leaderboard once."""
        participant = self.participant(PLAIN)
        execution = participant.execute([n / 10 for n in range(10)], "submit", parallel=True)
        orders = [self.hands.take(PLAIN) for _ in FAULTS]
        before = self.met("grade")
        for fault in FAULTS:
            self.world.webapp.fault("grade", fault)
        for order in orders:
            order.complete({"score": order.data})
        execution.result()
        self.assert_once(execution, *(n / 10 for n in range(10)))
        self.assertEqual(self.met("grade"), [count + 1 for count in before])

    def test_a_webapp_of_old(self) -> None:
        """Where the webapp cannot say which challenges there are, the operator's file does, and it alone."""
        self.world.webapp.fault("challenge_config", "missing", always=True)
        execution = self.participant(IN_FILE).execute("x", "submit")
        self.hands.take(IN_FILE).complete({"score": 0.7})
        execution.result()
        self.assert_once(execution, 0.7)
        stranger = self.participant(ONLY_THERE, authenticate=False)
        self.assertEqual(stranger.authenticate()["message"], f"Unrecognized Challenge: {ONLY_THERE}")

    def test_a_key_that_is_refused_for_a_while(self) -> None:
        """A webapp that answers 401 for a while has done nothing: the calls are repeated."""
        participant = self.participant(PLAIN)
        self.world.webapp.fault("register", "denied")
        self.world.webapp.fault("grade", "denied")
        execution = participant.execute("x", "submit")
        self.hands.take(PLAIN).complete({"score": 0.3})
        execution.result()
        self.assert_once(execution, 0.3)

    def test_doubt_without_the_organizers_key(self) -> None:
        """A POST that may have happened is not repeated; the job waits for a person and says so."""
        participant = self.participant(SEALED)
        doubtful = ("drop", "drop_after", "hang_after", "error_after")
        for fault in doubtful:
            self.world.webapp.fault("register", fault)
        held = participant.execute(list(doubtful), "submit", parallel=True)
        event = held.expect("INFO", saying="waits for them", number=len(doubtful) - 1)
        self.assertIn("need not submit again", event["message"])
        self.world.webapp.fault("register", "too_many")  # of which the webapp says that it did nothing
        execution = participant.execute("y", "submit")
        order = self.hands.take(SEALED)
        self.assertEqual(order.data, "y")  # and none of those in doubt
        order.complete({"score": 0.4})
        execution.result()
        self.assert_once(execution, 0.4)
        self.assertEqual(self.hands.lying(SEALED), 0)
        self.assertEqual(len(self.rows_of(held)), 3)
        self.assertNotIn("COMPLETE", held.kinds())
        self.assertEqual(held.acknowledgements, 0)

    def test_a_silent_webapp_holds_nobody_up(self) -> None:
        """While registrations hang, what needs no webapp is served at once."""
        participant = self.participant(PLAIN)
        self.world.webapp.fault("register", "hang", times=3)
        waiting = participant.execute([0.5, 0.5, 0.5], "submit", parallel=True)
        until(lambda: self.world.webapp.met("register", "hang"), "the POST")
        quick = participant.execute("y", "evaluate")
        self.hands.take(PLAIN, 1.0).complete()
        quick.result(1.0)
        for _ in range(3):
            self.hands.take(PLAIN, 20).complete()
        waiting.result()
        self.assert_once(waiting, 0.5, 0.5, 0.5)


class LateWebappTests(WorldCase):
    """The webapp is away when the broker starts."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}}, tables={"webapp": {"timeout": 1}})

    @classmethod
    def begin(cls, world: World) -> None:
        """Start the broker without a webapp."""
        world.line.cut()
        world.launch().readyz(503, "webapp")

    def test_it_comes_later(self) -> None:
        """The broker lives, is not ready and says why, and is ready without a restart once it is there."""
        health = self.broker().get("/healthz")
        assert health is not None
        self.assertEqual(health.status, 200)
        self.world.line.mend()
        self.broker().ready()
        execution = self.participant(PLAIN).execute("x", "submit")
        self.hands.take(PLAIN).complete()
        execution.result()
        self.world.webapp.settled(1)
        self.world.line.cut()
        self.broker().readyz(503, "webapp")
        self.world.line.mend()
        self.broker().ready()
