"""A string that must not be seen: it prints as ``Secret(***)`` wherever it turns up."""

from __future__ import annotations

import hmac
from typing import Never


class Secret:
    """A key, token or password; :meth:`reveal` is the only way to its text.

    An empty one means "not set" and is false, so ``if config.broker.ops_token:`` asks the right question.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, for the one place that sends it."""
        return self._text

    def matches(self, candidate: str) -> bool:
        """Compare in constant time; a secret that is not set matches nothing."""
        if not self._text:
            return False
        return hmac.compare_digest(self._text.encode(), candidate.encode("utf-8", "surrogatepass"))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    __str__ = __repr__

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is not written anywhere")
