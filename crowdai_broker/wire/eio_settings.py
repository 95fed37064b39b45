"""Times, bounds and states of one Engine.IO session."""

from __future__ import annotations

import enum

import msgspec


class SessionSettings(msgspec.Struct, frozen=True):
    """Times in seconds, sizes in bytes; the defaults are the reference's where it has any.

    :ivar max_packets_per_answer: python-engineio clients refuse more than 16.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    drain_timeout: float = 30.0
    max_payload: int = 1_000_000
    max_message_bytes: int = 1_000_000
    max_buffered_bytes: int = 4_000_000
    max_buffered_packets: int = 10_000
    max_packets_per_post: int = 10_000
    max_packets_per_answer: int = 16


class State(enum.Enum):
    """See :mod:`crowdai_broker.wire.eio_session`."""

    OPEN = enum.auto()
    DRAINING = enum.auto()
    CLOSED = enum.auto()
