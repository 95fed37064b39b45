"""``{env = "NAME"}`` and ``{file = "PATH"}``: strings that are kept outside the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

MOST_BYTES = 65_536
_KINDS = ({"env"}, {"file"})


@dataclass(frozen=True, slots=True)
class References:
    """Where references are looked up.

    :param directory: what a relative PATH is relative to: the directory of the configuration file.
    """

    directory: Path
    environ: Mapping[str, str]

    def resolve(self, value: object) -> object:
        """Put text in the place of a reference, also inside a list; leave anything else alone.

        :raises ValueError: naming the variable or file that is missing, never what it holds.
        """
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not is_reference(value):
            return value
        ((kind, name),) = value.items()
        if not isinstance(name, str) or not name or "\x00" in name:
            raise ValueError(f'must be {{{kind} = "…"}} with a name in quotes')
        return self.variable(name) if kind == "env" else self._file(name)

    def variable(self, name: str) -> str:
        """Return the environment variable ``name``."""
        text = self.environ.get(name, "")
        if not text:
            raise ValueError(f"environment variable {name} is not set; set it for this process")
        return text

    def _file(self, name: str) -> str:
        path = self.directory / name
        try:
            with path.open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
            text = content.decode().rstrip("\r\n")
        except OSError as why:
            raise ValueError(f"file {path} cannot be read: {why.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"file {path} is not UTF-8 text") from None
        if not text or len(content) > MOST_BYTES:
            raise ValueError(f"file {path} must hold 1 to {MOST_BYTES} bytes")
        return text


def is_reference(value: object) -> TypeGuard[dict[str, object]]:
    """Tell whether ``value`` is written like a reference."""
    return isinstance(value, dict) and set(value) in _KINDS
