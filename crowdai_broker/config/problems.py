"""Collects what is wrong with a configuration: one line an error, all of them, not only the first."""

from __future__ import annotations

import re
from difflib import get_close_matches

from ..errors import ConfigError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Problems:
    """The errors found so far in one source (a file, or the webapp's configuration of a challenge).

    :param source: what each line starts with.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: list[str] = []
        self._keys: set[str] = set()

    def add(self, key: str, text: str) -> None:
        """Note that ``key`` (a dotted path, empty for the whole source) is wrong in the way ``text`` says."""
        self._keys.add(key)
        where = f"{self.source}: {key}" if key else self.source
        self.lines.append(f"{where}: {text}")

    def concern(self, key: str) -> bool:
        """Whether something is wrong with the value of ``key`` itself."""
        return key in self._keys

    def unknown(self, key: str, name: str, known: list[str]) -> None:
        """Note a key that does not exist, with the ones that do."""
        close = get_close_matches(name, known, n=1)
        if close:
            self.add(key, f'is not known; did you mean "{close[0]}"?')
        else:
            self.add(key, f"is not known; known here: {', '.join(sorted(known))}")

    def raise_if_any(self) -> None:
        """Raise :class:`~crowdai_broker.errors.ConfigError` with everything noted."""
        if self.lines:
            raise ConfigError(self.lines)


def join(at: str, name: str) -> str:
    """Write the path of ``name`` inside the table ``at`` as TOML would."""
    word = name if _BARE.fullmatch(name) else '"' + name.replace('"', '\\"') + '"'
    return f"{at}.{word}" if at else word
