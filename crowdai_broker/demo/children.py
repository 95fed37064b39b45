"""Processes of the demo: started, listened to, and gone when the demo goes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

TAIL = 12_000  # bytes of a process's output that are kept for the case that it fails
STOP_PATIENCE = 10.0  # s from SIGTERM to SIGKILL


class DemoFailed(Exception):
    """A step of the demo failed; the text says which, and why."""


class Child(ProcessProtocol):
    """A Python process of the demo.

    :param name: for people.
    :ivar status: its exit status once it has ended, negative for a signal; ``None`` while it runs.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self.name = name
        self.status: int | None = None
        self._reactor = reactor
        self._tail = b""
        self._waiting: list[Deferred[int]] = []
        self._process: Any = None

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str] | None = None, show: bool = False
    ) -> None:
        """Run this Python; with ``show`` it writes where the demo does, else the end of that is kept."""
        command = [sys.executable, *arguments]
        fds: dict[int, Any] = {0: 0, 1: 1, 2: 2} if show else {0: "w", 1: "r", 2: "r"}
        given = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._process = self._reactor.spawnProcess(self, command[0], command, env=given, childFDs=fds)

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the end of what it says."""
        self._tail = (self._tail + data)[-TAIL:]

    def processEnded(self, reason: Failure) -> None:
        """Tell who waits."""
        ended: Any = reason.value
        self.status = -ended.signal if ended.signal else ended.exitCode
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(self.status)

    def output(self) -> str:
        """Return the end of what it said."""
        return self._tail.decode("utf-8", "replace").strip()

    def check(self) -> None:
        """Raise if it is gone.

        :raises DemoFailed: it has ended, with the end of what it said.
        """
        if self.status is not None:
            raise DemoFailed(f"{self.name} ended with status {self.status}.\n{self.output()}")

    async def ended(self) -> int:
        """Return its exit status when it has ended."""
        if self.status is None:
            waiting: Deferred[int] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            return await waiting
        return self.status

    async def stop(self) -> None:
        """End it: politely, and after a while for good."""
        if self._process is None or self.status is not None:
            return
        self.signal(signal.SIGTERM)
        killing = self._reactor.callLater(STOP_PATIENCE, self.signal, signal.SIGKILL)
        await self.ended()
        if killing.active():
            killing.cancel()

    def signal(self, number: int) -> None:
        """Send a signal to it, if it is still there."""
        try:
            self._process.signalProcess(number)
        except ProcessExitedAlready:
            return  # its end is on its way here
