"""Tests of the log: its lines and its JSON."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import Secret
from crowdai_broker.errors import StartupError
from crowdai_broker.logs import ReopeningFile, json_lines, open_log, readable_lines


def logger(observer: ILogObserver, namespace: str = "crowdai_broker.x") -> Logger:
    """Return a logger that only ``observer`` hears."""
    return Logger(namespace, observer=LogPublisher(observer))


class Readable(SynchronousTestCase):
    def test_a_line_says_who_what_and_how_bad(self) -> None:
        """A person can read it, and grep for a level or a room of the broker."""
        out = io.StringIO()
        logger(readable_lines(out)).warn("Redis is {state}", state="gone")
        self.assertRegex(
            out.getvalue(),
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[crowdai_broker.x#warn\] Redis is gone\n$",
        )

    def test_what_is_of_no_use_is_left_out(self) -> None:
        """Neither debugging nor a line for each connection of Twisted's own."""
        out = io.StringIO()
        observer = readable_lines(out)
        logger(observer).debug("details")
        logger(observer, "twisted.internet.protocol.Factory").info("Starting factory")
        logger(observer, "twisted.web.client._HTTP11ClientFactory").info("Starting factory")
        self.assertEqual(out.getvalue(), "")
        logger(observer, "twisted.web.client").error("certificate")
        self.assertIn("certificate", out.getvalue())


class Json(SynchronousTestCase):
    def setUp(self) -> None:
        """Have an observer of a file."""
        self.path = Path(self.mktemp())
        self.file = open_log(str(self.path))
        self.addCleanup(self.file.close)

    def lines(self) -> list[dict[str, Any]]:
        """Return the objects in the file."""
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def test_each_line_is_an_object_with_what_matters(self) -> None:
        """A log collector finds time, level and text under plain names, and the parts beside them."""
        log = logger(json_lines(self.file))
        log.info("Redis is {state}", state="gone\nfor good ✓")
        log.debug("details")
        (line,) = self.lines()
        self.assertEqual((line["level"], line["message"]), ("info", "Redis is gone\nfor good ✓"))
        self.assertEqual((line["namespace"], line["state"]), ("crowdai_broker.x", "gone\nfor good ✓"))
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT")
        self.assertEqual(sorted(line), ["level", "message", "namespace", "state", "time"])

    def test_only_plain_values_are_members(self) -> None:
        """An object is flat: what is neither text nor number nor truth is in the message alone."""
        values: dict[str, Any] = {"a": 1, "b": 0.5, "c": None, "d": True, "e": [1], "f": {"x": 1}}
        logger(json_lines(self.file)).info("{a} {b} {c} {d} {e} {f} {g}", **values, g=float("nan"))
        (line,) = self.lines()
        self.assertEqual(line.pop("message"), "1 0.5 None True [1] {'x': 1} nan")
        self.assertRegex(line.pop("time"), r"^\d{4}-")
        self.assertEqual(
            line, {"level": "info", "namespace": "crowdai_broker.x", "a": 1, "b": 0.5, "c": None, "d": True}
        )

    def test_what_logging_itself_adds_is_left_out(self) -> None:
        """Twisted's old interface adds names of its own; no member of an event hides what matters."""
        legacy = {"message": ("old",), "isError": 0, "system": "-", "format": "%(log_legacy)s", "time": 3.0}
        event = {"log_format": "{log_text}", "log_text": "old\ud800", "log_time": 1.0}
        said_by = {"log_level": LogLevel.warn, "log_namespace": "x", "log_system": "y"}
        json_lines(self.file)({**legacy, **event, **said_by, "level": 7, "namespace": 8, "traceback": 9})
        (line,) = self.lines()
        self.assertRegex(line.pop("time"), r"^(1970|1969)-")
        self.assertEqual(line, {"level": "warn", "namespace": "x", "message": "old\ud800"})

    def test_a_failure_has_its_traceback(self) -> None:
        """What went wrong can be found from the JSON alone."""
        log = logger(json_lines(self.file))
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            log.failure("no {what}", what="luck")
        (line,) = self.lines()
        self.assertEqual((line["level"], line["message"]), ("critical", "no luck"))
        self.assertIn("ZeroDivisionError", line["traceback"])

    def test_a_secret_that_is_logged_by_mistake_is_not_seen(self) -> None:
        """A secret in an event prints as stars, also among the event's parts."""
        out = io.StringIO()
        for observer in (json_lines(self.file), readable_lines(out)):
            logger(observer).info("key {key} {key!r}", key=Secret("hunter2"), other=[Secret("hunter2")])
        self.assertNotIn("hunter2", self.path.read_text() + out.getvalue())
        self.assertIn("Secret(***)", out.getvalue())

    def test_stdout(self) -> None:
        """A container's log goes where the container's runtime reads it."""
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        logger(json_lines(open_log("-"))).info("x")
        self.assertEqual(json.loads(out.getvalue())["message"], "x")

    def test_a_file_that_cannot_be_written(self) -> None:
        """It is an error at the start, with the path."""
        path = str(self.path / "no" / "log")
        self.assertIn(path, str(self.assertRaises(StartupError, open_log, path)))


class Rotation(SynchronousTestCase):
    def setUp(self) -> None:
        """Have an open file."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "log"
        self.file = ReopeningFile(self.path)
        self.addCleanup(self.file.close)

    def write(self, text: str) -> None:
        """Write a line."""
        self.file.write(text)
        self.file.flush()

    def test_a_file_that_was_moved_away_is_begun_anew(self) -> None:
        """Logrotate needs to tell nobody: no line is lost and none goes to the old file."""
        self.write("a\n")
        self.path.rename(self.directory / "log.1")
        self.write("b\n")
        self.write("c\n")
        self.assertEqual(self.path.read_text(), "b\nc\n")
        self.assertEqual((self.directory / "log.1").read_text(), "a\n")

    def test_a_file_that_was_replaced(self) -> None:
        """A new file at the same path is appended to."""
        self.path.rename(self.directory / "log.1")
        self.path.write_text("begun\n")
        self.write("a\n")
        self.assertEqual(self.path.read_text(), "begun\na\n")

    def test_a_place_that_is_gone(self) -> None:
        """If no new file can be made, the old one goes on."""
        gone = self.directory.rename(self.directory.with_suffix(".gone"))
        self.write("a\n")
        self.assertEqual((gone / "log").read_text(), "a\n")
