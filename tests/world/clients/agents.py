"""Starts the agents: which client libraries there are, and what a test may ask of one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..toolbox.node import find_node
from ..toolbox.places import CLIENTS, CROWDAI, NODE_MODULES, PYTHON_SOCKETIO_4, THIS_PYTHON
from ..toolbox.process import PATIENCE, Child, Line

TRANSPORTS = ("polling", "websocket", "upgrade")
"""What each client is told to use: one transport only, or to begin with polling and upgrade."""


@dataclass(frozen=True)
class Library:
    """A client library.

    :ivar name: as people know it.
    :ivar command: starts its agent.
    :ivar protocol: the Engine.IO version that it speaks.
    :ivar env: what its agent needs in its environment.
    """

    name: str
    command: tuple[str | Path, ...]
    protocol: int
    env: tuple[tuple[str, str], ...] = ()


def javascript(major: int, protocol: int) -> Library:
    """Return a major version of the JavaScript client."""
    script = CLIENTS / "agent.js"
    env = (("NODE_PATH", str(NODE_MODULES)),)
    command = (find_node().program, script, f"socket.io-client-{major}")
    return Library(f"socket.io-client {major}", command, protocol, env)


def python(name: str, interpreter: Path, agent: str, protocol: int) -> Library:
    """Return a Python client, which ``interpreter`` has; its agent is a module beside this one."""
    module = f"{__package__}.{agent}"
    return Library(name, (interpreter, "-m", module), protocol)


def libraries() -> dict[str, Library]:
    """Return all client libraries under test by their names."""
    every = (
        javascript(2, protocol=3),
        javascript(3, protocol=4),
        javascript(4, protocol=4),
        python("python-socketio 4", PYTHON_SOCKETIO_4, "agent_socketio", protocol=3),
        python("python-socketio 5", THIS_PYTHON, "agent_socketio", protocol=4),
        python("socketIO-client-2", CROWDAI, "agent_socketio_client_2", protocol=3),
    )
    return {library.name: library for library in every}


class Agent(Child):
    """A running client; ``expect`` waits for what it saw."""

    def __init__(self, library: Library) -> None:
        super().__init__(library.command, dict(library.env))
        self.name = library.name

    def open(self, port: int, transports: str, namespaces: Sequence[str] = ("/",)) -> None:
        """Connect to the server on ``port`` and join ``namespaces``."""
        self.name += f" by {transports}"
        url = f"http://127.0.0.1:{port}"
        self.send({"do": "open", "url": url, "transports": transports, "namespaces": list(namespaces)})

    def emit(self, event: str, *args: Any, nsp: str = "/", ack: int | None = None) -> None:
        """Emit ``event``; with a number as ``ack``, ask for an acknowledgement."""
        line = {"do": "emit", "nsp": nsp, "event": event, "args": packed(args)}
        self.send(line if ack is None else {**line, "ack": ack})

    def leave(self, nsp: str) -> None:
        """Leave a namespace."""
        self.send({"do": "leave", "nsp": nsp})

    def close(self) -> None:
        """Disconnect."""
        self.send({"do": "close"})

    def heard(self, event: str, nsp: str = "/", patience: float = PATIENCE) -> list[Any]:
        """Wait for ``event``; return its arguments."""
        line = self.expect(patience, saw="event", event=event, nsp=nsp)
        return _values(line)

    def answer(self, ack: int) -> list[Any]:
        """Wait for the acknowledgement of the emit with that number; return its arguments."""
        return _values(self.expect(saw="ack", ack=ack))


def _values(line: Line) -> list[Any]:
    values: list[Any] = unpacked(line["args"])
    return values


def packed(value: Any) -> Any:
    """Return ``value`` as it is written to an agent: bytes as ``{"$bytes": base64}``."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [packed(item) for item in value]
    if isinstance(value, dict):
        return {key: packed(item) for key, item in value.items()}
    return value


def unpacked(value: Any) -> Any:
    """Undo :func:`packed`."""
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: unpacked(item) for key, item in value.items()}
    return value
