"""The demo's world: Redis, a small webapp with two challenges, their graders, a participant, the broker."""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path
from typing import Any

import treq
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool

from ..backends.embedded_redis import EmbeddedRedis
from .challenge import SPECIES, answers
from .children import Child, DemoFailed
from .webapp import DemoWebapp

PENGUINS = "PenguinChallenge"  # a name the PyPI client has no class for: its generic one is used
EARLY = "OpenSNPChallenge2017"  # a name it has one of its early classes for
POOL = "crowdAI_GRADER_POOL"  # the grader that its generic class names
PARTICIPANT = "Ada"
BASELINE = "everything is an Adelie"

START_PATIENCE = 30.0  # s until the broker must be ready
POLL = 0.05  # s between two looks
GRADE_PATIENCE = 15.0  # s until a grade must be on the leaderboard
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()")

_CONFIG = """\
[broker]
listen = [{listen}]
public_url = {public_url}
data_dir = {data_dir}
drain_timeout = 5
ops_token = {ops_token}

[redis]
url = {redis_url}

[webapp]
url = {webapp_url}
api_key = {webapp_key}

[challenges.{penguins}]
number = 1
organizer_api_key = {organizer_key}
functions = ["grade_submission", "submit", "evaluate"]

[challenges.{early}]
number = 2
organizer_api_key = {organizer_key}
functions = ["submit", "evaluate"]
"""


def free_port(wanted: int | None) -> int:
    """Return a free port of this machine: the one wanted, else 5000 if it is free, else any.

    :raises DemoFailed: the one wanted is in use.
    """
    for port in (wanted,) if wanted else (5000, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed(f"Port {wanted} is in use; choose another one with --port.")


def _quiet(_percent: float, _message: str) -> None:
    """Show no progress."""


class DemoWorld:
    """Starts and stops all of it.

    :param data_dir: an existing directory of its own.
    :param port: the broker's.
    :param seconds: how long the graders take for a job at least.
    :ivar api_key: the participant's.
    """

    def __init__(self, reactor: Any, data_dir: Path, port: int, seconds: float = 2.5) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.api_key = secrets.token_hex(16)
        self.ops_token = secrets.token_urlsafe(12)
        self.webapp = DemoWebapp(reactor)
        self.redis = EmbeddedRedis(reactor, data_dir / "redis")
        self.broker = Child(reactor, "the broker")
        self.graders = [Child(reactor, "the first grader"), Child(reactor, "the second grader")]
        self._reactor = reactor
        self._port = port
        self._seconds = seconds
        self._organizer_key = secrets.token_hex(16)
        pool = HTTPConnectionPool(reactor, persistent=False)
        self._http = treq.client.HTTPClient(Agent(reactor, connectTimeout=5, pool=pool))

    # --- starting and stopping ------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything; return when the broker says that it is ready.

        :raises DemoFailed: a part did not start.
        """
        await self.start_webapp()
        redis_url = await self.redis.start()
        self.start_graders(redis_url)
        self.start_broker(redis_url)
        await self._until_ready()

    async def start_webapp(self) -> None:
        """Start the webapp with its challenges, the participant, and a result to compare with."""
        state = self.webapp.state
        state.add_participant(PARTICIPANT, self.api_key)
        state.add_participant(BASELINE, secrets.token_hex(16))
        for number, name, title in ((1, PENGUINS, "Species of penguins"), (2, EARLY, "Mass of penguins")):
            rounds = [state.round(submission_limit=100)]
            key = self._organizer_key
            state.add_challenge(number, name, title=title, organizer_api_key=key, rounds=rounds)
        self._seed(PENGUINS, SPECIES.score(["Adelie"] * len(answers()), _quiet, None)["score"])
        await self.webapp.start()

    def _seed(self, challenge: str, score: float) -> None:
        state = self.webapp.state
        key = next(each.api_key for each in state.participants.values() if each.name == BASELINE)
        fields = {"api_key": key, "challenge_client_name": challenge}
        state.create({**fields, "grading_status": "graded", "score": score})

    def start_graders(self, redis_url: str) -> None:
        """Start a grader for each challenge."""
        common = ["--redis", redis_url, "--seconds", str(self._seconds), "--webapp-url", self.webapp.url]
        for grader, queue, task in zip(self.graders, (POOL, EARLY), ("species", "mass"), strict=True):
            options = [*common, "--queue", queue, "--task", task, "--slots", "2"]
            grader.start(["-m", "crowdai_broker.demo.grader", *options])

    def start_broker(self, redis_url: str) -> None:
        """Start the broker, as its operator would."""
        config = self.write_config(redis_url)
        pidfile = self.data_dir / "broker.pid"
        options = ["-n", f"--pidfile={pidfile}", "crowdai-broker", "--config", str(config)]
        self.broker.start([*TWISTD, *options])

    def write_config(self, redis_url: str) -> Path:
        """Write ``broker.toml`` for its owner alone to read, and return where."""
        values = {
            "listen": f"tcp:{self._port}:interface=127.0.0.1",
            "public_url": self.url,
            "data_dir": str(self.data_dir / "broker"),
            "ops_token": self.ops_token,
            "redis_url": redis_url,
            "webapp_url": self.webapp.url,
            "webapp_key": self.webapp.api_key,
            "organizer_key": self._organizer_key,
        }
        quoted = {name: json.dumps(value) for name, value in values.items()}  # JSON's strings are TOML's
        path = self.data_dir / "broker.toml"
        path.touch(mode=0o600)
        path.write_text(_CONFIG.format(penguins=PENGUINS, early=EARLY, **quoted), encoding="utf-8")
        return path

    async def _until_ready(self) -> None:
        until = self._reactor.seconds() + START_PATIENCE
        while self._reactor.seconds() < until:
            for child in (self.broker, *self.graders):
                child.check()
            if await self._is_ready():
                return
            await deferLater(self._reactor, POLL)
        raise DemoFailed(f"The broker was not ready after {START_PATIENCE:g} s.\n{self.broker.output()}")

    async def _is_ready(self) -> bool:
        try:
            answer = await self._http.get(f"{self.url}/readyz", timeout=5)
            await answer.content()
        except Exception:  # noqa: BLE001 - it is not there yet, however that shows
            return False
        return bool(answer.code == 200)

    async def stop(self) -> None:
        """Stop what was started, in the order in which nothing misses what it needs."""
        await self.broker.stop()
        await gatherResults([Deferred.fromCoroutine(each.stop()) for each in self.graders])
        await self.redis.stop()
        await self.webapp.stop()

    # --- what goes on in it ---------------------------------------------------------------------------

    async def submit(self) -> int:
        """Let the participant make one submission; return the status of its process."""
        child = Child(self._reactor, "the participant")
        arguments = ["--url", self.url, "--webapp-url", self.webapp.url, "--challenge", PENGUINS]
        options = ["-m", "crowdai_broker.demo.participant", *arguments]
        child.start(options, {"CROWDAI_API_KEY": self.api_key}, show=True)
        try:
            return await child.ended()
        finally:
            await child.stop()

    async def leaderboard(self, challenge: str) -> list[dict[str, Any]]:
        """Fetch a leaderboard from the webapp."""
        answer = await self._http.get(f"{self.webapp.url}/leaderboards/{challenge}", timeout=5)
        lines: list[dict[str, Any]] = (await answer.json())["leaderboard"]
        return lines

    async def graded(self, challenge: str) -> list[dict[str, Any]]:
        """Return the leaderboard as soon as the participant is on it: a grade is posted after its event.

        :raises DemoFailed: the grade does not come.
        """
        until = self._reactor.seconds() + GRADE_PATIENCE
        while self._reactor.seconds() < until:
            lines = await self.leaderboard(challenge)
            if any(line["participant"] == PARTICIPANT for line in lines):
                return lines
            await deferLater(self._reactor, POLL)
        raise DemoFailed(f"The grade was not on the leaderboard after {GRADE_PATIENCE:g} s.")
