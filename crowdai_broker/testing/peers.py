"""A participant's connection in tests: everything that was sent to it, in order."""

from __future__ import annotations

import json
from typing import Any

from ..core.events import Outcome


class Peer:
    """Records what a broker sends.

    :ivar events: decoded job events, in order.
    :ivar channels: the event name that each of them was sent under.
    :ivar acks: the outcomes of each execution that was acknowledged.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.channels: list[str] = []
        self.acks: list[list[Outcome]] = []

    def send(self, channel: str, text: str) -> None:
        """Take an event; pass this as the ``send`` of a subscription."""
        self.channels.append(channel)
        self.events.append(json.loads(text))

    def finish(self, outcomes: list[Outcome]) -> None:
        """Take the end of an execution; pass this as the ``finish`` of a subscription."""
        self.acks.append(outcomes)

    @property
    def numbers(self) -> list[int]:
        """The ``event_no`` of each event."""
        return [event["event_no"] for event in self.events]

    def kinds(self, number: int | None = None) -> list[str]:
        """Return the last word of each event's ``response_type``, of one job or of all."""
        return [event["response_type"].rpartition(".")[2] for event in self.of_job(number)]

    def messages(self, kind: str) -> list[str]:
        """Return the messages of the events of one kind (``"INFO"``)."""
        return [event["message"] for event in self.events if event["response_type"].endswith(f".{kind}")]

    def of_job(self, number: int | None) -> list[dict[str, Any]]:
        """Return the events with this ``data_sequence_no``, or all."""
        return [event for event in self.events if number in (None, event["data_sequence_no"])]
