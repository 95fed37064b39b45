"""Frames of a WebSocket server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.ws_frame import encode_ws_frame


class FrameTests(SynchronousTestCase):
    def test_lengths(self) -> None:
        """Seven bits, sixteen or sixty-four, each from its first length on (RFC 6455, 5.2)."""
        for length, head in (
            (0, "81 00"),
            (125, "81 7d"),
            (126, "81 7e 00 7e"),
            (65535, "81 7e ff ff"),
            (65536, "81 7f 00 00 00 00 00 01 00 00"),
        ):
            data = b"x" * length
            self.assertEqual(encode_ws_frame(data, binary=False), bytes.fromhex(head) + data)

    def test_binary(self) -> None:
        """Opcode 2."""
        self.assertEqual(encode_ws_frame(b"\x00", binary=True), b"\x82\x01\x00")
