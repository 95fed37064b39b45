"""Runs each job in a process of its own, within a time and a memory, and always has a last word about it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from msgspec import Struct

LONGEST_LINE = 900_000  # bytes of one event; the broker drops those above 1,000,000, wrapping included
TERMINAL = frozenset({"COMPLETE", "ERROR"})
KINDS = TERMINAL | {"PROGRESS_UPDATE", "INFO"}
_ENDED = b"ended\n"  # the grader's own line among the events: the process is gone


class Said(Struct, frozen=True):
    """An event of a job; ``kind`` is one of :data:`KINDS` or ``RUNNING``."""

    kind: str
    data: dict[str, Any]
    message: str


class Limits(Struct, frozen=True):
    """What one job may use; 0: as much as it likes.

    :ivar seconds: from its start to its result.
    :ivar memory: mebibytes of address space, of each of its processes.
    """

    seconds: float = 0
    memory: int = 0


class JobProcess:
    """Runs one order.

    :param evaluator: ``module:name``.
    :param files: see :class:`~crowdai_broker.grading.files.Files`.
    :ivar given_up: the job was ended by :meth:`give_up`; if it had no result before, it has none.
    """

    def __init__(self, evaluator: str, files: str, limits: Limits) -> None:
        self.given_up = False
        self._evaluator = evaluator
        self._files = files
        self._limits = limits
        self._overdue = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, order: Mapping[str, Any]) -> Iterator[Said]:
        """Run the job; the last event is terminal, whatever becomes of the process, unless it is given up."""
        yield Said("RUNNING", {}, "")
        with tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True) as directory:
            reading, writing = os.pipe()
            with os.fdopen(writing, "wb", buffering=0) as end:
                try:
                    with os.fdopen(reading, "rb") as events:
                        self._start(order, writing, directory)
                        ender = threading.Thread(target=self._see_off, args=(end,))
                        ender.start()
                        yield from self._within_time(events)
                finally:
                    self._kill()
                    if self._process is not None:
                        ender.join()
                        self._let_go(self._process)

    def give_up(self) -> None:
        """End the job now, without a word about it."""
        self.given_up = True
        self._kill()

    def _start(self, order: Mapping[str, Any], writing: int, directory: str) -> None:
        """Start the process, in a session of its own: all that it starts ends with it."""
        what = [self._evaluator, str(writing), str(self._limits.memory), self._files]
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "crowdai_broker.grading.child", *what],
            stdin=subprocess.PIPE,
            pass_fds=[writing],
            start_new_session=True,
            env={**os.environ, "TMPDIR": directory},
        )
        if self.given_up:
            self._kill()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()

    @staticmethod
    def _let_go(process: subprocess.Popen[bytes]) -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def _see_off(self, end: BinaryIO) -> None:
        """Wait for the end of the process, end what it left behind, and say so behind its last event."""
        assert self._process is not None
        self._process.wait()
        self._kill()
        with contextlib.suppress(BrokenPipeError):
            end.write(b"\n" + _ENDED)

    def _within_time(self, events: BinaryIO) -> Iterator[Said]:
        if not self._limits.seconds:
            yield from self._events(events)
            return
        timer = threading.Timer(self._limits.seconds, self._time_is_up)
        timer.start()
        try:
            yield from self._events(events)
        finally:
            timer.cancel()

    def _events(self, lines: BinaryIO) -> Iterator[Said]:
        while (line := lines.readline(LONGEST_LINE + 1)) != _ENDED:
            said = _read(line)
            if said is not None:
                yield said
                if said.kind in TERMINAL:
                    return
        if not self.given_up:
            yield Said("ERROR", {}, self._last_word())

    def _time_is_up(self) -> None:
        self._overdue = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _last_word(self) -> str:
        if self._overdue:
            return f"The evaluation took longer than {self._limits.seconds:g} s and was ended."
        assert self._process is not None
        status = self._process.returncode
        if status < 0:
            name = signal.Signals(-status).name
            return f"The evaluator was ended by {name} before it had a result: a crash, or too much memory."
        return f"The evaluator ended with status {status} before it had a result."


def _read(line: bytes) -> Said | None:
    """Return an event; ``None`` for what an evaluator wrote to the wrong place, or too much of it."""
    if len(line) > LONGEST_LINE:
        return Said("ERROR", {}, "The evaluator sent an event that is too large.")
    try:
        raw = json.loads(line)
        said = Said(raw["kind"], raw["data"], raw["message"])
    except (ValueError, KeyError, TypeError):
        return None
    whole = said.kind in KINDS and isinstance(said.data, dict) and isinstance(said.message, str)
    return said if whole else None
