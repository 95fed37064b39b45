"""Brings uploaded files to where their evaluator can read them."""

from __future__ import annotations

import tempfile
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import GradingError

TIMEOUT = 60  # s without a byte of an uploaded file
LARGEST = 2_000_000_000  # bytes of an uploaded file
LONGEST_SUFFIX = 16  # characters of a key's suffix that its local file keeps
_CHUNK = 1 << 20
_SCHEMES = frozenset({"http", "https"})


class Files:
    """Fetches each file once, into the job's own directory for temporary files.

    :param where: address of uploaded files with ``{key}`` in it, or the path of the one file there is.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._fetched: dict[str, Path] = {}

    def __call__(self, file_key: str) -> Path:
        """Return the local path of the file with that key; it ends as the key does, e.g. in ``.csv``.

        :raises GradingError: it cannot be had; the text is for its participant.
        """
        if not self._where:
            raise GradingError("This grader was not told where uploaded files are (--files).")
        if "{key}" not in self._where:
            return Path(self._where)
        key = str(file_key)
        if key not in self._fetched:
            self._fetched[key] = self._fetch(key)
        return self._fetched[key]

    def _fetch(self, key: str) -> Path:
        url = self._where.replace("{key}", urllib.parse.quote(key, safe="/"))
        if urllib.parse.urlsplit(url).scheme not in _SCHEMES:
            raise GradingError("--files must be an http or https address, or a path.")
        suffix = PurePosixPath(key).suffix[:LONGEST_SUFFIX]
        try:
            with (
                urllib.request.urlopen(url, timeout=TIMEOUT) as answer,  # noqa: S310 - the scheme is checked
                tempfile.NamedTemporaryFile(delete=False, suffix=suffix) as target,
            ):
                _copy(answer, target)
        except (OSError, ValueError) as error:
            raise GradingError(f"Your file {key} could not be fetched ({error}).") from error
        return Path(target.name)


def _copy(source: Any, target: Any) -> None:
    left = LARGEST
    while chunk := source.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise GradingError(f"Your file is larger than {LARGEST} bytes.")
        target.write(chunk)
