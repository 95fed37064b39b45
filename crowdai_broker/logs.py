"""What the broker says while it runs: readable lines, and on request one JSON object a line.

Nothing secret is logged anywhere; requests are not logged at all, since their paths hold capabilities.
"""

from __future__ import annotations

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
    eventAsJSON,
    formatEvent,
    formatTime,
    textFileLogObserver,
)

from .errors import StartupError

LogEvent = dict[str, Any]

_QUIETER = {"twisted.web.client": LogLevel.warn, "twisted.internet.protocol": LogLevel.warn}
"""Namespaces that below a level say nothing but a line for each connection."""


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

    Each is the event as ``twisted.logger`` writes it, with ``time`` (ISO 8601), ``level`` and ``message``
    (the text, put together) beside what was logged.
    """
    return _filtered(FileLogObserver(out, _as_json))


def _as_json(event: LogEvent) -> str:
    level = event.get("log_level")
    readable: LogEvent = {
        "time": formatTime(event.get("log_time")),
        "level": level.name if level is not None else "info",
        "message": formatEvent(event),
    }
    if "log_failure" in event:
        readable["traceback"] = event["log_failure"].getTraceback()
    return eventAsJSON({**readable, **event}) + "\n"


def _filtered(observer: ILogObserver) -> ILogObserver:
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    for namespace, level in _QUIETER.items():
        levels.setLogLevelForNamespace(namespace, level)
    return FilteringLogObserver(observer, [levels])
