"""Graders that connect to brokers, as processes of their own: they, their brokers and connections may go."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from ..toolbox.node import find_node
from ..toolbox.places import NODE_MODULES, ROOT, THIS_PYTHON
from .case import WorldCase
from .hands import JOB
from .line import Line
from .participant import Execution
from .programs import Broker, Program, until
from .world import ORGANIZER, Plan, World

AFAR = "Afar"
TOKEN = "token-of-the-graders"
COMMAND = THIS_PYTHON.with_name("crowdai-broker")


class SocketGraderCase(WorldCase):
    """A challenge whose graders connect."""

    plan: ClassVar[Plan] = Plan(challenges={AFAR: {"grader": {"kind": "socketio", "token": TOKEN}}})

    def setUp(self) -> None:
        """Have a place for what jobs wait for."""
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(prefix="socket-graders-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.gate = self.directory / "open"

    def grader(self, name: str, *options: str, token: str = TOKEN, port: int = 0) -> Program:
        """Start ``crowdai-broker grade`` with an evaluator of that name, for the broker started last."""
        port = port or self.world.broker.port
        what = ["grade", f"tests.world.grading.evaluators:{name}", "--broker", f"http://127.0.0.1:{port}"]
        return self.start([COMMAND, *what, "--challenge", AFAR, *options], CROWDAI_GRADER_TOKEN=token)

    def start(self, command: list[str | Path], **env: str) -> Program:
        """Start a program that ends with the test."""
        program = Program(command, env)
        self.addCleanup(program.stop)
        return program

    def connected(self, grader: Program) -> Program:
        """Wait until a grader is connected."""
        until(lambda: "connected" in grader.errors(), "a connection of the grader")
        return grader


class SocketGraderTests(SocketGraderCase):
    """Two brokers; participants are at the first one, graders at the second."""

    one: Broker

    @classmethod
    def begin(cls, world: World) -> None:
        """Start both."""
        world.secrets.add(TOKEN)
        cls.one = world.launch().ready()
        world.launch().ready()

    def execution(self, data: Any) -> Execution:
        """Submit."""
        return self.participant(AFAR, at=self.one).execute(data, "submit")

    @staticmethod
    def ended_by_signals(grader: Program) -> bool:
        """Tell a grader to stop once more; return whether it has ended."""
        grader.signal(signal.SIGTERM)
        return not grader.running

    def test_graded(self) -> None:
        """A job of one broker's participant is graded by a grader of the other's, and posted."""
        self.connected(self.grader("echoes"))
        execution = self.execution({"a": 1})
        (outcome,) = execution.result()
        self.assertEqual(outcome["data"]["payload"], {"a": 1})
        self.assertEqual(outcome["data"]["context"]["api_key"], "")
        self.assertEqual(outcome["data"]["context"]["challenge_client_name"], AFAR)
        (row,) = self.world.webapp.settled(1, id=outcome["data"]["submission_id"])
        self.assertEqual((row["score"], row["posts"], row["patches"]), (1, 1, 1))

    def test_nobody_there(self) -> None:
        """Who waits while no grader is connected anywhere reads so, and reads when one has come elsewhere."""
        execution = self.execution({"until": str(self.gate)})
        execution.expect("INFO", saying="Nobody is there to grade this challenge right now.")
        self.connected(self.grader("waits"))
        execution.expect("INFO", saying="A grader is there again")
        self.gate.touch()
        execution.result()

    def test_connection_lost(self) -> None:
        """A job goes on while its grader's connection is lost, and its result comes when it is back."""
        line = Line(self.world.broker.port)
        self.addCleanup(line.close)
        grader = self.connected(self.grader("waits", port=line.port))
        execution = self.execution({"until": str(self.gate)})
        execution.expect("INFO", saying="waiting")
        line.cut()
        self.gate.touch()
        until(lambda: "trying again" in grader.errors(), "a connection that is not made")
        line.mend()
        self.assertEqual(execution.result()[0]["data"]["score"], 1)
        self.assertNotIn("given up", execution.messages())
        self.assertEqual(grader.errors().count("connected to"), 2)

    def test_shown_to_operators(self) -> None:
        """``crowdai-broker status`` shows who is connected to which node, and how busy."""
        self.connected(self.grader("waits", "--grader-id", "seen", "--slots", "2"))
        execution = self.execution({"until": str(self.gate)})
        execution.expect("INFO", saying="waiting")
        config = self.world.directory / f"broker-{self.one.port}.toml"
        env = {"THE_BROKERS_KEY": self.world.broker_key, "THE_ORGANIZERS_KEY": ORGANIZER}

        def shown() -> bool:
            command = [str(COMMAND), "status", "--config", str(config)]
            said = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout
            return f"seen: {AFAR}, 1 of 2 slots busy" in said

        until(shown, "the grader in the operator's view")
        self.gate.touch()
        execution.result()

    def test_refused(self) -> None:
        """A grader with a wrong token ends, and is told why in a line."""
        grader = self.grader("echoes", token="wrong")
        self.assertEqual(grader.wait(), 1)
        self.assertIn("Error: The token is not that of every challenge named", grader.errors())
        self.assertNotIn("Traceback", grader.errors())

    def test_no_token(self) -> None:
        """Without a token nothing is tried."""
        grader = self.grader("echoes", token="")
        self.assertEqual(grader.wait(), 1)
        self.assertIn("--token-file", grader.errors())

    def test_killed_and_started_anew(self) -> None:
        """A grader that is killed and started again gets its job again at once, as another attempt."""
        grader = self.connected(self.grader("waits", "--grader-id", "one"))
        execution = self.execution({"until": str(self.gate)})
        execution.expect("INFO", saying="waiting")
        grader.signal(signal.SIGKILL)
        self.connected(self.grader("waits", "--grader-id", "one"))
        execution.expect("INFO", saying="Attempt 1 of 3 was given up: its grader was started anew.")
        execution.expect("INFO", saying="waiting", number=1)
        self.gate.touch()
        (outcome,) = execution.result()
        self.assertEqual(outcome["data"]["score"], 1)

    def test_told_to_stop(self) -> None:
        """SIGTERM finishes what is in hand, and gets nothing more: another grader takes it."""
        grader = self.connected(self.grader("waits"))
        execution = self.execution({"until": str(self.gate)})
        execution.expect("INFO", saying="waiting")
        grader.signal(signal.SIGTERM)
        later = self.execution({"until": str(self.gate)})
        later.expect("ENQUEUED")
        self.gate.touch()
        self.assertEqual(execution.result()[0]["data"]["score"], 1)
        self.assertEqual(grader.wait(), 0)
        self.connected(self.grader("waits"))
        self.assertEqual(later.result()[0]["data"]["score"], 1)

    def test_told_to_stop_at_once(self) -> None:
        """A second SIGTERM gives back what is in hand, to another grader at once."""
        grader = self.connected(self.grader("waits"))
        execution = self.execution({"until": str(self.gate)})
        execution.expect("INFO", saying="waiting")
        other = self.connected(self.grader("waits"))
        until(lambda: self.ended_by_signals(grader), "the end of a grader")
        execution.expect("INFO", saying="its grader left")
        execution.expect("INFO", saying="waiting", number=1)
        self.gate.touch()
        self.assertEqual(execution.result()[0]["data"]["score"], 1)
        self.assertEqual(other.terminate(), 0)

    def test_cancelled(self) -> None:
        """A job that its participant takes back ends at its grader, which then takes the next one."""
        grader = self.connected(self.grader("waits"))
        participant = self.participant(AFAR)
        execution = participant.execute({"until": str(self.gate)})
        execution.expect("INFO", saying="waiting")
        participant.ask("cancel", execution_id=execution.execution_id)
        until(lambda: ": cancelled after" in grader.errors(), "the end of the job")
        self.gate.touch()
        (outcome,) = participant.execute({"until": str(self.gate)}).result()
        self.assertEqual(outcome["response_type"], JOB + "COMPLETE")

    def test_replaced(self) -> None:
        """Of two graders with one name the earlier one ends, and says why."""
        first = self.connected(self.grader("waits", "--grader-id", "twin"))
        self.connected(self.grader("waits", "--grader-id", "twin"))
        self.assertEqual(first.wait(), 1)
        self.assertIn("another grader with this grader_id has connected", first.errors())

    def test_in_javascript(self) -> None:
        """The grader that the document shows grades, two jobs at once."""
        (self.directory / "node_modules").mkdir()
        there = self.directory / "node_modules" / "socket.io-client"
        there.symlink_to(NODE_MODULES / "socket.io-client-4")
        program = shutil.copy(ROOT / "examples" / "grader.js", self.directory)
        address = f"http://127.0.0.1:{self.world.broker.port}"
        self.start([find_node().program, program, address, AFAR, TOKEN]).expect(text="connected")
        good, bad = self.execution([1, 2, 6]), self.execution("no list")
        self.assertEqual(good.result()[0]["data"]["score"], 3)
        self.assertIn("A list of numbers is needed", bad.result()[0]["message"])


class LostBrokerTests(SocketGraderCase):
    """One broker, which is killed and started again where it was."""

    config: ClassVar[dict[str, Any]]

    @classmethod
    def begin(cls, world: World) -> None:
        """Start it."""
        cls.config = world.config()
        world.launch(cls.config).ready()

    def follow(self, execution_id: str, channel: str) -> Execution:
        """Follow an execution at the broker that runs now."""
        participant = self.participant(AFAR)
        followed = participant.listen(channel)
        participant.ask("resume", execution_id=execution_id)
        return followed

    def test_broker_killed(self) -> None:
        """A job goes on while the broker is away, and what was said of it then is told later."""
        self.connected(self.grader("waits"))
        execution = self.participant(AFAR).execute({"until": str(self.gate)}, "submit")
        execution.expect("INFO", saying="waiting")
        self.world.broker.kill()
        self.gate.touch()
        self.world.launch(self.config).ready()
        followed = self.follow(execution.execution_id, execution.channel)
        self.assertEqual(followed.expect("COMPLETE")["data"]["score"], 1)
        self.assertNotIn("given up", followed.messages())

    def test_broker_stopped(self) -> None:
        """A broker that is told to stop while a job runs loses nothing either."""
        self.connected(self.grader("waits"))
        execution = self.participant(AFAR).execute({"until": str(self.gate)}, "submit")
        execution.expect("INFO", saying="waiting")
        execution_id = execution.execution_id
        self.assertEqual(self.world.broker.terminate(), 0)
        self.world.launch(self.config).ready()
        self.gate.touch()
        followed = self.follow(execution_id, execution.channel)
        self.assertEqual(followed.expect("COMPLETE")["data"]["score"], 1)
        self.assertNotIn("given up", followed.messages())

    def test_redis_killed(self) -> None:
        """A result that comes while Redis is away is stored, and acknowledged, when it is back."""
        grader = self.connected(self.grader("waits"))
        execution = self.participant(AFAR).execute({"until": str(self.gate)}, "submit")
        execution.expect("INFO", saying="waiting")
        self.world.server.kill()
        self.gate.touch()
        self.assertNotIn("COMPLETE", grader.errors())
        self.world.server.start()
        self.assertEqual(execution.result()[0]["data"]["score"], 1)
        until(lambda: "COMPLETE" in grader.errors(), "the grader's end of the job")
