"""The outgoing buffer of a session."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_buffer import OutgoingBuffer
from crowdai_broker.wire.eio_packet import Packet, message
from crowdai_broker.wire.faults import SlowPeer
from tests.unit.wire.profile import BRISK


class BufferTests(SynchronousTestCase):
    def test_marks(self) -> None:
        """A write ends at its mark; marks that were passed otherwise are forgotten."""
        buffer = OutgoingBuffer(10, 1000)
        for text in "abcd":
            buffer.put(message(text))
            buffer.mark()
        self.assertEqual(buffer.take_to_mark(), ([message("a")], True))
        self.assertEqual(buffer.take(2), [message("b"), message("c")])
        buffer.put(message("e"))
        self.assertEqual(buffer.take_to_mark(), ([message("d")], True))
        self.assertEqual(buffer.take_to_mark(), ([message("e")], False))

    @BRISK
    @given(st.lists(st.integers(0, 30) | st.none(), max_size=60))
    def test_any_order(self, steps: list[int | None]) -> None:
        """Numbers put a packet of that size, None takes three: order, size and bounds hold throughout."""
        buffer = OutgoingBuffer(5, 60)
        waiting: list[Packet] = []
        for step in steps:
            if step is None:
                self.assertEqual(buffer.take(3), waiting[:3])
                waiting = waiting[3:]
            else:
                packet = message("x" * step)
                room = len(waiting) < 5 and buffer.size + step + 1 <= 60
                if room or not waiting:
                    buffer.put(packet)
                    waiting.append(packet)
                else:
                    with self.assertRaises(SlowPeer):
                        buffer.put(packet)
            self.assertEqual(len(buffer), len(waiting))
            self.assertEqual(buffer.size, sum(len(packet.data) + 1 for packet in waiting))
        self.assertEqual(buffer.take_to_mark(), (waiting, False))
        self.assertEqual((len(buffer), buffer.size), (0, 0))
