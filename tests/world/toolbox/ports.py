"""TCP ports of this machine: one that is free, and one that has begun to answer."""

from __future__ import annotations

import socket
import time

from .process import PATIENCE, Child


def free_port() -> int:
    """Return a port that the system says is free on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_open(port: int, child: Child) -> None:
    """Wait until ``port`` accepts connections.

    :raises AssertionError: if ``child``, who is to open it, ends before or takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    while child.running and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nobody listens on the port; standard error:\n{child.errors()[-3000:]}")
