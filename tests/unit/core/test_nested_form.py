"""Rails' nested forms: what the webapp writes is read, and what is written is read by others."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.core.nested_form import MAX_DEPTH, MAX_FIELDS, encode, parse
from crowdai_broker.errors import PeerError

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NAME = st.text(st.characters(codec="utf-8", exclude_characters="[]"), min_size=1, max_size=8)
VALUES = st.recursive(TEXT, lambda inner: st.dictionaries(NAME, inner, min_size=1, max_size=3), max_leaves=6)
ROWS = st.lists(st.dictionaries(NAME, VALUES, max_size=3).map(lambda row: {"id": "1", **row}), min_size=1)


class ParseTests(SynchronousTestCase):
    def refused(self, body: bytes) -> str:
        """Return why a form is refused."""
        with self.assertRaises(PeerError) as caught:
            parse(body)
        return str(caught.exception)

    def test_of_the_webapp(self) -> None:
        """The form that the public webapp sends, its brackets escaped or not."""
        said = {"data": [{"file_key": "a/b c", "submission_id": "12"}], "dry_run": "false", "blank": ""}
        form = b"data[][file_key]=a%2Fb+c&data[][submission_id]=12&dry_run=false&blank="
        self.assertEqual(parse(form), said)
        self.assertEqual(parse(form.replace(b"[", b"%5B").replace(b"]", b"%5D")), said)

    def test_lists(self) -> None:
        """A repeated name begins the next object of a list; a plain value is an item of its own."""
        form = b"d[][a]=1&d[][b]=2&d[][a]=3&d[]=4&d[][b]=5"
        self.assertEqual(parse(form), {"d": [{"a": "1", "b": "2"}, {"a": "3"}, "4", {"b": "5"}]})
        self.assertEqual(parse(b"d[][a][]=1&d[][a][]=2&d[][b]=3"), {"d": [{"a": ["1", "2"], "b": "3"}]})
        self.assertEqual(
            parse(b"d[][a][x]=1&d[][a][y]=2&d[][a][x]=3"),
            {"d": [{"a": {"x": "1", "y": "2"}}, {"a": {"x": "3"}}]},
        )
        self.assertEqual(parse(b"d[a][b]=1&d[c]=2&e=1&e=2"), {"d": {"a": {"b": "1"}, "c": "2"}, "e": "2"})

    def test_names_that_cannot_be_read(self) -> None:
        """A name with stray brackets, a list right inside a list, or too deep a nest is refused."""
        deep = b"a" + b"[b]" * MAX_DEPTH
        for name in (b"[a]", b"a]", b"a[", b"a[b", b"a[b]c", b"a[][]", b"a[[b]]", b"", deep):
            self.assertIn("cannot be read", self.refused(name + b"=1"))
        self.assertEqual(len(parse(b"a" + b"[b]" * (MAX_DEPTH - 1) + b"=1")), 1)

    def test_two_meanings(self) -> None:
        """A name that is a value and an object, or a list and an object, is refused."""
        for form in (
            b"a=1&a[b]=2",
            b"a[]=1&a[b]=2",
            b"a[b]=1&a[]=2",
            b"a[][b]=1&a[][b][c]=2&a[][b][c]=2&a=1&a[]=1",
        ):
            self.assertIn("both a value and", self.refused(form))

    def test_bounds(self) -> None:
        """The number of fields is bounded, and bytes that are no text are refused."""
        self.assertEqual(len(parse(b"&".join(b"a%d=1" % n for n in range(MAX_FIELDS)))), MAX_FIELDS)
        self.assertIn(f"more than {MAX_FIELDS}", self.refused(b"&".join([b"a=1"] * (MAX_FIELDS + 1))))
        self.assertIn("UTF-8", self.refused(b"a=\xff"))

    @settings(max_examples=100)
    @given(st.binary(max_size=40) | st.text("ab[]=&%5", max_size=40).map(str.encode))
    def test_anything(self, body: bytes) -> None:
        """Whatever comes is read, or refused with a reason."""
        try:
            self.assertIsInstance(parse(body), dict)
        except PeerError as refusal:
            self.assertTrue(str(refusal))


class EncodeTests(SynchronousTestCase):
    @settings(max_examples=100)
    @given(ROWS, TEXT)
    def test_read_back(self, rows: list[dict[str, Any]], word: str) -> None:
        """What is written is read as it was, if every object of a list begins with the same name."""
        fields = {"data": rows, "word": word}
        self.assertEqual(parse(encode(fields)), fields)

    def test_values(self) -> None:
        """Truth and numbers are written as in JSON, nothing is blank, a list in a list is JSON."""
        fields = {"a": True, "b": None, "c": 0.5, "d": [1, "x", [2, None]], "e": {"f": -3}, "g": []}
        said = {"a": "true", "b": "", "c": "0.5", "d": ["1", "x", "[2,null]"], "e": {"f": "-3"}}
        self.assertEqual(parse(encode(fields)), said)

    def test_names_that_would_be_others(self) -> None:
        """Nobody names another field by putting brackets into a name."""
        for name in ("a][submission_id", "[", "]", ""):
            self.assertRaises(ValueError, encode, {"data": [{name: "1"}]})
