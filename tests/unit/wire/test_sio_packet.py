"""Socket.IO packets, byte by byte."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_packet import message
from crowdai_broker.wire.faults import PacketError, TooBig
from crowdai_broker.wire.sio_attachments import Pending
from crowdai_broker.wire.sio_packet import (
    MAX_ATTACHMENTS,
    RESERVED,
    SioPacket,
    SioType,
    SioVersion,
    decode,
    encode,
    encode_values,
)
from tests.unit.wire.profile import BRISK

VERSIONS: tuple[SioVersion, ...] = (4, 5)
PLACEHOLDER = '{"_placeholder":true,"num":0}'

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=MAX_ATTACHMENTS,
)


class DecodeTests(SynchronousTestCase):
    def test_shapes(self) -> None:
        """The specification's examples."""
        for text, packet in (
            ("0", SioPacket(SioType.CONNECT)),
            ('0{"token":"1"}', SioPacket(SioType.CONNECT, data={"token": "1"})),
            ("0/admin", SioPacket(SioType.CONNECT, "/admin")),
            ('0/admin,{"a":1}', SioPacket(SioType.CONNECT, "/admin", data={"a": 1})),
            ("1", SioPacket(SioType.DISCONNECT)),
            ("1/admin,", SioPacket(SioType.DISCONNECT, "/admin")),
            ('2["hello",1]', SioPacket(SioType.EVENT, data=["hello", 1])),
            ('2/admin,456["p",123]', SioPacket(SioType.EVENT, "/admin", 456, ["p", 123])),
            ('20["x"]', SioPacket(SioType.EVENT, id=0, data=["x"])),
            ("3/admin,456[]", SioPacket(SioType.ACK, "/admin", 456, [])),
            ("2", SioPacket(SioType.EVENT)),
            ("3", SioPacket(SioType.ACK)),
            ("", SioPacket(SioType.CONNECT)),
        ):
            for version in VERSIONS:
                self.assertEqual(decode(text.encode(), version), packet, text)

    def test_binary(self) -> None:
        """The number of attachments stands before the dash."""
        packet = decode(f'51-/a,7["hello",{PLACEHOLDER}]'.encode(), 5)
        assert packet is not None
        self.assertEqual((packet.type, packet.attachments), (SioType.BINARY_EVENT, 1))
        self.assertEqual((packet.namespace, packet.id), ("/a", 7))

    def test_blanks_in_json(self) -> None:
        """socketIO-client-2 puts blanks after commas and colons."""
        self.assertEqual(decode(b'2["a", {"b": 1}]', 4), SioPacket(SioType.EVENT, data=["a", {"b": 1}]))

    def test_violations_of_both(self) -> None:
        """Bad JSON and bad shapes are errors in both versions."""
        for text in (
            "2[", "2{}", "2[]", "2[null]", "2[true]", "2[[]]", '2"x"', "2abc[1]", '3{"a":1}', '3"x"',
            '5["x"]', '50-["x"]', '5-["x"]', '511-["x"]', "51-", '51-"x"', '5x-["a"]', '61-{}', '5-1-["x"]',
            '21234567890123456789["x"]', "2/a,[", "2/a,{}",
        ):  # fmt: skip
            for version in VERSIONS:
                with self.assertRaises(PacketError, msg=text):
                    decode(text.encode(), version)

    def test_violations_of_version_5(self) -> None:
        """Unknown types, payloads where none belong, reserved names."""
        for text in ("7", "abc", "0[]", '0"x"', "1[]", "4[]"):
            with self.assertRaises(PacketError, msg=text):
                decode(text.encode(), 5)
        for name in RESERVED:
            with self.assertRaises(PacketError):
                decode(f'2["{name}"]'.encode(), 5)

    def test_leniency_of_version_4(self) -> None:
        """Unknown types are passed over, reserved names are events like others."""
        self.assertIsNone(decode(b"7", 4))
        self.assertIsNone(decode(b"abc", 4))
        packet = decode(b'2["disconnect"]', 4)
        assert packet is not None
        self.assertEqual(packet.data, ["disconnect"])

    def test_too_many_attachments(self) -> None:
        """Ten are the most."""
        self.assertIsNotNone(decode(b'510-["x"]', 5))
        with self.assertRaises(TooBig):
            decode(b'511-["x"]', 5)

    def test_long_namespace(self) -> None:
        """Names are bounded."""
        with self.assertRaises(TooBig):
            decode(b"0/" + b"a" * 2000 + b",", 5)

    def test_numeric_event(self) -> None:
        """An event's name may be a number."""
        packet = decode(b"2[1,2]", 5)
        assert packet is not None
        self.assertEqual(packet.data, [1, 2])

    @BRISK
    @given(st.binary(), st.sampled_from(VERSIONS))
    def test_any_bytes(self, data: bytes, version: SioVersion) -> None:
        """Rubbish gets a packet, silence, or a PacketError."""
        try:
            packet = decode(data, version)
        except PacketError:
            return
        self.assertTrue(packet is None or isinstance(packet.type, SioType))


class EncodeTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """The root's name is never written, others end in a comma."""
        self.assertEqual(encode_values(SioType.EVENT, "/", ["a", 1]), [message('2["a",1]')])
        self.assertEqual(encode_values(SioType.EVENT, "/b", ["a"], 0), [message('2/b,0["a"]')])
        self.assertEqual(encode_values(SioType.ACK, "/b", [], 456), [message("3/b,456[]")])
        self.assertEqual(encode(SioType.DISCONNECT, "/b"), message("1/b,"))

    def test_attachments(self) -> None:
        """Bytes anywhere make it a binary packet; attachments follow in order."""
        packets = encode_values(SioType.EVENT, "/", ["a", b"x", {"k": [bytearray(b"y")]}])
        self.assertEqual(
            packets,
            [
                message('52-["a",{"_placeholder":true,"num":0},{"k":[{"_placeholder":true,"num":1}]}]'),
                message(b"x"),
                message(b"y"),
            ],
        )
        self.assertEqual(
            encode_values(SioType.ACK, "/admin", [b"x"], 456),
            [message(f"61-/admin,456[{PLACEHOLDER}]"), message(b"x")],
        )

    def test_nothing_is_copied_or_changed(self) -> None:
        """The application's values stay its own."""
        value = {"k": [b"y"]}
        encode_values(SioType.EVENT, "/", ["a", value])
        self.assertEqual(value, {"k": [b"y"]})

    def test_too_many(self) -> None:
        """More attachments than a peer's parser takes are our mistake."""
        with self.assertRaises(ValueError):
            encode_values(SioType.EVENT, "/", ["a", *[b"x"] * 11])

    @BRISK
    @given(st.lists(VALUES, max_size=3), st.sampled_from(VERSIONS), st.integers(0, 99))
    def test_round_trip(self, values: list[Any], version: SioVersion, number: int) -> None:
        """What one side sends the other receives, attachments in their places."""
        sent = ["name", *values]
        packets = encode_values(SioType.EVENT, "/n", sent, number)
        received = decode(packets[0].data, version)
        assert received is not None
        if received.attachments:
            pending = Pending(received, 0.0)
            results = [pending.add(packet.data, 1_000_000) for packet in packets[1:]]
            self.assertEqual(results[:-1], [None] * (len(results) - 1))
            assert results[-1] is not None
            received = results[-1]
        self.assertEqual((received.namespace, received.id, received.data), ("/n", number, sent))


class AttachmentTests(SynchronousTestCase):
    def pending(self, json: str, count: int = 1) -> Pending:
        """A packet that waits for its attachments."""
        packet = decode(f"5{count}-{json}".encode(), 5)
        assert packet is not None
        return Pending(packet, 1.0)

    def test_bad_numbers(self) -> None:
        """A placeholder's number is an integer in range."""
        for num in ("1", "-1", '"0"', "0.5", "null", "true", "[]"):
            with self.assertRaises(PacketError, msg=num):
                self.pending(f'["x",{{"_placeholder":true,"num":{num}}}]')
        with self.assertRaises(PacketError):
            self.pending('["x",{"_placeholder":true}]')

    def test_not_a_placeholder(self) -> None:
        """Only true makes one."""
        whole = self.pending('["x",{"_placeholder":1,"num":9}]').add(b"z", 10)
        assert whole is not None
        self.assertEqual(whole.data, ["x", {"_placeholder": 1, "num": 9}])

    def test_same_number_twice(self) -> None:
        """One attachment may sit in two places."""
        whole = self.pending(f'["x",{PLACEHOLDER},[{PLACEHOLDER}]]').add(b"z", 10)
        assert whole is not None
        self.assertEqual(whole.data, ["x", b"z", [b"z"]])

    def test_bound(self) -> None:
        """All attachments of a packet together are bounded."""
        pending = self.pending(f'["x",{PLACEHOLDER}]', 2)
        self.assertIsNone(pending.add(b"12345", 10))
        with self.assertRaises(TooBig):
            pending.add(b"123456", 10)

    def test_placeholder_in_a_plain_packet(self) -> None:
        """Without announced attachments it is just an object."""
        packet = decode(f'2["x",{PLACEHOLDER}]'.encode(), 5)
        assert packet is not None
        self.assertEqual(packet.data, ["x", {"_placeholder": True, "num": 0}])
        self.assertIs(SioPacket(SioType.EVENT).data, msgspec.UNSET)
