"""What operators' commands show of a running broker, and what they do to it."""

from __future__ import annotations

import json
import subprocess
from typing import Any, ClassVar

from ..toolbox.places import ROOT, THIS_PYTHON
from ..toolbox.process import PATIENCE
from .case import WorldCase
from .programs import until
from .world import ORGANIZER, Plan

SEALED = "Sealed"
COMMAND = THIS_PYTHON.with_name("crowdai-broker")


class OperatingTests(WorldCase):
    """Commands beside a broker whose doubtful registrations cannot settle themselves."""

    plan: ClassVar[Plan] = Plan(
        challenges={SEALED: {"organizer_api_key": None}}, tables={"webapp": {"timeout": 1}}
    )

    def setUp(self) -> None:
        """Know the broker's configuration."""
        super().setUp()
        self.addCleanup(self.world.webapp.mend)
        self.config = str(self.world.directory / f"broker-{self.broker().port}.toml")
        self.env = {"THE_BROKERS_KEY": self.world.broker_key, "THE_ORGANIZERS_KEY": ORGANIZER}

    def run_command(self, *words: str, config: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [str(COMMAND), *words, "--config", config or self.config]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT, env=self.env
        )

    def ask(self, *words: str) -> Any:
        """Run a command with ``--json``; return what it prints."""
        done = self.run_command(*words, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return json.loads(done.stdout)

    def held(self) -> str:
        """Leave a registration in doubt; return the job's id."""
        self.world.webapp.fault("register", "drop_after")
        execution = self.participant(SEALED).execute({"score": 0.5}, "submit")
        execution.expect("INFO", saying="waits for them")
        return f"{execution.execution_id}-0"

    def test_status(self) -> None:
        """The whole is shown at a glance, for people and for programs."""
        status = self.ask("status")
        self.assertEqual(
            set(status), {"in_flight", "waiting", "effects", "held", "oldest", "nodes", "graders"}
        )
        self.assertEqual([node["silent_for"] for node in status["nodes"]], [0.0])
        self.assertIn("alive", self.run_command("status").stdout)

    def test_jobs(self) -> None:
        """A job is listed, shown, taken from its grader and cancelled, and its participant hears of it."""
        participant = self.participant(SEALED)
        execution = participant.execute({}, "evaluate")
        job_id = f"{execution.execution_id}-0"
        self.hands.take(SEALED)
        (listed,) = [job for job in self.ask("jobs", "list") if job["job_id"] == job_id]
        self.assertEqual((listed["challenge"], listed["state"]), (SEALED, "dispatched"))
        self.assertEqual(self.ask("jobs", "list", "--challenge", "Other"), [])
        self.assertIn(job_id, self.run_command("jobs", "list").stdout)
        self.ask("jobs", "retry", job_id)
        execution.expect("INFO", saying="by an operator")
        self.hands.take(SEALED)
        shown = self.ask("jobs", "show", job_id)
        self.assertEqual(shown["job"]["attempts"], 2)
        self.assertTrue(any("ENQUEUED" in event for event in shown["events"]))
        self.ask("jobs", "cancel", job_id)
        self.assertIn("Cancelled by an operator", execution.result()[0]["message"])
        again = self.run_command("jobs", "cancel", job_id)
        self.assertEqual(again.returncode, 1)
        self.assertIn("cannot be cancelled any more", again.stderr)

    def test_settled_as_registered(self) -> None:
        """A registration whose submission the operator found is graded on that submission, once."""
        job_id = self.held()
        self.assertIn(job_id, [effect["job_id"] for effect in self.ask("grades", "list")])
        (row,) = [row for row in self.world.webapp.submissions() if job_id in str(row["meta"])]
        self.ask("grades", "settle", job_id, "--submission-id", str(row["id"]))
        self.hands.take(SEALED).complete({"score": 0.5})

        def graded() -> bool:
            rows = [row for row in self.world.webapp.submissions() if job_id in str(row["meta"])]
            return [row["grading_status_cd"] for row in rows] == ["graded"]

        until(graded, "the submission is graded")

    def test_tried_again(self) -> None:
        """What is held can be looked at again; without a way to know, it is held again."""
        job_id = self.held()
        self.ask("grades", "retry", job_id)
        until(
            lambda: [e["tries"] for e in self.ask("grades", "list") if e["job_id"] == job_id] == [3],
            "it is held again",
        )
        self.ask("jobs", "cancel", job_id)
        self.ask("grades", "settle", job_id, "--not-registered")

    def test_wrong_calls(self) -> None:
        """What cannot be done is said in a line, with a status that says so."""
        for words, config, word in (
            (("jobs", "show", "nothing-0"), "", "There is no job nothing-0"),
            (("grades", "settle", "x-0"), "", "exactly one of"),
            (("grades", "settle", "x-0", "--posted"), "", "is held"),
            (("status",), "no-such-file.toml", "no-such-file.toml"),
        ):
            done = self.run_command(*words, config=config)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(word, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
