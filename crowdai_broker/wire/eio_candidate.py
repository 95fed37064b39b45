"""A WebSocket that wants to take over from polling, until it has or has not."""

from __future__ import annotations

import enum
from typing import Final

from crowdai_broker.wire import eio_packet
from crowdai_broker.wire.eio_packet import EioVersion, PacketType, decode_frame
from crowdai_broker.wire.faults import PacketError

#: How long a GET that arrives after the probe waits for its noop, in seconds; the reference looks this often.
_NOOP_AFTER: Final = 0.1


class Step(enum.Enum):
    """What a frame of the candidate asks for."""

    PROBE = enum.auto()
    UPGRADE = enum.auto()
    NONSENSE = enum.auto()


class Candidate:
    """Its probe, its time, and the GET that has to get out of its way.

    :ivar until: when its time is up.
    """

    def __init__(self, version: EioVersion, until: float) -> None:
        self.until = until
        self._version = version
        self._probed = False
        self._noop_at: float | None = None

    @property
    def deadline(self) -> float:
        """When something is to be done: the end, or a noop."""
        return self.until if self._noop_at is None else min(self.until, self._noop_at)

    def frame(self, data: bytes, *, binary: bool) -> Step:
        """Read a frame; an upgrade without a probe is accepted, as by the reference."""
        try:
            packet = decode_frame(data, self._version, binary=binary)
        except PacketError:
            return Step.NONSENSE
        if packet == eio_packet.PROBE_PING:
            self._probed = True
            return Step.PROBE
        return Step.UPGRADE if packet.type is PacketType.UPGRADE else Step.NONSENSE

    def poll_arrived(self, now: float) -> None:
        """A GET arrived and there is nothing to answer it with."""
        if self._probed:
            self._noop_at = now + _NOOP_AFTER

    def poll_answered(self) -> None:
        """It has its answer."""
        self._noop_at = None

    def noop_is_due(self, now: float) -> bool:
        """Whether the GET has waited long enough."""
        return self._noop_at is not None and now >= self._noop_at
