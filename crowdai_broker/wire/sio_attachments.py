"""Waiting for the attachments of one binary packet: bounded in number, bytes and time."""

from __future__ import annotations

from crowdai_broker.wire.faults import TooBig
from crowdai_broker.wire.sio_binary import find_slots, put_back
from crowdai_broker.wire.sio_packet import SioPacket


class Pending:
    """A binary packet whose attachments are still coming in, in order of ``num``.

    :ivar deadline: when the peer has had enough time for all of them.
    """

    def __init__(self, packet: SioPacket, deadline: float) -> None:
        self._slots = find_slots(packet.data, packet.attachments)
        self._packet = packet
        self._received: list[bytes] = []
        self._size = 0
        self.deadline = deadline

    def add(self, data: bytes, max_bytes: int) -> SioPacket | None:
        """Take one attachment; answers the whole packet with the last one.

        :param max_bytes: bound of all attachments together.
        :raises TooBig: they are above it.
        """
        self._size += len(data)
        if self._size > max_bytes:
            raise TooBig("attachments above their bound")
        self._received.append(data)
        if len(self._received) < self._packet.attachments:
            return None
        put_back(self._slots, self._received)
        return self._packet
