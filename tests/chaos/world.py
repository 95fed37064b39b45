"""The processes: Redis, a webapp, brokers with steps, graders; and how each is killed and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from tests.redis_server import RedisServer
from tests.world.broker.programs import Broker, Program, python, until
from tests.world.broker.toml import toml
from tests.world.broker.webapp import Webapp
from tests.world.toolbox.places import ROOT
from tests.world.toolbox.ports import free_port

from .work import CHALLENGES, NARROW, SILENT, SLOTS

GRADER = ROOT / "tests" / "chaos" / "grader.py"
JOB_TIMEOUT = 5
TIMEOUT = 2  # s of the brokers' calls of the webapp
READY = 30.0  # s for a broker to be ready


def tell(program: Program, line: dict[str, Any]) -> None:
    """Give a program a line that may be dead by now."""
    stdin = program._process.stdin
    assert stdin is not None
    with contextlib.suppress(BrokenPipeError):
        os.write(stdin.fileno(), json.dumps(line).encode() + b"\n")


class SteppedBroker(Broker):
    """A broker that can be told to die at a step."""

    def __init__(self, config: Path, port: int, env: dict[str, str]) -> None:
        command = python("-m", "tests.chaos.broker_with_steps", "--config", config)
        Program.__init__(self, command, env)
        self.port = port

    def plan(self, steps: list[dict[str, Any]]) -> None:
        """Say what is to happen at which steps; what was said before is forgotten."""
        tell(self, {"steps": steps})

    def is_ready(self) -> bool:
        """Tell whether it can do its work."""
        answer = self.get("/readyz") if self.running else None
        return answer is not None and answer.status == 200


class World:
    """Everything that runs.

    :ivar brokers: those of now, one a port.
    :ivar past: those that were killed.
    :ivar keys: of the participants.
    """

    def __init__(self, brokers: int, graders: int, participants: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.keys = [secrets.token_hex(16) for _ in range(participants)]
        self.past: list[SteppedBroker] = []
        self.server = RedisServer()
        self._broker_key, self._organizer_key = secrets.token_hex(16), secrets.token_hex(16)
        people = {f"Participant {number}": key for number, key in enumerate(self.keys, 1)}
        self.webapp = Webapp(self._broker_key, people, self._challenges(), self.directory)
        self.webapp.listening()
        self.server.start()
        self.server.wait()
        self.redis = redis.Redis(unix_socket_path=str(self.server.socket), decode_responses=True)
        self.ports = [free_port() for _ in range(brokers)]
        self.brokers = [self.launch(port) for port in self.ports]
        self.graders = [self.grader() for _ in range(graders)]

    def _challenges(self) -> list[dict[str, Any]]:
        many = dict.fromkeys(CHALLENGES, 100000) | {NARROW: SLOTS}
        return [
            {
                "number": number,
                "client_name": name,
                "organizer_api_key": self._organizer_key,
                "rounds": [{"submission_limit": many[name]}],
            }
            for number, name in enumerate(CHALLENGES, 1)
        ]

    def _config(self, port: int) -> dict[str, Any]:
        challenges: dict[str, dict[str, Any]] = {
            name: {
                "number": number,
                "organizer_api_key": {"env": "THE_ORGANIZERS_KEY"},
                "job_timeout": JOB_TIMEOUT,
                "grader": {"max_in_flight": 16},
            }
            for number, name in enumerate(CHALLENGES, 1)
        }
        challenges[SILENT]["max_attempts"] = 1
        return {
            "broker": {
                "listen": [f"tcp:{port}:interface=127.0.0.1"],
                "public_url": f"http://127.0.0.1:{port}",
                "data_dir": str(self.directory / "var"),
                "drain_timeout": 5,
            },
            "limits": {"executions_per_minute": 0},
            "redis": {"url": self.server.url},
            "webapp": {
                "url": f"http://127.0.0.1:{self.webapp.port}",
                "api_key": {"env": "THE_BROKERS_KEY"},
                "timeout": TIMEOUT,
            },
            "challenges": challenges,
        }

    def launch(self, port: int) -> SteppedBroker:
        """Start a broker and do not wait for it."""
        path = self.directory / f"broker-{port}.toml"
        path.write_text(toml(self._config(port)))
        env = {"THE_BROKERS_KEY": self._broker_key, "THE_ORGANIZERS_KEY": self._organizer_key}
        return SteppedBroker(path, port, env)

    def bring_back(self, broker: SteppedBroker) -> None:
        """Start a broker again that is dead."""
        self.past.append(broker)
        self.brokers[self.brokers.index(broker)] = self.launch(broker.port)

    def grader(self) -> Program:
        """Start a grader."""
        return Program(python(GRADER, str(self.server.socket), *CHALLENGES))

    def replace_grader(self, grader: Program) -> None:
        """Start a grader in the place of one that is dead."""
        grader.stop()
        self.graders[self.graders.index(grader)] = self.grader()

    def ready(self) -> None:
        """Wait until every broker can do its work."""
        try:
            until(lambda: all(broker.is_ready() for broker in self.brokers), "the brokers are ready", READY)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.logs()[-5000:]}") from None

    def redis_process(self) -> int:
        """Return the process id of Redis."""
        found: Any = self.redis.info("server")
        return int(found["process_id"])

    def restart_redis(self, away: float) -> None:
        """Kill Redis, if that is not done yet, and start it with its file after so many seconds."""
        self.server.kill()
        time.sleep(away)
        self.server.start()
        self.server.wait()

    def logs(self) -> str:
        """Return what all brokers have written."""
        return "\n".join(broker.errors() for broker in (*self.past, *self.brokers))

    def keep(self, directory: Path) -> None:
        """Write what may be needed to find out what went wrong."""
        directory.mkdir(parents=True, exist_ok=True)
        for number, broker in enumerate((*self.past, *self.brokers)):
            (directory / f"broker-{number}-{broker.port}.log").write_text(broker.errors())
        (directory / "webapp.json").write_text(json.dumps(self.webapp.state(), indent=1))

    def close(self) -> list[int]:
        """End everything; return how the brokers that still ran have ended."""
        ended = [broker.terminate() for broker in self.brokers]
        for program in (*self.graders, *self.past, *self.brokers, self.webapp):
            program.stop()
        self.redis.close()
        self.server.remove()
        shutil.rmtree(self.directory)
        return ended
