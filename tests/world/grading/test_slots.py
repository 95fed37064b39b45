"""``crowdai-broker grade`` over a real Redis."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis
from twisted.trial.unittest import SynchronousTestCase

from tests.redis_server import RedisServer
from tests.world.toolbox.places import ROOT, THIS_PYTHON

HERE = "tests.world.grading.evaluators"
COMMAND = str(THIS_PYTHON.with_name("crowdai-broker"))
PATIENCE = 30  # s


class GradeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Start a Redis of the test's own."""
        self.server = RedisServer()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.wait()
        self.redis = redis.Redis(unix_socket_path=str(self.server.socket))
        self.addCleanup(self.redis.close)

    def grade(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start graders of the queue ``Q``."""
        command = [COMMAND, "grade", f"{HERE}:{name}"]
        started = subprocess.Popen([*command, "--redis", self.server.url, "--queue", "Q", *options], cwd=ROOT)
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        return started

    def end(self, grader: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM until it is gone: two signals in one moment are one."""
        for _ in range(PATIENCE * 10):
            grader.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                grader.wait(0.1)
                return

    def order(self, data: Any, number: int = 1) -> None:
        """Put an order on the queue."""
        order = {
            "function_name": "submit",
            "data": data,
            "dry_run": False,
            "extra_params": {"api_key": "k"},
            "data_sequence_no": number,
            "broker_response_channel": "answers",
        }
        self.redis.lpush("Q::enqueue_job", json.dumps(order))

    def gate(self) -> Path:
        """Return a path where nothing is yet."""
        gate = Path(tempfile.mkdtemp()) / "open"
        self.addCleanup(gate.parent.rmdir)
        self.addCleanup(gate.unlink, missing_ok=True)
        return gate

    def answer(self) -> dict[str, Any]:
        """Wait for the next event."""
        popped: Any = self.redis.blpop(["answers"], timeout=PATIENCE)
        assert popped is not None, "no event came"
        event: dict[str, Any] = json.loads(popped[1])
        return event

    def kinds(self, count: int) -> list[str]:
        """Wait for events; return their kinds."""
        return [self.answer()["response_type"].rpartition(".")[2] for _ in range(count)]

    def test_job_by_job(self) -> None:
        """Each order is answered in the field's shape, and a job that fails costs the next one nothing."""
        self.grade("Conventional")
        self.redis.lpush("Q::enqueue_job", "no order", "[1]", '{"data_sequence_no": 1}')
        self.order({"no": "value"}, 1)
        self.order({"value": 2}, 2)
        self.assertEqual(self.kinds(2), ["RUNNING", "ERROR"])
        self.assertEqual(self.kinds(1), ["RUNNING"])
        complete = self.answer()
        self.assertEqual(
            complete,
            {
                "job_id": "2",
                "data_sequence_no": 2,
                "response_type": "CrowdAI.Event.Job.COMPLETE",
                "data": {"score": 2, "score_secondary": 1},
                "message": "",
            },
        )

    def test_several_at_once(self) -> None:
        """With two slots a job that waits does not hold up another."""
        self.grade("waits", "--slots", "2")
        gate = self.gate()
        self.order({"until": str(gate)}, 1)
        self.order({"until": str(gate)}, 2)
        waiting = {
            (event["data_sequence_no"], event["message"]) for event in (self.answer() for _ in range(4))
        }
        self.assertLessEqual({(1, "waiting"), (2, "waiting")}, waiting)
        gate.touch()
        self.assertEqual(self.kinds(2), ["COMPLETE", "COMPLETE"])

    def test_told_to_stop(self) -> None:
        """SIGTERM finishes the job in hand, takes no other, and ends with status 0."""
        grader = self.grade("waits")
        gate = self.gate()
        self.order({"until": str(gate)}, 1)
        self.assertEqual(self.kinds(2), ["RUNNING", "INFO"])
        grader.send_signal(signal.SIGTERM)
        self.order({"until": str(gate)}, 2)
        gate.touch()
        self.assertEqual(self.kinds(1), ["COMPLETE"])
        self.assertEqual(grader.wait(PATIENCE), 0)
        self.assertEqual(self.redis.llen("Q::enqueue_job"), 1)

    def test_told_to_stop_at_once(self) -> None:
        """A second SIGTERM puts the order in hand back where the next grader takes it first."""
        grader = self.grade("waits")
        gate = self.gate()
        self.order({"until": str(gate)}, 1)
        self.assertEqual(self.kinds(2), ["RUNNING", "INFO"])
        self.order({"until": str(gate)}, 2)
        grader.send_signal(signal.SIGTERM)
        self.end(grader)
        gate.touch()
        self.grade("waits")
        numbers = [self.answer()["data_sequence_no"] for _ in range(3)]
        self.assertEqual(numbers, [1, 1, 1])

    def test_killed(self) -> None:
        """A grader that is killed takes its job's process with it, and another grades what follows."""
        grader = self.grade("waits")
        self.order({"until": str(self.gate())}, 1)
        self.assertEqual(self.kinds(2), ["RUNNING", "INFO"])
        grader.kill()
        self.grade("Conventional")
        self.order({"value": 3}, 2)
        self.assertEqual(self.kinds(2), ["RUNNING", "COMPLETE"])

    def test_redis_comes_back(self) -> None:
        """A result that is there while Redis is away is sent when it is back; an event may come twice."""
        self.grade("waits")
        gate = self.gate()
        self.order({"until": str(gate)})
        self.assertEqual(self.kinds(2), ["RUNNING", "INFO"])
        self.server.kill()
        gate.touch()
        self.server.start()
        self.server.wait()
        kinds = self.kinds(1)
        while kinds[-1] != "COMPLETE":
            kinds += self.kinds(1)
        self.assertLessEqual(set(kinds), {"INFO", "COMPLETE"})

    def test_redis_does_not_come_back(self) -> None:
        """A result that cannot be sent is waited with until the second SIGTERM, no longer."""
        grader = self.grade("waits")
        gate = self.gate()
        self.order({"until": str(gate)})
        self.assertEqual(self.kinds(2), ["RUNNING", "INFO"])
        self.server.kill()
        gate.touch()
        grader.send_signal(signal.SIGTERM)
        with self.assertRaises(subprocess.TimeoutExpired):
            grader.wait(1)
        self.end(grader)
        self.assertEqual(grader.returncode, 0)

    def run_grade(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        command = [COMMAND, "grade", *arguments]
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def test_try(self) -> None:
        """An evaluator is tried on a file without anything else; the status says whether it had a result."""
        done = self.run_grade(f"{HERE}:counts", "--try", __file__)
        self.assertEqual(done.returncode, 0)
        self.assertIn('"score"', done.stdout)
        done = self.run_grade(f"{HERE}:echoes", "--try-data", '{"a": 1}')
        self.assertIn('"payload": {"a": 1}', done.stdout)
        failed = self.run_grade(f"{HERE}:raises", "--try", __file__)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("3 columns", failed.stderr)

    def test_wrong_calls(self) -> None:
        """What is missing or wrong is said in a line."""
        for arguments, word in (
            ((f"{HERE}:counts",), "--redis and --queue"),
            ((f"{HERE}:nothing", "--try", __file__), "has no nothing"),
            ((f"{HERE}:counts", "--try-data", "{"), "no JSON"),
            ((f"{HERE}:counts", "--redis", "nonsense", "--queue", "Q"), "--redis cannot be used"),
        ):
            done = self.run_grade(*arguments)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(word, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
