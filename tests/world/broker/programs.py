"""Programs of a world: each a process of its own, ended by its id, its exit status known."""

from __future__ import annotations

import http.client
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..toolbox.http import Answer, request
from ..toolbox.places import THIS_PYTHON
from ..toolbox.process import PATIENCE, Child

TWISTD = THIS_PYTHON.with_name("twistd")
POLL = 0.02  # seconds between looks at something outside

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Wait until ``condition`` returns something true; return it.

    :param what: is waited for, in words.
    :raises AssertionError: after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what}; last seen: {found!r}")
        time.sleep(POLL)
    return found


class Program(Child):
    """A child that is told to end and asked how it did."""

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for its end; return its exit status, negative for the signal that ended it."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {patience:g} s:\n{self.errors()[-3000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def terminate(self, patience: float = PATIENCE) -> int:
        """End it as an operator does; return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(patience)


class Broker(Program):
    """A broker node under twistd; its log is what it writes to its standard error.

    :param config: the path of its configuration file.
    :param port: where it listens.
    :param env: variables that the configuration refers to.
    """

    def __init__(self, config: Path, port: int, env: Mapping[str, str] | None = None) -> None:
        super().__init__([TWISTD, "-n", "--pidfile=", "crowdai-broker", "--config", config], env)
        self.port = port

    def get(self, path: str) -> Answer | None:
        """Return the answer to a GET, ``None`` if nobody answers."""
        try:
            return request(self.port, "GET", path)
        except (OSError, http.client.HTTPException):
            return None

    def ready(self, patience: float = PATIENCE) -> Broker:
        """Wait until it says that it can do its work."""
        return self.readyz(200, "", patience)

    def readyz(self, status: int, naming: str = "", patience: float = PATIENCE) -> Broker:
        """Wait until ``/readyz`` answers with ``status`` and a body that holds ``naming``."""

        def answers() -> bool:
            if not self.running:
                raise AssertionError(f"the broker ended with {self.wait()}:\n{self.errors()[-3000:]}")
            answer = self.get("/readyz")
            return answer is not None and answer.status == status and naming in answer.text

        until(answers, f"/readyz answers {status} {naming}; log:\n{self.errors()[-3000:]}", patience)
        return self


def python(*arguments: str | Path) -> Sequence[str | Path]:
    """Return the command of a program for this interpreter."""
    return [THIS_PYTHON, *arguments]
