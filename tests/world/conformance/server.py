"""The servers under test: started when a test first needs one, shared, ended with the tests."""

from __future__ import annotations

import atexit
import functools
import os
import shlex

from ..toolbox.places import ROOT, THIS_PYTHON
from ..toolbox.ports import free_port, wait_until_open
from ..toolbox.process import Child

COMMAND = "CONFORMANCE_SERVER"
"""Environment variable with the command of another server to try; it must take the same options."""

HASTY = (300, 200)
"""Ping interval and timeout, in ms, of the server for tests about heartbeats."""

CALM = (25_000, 20_000)
"""Those of the server for all other tests: no heartbeat falls due while a test runs."""


def start(timing: tuple[int, int]) -> tuple[Child, int]:
    """Start a server; return it and the port where it listens."""
    given = os.environ.get(COMMAND)
    command = (
        shlex.split(given) if given else [str(THIS_PYTHON), str(ROOT / "examples/conformance_server.py")]
    )
    port, (interval, timeout) = free_port(), timing
    options = ["--port", str(port), "--ping-interval", str(interval), "--ping-timeout", str(timeout)]
    child = Child([*command, *options])
    try:
        wait_until_open(port, child)
    except AssertionError:
        child.stop()
        raise
    return child, port


@functools.cache
def shared(timing: tuple[int, int]) -> int:
    """Return the port of the one server with this timing."""
    child, port = start(timing)
    atexit.register(child.stop)
    return port
