"""Who counts what the server does: a small interface for metrics, and one that keeps plain numbers.

Nothing here carries a client's name, address or data: every label comes from a fixed, short list.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol


class Observer(Protocol):
    """Told of everything worth counting; must not raise and must not block."""

    def connected(self, transport: str, version: int) -> None:
        """An Engine.IO session began (``polling``/``websocket``, protocol 3/4)."""

    def upgraded(self, version: int) -> None:
        """A session moved from polling to WebSocket."""

    def disconnected(self, transport: str, version: int, reason: str) -> None:
        """A session ended; ``reason`` is one of the disconnect reasons."""

    def refused(self, why: str) -> None:
        """A request was refused with an error status."""

    def protocol_error(self, why: str) -> None:
        """A peer broke the protocol (the name of the error's class)."""

    def packets_in(self, count: int) -> None:
        """Messages came in."""

    def packets_out(self, count: int) -> None:
        """Messages went out."""

    def handler_failed(self) -> None:
        """An event's handler raised."""


class Counters:
    """The observer a server has if it is given none: plain numbers to read."""

    def __init__(self) -> None:
        self.open_now = 0
        self.connections: Counter[tuple[str, int]] = Counter()
        self.upgrades: Counter[int] = Counter()
        self.disconnections: Counter[tuple[str, int, str]] = Counter()
        self.refusals: Counter[str] = Counter()
        self.protocol_errors: Counter[str] = Counter()
        self.received = 0
        self.sent = 0
        self.failed_handlers = 0

    def connected(self, transport: str, version: int) -> None:
        """Count a session's begin."""
        self.open_now += 1
        self.connections[transport, version] += 1

    def upgraded(self, version: int) -> None:
        """Count an upgrade."""
        self.upgrades[version] += 1

    def disconnected(self, transport: str, version: int, reason: str) -> None:
        """Count a session's end."""
        self.open_now -= 1
        self.disconnections[transport, version, reason] += 1

    def refused(self, why: str) -> None:
        """Count a refused request."""
        self.refusals[why] += 1

    def protocol_error(self, why: str) -> None:
        """Count a peer's mistake."""
        self.protocol_errors[why] += 1

    def packets_in(self, count: int) -> None:
        """Count messages in."""
        self.received += count

    def packets_out(self, count: int) -> None:
        """Count messages out."""
        self.sent += count

    def handler_failed(self) -> None:
        """Count a handler's failure."""
        self.failed_handlers += 1
