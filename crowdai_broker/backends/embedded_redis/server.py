"""A running server, started by us or found running: the two look alike to the keeper."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from .probe import Probe
from .waiting import Ending

log = Logger()
_LAST_LINES = 20
_LONGEST_LINE = 500

# A session of its own: Ctrl-C in the terminal must not end the server before the broker has flushed.
_LAUNCHER = "import os, sys; os.setsid(); os.umask(0o77); os.execv(sys.argv[1], sys.argv[1:])"
_LOCK_IN_CHILD = 3


class Server(Protocol):
    """A server that runs, until :attr:`ended`."""

    pid: int | None
    ended: Ending

    def terminate(self) -> None:
        """Ask it to flush and end."""

    def kill(self) -> None:
        """End it without asking."""


class Child(ProcessProtocol):
    """A server that is our child process; its last words are kept for the error message."""

    transport: IProcessTransport | None

    def __init__(self) -> None:
        self.pid: int | None = None
        self.ended = Ending()
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._rest = b""

    def connectionMade(self) -> None:
        """Note the process id."""
        assert self.transport is not None
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the last lines of the server's log."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        for line in lines:
            text = line[:_LONGEST_LINE].decode("utf-8", "replace").strip()
            self.last_lines.append(text)
            log.debug("redis-server: {line}", line=text)

    def processEnded(self, reason: Failure) -> None:
        """Tell whoever waits."""
        self.ended.happened()

    def terminate(self) -> None:
        """Send SIGTERM: Redis then flushes its file and ends."""
        self._signal("TERM")

    def kill(self) -> None:
        """Send SIGKILL."""
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        if self.transport is None or self.ended.over:
            return
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            log.debug("redis-server had ended before SIG{name}", name=name)


class Adopted:
    """A server that somebody else started, known by a connection that is kept open to it."""

    def __init__(self, probe: Probe, pid: int | None) -> None:
        self.pid = pid
        self.ended = probe.ended
        self._probe = probe

    def terminate(self) -> None:
        """Ask it to flush and end."""
        self._probe.shut_down()

    def kill(self) -> None:
        """Let go of it: a process that is not our child is not ours to kill."""
        self._probe.close()


def spawn(reactor: IReactorProcess, program: Path, data_dir: Path, socket: Path, lock: int) -> Child:
    """Start a server on the files in ``data_dir``, which ``lock`` (a file descriptor) guards."""
    child = Child()
    settings = _settings(data_dir, socket)
    arguments = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(program), *settings]
    descriptors: Any = {0: "w", 1: "r", 2: "r", _LOCK_IN_CHILD: lock}
    reactor.spawnProcess(child, sys.executable, arguments, env={}, childFDs=descriptors)
    return child


def _settings(data_dir: Path, socket: Path) -> list[str]:
    """Return the server's settings: a private socket and no port; what it has answered is on the disk."""
    settings: dict[str, str] = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(data_dir),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",
    }
    return [part for name, value in settings.items() for part in (f"--{name}", value)]
