"""A job costs nobody but itself, whatever its evaluator does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.grader_events import MAX_EVENT
from crowdai_broker.errors import GradingError
from crowdai_broker.grading import load_evaluator
from crowdai_broker.grading.process import LONGEST_LINE, JobProcess, Limits, Said
from tests.world.toolbox.places import ROOT

HERE = "tests.world.grading.evaluators"
ORDER: dict[str, Any] = {
    "data": {"value": 0.5, "file_key": "k"},
    "data_sequence_no": 7,
    "dry_run": False,
    "extra_params": {"api_key": "key", "execution_id": "x", "challenge_client_name": "C", "submission_id": 3},
}


def ended(pid: int) -> bool:
    """Tell whether a process ends; what is killed may take a moment to be gone."""
    with contextlib.suppress(FileNotFoundError):
        for _ in range(1000):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
            threading.Event().wait(0.01)
        return False
    return True


class JobProcessTests(SynchronousTestCase):
    def run_job(self, name: str, seconds: float = 0, memory: int = 0) -> list[Said]:
        """Run an evaluator; return what was said of it after ``RUNNING``."""
        process = JobProcess(f"{HERE}:{name}", str(Path(__file__)), Limits(seconds, memory))
        running, *said = process.run(ORDER)
        self.assertEqual(running.kind, "RUNNING")
        return said

    def error(self, name: str, **limits: Any) -> str:
        """Return the message of a job that fails; it is the last and only terminal event."""
        *before, last = self.run_job(name, **limits)
        self.assertEqual((last.kind, last.data), ("ERROR", {}))
        self.assertFalse([said for said in before if said.kind in ("COMPLETE", "ERROR")])
        return last.message

    def test_function(self) -> None:
        """A function gets the data, speaks with the participant, reads the file and returns its score."""
        progress, info, complete = self.run_job("counts")
        self.assertEqual(progress, Said("PROGRESS_UPDATE", {"percent_complete": 50.0}, "half way"))
        self.assertEqual(info, Said("INFO", {}, "reading"))
        self.assertEqual(complete.data, {"score": len(Path(__file__).read_text())})

    def test_context(self) -> None:
        """The context holds what the crowdAI convention reads of it."""
        (complete,) = self.run_job("echoes")
        self.assertEqual(complete.data["payload"], ORDER["data"])
        expected = {**ORDER["extra_params"], "job_id": "7", "data_sequence_no": 7, "dry_run": False}
        self.assertEqual(complete.data["context"], expected)

    def test_class_of_the_convention(self) -> None:
        """A class with ``_evaluate`` is made and called by the convention's names."""
        (complete,) = self.run_job("Conventional")
        self.assertEqual(complete.data, {"score": 0.5, "score_secondary": 3})

    def test_exception(self) -> None:
        """The message of an exception is what the participant reads."""
        self.assertEqual(self.error("raises"), "The file has 3 columns, 5 are needed.")

    def test_results_that_cannot_be_sent(self) -> None:
        """A result that is no object, or no JSON, is an error that says so."""
        self.assertIn("has to return a dict", self.error("returns_no_dict"))
        self.assertIn("cannot be sent", self.error("returns_nan"))

    def test_numbers_of_a_library(self) -> None:
        """A score of numpy's type is a number."""
        (complete,) = self.run_job("returns_numbers_of_a_library")
        self.assertEqual(complete.data, {"score": 0.25})

    def test_crash(self) -> None:
        """A process that dies is told as the end of its job."""
        self.assertIn("SIGSEGV", self.error("crashes"))

    def test_leaves_a_daemon(self) -> None:
        """The end of the process is the job's end, even if something escaped that has its files open."""
        info, last = self.run_job("leaves")
        self.addCleanup(os.kill, int(info.message), signal.SIGKILL)
        self.assertIn("status 7", last.message)

    def test_endless(self) -> None:
        """A job ends with its time, and so does what it has started."""
        info, last = self.run_job("never_ends", seconds=1)
        self.assertIn("longer than 1 s", last.message)
        self.assertTrue(ended(int(info.message)))

    def test_given_up(self) -> None:
        """A job that is given up ends without a word; so does one that is given up before it began."""
        process = JobProcess(f"{HERE}:never_ends", "", Limits())
        kinds = []
        for said in process.run(ORDER):
            kinds.append(said.kind)
            if said.kind == "INFO":
                process.give_up()
        self.assertEqual(kinds, ["RUNNING", "INFO"])
        early = JobProcess(f"{HERE}:never_ends", "", Limits())
        early.give_up()
        self.assertEqual([said.kind for said in early.run(ORDER)], ["RUNNING"])

    def test_dies_with_its_grader(self) -> None:
        """A grader that is killed leaves no job behind that eats the machine for nobody."""
        code = (
            "import sys; from tests.world.grading.test_process import *\n"
            f"for said in JobProcess('{HERE}:never_ends', '', Limits()).run(ORDER):\n"
            "    print(said.message, flush=True)"
        )
        grader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
        self.addCleanup(grader.wait)
        self.addCleanup(grader.kill)
        assert grader.stdout is not None
        with grader.stdout as lines:
            self.assertEqual(lines.readline(), b"\n")
            child = int(lines.readline())
            grader.kill()
            grader.wait()
            self.assertEqual(lines.read(), b"")
        self.assertTrue(ended(child))

    def test_input_and_temporary_files(self) -> None:
        """Standard input is empty, and what a job leaves among temporary files is gone with it."""
        info, complete = self.run_job("reads_input")
        self.assertEqual(complete.data, {"score": 0})
        self.assertFalse(Path(info.message).exists())

    def test_many_at_once(self) -> None:
        """Jobs that run side by side do not mix, however many descriptors are open."""
        results: list[Said] = []
        jobs = [threading.Thread(target=lambda: results.extend(self.run_job("echoes"))) for _ in range(8)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        self.assertEqual([said.kind for said in results], ["COMPLETE"] * 8)

    def test_memory(self) -> None:
        """A job that asks for more memory than it may have fails alone."""
        self.assertIn("more memory", self.error("eats_memory", memory=500))

    def test_event_too_large(self) -> None:
        """An event above the bound ends the job."""
        self.assertLess(LONGEST_LINE, MAX_EVENT)
        self.assertIn("too large", self.error("says_too_much"))


class LoadTests(SynchronousTestCase):
    def test_what_is_wrong_is_said(self) -> None:
        """A name that leads nowhere is refused with the part that is wrong."""
        for name, word in (
            ("evaluators", "MODULE:NAME"),
            ("no_such_module:x", "no module no_such_module"),
            (f"{HERE}:nothing", "has no nothing"),
            (f"{HERE}:NOT_AN_EVALUATOR", "neither be called"),
            (f"{HERE}:NumberOfALibrary", "neither be called"),
            ("tests.world.grading.broken:x", "cannot be imported: ZeroDivisionError"),
        ):
            with self.assertRaises(GradingError) as caught:
                load_evaluator(name)
            self.assertIn(word, str(caught.exception))
