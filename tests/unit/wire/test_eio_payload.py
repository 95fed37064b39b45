"""Polling payloads, byte by byte, in all framings."""

from __future__ import annotations

import json
import urllib.parse

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_packet import CLOSE, NOOP, PING, PONG, Packet, message
from crowdai_broker.wire.eio_payload import (
    OCTET_TYPE,
    SCRIPT_TYPE,
    TEXT_TYPE,
    Decoded,
    Format,
    decode_payload,
    encode_payload,
    post_bound,
    utf16_length,
)
from crowdai_broker.wire.faults import TooBig
from tests.unit.wire.profile import BRISK

V3 = Format(3)
V3_B64 = Format(3, b64=True)
V4 = Format(4)
OLD = Format(3, old_python=True)
JSONP = Format(3, b64=True, jsonp="3")
BINARY = message(b"\x01\x02\x03\x04")
TWO = [message("hello"), message("€")]

PACKETS = st.lists(
    st.one_of(st.text(), st.binary()).map(message).filter(lambda packet: b"\x1e" not in packet.data),
    min_size=1,
    max_size=8,
)


def read(body: bytes, form: Format, octets: bool = False, max_packets: int = 100) -> Decoded:
    """What a POST's body says."""
    return decode_payload(body, form, octets=octets, max_packets=max_packets)


class EncodeTests(SynchronousTestCase):
    def test_version_4(self) -> None:
        """Packets are joined by 0x1e; binary ones are base64."""
        expected = b"4hello\x1e4\xe2\x82\xac"
        self.assertEqual(encode_payload(TWO, V4), (expected, TEXT_TYPE))
        self.assertEqual(encode_payload([BINARY], V4), (b"bAQIDBA==", TEXT_TYPE))
        self.assertEqual(encode_payload([message(b"")], V4), (b"b", TEXT_TYPE))
        self.assertEqual(encode_payload([NOOP, CLOSE], V4), (b"6\x1e1", TEXT_TYPE))

    def test_version_3(self) -> None:
        """Each packet has its length in UTF-16 units in front."""
        expected = bytes.fromhex("36 3a 34 68 65 6c 6c 6f 32 3a 34 e2 82 ac")
        self.assertEqual(encode_payload(TWO, V3), (expected, TEXT_TYPE))
        self.assertEqual(encode_payload([PING], V3), (b"1:2", TEXT_TYPE))
        self.assertEqual(encode_payload([PONG], V3), (b"1:3", TEXT_TYPE))
        self.assertEqual(encode_payload([BINARY], V3_B64), (b"10:b4AQIDBA==", TEXT_TYPE))
        self.assertEqual(encode_payload([message(b"")], V3_B64), (b"2:b4", TEXT_TYPE))

    def test_astral(self) -> None:
        """A character beyond the BMP counts two."""
        self.assertEqual(encode_payload([message("😀")], V3)[0], bytes.fromhex("33 3a 34 f0 9f 98 80"))

    def test_octets(self) -> None:
        """A session without b64 gets binary framing as soon as a binary packet is among the others."""
        expected = bytes.fromhex("00 04 ff 34 e2 82 ac 01 05 ff 04 01 02 03 04")
        self.assertEqual(encode_payload([message("€"), BINARY], V3), (expected, OCTET_TYPE))
        twelve = encode_payload([message(b"\xaa" * 12)], V3)[0]
        self.assertEqual(twelve, bytes.fromhex("01 01 03 ff 04") + b"\xaa" * 12)
        self.assertEqual(encode_payload([message(b"")], V3)[0], bytes.fromhex("01 01 ff 04"))

    def test_old_python(self) -> None:
        """socketIO-client-2 gets binary framing for everything."""
        self.assertEqual(encode_payload([PONG], OLD), (bytes.fromhex("00 01 ff 33"), OCTET_TYPE))

    def test_jsonp(self) -> None:
        """A JavaScript call; line separators that end a JavaScript string are escaped."""
        body, content_type = encode_payload([message("hello")], JSONP)
        self.assertEqual((body, content_type), (b'___eio[3]("6:4hello");', SCRIPT_TYPE))
        body, _ = encode_payload([message('\u2028"\u2029')], JSONP)
        self.assertEqual(body, b'___eio[3]("4:4\\u2028\\"\\u2029");')


class DecodeTests(SynchronousTestCase):
    def test_version_4(self) -> None:
        """What R's clients send."""
        self.assertEqual(read(b"4hello\x1e4\xe2\x82\xac", V4), Decoded(TWO))
        self.assertEqual(read(b"bAQIDBA==", V4), Decoded([BINARY]))

    def test_version_3(self) -> None:
        """Lengths count UTF-16 units."""
        self.assertEqual(read("6:4hello2:4€".encode(), V3), Decoded(TWO))
        self.assertEqual(read("3:4😀1:2".encode(), V3), Decoded([message("😀"), PING]))
        self.assertEqual(read(b"10:b4AQIDBA==", V3), Decoded([BINARY]))

    def test_old_client_message(self) -> None:
        """socketIO-client-2 counts bytes, in binary framing."""
        body = bytes.fromhex("00 02 06 ff") + '42["message", "é€😀"]'.encode()
        self.assertEqual(read(body, OLD, octets=True), Decoded([message('2["message", "é€😀"]')]))

    def test_old_client_attachment(self) -> None:
        """It sends attachments as base64 flagged as text."""
        body = bytes.fromhex("00 01 00 ff") + b"b4AQID/w=="
        self.assertEqual(read(body, OLD, octets=True), Decoded([message(b"\x01\x02\x03\xff")]))

    def test_octets(self) -> None:
        """Text and binary packets in one binary payload."""
        body = bytes.fromhex("00 04 ff 34 e2 82 ac 01 05 ff 04 01 02 03 04")
        self.assertEqual(read(body, V3, octets=True), Decoded([message("€"), BINARY]))

    def test_mojibake_passes(self) -> None:
        """JS 1.x sends doubly encoded UTF-8 on polling; it is passed on as it is."""
        twice = "é€".encode().decode("latin-1")
        length = len(twice) + 1
        self.assertEqual(read(f"{length}:4{twice}".encode(), V3_B64), Decoded([message(twice)]))

    def test_invalid_utf8(self) -> None:
        """It becomes U+FFFD, in every framing."""
        self.assertEqual(read(b"4\xff", V4), Decoded([message("\ufffd")]))
        self.assertEqual(read(b"2:4\xff", V3), Decoded([message("\ufffd")]))
        self.assertEqual(read(b"\x00\x02\xff4\xff", V3, octets=True), Decoded([message("\ufffd")]))

    def test_good_ones_before_the_bad(self) -> None:
        """The packets before the first error are answered with it."""
        for body, form, octets in (
            (b"4a\x1ex", V4, False),
            (b"4a\x1e", V4, False),
            (b"2:4ax", V3, False),
            (b"2:4a9:4b", V3, False),
            (b"2:4a0:", V3, False),
            (b"\x00\x02\xff4a\x02", V3, True),
            (b"\x00\x02\xff4a\x00\x05\xff4", V3, True),
            (b"\x00\x02\xff4a\x00\xff", V3, True),
            (b"\x00\x02\xff4a\x00\x0a\xff", V3, True),
        ):
            decoded = read(body, form, octets)
            self.assertEqual(decoded.packets, [message("a")], body)
            self.assertIsNotNone(decoded.error, body)

    def test_empty(self) -> None:
        """An empty body is invalid."""
        for form in (V3, V4, JSONP):
            self.assertIsNotNone(read(b"", form).error)

    def test_bad_lengths(self) -> None:
        """Lengths are short decimal numbers, nothing else."""
        for body in (b"-1:4", b"+2:4a", b"1e1:4", b":4", b"99999999999999999999:4", b"5", "٣:4ab".encode()):
            self.assertIsNotNone(read(body, V3).error, body)

    def test_byte_and_code_point_counts(self) -> None:
        """Other ways to count are rejected, as by the reference."""
        self.assertIsNotNone(read("5:4😀".encode(), V3).error)
        self.assertIsNotNone(read("2:4😀".encode(), V3).error)

    def test_too_many(self) -> None:
        """The number of packets is bounded in every framing."""
        for body, form, octets in (
            (b"\x1e".join([b"4"] * 6), V4, False),
            (b"1:4" * 6, V3, False),
            (b"\x00\x01\xff4" * 6, V3, True),
        ):
            self.assertIsNone(read(body, form, octets, 6).error)
            decoded = read(body, form, octets, 5)
            self.assertEqual(len(decoded.packets), 5)
            self.assertIsInstance(decoded.error, TooBig)

    def test_jsonp(self) -> None:
        r"""Form-encoded; the two characters \n are a newline, \\n are the two characters."""
        for sent, meant in (("a", "a"), ("a\\nb", "a\nb"), ("a\\\\nb", "a\\nb")):
            payload = f"{len(meant) + 1}:4{sent}"
            body = urllib.parse.urlencode({"d": payload}).encode()
            self.assertEqual(read(body, JSONP), Decoded([message(meant)]), sent)

    def test_jsonp_without_d(self) -> None:
        """A form without the field is an empty payload."""
        self.assertIsNotNone(read(b"x=1", JSONP).error)


class PropertyTests(SynchronousTestCase):
    @BRISK
    @given(PACKETS, st.sampled_from([V3, V3_B64, V4, OLD]))
    def test_round_trip(self, packets: list[Packet], form: Format) -> None:
        """What one side writes the other reads."""
        body, content_type = encode_payload(packets, form)
        self.assertEqual(read(body, form, content_type == OCTET_TYPE), Decoded(packets))

    @BRISK
    @given(PACKETS)
    def test_jsonp_is_javascript(self, packets: list[Packet]) -> None:
        """The string inside is JSON of the text framing, on one line."""
        body, _ = encode_payload(packets, JSONP)
        inner = json.loads(body.removeprefix(b"___eio[3](").removesuffix(b");"))
        self.assertEqual(inner.encode(), encode_payload(packets, V3_B64)[0])
        self.assertTrue(set("\n\r\u2028\u2029").isdisjoint(body.decode()))

    @BRISK
    @given(st.binary(), st.sampled_from([V3, V4, JSONP]), st.booleans())
    def test_any_bytes(self, body: bytes, form: Format, octets: bool) -> None:
        """Rubbish is packets or an error, nothing else, and never more packets than allowed."""
        self.assertLessEqual(len(read(body, form, octets and form is V3, 3).packets), 3)

    @BRISK
    @given(st.text())
    def test_utf16_length(self, text: str) -> None:
        """Counting as JavaScript does."""
        self.assertEqual(utf16_length(text.encode()), len(text.encode("utf-16-le")) // 2)


class BoundTests(SynchronousTestCase):
    def test_post_bound(self) -> None:
        """Allowed attachments must fit in base64; without them a POST is bounded as a packet."""
        self.assertEqual(post_bound(1000, 1000), 1000)
        body, _ = encode_payload([message("x" * 999), message(b"y" * 9000)], V4)
        self.assertGreaterEqual(post_bound(1000, 9000), len(body))
