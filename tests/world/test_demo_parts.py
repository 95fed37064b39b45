"""The demo's parts with real processes and a real Redis: graders, configuration, failing, cleaning up."""

from __future__ import annotations

import io
import os
import signal
import stat
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

import msgspec
import redis
from rich.console import Console
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from crowdai_broker.backends.embedded_redis import EmbeddedRedis
from crowdai_broker.config import load_config
from crowdai_broker.demo import challenge, children, command, hints, world
from crowdai_broker.demo.children import Child, DemoFailed
from crowdai_broker.demo.webapp import DemoWebapp
from crowdai_broker.demo.world import DemoWorld, free_port

reactor: Any = real_reactor
CHANNEL = "events-of-this-test"
TERMINAL = ("COMPLETE", "ERROR", "TIMEOUT")


def kind_of(event: dict[str, Any]) -> str:
    """Return the last word of an event's type."""
    return str(event["response_type"]).rpartition(".")[2]


class DemoCase(TestCase):
    """Makes directories whose sockets have short names."""

    def directory(self) -> Path:
        """Return a directory that is removed at clean-up."""
        made = Path(tempfile.mkdtemp(prefix="demo-"))
        self.addCleanup(rmtree, made, ignore_errors=True)
        return made

    def finally_do(self, action: Any) -> None:
        """Await ``action()`` at clean-up."""

        async def awaited() -> None:
            await action()

        self.addCleanup(lambda: Deferred.fromCoroutine(awaited()))


class GraderTests(DemoCase):
    """The grader's process, driven as a broker drives it."""

    async def start(self, *options: str, task: str = "mass") -> None:
        """Start Redis, and a grader that takes its time or not."""
        self.keeper = EmbeddedRedis(reactor, self.directory())
        self.finally_do(self.keeper.stop)
        url = await self.keeper.start()
        self.redis = redis.Redis.from_url(url)
        self.addCleanup(self.redis.close)
        self.grader = Child(reactor, "the grader")
        arguments = ["--redis", url, "--queue", "Q", "--task", task, "--seconds", "0", *options]
        self.grader.start(["-m", "crowdai_broker.demo.grader", *arguments])
        self.finally_do(self.grader.stop)

    def order(self, function: str, data: object, number: int = 1) -> None:
        """Give out a job."""
        job = {"function_name": function, "data": data, "data_sequence_no": number}
        job |= {"broker_response_channel": CHANNEL, "extra_params": {"api_key": "k"}}
        self.redis.lpush("Q::enqueue_job", msgspec.json.encode(job))

    async def event(self) -> dict[str, Any]:
        """Return the next event."""
        taken: Any = await deferToThread(self.redis.blpop, [CHANNEL], 30)
        self.assertIsNotNone(taken, self.grader.output())
        event: dict[str, Any] = msgspec.json.decode(taken[1])
        return event

    async def end(self) -> dict[str, Any]:
        """Return the terminal event of the job in hand."""
        while True:
            event = await self.event()
            if kind_of(event) in TERMINAL:
                return event

    async def test_an_uploaded_file(self) -> None:
        """A file that is at the webapp is fetched there and graded, and its grade is what it should be."""
        webapp = DemoWebapp(reactor)
        self.finally_do(webapp.stop)
        await webapp.start()
        key, signature = webapp.files.presign()
        self.assertTrue(webapp.files.put(key, signature, challenge.sample_file()))
        await self.start("--webapp-url", webapp.url, task="species")
        self.order("grade_submission", {"file_key": key, "round": 1})
        ended = await self.end()
        self.assertEqual((kind_of(ended), ended["data"]["score"]), ("COMPLETE", 0.81))

    async def test_entries_that_are_no_jobs(self) -> None:
        """What is no job is dropped, and the next job is graded."""
        await self.start()
        for entry in (b"\xff", b"[]", b"{}", b'"x"'):
            self.redis.lpush("Q::enqueue_job", entry)
        self.order("submit", challenge.sample_masses())
        self.assertEqual(kind_of(await self.end()), "COMPLETE")

    async def test_slots(self) -> None:
        """With two slots the second job begins before the first has ended; with one it does not."""
        await self.start("--slots", "2", "--seconds", "1")
        for number in (1, 2):
            self.order("submit", challenge.sample_masses(), number)
        begun: set[int] = set()
        while len(begun) < 2:
            event = await self.event()
            self.assertNotIn(kind_of(event), TERMINAL)
            begun.add(event["data_sequence_no"])

    async def test_redis_restarts(self) -> None:
        """A Redis that is killed in the middle of a job, and comes back, gets the rest of its events."""
        await self.start("--seconds", "1")
        self.order("submit", challenge.sample_masses())
        await self.event()
        assert self.keeper.pid is not None
        os.kill(self.keeper.pid, 9)
        self.redis.close()
        ended = await self._end_in_spite()
        self.assertEqual(kind_of(ended), "COMPLETE")
        self.assertIn("Redis is away", self.grader.output())

    async def _end_in_spite(self) -> dict[str, Any]:
        while True:
            try:
                return await self.end()
            except redis.ConnectionError:
                await deferLater(reactor, 0.05)

    async def test_a_stop_finishes_what_is_in_hand(self) -> None:
        """SIGTERM ends the grader with status 0, after its job."""
        await self.start("--seconds", "0.5")
        self.order("submit", challenge.sample_masses())
        await self.event()
        await self.grader.stop()
        self.assertEqual((self.grader.status, kind_of(await self.end())), (0, "COMPLETE"))


class WorldTests(DemoCase):
    """What the demo starts, without the broker."""

    def test_the_broker_takes_its_configuration(self) -> None:
        """The file that the demo writes is a right one, and only its owner may read it."""
        made = DemoWorld(reactor, self.directory(), 5999)
        made.webapp.set_url("http://127.0.0.1:5998")
        path = made.write_config("unix:///run/redis.sock")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        config = load_config(str(path), {})
        self.assertEqual(config.broker.public_url, made.url)
        self.assertEqual(config.webapp.url, "http://127.0.0.1:5998")
        self.assertEqual(config.webapp.api_key.reveal(), made.webapp.api_key)

    async def test_the_webapp_has_something_to_beat(self) -> None:
        """Both challenges are there, and one result that is not the participant's."""
        made = DemoWorld(reactor, self.directory(), 5999)
        self.finally_do(made.stop)
        await made.start_webapp()
        (line,) = await made.leaderboard(world.PENGUINS)
        self.assertEqual((line["participant"], line["score"]), (world.BASELINE, 0.4))
        self.assertEqual(await made.leaderboard(world.EARLY), [])

    async def test_a_grade_that_does_not_come(self) -> None:
        """The leaderboard is not watched without end."""
        self.patch(world, "GRADE_PATIENCE", 0.2)
        made = DemoWorld(reactor, self.directory(), 5999)
        self.finally_do(made.stop)
        await made.start_webapp()
        with self.assertRaises(DemoFailed) as caught:
            await made.graded(world.PENGUINS)
        self.assertIn("not on the leaderboard after 0.2 s", str(caught.exception))

    def test_the_end_of_the_output_is_kept(self) -> None:
        """Of what a process says only the end is kept, however it comes in pieces."""
        child = Child(reactor, "somebody")
        for piece in (b"x" * children.TAIL, b"last ", b"words\n"):
            child.childDataReceived(1, piece)
        self.assertTrue(child.output().endswith("xlast words"))
        self.assertEqual(len(child.output()), children.TAIL - 1)

    def test_hints_are_filled_in(self) -> None:
        """The lines to copy hold this demo's addresses, key and files, and nothing is left to fill in."""
        made = DemoWorld(reactor, self.directory(), 5999)
        made.webapp.set_url("http://127.0.0.1:5998")
        text = hints.hints(made)
        for part in (made.url, made.webapp.url, made.api_key, "['remote_port'] = 5999", world.EARLY):
            self.assertIn(part, text)
        self.assertNotIn("{{", text)
        for line in text.splitlines():
            if line.startswith("  data "):
                self.assertTrue((Path(line.split()[1]) / "train.csv").exists())

    def test_ports(self) -> None:
        """A wanted port that is in use is an error that says so; without a wish any free one is taken."""
        import socket

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with self.assertRaises(DemoFailed) as caught:
                free_port(port)
        self.assertIn(f"Port {port} is in use", str(caught.exception))
        self.assertTrue(0 < free_port(None) < 65536)

    def test_leaderboard_table(self) -> None:
        """Every line is shown, a missing secondary score as nothing."""
        line = {"rank": 1, "participant": "Ada", "score": 0.81, "score_secondary": 0.5, "entries": 2}
        out = io.StringIO()
        lines = [line, line | {"rank": 2, "participant": "[b]Bob", "score_secondary": None}]
        Console(file=out, width=80).print(command.leaderboard_table("T", lines))
        for part in ("Ada", "[b]Bob", "0.810", "0.500"):
            self.assertIn(part, out.getvalue())


class CommandTests(DemoCase):
    """``crowdai-broker demo`` as it is called, with the broker."""

    def start(self, *options: str) -> Child:
        """Run the command with temporary files in a place of its own."""
        self.home = self.directory()
        child = Child(reactor, "the demo")
        command = ["-c", "from crowdai_broker.cli import main; main()", "demo", *options]
        child.start(command, {"TMPDIR": str(self.home), "COLUMNS": "100"})
        self.finally_do(child.stop)
        return child

    async def test_once(self) -> None:
        """One submission goes all the way to the leaderboard; then it ends with 0 and nothing is left."""
        child = self.start("--once")
        self.assertEqual(await child.ended(), 0, child.output())
        for part in ("graded: score 0.81, submission 2", "Leaderboard of PenguinChallenge", "Ada"):
            self.assertIn(part, child.output())
        self.assertEqual(list(self.home.iterdir()), [])

    async def test_serving_until_interrupted(self) -> None:
        """Without ``--once`` it serves on, says what to try, and ends with 0 on Ctrl-C, with nothing left."""
        child = self.start()
        while "socket.close()" not in child.output():
            child.check()
            await deferLater(reactor, 0.05)
        child.signal(signal.SIGINT)
        self.assertEqual(await child.ended(), 0, child.output())
        self.assertEqual(list(self.home.iterdir()), [])

    async def test_interrupted_at_the_start(self) -> None:
        """Ctrl-C before everything runs ends it with the status of an interrupted process."""
        child = self.start()
        while "Starting" not in child.output():
            child.check()
            await deferLater(reactor, 0.01)
        child.signal(signal.SIGINT)
        self.assertEqual(await child.ended(), command.INTERRUPTED, child.output())
        self.assertEqual(list(self.home.iterdir()), [])


class FailingTests(DemoCase):
    """What goes wrong is said, and nothing stays behind."""

    async def run_demo(self, module: str) -> tuple[int, str]:
        """Run the demo with another program in the broker's place; return its status and its words."""
        self.patch(world, "TWISTD", ("-m", module))
        home = self.directory()
        self.patch(tempfile, "tempdir", str(home))
        out = io.StringIO()
        console = Console(file=out, width=100)
        status = await command.Demo(reactor, console, once=True).run(None)
        self.assertEqual(list(home.iterdir()), [])
        return status, out.getvalue()

    async def test_a_broker_that_does_not_start(self) -> None:
        """The demo ends with 1 and the end of what the broker said; its directory is gone."""
        status, text = await self.run_demo("no_such_module_anywhere")
        self.assertEqual(status, 1)
        self.assertIn("The demo failed: the broker ended with status 1", text)
        self.assertIn("no_such_module_anywhere", text)

    async def test_a_broker_that_is_never_ready(self) -> None:
        """A broker that says nothing is not waited for without end."""
        self.patch(world, "START_PATIENCE", 0.3)
        silent = self.directory()
        (silent / "silent_broker.py").write_text("import time\ntime.sleep(600)\n")
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": str(silent)})
        status, text = await self.run_demo("silent_broker")
        self.assertEqual(status, 1)
        self.assertIn("was not ready after 0.3 s", text)

    async def test_a_stop_waits_for_the_cleaning(self) -> None:
        """A stop of the reactor cancels the demo, and goes on only when that has cleaned up."""
        triggers: list[Any] = []
        cleaning: Deferred[None] = Deferred()

        class Stoppable:
            def addSystemEventTrigger(self, _phase: str, _event: str, trigger: Any) -> None:
                triggers.append(trigger)

            def callWhenRunning(self, action: Any, *args: Any) -> None:
                action(*args)

        async def main() -> int:
            try:
                await Deferred()
            finally:
                await cleaning
            return 0

        running = command.run_until_stopped(Stoppable(), main)
        ended: list[Failure] = []
        running.addErrback(ended.append)
        stopping = triggers[0]()
        self.assertNoResult(stopping)
        cleaning.callback(None)
        self.successResultOf(stopping)
        self.assertTrue(ended[0].check(SystemExit))
        self.assertEqual(ended[0].value.code, command.INTERRUPTED)  # type: ignore[union-attr]

    async def test_a_child_that_does_not_listen(self) -> None:
        """A process that ignores SIGTERM is killed after a while."""
        self.patch(children, "STOP_PATIENCE", 0.1)
        place = self.directory()
        (place / "deaf.py").write_text(
            "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('deaf', flush=True)\ntime.sleep(600)\n"
        )
        child = Child(reactor, "the deaf one")
        child.start(["-m", "deaf"], {"PYTHONPATH": str(place)})
        while "deaf" not in child.output():
            await deferLater(reactor, 0.01)
        await child.stop()
        self.assertEqual(child.status, -9)

    async def test_waiting_can_be_cancelled(self) -> None:
        """Who waits for a process may give up; the process goes on, and can still be waited for."""
        child = Child(reactor, "a sleeper")
        place = self.directory()
        (place / "sleeper.py").write_text("import time\ntime.sleep(600)\n")
        child.start(["-m", "sleeper"], {"PYTHONPATH": str(place)})
        waiting = Deferred.fromCoroutine(child.ended())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertIsNone(child.status)
        await child.stop()
        self.assertEqual(await child.ended(), -15)
