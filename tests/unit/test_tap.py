"""Tests of twistd's options for the broker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import run
from typing import Any, cast

from twisted.logger import Logger, globalLogPublisher
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.process import BrokerService
from crowdai_broker.tap import Options, makeService


class TapCase(SynchronousTestCase):
    """Parses command lines."""

    def setUp(self) -> None:
        """Have a configuration that can be used."""
        self.patch(os, "environ", {"CROWDAI_API_KEY": "k", "PATH": ""})
        self.file = Path(self.mktemp())
        self.file.write_text("")

    def parse(self, *arguments: str) -> Options:
        """Parse a command line."""
        options = Options()
        options.parseOptions(list(arguments))
        return options


class OptionsTests(TapCase):
    def test_the_configuration_is_read_at_once(self) -> None:
        """What is parsed is checked, before anything daemonizes or listens."""
        options = self.parse("--config", str(self.file))
        self.assertEqual(options.config.webapp.api_key.reveal(), "k")
        self.assertIsNone(options.json_log)

    def test_a_configuration_is_needed(self) -> None:
        """Without one the usage is shown, with what is missing."""
        self.assertIn("--config FILE is missing", str(self.assertRaises(UsageError, self.parse)))

    def test_errors_end_the_process_with_a_line_each(self) -> None:
        """Each error is on its own line, with file and key; nothing else is printed, no usage."""
        self.file.write_text('[broker]\nlisten = []\n[redis]\nprefix = ""\n')
        ended = self.assertRaises(SystemExit, self.parse, "-c", str(self.file))
        lines = str(ended.code).splitlines()
        self.assertEqual(
            [line.split(": ")[:2] for line in lines],
            [
                [str(self.file), "broker.listen"],
                [str(self.file), "redis.prefix"],
            ],
        )

    def test_a_log_that_cannot_be_written(self) -> None:
        """It is an error before anything starts."""
        ended = self.assertRaises(SystemExit, self.parse, "-c", str(self.file), "--log-json", "/nowhere/log")
        self.assertIn("--log-json", str(ended.code))

    def test_help(self) -> None:
        """The help names every option and what a signal does."""
        text = str(Options())
        for part in ("--config", "--log-json", "SIGTERM", "broker.example.toml"):
            self.assertIn(part, text)


class MakeService(TapCase):
    def make(self, options: Options, **twistd: Any) -> BrokerService:
        """Make the service as twistd with these options of its own would."""
        options.parent = cast("Any", twistd)
        service = makeService(options)
        assert isinstance(service, BrokerService)
        return service

    def test_in_the_foreground_the_log_goes_to_stderr(self) -> None:
        """Under ``twistd -n`` lines are on stderr; where the operator says where to log, there."""
        options = self.parse("-c", str(self.file))
        self.assertIsNotNone(self.make(options, nodaemon=True).observer)
        for told in ({"logfile": "x"}, {"syslog": True}, {"logger": "x"}):
            self.assertIsNone(self.make(options, nodaemon=True, **told).observer)
        self.assertIsNone(self.make(options, nodaemon=False).observer)

    def test_the_json_log_is_beside_any_other(self) -> None:
        """``--log-json`` takes nothing away from where lines go."""
        path = Path(self.mktemp())
        options = self.parse("-c", str(self.file), "--log-json", str(path))
        assert options.json_log is not None
        self.addCleanup(options.json_log.close)
        before = list(globalLogPublisher._observers)
        self.make(options, nodaemon=True)
        (added,) = [each for each in globalLogPublisher._observers if each not in before]
        self.addCleanup(globalLogPublisher.removeObserver, added)
        Logger("x").warn("a line")
        self.assertIn("a line", path.read_text())

    def test_nothing_is_opened_yet(self) -> None:
        """Making the service touches neither files nor sockets: twistd has not dropped its rights yet."""
        self.make(self.parse("-c", str(self.file)), nodaemon=True)
        self.assertFalse((self.file.parent / "var").exists())


class Reactor(SynchronousTestCase):
    def test_the_reactor_is_the_operators_choice(self) -> None:
        """Importing the options installs none: ``twistd --reactor`` still works."""
        code = "import sys, crowdai_broker.tap; sys.exit('twisted.internet.reactor' in sys.modules)"
        self.assertEqual(run([sys.executable, "-c", code], check=False, timeout=60).returncode, 0)
