"""The packets a session still has to send: bounded in number and bytes."""

from __future__ import annotations

from collections import deque

from crowdai_broker.wire.eio_packet import Packet
from crowdai_broker.wire.faults import SlowPeer


class OutgoingBuffer:
    """First in, first out; a peer that does not read ends, nothing is buffered without bound.

    A mark behind a packet ends the write it goes out with: what follows goes out in a later one.
    """

    def __init__(self, max_packets: int, max_bytes: int) -> None:
        self._max_packets = max_packets
        self._max_bytes = max_bytes
        self._packets: deque[Packet] = deque()
        self._marks: deque[int] = deque()
        self._taken = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, packet: Packet) -> None:
        """Queue a packet.

        One packet always fits into an empty buffer, however large: what the application sends is its choice,
        how much of it waits is ours.

        :raises SlowPeer: the bound is reached; nothing was queued.
        """
        size = len(packet.data) + 1
        full = len(self._packets) >= self._max_packets or self.size + size > self._max_bytes
        if full and self._packets:
            raise SlowPeer("the peer does not read what it is sent")
        self._packets.append(packet)
        self.size += size

    def mark(self) -> None:
        """End a write behind what is queued now."""
        self._marks.append(self._taken + len(self._packets))

    def take_to_mark(self) -> tuple[list[Packet], bool]:
        """Take the packets of one write; the second value says whether a mark ended it."""
        if not self._marks:
            return self.take(), False
        return self.take(self._marks[0] - self._taken), True

    def take(self, limit: int | None = None) -> list[Packet]:
        """The oldest packets, at most ``limit`` of them."""
        count = len(self._packets) if limit is None else min(limit, len(self._packets))
        batch = [self._packets.popleft() for _ in range(count)]
        self.size -= sum(len(packet.data) + 1 for packet in batch)
        self._taken += count
        while self._marks and self._marks[0] <= self._taken:
            self._marks.popleft()
        return batch

    def clear(self) -> None:
        """Forget everything."""
        self._packets.clear()
        self._marks.clear()
        self.size = 0
