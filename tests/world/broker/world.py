"""A private world: Redis, a webapp, the line to it, graders, and one broker in the middle."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...redis_server import RedisServer
from ..toolbox.places import ROOT
from ..toolbox.ports import free_port
from .hands import client
from .line import Line
from .programs import Broker, Program, python
from .toml import toml
from .webapp import Webapp

GRADER = ROOT / "tests" / "world" / "broker" / "grader.py"
MANY = 100_000
ORGANIZER = "organizers-key-" + secrets.token_hex(8)
STOPPED = (0, -9)  # how a broker may have ended: told to stop, or killed by a test


@dataclass(frozen=True)
class Plan:
    """What a world is made of.

    :ivar challenges: ``[challenges.X]`` tables of the broker's file; a key that is ``None`` is left out.
    :ivar at_webapp: what the webapp has of a challenge beyond its name; a challenge that is only here is
        unknown to the broker's file. ``None`` says that the webapp does not have it.
    :ivar tables: further keys of the broker's file, by table.
    :ivar participants: how many there are.
    """

    challenges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    at_webapp: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    participants: int = 4


class World:
    """Everything that runs for some tests.

    :ivar keys: API keys of the participants.
    :ivar numbers: what the webapp calls each challenge.
    :ivar redis: a client of Redis that reads text; ``raw`` reads bytes.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.directory = Path(tempfile.mkdtemp(prefix="broker-world-"))
        self.broker_key = secrets.token_hex(16)
        self.keys = [secrets.token_hex(16) for _ in range(plan.participants)]
        self.secrets = {self.broker_key, ORGANIZER, *self.keys}
        self.brokers: list[Broker] = []
        self._graders: list[Program] = []
        self._told: set[str] = set()
        names = dict.fromkeys([*plan.challenges, *plan.at_webapp])
        self.numbers = {name: number for number, name in enumerate(names, 1)}
        self.server = RedisServer()
        self.webapp = Webapp(self.broker_key, self._participants(), self._at_webapp(), self.directory)
        self.server.start()
        try:
            self.line = Line(self.webapp.listening())
        except BaseException:
            self.webapp.stop()
            self.server.remove()
            raise
        self.redis = client(self.server.socket, decode_responses=True)
        self.raw = client(self.server.socket)

    def _participants(self) -> dict[str, str]:
        return {f"Participant {number}": key for number, key in enumerate(self.keys, 1)}

    def _at_webapp(self) -> list[dict[str, Any]]:
        """Return the webapp's challenges; unless the plan says otherwise, with slots for all tests."""
        usual = {"rounds": [{"submission_limit": MANY}], "organizer_api_key": ORGANIZER}
        there = {name: self._plan.at_webapp.get(name, {}) for name in self.numbers}
        return [
            {"number": self.numbers[name], "client_name": name, **usual, **given}
            for name, given in there.items()
            if given is not None
        ]

    # --- the broker ----------------------------------------------------------------------------------------

    def config(self, **tables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the broker's configuration; the keys given here go over those of the plan."""
        port = free_port()
        own: dict[str, dict[str, Any]] = {
            "broker": {
                "listen": [f"tcp:{port}:interface=127.0.0.1"],
                "public_url": f"http://127.0.0.1:{port}",
                "data_dir": str(self.directory / "var"),
                "drain_timeout": 5,
            },
            "redis": {"url": self.server.url},
            "webapp": {
                "url": f"http://127.0.0.1:{self.line.port}",
                "api_key": {"env": "THE_BROKERS_KEY"},
                "timeout": 5,
            },
        }
        for given in (self._plan.tables, tables):
            for name, keys in given.items():
                own[name] = {**own.get(name, {}), **keys}
        tables_of = {name: self._table(name, table) for name, table in self._plan.challenges.items()}
        return {**own, "challenges": tables_of}

    def _table(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return a challenge's table; unless the plan says otherwise, its doubts can settle themselves."""
        usual = {"number": self.numbers[name], "organizer_api_key": {"env": "THE_ORGANIZERS_KEY"}}
        return {key: value for key, value in {**usual, **table}.items() if value is not None}

    def launch(self, config: Mapping[str, Any] | None = None) -> Broker:
        """Start a broker and do not wait for it."""
        config = config or self.config()
        port = int(config["broker"]["public_url"].rpartition(":")[2])
        path = self.directory / f"broker-{port}.toml"
        path.write_text(toml(config))
        broker = Broker(path, port, {"THE_BROKERS_KEY": self.broker_key, "THE_ORGANIZERS_KEY": ORGANIZER})
        self.brokers.append(broker)
        return broker

    @property
    def broker(self) -> Broker:
        """The broker that was started last."""
        return self.brokers[-1]

    # --- graders -------------------------------------------------------------------------------------------

    def grader(self, *queues: str) -> Program:
        """Start a grader written by somebody else, for some queues."""
        started = self.keep(Program(python(GRADER, str(self.server.socket), *queues)))
        started.expect(saw="ready")
        return started

    def keep(self, program: Program) -> Program:
        """Stop a program with everything else."""
        self._graders.append(program)
        return program

    # --- the end -------------------------------------------------------------------------------------------

    def log(self) -> str:
        """Return what all brokers have written so far."""
        return "\n".join(broker.errors() for broker in self.brokers)

    def news_of_the_log(self) -> list[str]:
        """Return what must not be in the brokers' logs, is there, and was not told before."""
        text = self.log()
        found = [
            f"the log holds the secret …{secret[-4:]}" for secret in sorted(self.secrets) if secret in text
        ]
        found += re.findall(r"(?s)(?:Traceback|Unhandled|mistake in the broker).{0,3000}", text)
        news = [what for what in found if what not in self._told]
        self._told.update(news)
        return news

    def close(self) -> list[str]:
        """End everything; return what was wrong with it."""
        wrong = []
        for broker in self.brokers:
            status = broker.terminate() if broker.running else broker.wait()
            if status not in STOPPED:
                wrong.append(f"a broker ended with {status}:\n{broker.errors()[-3000:]}")
        wrong += self.news_of_the_log()
        for program in [*self._graders, *self.brokers, self.webapp]:
            program.stop()
        self.redis.close()
        self.raw.close()
        self.line.close()
        self.server.remove()
        shutil.rmtree(self.directory)
        return wrong
