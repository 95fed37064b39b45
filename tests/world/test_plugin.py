"""Tests of the broker under the real twistd: how it is found, how it ends, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.backends.embedded_redis import place

from .toolbox.places import ROOT, THIS_PYTHON
from .toolbox.ports import free_port
from .toolbox.process import PATIENCE

TWISTD = THIS_PYTHON.with_name("twistd")
KEY = "a-key-that-no-log-shows"


class TwistdCase(SynchronousTestCase):
    """Runs twistd in a directory of its own, with a webapp that is not there."""

    def setUp(self) -> None:
        """Write a configuration."""
        self.directory = Path(tempfile.mkdtemp(prefix="twistd"))
        self.addCleanup(rmtree, self.directory)
        self.file = self.directory / "broker.toml"
        self.configure()
        self.err = self.directory / "err"

    def configure(self, more: str = "") -> None:
        """Write the configuration, with more tables."""
        self.file.write_text(
            f'[broker]\nlisten = ["tcp:0:interface=127.0.0.1"]\nops_token = "{KEY}"\ndrain_timeout = 1\n'
            f'[webapp]\nurl = "http://127.0.0.1:{free_port()}"\ntimeout = 2\n{more}'
        )

    def twistd(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start twistd; it is killed after the test if it still runs."""
        environ = {**os.environ, "CROWDAI_API_KEY": KEY, "BROKER_CONFIG": str(self.file)}
        with self.err.open("wb") as err, (self.directory / "out").open("wb") as out:
            process = subprocess.Popen(
                [TWISTD, *arguments],
                cwd=self.directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.addCleanup(self.end, process)
        return process

    def broker(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """Start the broker in the foreground and wait until it serves."""
        process = self.twistd("-n", "crowdai-broker", "--config", self.file, *arguments)
        self.until(lambda: "the broker serves" in self.log())
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what is left of a test, and the Redis that a killed broker leaves."""
        if process.poll() is None:
            process.kill()
            process.wait()
        server = self.redis_pid()
        if server is not None:
            os.kill(server, signal.SIGKILL)
            self.until(lambda: self.redis_pid() is None)

    def redis_pid(self) -> int | None:
        """Return the process of the embedded Redis in our directory, found as a person would."""
        socket = str(place.socket_path(self.directory / "var"))
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = entry.read_bytes()
            except OSError:
                continue
            if socket.encode() in command and b"redis-server" in command:
                return int(entry.parent.name)
        return None

    def log(self) -> str:
        """Return what was written to stderr."""
        return self.err.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition()`` is true, at most :data:`PATIENCE` seconds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.log())
            time.sleep(0.02)

    def run_twistd(self, *arguments: str | Path) -> tuple[int, str]:
        """Run twistd to its end; return its status and everything it printed."""
        status = self.twistd(*arguments).wait(2 * PATIENCE)
        return status, (self.directory / "out").read_text() + self.log()


class Plugin(TwistdCase):
    def test_twistd_knows_the_broker(self) -> None:
        """It is in the list of commands, from any directory."""
        status, text = self.run_twistd("--help")
        self.assertEqual(status, 0)
        self.assertRegex(text, r"(?m)^ +crowdai-broker +Broker between challenge participants")

    def test_its_help(self) -> None:
        """Options, configuration and signals are explained."""
        status, text = self.run_twistd("crowdai-broker", "--help")
        self.assertEqual(status, 0)
        for part in ("--config", "--log-json", "SIGTERM", "crowdai-broker --config FILE"):
            self.assertIn(part, text)


class Ends(TwistdCase):
    def test_sigterm_is_a_good_end(self) -> None:
        """Status 0, Redis has ended, and no pid file is left."""
        process = self.broker()
        self.assertIsNotNone(self.redis_pid())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertIsNone(self.redis_pid())
        self.assertFalse((self.directory / "twistd.pid").exists())

    def test_ctrl_c_is_a_good_end(self) -> None:
        """SIGINT is no other than SIGTERM."""
        process = self.broker()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertIsNone(self.redis_pid())

    def test_sigterm_while_it_starts(self) -> None:
        """A start that is broken off ends well too, and leaves no Redis."""
        process = self.twistd("-n", "crowdai-broker", "--config", self.file)
        self.until(lambda: "redis-server as process" in self.log())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0, self.log())
        self.assertIsNone(self.redis_pid())

    def test_a_killed_broker_is_followed_by_one_that_adopts_its_redis(self) -> None:
        """After SIGKILL Redis goes on; the next broker uses it, and ends it with itself."""
        process = self.broker()
        server = self.redis_pid()
        process.kill()
        process.wait()
        self.assertEqual(self.redis_pid(), server)
        (self.directory / "twistd.pid").unlink()
        process = self.broker()
        self.assertIn(f"the Redis server of process {server} has the files and is used", self.log())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertIsNone(self.redis_pid())

    def test_a_start_that_fails_has_its_status(self) -> None:
        """No Redis: one critical line, status 1, no traceback, nothing left."""
        self.configure(f'[redis]\nurl = "redis://:{KEY}@127.0.0.1:{free_port()}"\n')
        status, text = self.run_twistd("-n", "crowdai-broker", "--config", self.file)
        self.assertEqual(status, 1)
        self.assertEqual(text.count("#critical]"), 1, text)
        self.assertIn("cannot start: ", text)
        self.assertNotIn("Traceback", text)
        self.assertNotIn(KEY, text)

    def test_as_a_daemon(self) -> None:
        """Without -n it goes to the background, logs where twistd is told to, and ends on SIGTERM."""
        log, pid_file = self.directory / "broker.log", self.directory / "broker.pid"
        status, text = self.run_twistd(
            *("--pidfile", pid_file, "--logfile", log, "crowdai-broker", "--config", self.file)
        )
        self.assertEqual(status, 0, text)
        self.until(lambda: log.exists() and "the broker serves" in log.read_text())
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        self.until(lambda: not pid_file.exists() and self.redis_pid() is None)


class Logs(TwistdCase):
    def test_lines_and_json(self) -> None:
        """Readable lines go to stderr, the same as JSON to the file, and no secret to either."""
        process = self.broker("--log-json", "log.json")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)
        text = (self.directory / "log.json").read_text()
        said = [json.loads(line) for line in text.splitlines()]
        self.assertIn("the broker serves", [event["message"] for event in said])
        self.assertTrue(all(event["level"] and event["time"] for event in said))
        self.assertEqual((self.directory / "out").read_text(), "")
        self.assertNotIn(KEY, text + self.log())

    def test_the_tac_file(self) -> None:
        """``twistd -ny broker.tac`` runs the same broker with the file that BROKER_CONFIG names."""
        process = self.twistd("-ny", ROOT / "broker.tac")
        out = self.directory / "out"
        self.until(lambda: "the broker serves" in out.read_text())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)
