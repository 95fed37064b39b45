"""JSON as hostile peers send it."""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.faults import PacketError
from crowdai_broker.wire.sio_json import MAX_DEPTH, decode, encode, is_deeper
from tests.unit.wire.profile import BRISK

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class DecodeTests(SynchronousTestCase):
    def assert_bad(self, data: bytes) -> None:
        """It is the peer's mistake, no other error."""
        with self.assertRaises(PacketError):
            decode(data)

    def test_deep(self) -> None:
        """Ten thousand levels are a clean error, and so is one more than allowed."""
        for depth in (10_000, MAX_DEPTH + 1):
            self.assert_bad(b"[" * depth + b"]" * depth)
            self.assert_bad(b'{"a":' * depth + b"1" + b"}" * depth)
        decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)

    def test_brackets_in_strings(self) -> None:
        """Brackets inside strings nest nothing, also behind escaped quotes."""
        text = '"' + "[" * 1000 + '\\"' + "{" * 1000
        self.assertEqual(decode(json.dumps([text]).encode()), [text])

    def test_wide(self) -> None:
        """Many brackets side by side are fine."""
        self.assertEqual(decode(b"[" + b"[]," * 1000 + b"{}]"), [[]] * 1000 + [{}])

    def test_a_megabyte_of_brackets(self) -> None:
        """Whatever its shape, it is decided quickly."""
        begun = time.process_time()
        self.assert_bad(b"[" * 500_000 + b"]" * 500_000)
        self.assert_bad(b"[]" * 500_000)
        self.assert_bad(b"[{" * 250_000 + b"]}" * 250_000)
        self.assertLess(time.process_time() - begun, 2)

    def test_numbers(self) -> None:
        """Numbers out of range are errors; small ones become zero."""
        for data in (b"1e999999", b"-1e400", b"9" * 100_000, b"NaN", b"Infinity", b"01"):
            self.assert_bad(data)
        self.assertEqual(decode(b"1e-999999"), 0.0)

    def test_rubbish(self) -> None:
        """What is no JSON."""
        for data in (b"", b"[1] x", b"{", b'"a\nb"', b'"\xff"', b"\xef\xbb\xbf[]"):
            self.assert_bad(data)

    def test_lone_surrogates(self) -> None:
        r"""Half a pair, legal in JavaScript, becomes U+FFFD; pairs and escaped backslashes stay."""
        self.assertEqual(decode(rb'["\ud83d"]'), ["\ufffd"])
        self.assertEqual(decode(rb'["\ud83d\ude00\ude00"]'), ["😀\ufffd"])
        self.assertEqual(decode(rb'["\\ud83d", "\ud83d"]'), ["\\ud83d", "\ufffd"])

    @BRISK
    @given(JSON)
    def test_round_trip(self, value: Any) -> None:
        """What is written is read back, escaped or not."""
        self.assertEqual(decode(encode(value)), value)
        escaped = encode(value, ascii_only=True)
        self.assertTrue(escaped.isascii())
        self.assertEqual(decode(escaped), value)

    @BRISK
    @given(st.binary(), st.integers(0, 5))
    def test_any_bytes(self, data: bytes, depth: int) -> None:
        """Rubbish gets a value or a PacketError."""
        try:
            decode(data, depth)
        except PacketError as error:
            self.assertTrue(str(error))

    @BRISK
    @given(JSON, st.integers(0, 4))
    def test_depth(self, value: Any, limit: int) -> None:
        """The quick count agrees with a plain walk."""
        self.assertEqual(is_deeper(encode(value), limit), depth_of(value) > limit)


class EncodeTests(SynchronousTestCase):
    def test_escaped(self) -> None:
        """Beyond the BMP it takes a surrogate pair."""
        self.assertEqual(encode(["é€😀"], ascii_only=True), rb'["\u00e9\u20ac\ud83d\ude00"]')
        self.assertEqual(encode(["é"]), '["é"]'.encode())

    def test_not_a_number(self) -> None:
        """NaN and infinity become null, as in JavaScript."""
        self.assertEqual(encode([float("nan"), float("inf")]), b"[null,null]")

    def test_no_json(self) -> None:
        """Our own mistakes are TypeErrors."""
        with self.assertRaises(TypeError):
            encode([object()])


def depth_of(value: Any) -> int:
    """How deep a value nests."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0
