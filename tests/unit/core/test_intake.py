"""What a request becomes: jobs, their orders, and what the participant is told first."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import ChallengeConfig, GraderConfig
from crowdai_broker.core.catalogue import Catalogue
from crowdai_broker.core.events import MAX_MESSAGE, JobEvent, draft, outcome_text, refusal, shorten
from crowdai_broker.core.intake import Intake, check, registers_first
from crowdai_broker.core.model import JobState, order_text
from crowdai_broker.core.requests import ExecuteFunction, read_execute_function
from crowdai_broker.errors import PeerError
from crowdai_broker.testing import MemoryRedis, MemoryStore, StubWebapp
from tests.contracts.making import a_job

from .json_values import few, values
from .world import START, a_config, result_of

CHANNEL = "memory:responses:n1"


def a_request(function: str = "submit", data: Any = 1, **more: Any) -> ExecuteFunction:
    """Read a request."""
    whole = {
        "response_channel": 'C::"1"',
        "session_token": "t",
        "api_key": "key",
        "challenge_id": "C",
        "function_name": function,
        "data": data,
    }
    return read_execute_function([whole | more])


class IntakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make an intake over an empty store."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(START)
        self.redis = MemoryRedis(self.clock.seconds)
        webapp = StubWebapp(self.clock.seconds)
        store = MemoryStore(self.redis, "n1")
        catalogue = Catalogue(self.clock, a_config(), webapp)
        self.intake = Intake(self.clock, store, catalogue, "n1", "http://b.example/")

    def accept(self, request: ExecuteFunction, challenge: ChallengeConfig | None = None) -> str:
        """Accept a request of participant 7; return the execution's id."""
        accepted, _ = result_of(self.intake.accept(request, challenge or ChallengeConfig(), 7, ""))
        return accepted.execution_id

    def order(self, execution_id: str, number: int = 0) -> dict[str, Any]:
        """Return the order of a job as a grader gets it."""
        job = self.redis.jobs[self.redis.executions[execution_id].jobs[number]]
        order: dict[str, Any] = json.loads(order_text(job, "123", CHANNEL))
        return order

    def test_order(self) -> None:
        """An order has every key that public graders read, under both its names where there are two."""
        self.assertEqual(
            self.order(self.accept(a_request("evaluate", {"file_key": "k"}))),
            {
                "function_name": "evaluate",
                "data": {"file_key": "k"},
                "dry_run": False,
                "data_sequence_no": 123,
                "broker_response_channel": CHANNEL,
                "respond_to_me_at": CHANNEL,
                "extra_params": {
                    "api_key": "key",
                    "session_token": "",
                    "client_response_channel": 'C::"1"',
                    "execution_id": next(iter(self.redis.executions)),
                    "challenge_client_name": "C",
                    "submission_id": None,
                },
            },
        )

    def test_scored(self) -> None:
        """A scored job waits for its registration; a dry run or another function does not."""
        cases = [
            (a_request(), JobState.REGISTERING, 1),
            (a_request(dry_run=True), JobState.QUEUED, 0),
            (a_request("evaluate"), JobState.QUEUED, 0),
        ]
        for request, state, effects in cases:
            self.redis.effects.clear()
            execution_id = self.accept(request)
            (job_id,) = self.redis.executions[execution_id].jobs
            self.assertEqual((self.redis.jobs[job_id].state, len(self.redis.effects)), (state, effects))

    def test_who_registers(self) -> None:
        """The broker registers where it grades, and for HTTP graders, which need a submission to grade."""
        http = GraderConfig(kind="http", url="http://g.example")
        self.assertTrue(registers_first(ChallengeConfig()))
        self.assertTrue(registers_first(ChallengeConfig(grades_posted_by="grader", grader=http)))
        self.assertFalse(registers_first(ChallengeConfig(grades_posted_by="grader")))

    def test_ahead(self) -> None:
        """Each job is told how many unfinished ones of its challenge were there before it."""
        self.accept(a_request(data=[1, 2], parallel=True))
        stored = self.redis.executions[self.accept(a_request(data=[1, 2, 3], parallel=True))]
        events = [json.loads(event.text) for event in stored.log]
        self.assertEqual([event["data"]["ahead"] for event in events], [2, 3, 4])
        self.assertEqual([event["data_sequence_no"] for event in events], [0, 1, 2])
        url = events[0]["data"]["progress_url"]
        prefix = f"http://b.example/progress/{stored.execution.execution_id}#"
        self.assertTrue(url.startswith(prefix) and len(url) > len(prefix) + 15, url)

    def test_what_cannot_be_passed_on(self) -> None:
        """Data that is no JSON is the participant's mistake."""
        nested: Any = []
        for _ in range(100_000):
            nested = [nested]
        for data in ("\ud800", {"a": object()}, nested):
            self.assertRaises(PeerError, self.accept, a_request(data={"x": data}))
        self.assertEqual(self.redis.executions, {})

    @few
    @given(data=values)
    def test_any_data(self, data: Any) -> None:
        """Whatever JSON is handed in reaches the grader as it was, or is refused."""
        try:
            request = a_request("evaluate", {"x": data})
            order = self.order(self.accept(request))
        except PeerError:
            return
        self.assertEqual(order["data"].keys(), {"x"})
        self.assertEqual(order["data_sequence_no"], 123)

    def test_check(self) -> None:
        """What a challenge does not allow is refused by name; what it allows passes."""
        challenge = ChallengeConfig(functions=("submit",), max_parallel_jobs=1)
        check(a_request(), challenge, {"redis"})
        check(a_request("anything"), ChallengeConfig(), {"redis"})
        refused = [
            a_request("evaluate"),
            a_request(grader_id="mine"),
            a_request(data=[1, 2], parallel=True),
        ]
        for request in refused:
            self.assertRaises(PeerError, check, request, challenge, {"redis"})
        self.assertRaises(PeerError, check, a_request(), challenge, {"http"})


class EventsTests(SynchronousTestCase):
    def test_five_keys(self) -> None:
        """An event has the five keys that the public client reads, and its execution's."""
        event = json.loads("{" + draft(a_job("x", 2), JobEvent.INFO, "é", {"a": 1}).fragment)
        self.assertEqual(
            event,
            {
                "execution_id": "x",
                "job_id": "x-2",
                "data_sequence_no": 2,
                "response_type": "CrowdAI.Event.Job.INFO",
                "data": {"a": 1},
                "message": "é",
            },
        )
        self.assertEqual(json.loads("{" + draft(a_job("x"), JobEvent.INFO).fragment)["data"], {})

    def test_refusal(self) -> None:
        """A refusal looks like an item of the answer, its data an object."""
        self.assertEqual(
            refusal("no"),
            {
                "response_type": "CrowdAI.Event.Job.ERROR",
                "job_id": "",
                "data_sequence_no": -1,
                "message": "no",
                "data": {},
            },
        )

    def test_long_messages(self) -> None:
        """A message is cut where it is too long to be shown, and says so."""
        self.assertEqual(shorten("x" * MAX_MESSAGE), "x" * MAX_MESSAGE)
        cut = shorten("x" * (MAX_MESSAGE + 1))
        self.assertEqual((len(cut), cut[-1]), (MAX_MESSAGE, "…"))
        for text in (
            refusal("x" * 99_999)["message"],
            json.loads(outcome_text(JobEvent.ERROR, "x" * 99_999))["message"],
        ):
            self.assertEqual(len(text), MAX_MESSAGE)
