"""What the scenarios share: a server of their own, and agents that are stopped when a test ends."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from ..toolbox.places import THIS_PYTHON
from ..toolbox.ports import free_port, wait_until_open
from ..toolbox.process import Child
from .agents import TRANSPORTS, Agent, Library, libraries

CALM = (25_000, 20_000)
"""Ping interval and timeout, in ms: no heartbeat falls due within a test."""


def start_server(port: int, timing: tuple[int, int] = CALM) -> Child:
    """Start the scenarios' server on ``port``."""
    interval, timeout = (str(time) for time in timing)
    module = [str(THIS_PYTHON), "-m", f"{__package__}.server"]
    child = Child([*module, "--port", str(port), "--ping-interval", interval, "--ping-timeout", timeout])
    try:
        wait_until_open(port, child)
    except AssertionError:
        child.stop()
        raise
    return child


@functools.cache
def shared_server() -> int:
    """Return the port of the server that tests share which do nothing to it."""
    port = free_port()
    atexit.register(start_server(port).stop)
    return port


class ClientCase(SynchronousTestCase):
    """A test with agents."""

    def agent(self, library: Library) -> Agent:
        """Start an agent."""
        agent = Agent(library)
        self.addCleanup(agent.stop)
        return agent

    def server(self, port: int, timing: tuple[int, int] = CALM) -> Child:
        """Start a server for this test alone."""
        child = start_server(port, timing)
        self.addCleanup(child.stop)
        return child

    def everybody(self, port: int) -> Iterator[Agent]:
        """Connect every client by every transport, one after another."""
        for library in libraries().values():
            for transport in TRANSPORTS:
                agent = self.agent(library)
                agent.open(port, transport)
                self.connected(agent, transport)
                yield agent

    def connected(self, agent: Agent, transport: str) -> None:
        """The agent is in the main namespace, greeted, and on the transport where it is to stay."""
        agent.expect(saw="connect", nsp="/")
        self.assertEqual(agent.heard("auth"), [{}], agent.name)
        agent.expect(saw="transport", name="polling" if transport == "polling" else "websocket")

    def assert_echoes(self, agent: Agent, text: str) -> None:
        """A message comes back."""
        agent.emit("message", text)
        self.assertEqual(agent.heard("message-back"), [text], agent.name)
