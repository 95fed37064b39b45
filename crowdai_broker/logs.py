"""What the broker says while it runs: readable lines, and on request one JSON object a line.

Nothing secret is logged anywhere; requests are not logged at all, since their paths hold capabilities.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import IO, Any, TextIO, cast

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
    textFileLogObserver,
)

from .errors import StartupError

LogEvent = dict[str, Any]

_QUIETER = {"twisted.web.client": LogLevel.warn, "twisted.internet.protocol": LogLevel.warn}
"""Namespaces that below a level say nothing but a line for each connection."""

_NOT_OWN = {"time", "level", "namespace", "message", "traceback", "system", "format", "isError"}
"""Members of a line of JSON, and what Twisted's old interface adds to events."""


class ReopeningFile:
    """A log file that may be moved away at any time, as logrotate does: the next line makes a new one.

    No signal is needed. A file that cannot be made again is no reason to lose lines: the old one goes on.
    """

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def write(self, text: str) -> int:
        """Append ``text`` to whatever is at the path now."""
        if self._moved():
            self._reopen()
        return self._file.write(text)

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> TextIO:
        return self._path.open("a", encoding=self.encoding)

    def _moved(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return True

    def _reopen(self) -> None:
        try:
            fresh = self._open()
        except OSError:
            return
        self._file.close()
        self._file = fresh


def readable_lines(out: TextIO) -> ILogObserver:
    """Return an observer that writes lines for people: time, who, level, what."""
    return _filtered(textFileLogObserver(out))


def open_log(path: str) -> IO[str]:
    """Open the file of :func:`json_lines` at ``path`` (``-``: stdout) to append to it.

    :raises StartupError: it cannot be written.
    """
    try:
        return sys.stdout if path == "-" else cast("IO[str]", ReopeningFile(Path(path).absolute()))
    except OSError as why:
        raise StartupError(f"--log-json: {path} cannot be written: {why.strerror}") from None


def json_lines(out: IO[str]) -> ILogObserver:
    """Return an observer that writes one JSON object a line.

    Each is flat: ``time`` (ISO 8601), ``level``, ``namespace`` (who says it), ``message`` (the text, put
    together), ``traceback`` where there is one, and the event's own values that are plain.
    """
    return _filtered(FileLogObserver(out, _as_json))


def _as_json(event: LogEvent) -> str:
    members: LogEvent = {
        "time": formatTime(event.get("log_time")),
        "level": event["log_level"].name,
        "namespace": event["log_namespace"],
        "message": formatEvent(event),
    }
    if "log_failure" in event:
        members["traceback"] = event["log_failure"].getTraceback()
    own = {name: value for name, value in event.items() if name not in _NOT_OWN and _is_plain(name, value)}
    return json.dumps({**own, **members}) + "\n"


def _is_plain(name: str, value: object) -> bool:
    if name.startswith("log_"):
        return False
    if isinstance(value, float):
        return math.isfinite(value)  # JSON has no others
    return value is None or isinstance(value, str | int)


def _filtered(observer: ILogObserver) -> ILogObserver:
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    for namespace, level in _QUIETER.items():
        levels.setLogLevelForNamespace(namespace, level)
    return FilteringLogObserver(observer, [levels])
