"""One job in a process of its own: ``python -m crowdai_broker.grading.child MODULE:NAME FD MEBIBYTES FILES``.

The order comes in on standard input, one line of JSON; standard input then stays open as long as the grader
lives, and its end ends this process and all that it started. Events go out on file descriptor ``FD``, one
object of JSON a line. What the evaluator prints goes to the grader's log.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from ..errors import GradingError
from .context import Context
from .evaluator import load_evaluator
from .files import Files


class Child:
    """Runs an evaluator on one order.

    :param out: where events go.
    """

    def __init__(self, order: Mapping[str, Any], out: TextIO, files: Files) -> None:
        self._order = order
        self._out = out
        self._files = files
        self._speaking = threading.Lock()  # evaluators have threads, too

    def run(self, evaluator_name: str) -> None:
        """Evaluate; the last event sent is ``COMPLETE`` or ``ERROR``."""
        try:
            result = load_evaluator(evaluator_name)(self._order.get("data"), self._context())
            self._finish(result)
        except MemoryError:
            self._complain()
            self.say("ERROR", {}, "The evaluator needs more memory than it may have.")
        except Exception as error:  # noqa: BLE001 - whatever an evaluator raises is told to its participant
            self._complain()
            self.say("ERROR", {}, str(error) or f"The evaluator failed: {type(error).__name__}")

    def say(self, kind: str, data: dict[str, Any], message: str) -> None:
        """Send an event."""
        event = json.dumps({"kind": kind, "data": data, "message": str(message)}, default=_plain)
        with self._speaking:
            self._out.write(f"{event}\n")
            self._out.flush()

    def _finish(self, result: Any) -> None:
        if not isinstance(result, Mapping):
            raise GradingError(f"The evaluator returned a {type(result).__name__}; it has to return a dict.")
        try:
            json.dumps(dict(result), allow_nan=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise GradingError(f"The evaluator's result cannot be sent: {error}") from error
        self.say("COMPLETE", dict(result), "")

    def _complain(self) -> None:
        sys.stderr.write(f"job {self._order.get('data_sequence_no')} failed:\n{traceback.format_exc()}")

    def _context(self) -> Context:
        extra = self._order.get("extra_params") or {}
        names = ("api_key", "execution_id", "challenge_client_name", "submission_id")
        members = {name: extra.get(name) for name in names}
        members["job_id"] = str(self._order.get("data_sequence_no", ""))
        members["data_sequence_no"] = self._order.get("data_sequence_no")
        members["dry_run"] = bool(self._order.get("dry_run"))
        return Context(members, self.say, self._files)


def _plain(value: Any) -> Any:
    """Return the number in one of numpy's, and of the like."""
    item = getattr(value, "item", None)
    if not callable(item):
        raise TypeError(f"a {type(value).__name__} is no JSON")
    return item()


def limit_memory(mebibytes: int) -> None:
    """Let this process have no more address space than that; 0: no limit.

    If the machine itself runs out of memory, this process is the one to go, not the grader.
    """
    if mebibytes:
        limit = mebibytes << 20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with contextlib.suppress(OSError):  # there are systems without it
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _die_with(lifeline: BinaryIO) -> None:
    """Wait until the grader is gone; then nobody wants the result, and nobody else ends the job."""
    while os.read(lifeline.fileno(), 1):  # no buffer, whose lock would be in the way of Python's own end
        continue
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)  # the job's own, see JobProcess
    os.killpg(0, signal.SIGKILL)


def take_over() -> tuple[BinaryIO, dict[str, Any]]:
    """Read the order, and give the evaluator a standard input and output that disturb nobody."""
    lifeline = os.fdopen(os.dup(0), "rb")
    order = json.loads(lifeline.readline())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # what the evaluator prints is no event
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)  # it is in the log before the job's end, too
    return lifeline, order


def main(arguments: list[str]) -> None:
    """Read the order, run the evaluator, send what it says."""
    evaluator, events, mebibytes, files = arguments
    os.set_inheritable(int(events), False)
    lifeline, order = take_over()
    threading.Thread(target=_die_with, args=(lifeline,), daemon=True).start()
    with os.fdopen(int(events), "w", encoding="utf-8") as out:
        limit_memory(int(mebibytes))
        Child(order, out, Files(files)).run(evaluator)


if __name__ == "__main__":
    main(sys.argv[1:])
