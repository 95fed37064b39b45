"""Engine.IO packets in single frames, byte by byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_packet import (
    PROBE_PING,
    EioVersion,
    Packet,
    PacketType,
    decode_frame,
    encode_frame,
    message,
)
from crowdai_broker.wire.faults import PacketError
from tests.unit.wire.profile import BRISK

BINARY = message(b"\x01\x02\x03\x04")
VERSIONS: tuple[EioVersion, ...] = (3, 4)


class FrameTests(SynchronousTestCase):
    def test_text(self) -> None:
        """A text message is its type digit and its text, in both versions."""
        for version in VERSIONS:
            self.assertEqual(encode_frame(message("hello"), version), (b"4hello", False))
            self.assertEqual(decode_frame(b"4hello", version, binary=False), message("hello"))

    def test_binary_of_version_3(self) -> None:
        """Version 3 puts the raw type byte in front of binary data."""
        self.assertEqual(encode_frame(BINARY, 3), (b"\x04\x01\x02\x03\x04", True))
        self.assertEqual(decode_frame(b"\x04\x01\x02\x03\x04", 3, binary=True), BINARY)

    def test_binary_of_version_4(self) -> None:
        """Version 4 sends binary data bare."""
        self.assertEqual(encode_frame(BINARY, 4), (b"\x01\x02\x03\x04", True))
        self.assertEqual(decode_frame(b"\x01\x02\x03\x04", 4, binary=True), BINARY)

    def test_base64(self) -> None:
        """A session with b64 gets text frames, whose prefix tells the versions apart."""
        self.assertEqual(encode_frame(BINARY, 3, b64=True), (b"b4AQIDBA==", False))
        self.assertEqual(encode_frame(BINARY, 4, b64=True), (b"bAQIDBA==", False))
        self.assertEqual(decode_frame(b"b4AQIDBA==", 3, binary=False), BINARY)
        self.assertEqual(decode_frame(b"bAQIDBA==", 4, binary=False), BINARY)

    def test_control(self) -> None:
        """Control packets keep their data."""
        self.assertEqual(decode_frame(b"2probe", 4, binary=False), PROBE_PING)
        self.assertEqual(decode_frame(b"5", 3, binary=False), Packet(PacketType.UPGRADE))

    def test_bad_text(self) -> None:
        """What has no type, an unknown one or bad base64 is the peer's mistake."""
        for data in (b"", b"abc", b"7", b"-", b"b4!", b"b", b"bx", b"b4AQ"):
            with self.assertRaises(PacketError):
                decode_frame(data, 3, binary=False)
        for data in (b"", b"9x", b"b!", b"bAQI"):
            with self.assertRaises(PacketError):
                decode_frame(data, 4, binary=False)

    def test_bad_binary(self) -> None:
        """Version 3 needs a known type byte."""
        for data in (b"", b"\x07", b"4"):
            with self.assertRaises(PacketError):
                decode_frame(data, 3, binary=True)

    def test_empty_binary(self) -> None:
        """Empty binary messages exist."""
        self.assertEqual(encode_frame(message(b""), 4, b64=True), (b"b", False))
        self.assertEqual(decode_frame(b"b", 4, binary=False), message(b""))
        self.assertEqual(decode_frame(b"b4", 3, binary=False), message(b""))
        self.assertEqual(decode_frame(b"\x04", 3, binary=True), message(b""))

    @BRISK
    @given(st.one_of(st.text(), st.binary()), st.sampled_from(VERSIONS), st.booleans())
    def test_round_trip(self, data: str | bytes, version: EioVersion, b64: bool) -> None:
        """Whatever is sent is read back."""
        packet = message(data)
        payload, binary = encode_frame(packet, version, b64=b64)
        self.assertEqual(decode_frame(payload, version, binary=binary), packet)

    @BRISK
    @given(st.binary(), st.sampled_from(VERSIONS), st.booleans())
    def test_any_bytes(self, data: bytes, version: EioVersion, binary: bool) -> None:
        """Rubbish is a packet or a PacketError, nothing else."""
        try:
            packet = decode_frame(data, version, binary=binary)
        except PacketError:
            return
        self.assertIsInstance(packet.type, PacketType)

    def test_text_of_a_packet(self) -> None:
        """The text is decoded on request."""
        self.assertEqual(message("€").text, "€")
