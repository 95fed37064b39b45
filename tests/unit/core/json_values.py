"""Arbitrary values as peers may send them, for tests by example generation."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

#: Text with half surrogate pairs in it too, which JSON can carry.
texts = st.text(max_size=20) | st.text(st.characters(categories=["Cs", "L"]), max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

few = settings(max_examples=100, deadline=None, derandomize=True)


def objects(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with any of these members, and others, of any value."""
    keys = st.sampled_from(names) | texts
    return st.dictionaries(keys, values, max_size=12)
