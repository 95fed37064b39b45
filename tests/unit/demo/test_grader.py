"""The sample grader keeps the job factories' convention, and ends every job with one event."""

from __future__ import annotations

import http.server
import threading
import time
from typing import Any, cast

import msgspec
import redis
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.demo import challenge
from crowdai_broker.demo import grader as grader_module
from crowdai_broker.demo.challenge import MASS, SPECIES
from crowdai_broker.demo.grader import GIVE_UP, Connection, Grader, Job, Lost

KEY = "submissions/5762b942-3a01-4266-8264-358f071908c2"


class Pushed:
    """Keeps what is pushed, as a list of Redis would."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def push(self, key: str, entry: bytes) -> None:
        """Keep it."""
        self.entries.append((key, msgspec.json.decode(entry)))


class Files(http.server.BaseHTTPRequestHandler):
    """A server with one file."""

    content = b""

    def do_GET(self) -> None:
        """Serve it."""
        there = self.path == f"/files/{KEY}"
        self.send_response(200 if there else 404)
        self.end_headers()
        self.wfile.write(self.content if there else b"")

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


class Away:
    """A Redis that is away, for a while or for good."""

    def __init__(self, failures: float) -> None:
        self.tries = 0
        self._failures = failures

    def rpush(self, _key: str, _entry: bytes) -> int:
        """Fail as often as told."""
        self.tries += 1
        if self.tries <= self._failures:
            raise redis.ConnectionError
        return 1

    def brpop(self, _keys: list[str], timeout: int) -> None:
        """Fail as often as told, then have nothing; there is no limit to how long it may be away."""
        self.rpush("", b"")


class PatienceTests(SynchronousTestCase):
    """A Redis that is away is waited for, with growing waits, and not for ever."""

    def setUp(self) -> None:
        """Let time pass without waiting."""
        self.now = 0.0
        self.waits: list[float] = []
        self.stopped = threading.Event()
        self.patch(time, "monotonic", lambda: self.now)
        self.patch(time, "sleep", self.sleep)
        self.patch(grader_module, "log", lambda _: None)

    def sleep(self, seconds: float) -> None:
        """Wait in no time."""
        self.now += seconds
        self.waits.append(seconds)

    def connection(self, failures: float) -> tuple[Connection, Away]:
        """Return a connection to a Redis that fails so often."""
        away = Away(failures)
        connection = Connection("unix:///nowhere", self.stopped)
        self.patch(connection, "_redis", away)
        return connection, away

    def test_a_push_is_made_again(self) -> None:
        """Waits double up to their limit until the push succeeds."""
        connection, away = self.connection(7)
        connection.push("k", b"")
        self.assertEqual(away.tries, 8)
        self.assertEqual(self.waits, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])

    def test_a_push_is_given_up(self) -> None:
        """After its time a job is given up."""
        connection, _ = self.connection(float("inf"))
        self.assertRaises(Lost, connection.push, "k", b"")
        self.assertTrue(GIVE_UP < self.now < GIVE_UP + 3, self.now)

    def test_a_stop_does_not_wait(self) -> None:
        """At a stop, Redis is not waited for: neither with an event nor for a job."""
        self.stopped.set()
        connection, _ = self.connection(float("inf"))
        self.assertRaises(Lost, connection.push, "k", b"")
        self.assertIsNone(connection.pop("k"))
        self.assertEqual(self.waits, [])

    def test_waiting_for_jobs_has_no_end(self) -> None:
        """However long Redis is away, jobs are waited for again."""
        connection, away = self.connection(1000)
        self.assertIsNone(connection.pop("k"))
        self.assertEqual(away.tries, 1001)


class GraderTests(SynchronousTestCase):
    """One job each."""

    def run_job(self, grader: Grader, function: str, data: object, **order: Any) -> list[dict[str, Any]]:
        """Return the events of a job, which all went to its list."""
        pushed = Pushed()
        job = {
            "function_name": function,
            "data": data,
            "data_sequence_no": 77_000_001,
            "dry_run": False,
            "extra_params": {"api_key": "k"},
            "broker_response_channel": "node-1",
            "respond_to_me_at": "node-1",
        }
        grader.grade(Job(cast("Connection", pushed), msgspec.json.encode(job | order)))
        self.assertEqual({key for key, _ in pushed.entries}, {"node-1"})
        return [event for _, event in pushed.entries]

    def serve(self, content: bytes) -> str:
        """Return the address of a server that has a file."""
        handler = type("Handler", (Files,), {"content": content})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def test_events(self) -> None:
        """RUNNING, growing progress, COMPLETE: all with the five keys, one id, the number copied."""
        events = self.run_job(Grader(MASS, 0), "submit", challenge.sample_masses())
        self.assertEqual(len({event["job_id"] for event in events}), 1)
        for event in events:
            self.assertEqual(set(event), {"job_id", "data_sequence_no", "response_type", "data", "message"})
            self.assertEqual(event["data_sequence_no"], 77_000_001)
        kinds = [event["response_type"].rpartition(".")[2] for event in events]
        self.assertEqual(kinds, ["RUNNING", *["PROGRESS_UPDATE"] * 10, "COMPLETE"])
        percents = [event["data"]["percent_complete"] for event in events[1:-1]]
        self.assertEqual(percents, [10.0 * step for step in range(1, 11)])
        self.assertEqual(set(events[-1]["data"]), {"score", "secondary_score", "comment"})

    def test_the_number_is_copied_whatever_it_is(self) -> None:
        """The grader makes nothing of ``data_sequence_no``."""
        for number in (0, -1, "text", {"a": [1]}, None):
            events = self.run_job(Grader(MASS, 0), "nothing", None, data_sequence_no=number)
            self.assertEqual([event["data_sequence_no"] for event in events], [number, number])

    def test_the_early_name_of_the_list(self) -> None:
        """A job that names its list only in the way of 2017 is answered there."""
        events = self.run_job(Grader(MASS, 0), "nothing", None, broker_response_channel=None)
        self.assertEqual(len(events), 2)

    def test_an_uploaded_file(self) -> None:
        """A file is fetched by its key and graded."""
        grader = Grader(SPECIES, 0, self.serve(challenge.sample_file()))
        events = self.run_job(grader, "grade_submission", {"file_key": KEY, "round": 1})
        self.assertEqual(events[-1]["data"]["score"], 0.81)
        self.assertEqual(events[-1]["data"]["meta"], {"file_key": KEY})

    def error(self, grader: Grader, function: str, data: object) -> str:
        """Return the message of a job that fails; the failure is its last and only terminal event."""
        events = self.run_job(grader, function, data)
        kinds = [event["response_type"].rpartition(".")[2] for event in events]
        self.assertEqual((kinds[-1], kinds.count("ERROR"), kinds.count("COMPLETE")), ("ERROR", 1, 0))
        message: str = events[-1]["message"]
        return message

    def test_files_that_cannot_be_had(self) -> None:
        """A missing file, a bad key, no address, nobody there: each is explained."""
        url = self.serve(b"")
        gone = {"file_key": KEY.replace("5", "6")}
        self.assertIn("was it uploaded", self.error(Grader(SPECIES, 0, url), "grade_submission", gone))
        for key in ("../secrets", "submissions/../x", "", 7, None):
            message = self.error(Grader(SPECIES, 0, url), "grade_submission", {"file_key": key})
            self.assertIn("needs the file_key", message)
        self.assertIn("needs the file_key", self.error(Grader(SPECIES, 0, url), "grade_submission", []))
        there = {"file_key": KEY}
        self.assertIn("not told from where", self.error(Grader(SPECIES, 0), "grade_submission", there))
        nobody = Grader(SPECIES, 0, "http://127.0.0.1:1")
        self.assertIn("submit again", self.error(nobody, "grade_submission", there))

    def test_too_large_a_file(self) -> None:
        """A file is read up to its limit and no further."""
        self.patch(grader_module, "MAX_FILE", 10)
        grader = Grader(SPECIES, 0, self.serve(b"x" * 11))
        self.assertIn("larger than", self.error(grader, "grade_submission", {"file_key": KEY}))

    def test_bad_predictions(self) -> None:
        """Their author is told what is wrong."""
        self.assertIn("3 predictions were given", self.error(Grader(MASS, 0), "submit", [1, 2, 3]))

    def test_unknown_function(self) -> None:
        """The functions there are are named."""
        message = self.error(Grader(MASS, 0), "train", [])
        self.assertIn("'train'", message)
        self.assertIn("grade_submission, submit, evaluate", message)

    def test_evaluate(self) -> None:
        """A part of the predictions is scored; the answer says how many."""
        events = self.run_job(Grader(MASS, 0), "evaluate", challenge.sample_masses())
        self.assertEqual(events[-1]["data"]["rows"], 30)

    def test_a_mistake_of_the_grader(self) -> None:
        """A job whose grading breaks ends with an error that does not blame, or show, anything."""

        def broken(*_: Any) -> dict[str, Any]:
            raise ZeroDivisionError("secret detail")

        logged: list[str] = []
        self.patch(grader_module, "log", logged.append)
        message = self.error(Grader(challenge.Task("x", broken), 0), "submit", [0] * 100)
        self.assertEqual(message, "The grader failed. That is no fault of your submission.")
        self.assertIn("ZeroDivisionError", logged[0])
