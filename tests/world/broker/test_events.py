"""What a participant on python-socketio 5 gets of an execution, event by event; the test plays the grader."""

from __future__ import annotations

import json
from typing import ClassVar

from .case import WorldCase
from .hands import JOB
from .participant import Execution
from .world import Plan

KEYS = {"job_id", "data_sequence_no", "response_type", "data", "message", "execution_id", "event_no"}
PLAIN = "Plain"
STRICT = "Strict"


class EventTests(WorldCase):
    """The course of executions that are accepted."""

    plan: ClassVar[Plan] = Plan(challenges={PLAIN: {}, STRICT: {"max_parallel_jobs": 3}})

    def assert_well_formed(self, execution: Execution) -> None:
        """Each event is one string of JSON with exactly the keys agreed upon, numbered without a gap."""
        for arguments in execution.raw:
            self.assertEqual([type(argument) for argument in arguments], [str])
        for position, event in enumerate(execution.events, 1):
            self.assertEqual(set(event), KEYS)
            self.assertEqual(event["event_no"], position)
            self.assertIsInstance(event["job_id"], str)
            self.assertIsInstance(event["message"], str)
            self.assertIsInstance(event["data"], dict)
            self.assertEqual(event["execution_id"], execution.execution_id)

    def test_a_job(self) -> None:
        """From ``ENQUEUED`` to the acknowledgement, every event in order, and nothing more."""
        execution = self.participant(PLAIN).execute({"x": 1})
        order = self.hands.take(PLAIN)
        self.assertEqual(order.data, {"x": 1})
        order.running()
        order.progress(30.5)
        order.say("INFO", {"rows": 3}, "reading")
        order.complete({"score": 0.9, "plot": [1, None, "é"]}, "well done")
        self.assertEqual(
            execution.result(),
            [
                {
                    "data": {"score": 0.9, "plot": [1, None, "é"]},
                    "response_type": JOB + "COMPLETE",
                    "message": "well done",
                }
            ],
        )
        self.assert_well_formed(execution)
        self.assertEqual(execution.kinds(), ["ENQUEUED", "RUNNING", "PROGRESS_UPDATE", "INFO", "COMPLETE"])
        self.assertEqual({event["data_sequence_no"] for event in execution.events}, {0})
        self.assertEqual(len({event["job_id"] for event in execution.events}), 1)
        self.assertEqual(execution.of("PROGRESS_UPDATE")[0]["data"], {"percent_complete": 30.5})
        self.assertEqual(execution.of("INFO")[0]["data"], {"rows": 3})

    def test_over_each_transport(self) -> None:
        """Polling alone and WebSocket alone do the same."""
        for transport in ("polling", "websocket"):
            execution = self.participant(PLAIN, transport=transport).execute("data")
            order = self.hands.take(PLAIN)
            order.progress(50)
            order.complete()
            self.assertEqual(execution.result()[0]["data"], {"score": 0.5})
            self.assertEqual(execution.kinds(), ["ENQUEUED", "PROGRESS_UPDATE", "COMPLETE"])

    def test_enqueued(self) -> None:
        """``ENQUEUED`` tells the execution, how many jobs are ahead, and where its page is."""
        participant = self.participant(PLAIN)
        one = participant.execute("one")
        self.assertEqual(one.expect("ENQUEUED")["data"]["ahead"], 0)
        two = participant.execute(["two", "three"], parallel=True)
        two.expect("ENQUEUED", number=1)
        self.assertEqual([event["data"]["ahead"] for event in two.of("ENQUEUED")], [1, 2])
        data = two.of("ENQUEUED")[0]["data"]
        self.assertEqual(data["execution_id"], two.of("ENQUEUED")[0]["execution_id"])
        page = f"http://127.0.0.1:{self.broker().port}/progress/{data['execution_id']}"
        self.assertTrue(data["progress_url"].startswith(page), data)
        for _ in range(3):
            self.hands.take(PLAIN).complete()
        one.result()
        two.result()

    def test_numbers_are_mapped_back(self) -> None:
        """Each item is a job with its index as its number, whatever order they are graded in."""
        execution = self.participant(STRICT).execute(["a", "b", "c"], parallel=True)
        orders = {order.data: order for order in (self.hands.take(STRICT) for _ in range(3))}
        self.assertEqual(len({order.number for order in orders.values()}), 3)
        for item in "bca":
            orders[item].complete({"score": ord(item), "data_sequence_no": orders[item].number}, item)
        outcomes = execution.result()
        self.assertEqual([outcome["message"] for outcome in outcomes], ["a", "b", "c"])
        self.assertEqual([outcome["data"]["data_sequence_no"] for outcome in outcomes], [0, 1, 2])
        ends = {event["message"]: event["data_sequence_no"] for event in execution.of("COMPLETE")}
        self.assertEqual(ends, {"a": 0, "b": 1, "c": 2})
        self.assert_well_formed(execution)

    def test_one_fails(self) -> None:
        """A failed job is an ``ERROR`` with the grader's message and no data; the others go on."""
        execution = self.participant(STRICT).execute(["good", "bad"], parallel=True)
        for order in [self.hands.take(STRICT) for _ in range(2)]:
            if order.data == "bad":
                order.say("ERROR", {"detail": 1}, "no such column")
            else:
                order.complete()
        good, bad = execution.result()
        self.assertEqual(good["response_type"], JOB + "COMPLETE")
        self.assertEqual(bad, {"data": {}, "response_type": JOB + "ERROR", "message": "no such column"})

    def test_a_timeout(self) -> None:
        """A grader that says ``TIMEOUT`` has ended the job."""
        execution = self.participant(PLAIN).execute("x")
        self.hands.take(PLAIN).say("TIMEOUT", {}, "it took more than an hour")
        self.assertEqual(
            execution.result(),
            [{"data": {}, "response_type": JOB + "TIMEOUT", "message": "it took more than an hour"}],
        )

    def test_results_that_are_no_objects(self) -> None:
        """They are wrapped."""
        participant = self.participant(PLAIN)
        for result in (17, "text", [1, 2], True):
            execution = participant.execute("x")
            self.hands.take(PLAIN).say("COMPLETE", result)
            self.assertEqual(execution.result()[0]["data"], {"result": result})

    def test_how_data_becomes_jobs(self) -> None:
        """The field's rule: a list of one is its item; in parallel each item is a job; else the whole."""
        participant = self.participant(PLAIN)
        table = (
            ([{"a": 1}], False, [{"a": 1}]),
            ([1, 2], False, [[1, 2]]),
            ({"a": [1]}, False, [{"a": [1]}]),
            ("text", ..., ["text"]),
            ([1, 2], True, [1, 2]),
            ([1, 2], "true", [1, 2]),
            ([1, 2], "false", [[1, 2]]),
            ([[1, 2]], True, [[1, 2]]),
            (None, False, [None]),
        )
        for data, parallel, jobs in table:
            execution = participant.execute(data, parallel=parallel)
            orders = [self.hands.take(PLAIN) for _ in jobs]
            self.assertCountEqual([order.data for order in orders], jobs)
            for order in orders:
                order.complete({"is": order.data})
            self.assertEqual([outcome["data"]["is"] for outcome in execution.result()], jobs)

    def test_progress_is_thinned(self) -> None:
        """Of a flood of progress no more than ten a second arrive, the last one before the end among them."""
        execution = self.participant(PLAIN).execute("x")
        order = self.hands.take(PLAIN)
        for percent in range(1, 400):
            order.progress(percent / 4)
        order.complete()
        execution.result()
        seen = [event["data"]["percent_complete"] for event in execution.of("PROGRESS_UPDATE")]
        self.assertLess(len(seen), 20)
        self.assertEqual(seen, sorted(seen))
        self.assertEqual((seen[0], seen[-1]), (0.25, 399 / 4))
        self.assert_well_formed(execution)

    def test_events_are_private(self) -> None:
        """Nobody but the socket that asked gets an execution's events, not even on the same channel."""
        one, other = self.participant(PLAIN), self.participant(PLAIN, 1)
        request = one.request("x")
        overheard = other.listen(request["response_channel"])
        execution = one.send(request)
        self.hands.take(PLAIN).complete()
        execution.result()
        other.authenticate()  # an answer behind whatever might have come
        self.assertEqual(overheard.raw, [])

    def test_orders_hold_what_graders_read(self) -> None:
        """An order has every member of the graders' contract, the list under both of its names."""
        participant = self.participant(PLAIN)
        execution = participant.execute({"a": 1}, function="evaluate")
        order = self.hands.take(PLAIN)
        expected = {
            "broker_response_channel",
            "respond_to_me_at",
            "function_name",
            "data",
            "data_sequence_no",
            "dry_run",
            "extra_params",
        }
        self.assertEqual(set(order.job), expected)
        self.assertEqual(order.job["broker_response_channel"], order.job["respond_to_me_at"])
        self.assertEqual((order.job["function_name"], order.job["dry_run"]), ("evaluate", False))
        self.assertEqual(
            order.job["extra_params"],
            {
                "api_key": participant.api_key,
                "session_token": "",
                "client_response_channel": execution.channel,
                "execution_id": execution.execution_id,
                "challenge_client_name": PLAIN,
                "submission_id": None,
            },
        )
        self.assertNotIn(participant.token, order.text)
        order.complete()
        execution.result()

    def test_one_list_for_all(self) -> None:
        """The broker's response list is the same for all jobs."""
        participant = self.participant(STRICT)
        execution = participant.execute(["a", "b"], parallel=True)
        orders = [self.hands.take(STRICT) for _ in range(2)]
        self.assertEqual(len({order.job["broker_response_channel"] for order in orders}), 1)
        for order in orders:
            order.complete()
        execution.result()

    def test_a_second_execution_while_one_runs(self) -> None:
        """Executions of one socket do not mix, and each is acknowledged once."""
        participant = self.participant(PLAIN)
        executions = [participant.execute(f"x{number}") for number in range(3)]
        for order in [self.hands.take(PLAIN) for _ in executions]:
            order.complete({"is": order.data})
        for number, execution in enumerate(executions):
            self.assertEqual(execution.result()[0]["data"], {"is": f"x{number}"})
            self.assertEqual(execution.acknowledgements, 1)
            self.assert_well_formed(execution)

    def test_large_data(self) -> None:
        """Half a megabyte goes to the grader and back unchanged."""
        text = json.dumps(["é" * 10, {"n": 1.5}] * 10_000, ensure_ascii=False)
        execution = self.participant(PLAIN).execute({"text": text})
        order = self.hands.take(PLAIN)
        self.assertEqual(order.data, {"text": text})
        order.complete({"text": text})
        self.assertEqual(execution.result()[0]["data"], {"text": text})
