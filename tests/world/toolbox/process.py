"""Child processes that talk in lines of JSON, and how a test waits for a line.

Each child has a thread that reads its output as it comes, so that a test may wait with a limit and a child
never blocks on a full pipe. What a child writes to its standard error goes to a file of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .places import ROOT

PATIENCE = 15.0
"""Seconds that a test waits for anything before it fails."""

Line = dict[str, Any]


class Child:
    """A running program; ``send`` gives it a line, ``expect`` waits for one of its own.

    :param command: the program and its arguments.
    :param env: variables added to the environment of the tests.
    :ivar name: what it is called in failures; may be set to something better.
    """

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self.name = str(command)
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._news = threading.Condition()
        self._lines: list[Line] = []
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    def send(self, line: Line) -> None:
        """Write ``line`` to the program's standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()

    def expect(self, patience: float = PATIENCE, **wanted: object) -> Line:
        """Wait for a line that has all of ``wanted``, take it out of what is unread and return it.

        :param patience: seconds to wait.
        :raises AssertionError: if none came in time; it tells what came instead.
        """
        deadline = time.monotonic() + patience
        with self._news:
            while True:
                for position, line in enumerate(self._lines):
                    if all(line.get(key) == value for key, value in wanted.items()):
                        return self._lines.pop(position)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(f"{self.name}: no line with {wanted}; {self._account()}")
                self._news.wait(left)

    def unread(self, **wanted: object) -> list[Line]:
        """Return the lines that have all of ``wanted`` and that no ``expect`` has taken so far."""
        with self._news:
            return [x for x in self._lines if all(x.get(key) == value for key, value in wanted.items())]

    def errors(self) -> str:
        """Return what the program has written to its standard error so far."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")

    def kill(self) -> None:
        """End the program as a crash would, and wait until it is gone."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """End the program if it still runs, kindly at first, and let go of all that belonged to it."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            with self._news:
                self._lines.append(_parsed(raw))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _account(self) -> str:
        end = f"the program ended with {self._process.poll()}" if self._ended else "the program runs"
        lines = [json.dumps(line)[:300] for line in self._lines[-20:]]
        return "\n".join([f"{end}; unread lines:", *lines, "its standard error:", self.errors()[-3000:]])


def _parsed(raw: bytes) -> Line:
    """Return a line of JSON as an object; anything else a program prints, under ``"text"``."""
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"text": raw.decode(errors="replace").rstrip()}


@contextmanager
def running(child: Child) -> Iterator[Child]:
    """Give ``child`` and stop it in the end."""
    try:
        yield child
    finally:
        child.stop()


def resident_megabytes(pid: int) -> float:
    """Return how much memory a process has in use, in MiB (``VmRSS`` of Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]
    return int(kilobytes) / 1024
