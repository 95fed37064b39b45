"""Three broker processes on one Redis, to watch what happens when one of them dies.

``python -m crowdai_broker.demo.cluster`` starts them behind three ports, with the small webapp and two
graders, and serves until Ctrl-C. A broker that dies is started again after a while.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import treq
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater, react
from twisted.web.client import Agent, HTTPConnectionPool

from ..errors import BrokerError
from .children import Child, DemoFailed
from .command import INTERRUPTED, run_until_stopped
from .world import EARLY, PARTICIPANT, POLL, START_PATIENCE, TWISTD, DemoWorld, free_port

NODES = 3
FIRST_PORT = 5000
BACK_AFTER = 10.0  # s for which a broker that died stays away
LOOK_ROUND = 0.3  # s after an end within which it may turn out that everything is told to end
SECONDS = 20.0  # that a job takes: time enough to kill somebody

_HINTS = """\
{nodes} brokers on one Redis, one webapp, two graders. Ctrl-C ends everything and leaves nothing behind.

{brokers}
  leaderboards  {webapp}/
  participant   {name}, API key {key}

Let one die while it has a job in hand
--------------------------------------
In another terminal, in the checkout, submit at the first broker; the job takes {seconds:g} s:

  {python} examples/participant.py {first} {challenge} {key}

The first line it prints holds the execution_id. Now kill that broker, and go on at the second one:

  kill -9 {pid}
  {python} examples/resume.py {second} {challenge} {key} EXECUTION_ID

Every event comes again, once and in order, and the job ends there: within 15 s the others miss the dead one
and take its work over. The leaderboard shows one submission, graded once. The dead broker is back after
{back:g} s, and takes part at once. Kill any, and as many as you like: nothing accepted is lost.
"""

Say = Callable[[str], None]


class Node:
    """One broker of the cluster, started again whenever it dies.

    :ivar deaths: how often it died.
    """

    def __init__(self, reactor: Any, say: Say, config: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.deaths = 0
        self._reactor = reactor
        self._say = say
        self._config = config
        self._port = port
        self._http = treq.client.HTTPClient(
            Agent(reactor, connectTimeout=5, pool=HTTPConnectionPool(reactor, persistent=False))
        )
        self._keeping: Deferred[None] | None = None
        self.child = self._start()

    def _start(self) -> Child:
        child = Child(self._reactor, f"the broker on port {self._port}")
        child.start([*TWISTD, "-n", "--pidfile=", "crowdai-broker", "--config", str(self._config)])
        return child

    async def ready(self) -> None:
        """Return when it can do its work.

        :raises DemoFailed: it ended, or takes too long.
        """
        until = self._reactor.seconds() + START_PATIENCE
        while not await self._is_ready():
            self.child.check()
            if self._reactor.seconds() > until:
                raise DemoFailed(f"{self.child.name} was not ready in time.\n{self.child.output()}")
            await deferLater(self._reactor, POLL)

    async def _is_ready(self) -> bool:
        try:
            answer = await self._http.get(f"{self.url}/readyz", timeout=5)
            await answer.content()
        except Exception:  # noqa: BLE001 - it is not there yet, however that shows
            return False
        return bool(answer.code == 200)

    def keep(self) -> None:
        """Start it again whenever it dies, from now on."""
        self._keeping = Deferred.fromCoroutine(self._keep())

    async def _keep(self) -> None:
        try:
            while True:
                status = await self.child.ended()
                await deferLater(self._reactor, LOOK_ROUND)  # Ctrl-C reaches all of us
                self.deaths += 1
                self._say(f"{self.child.name} ended (status {status}); the others take its work over.")
                await deferLater(self._reactor, BACK_AFTER)
                self.child = self._start()
                await self.ready()
                self._say(f"{self.child.name} is back, as process {self.child.pid}.")
        except CancelledError:
            return

    async def stop(self) -> None:
        """End it."""
        if self._keeping is not None:
            self._keeping.cancel()
            await self._keeping
        await self.child.stop()


class Cluster:
    """All of it.

    :param directory: an existing one of its own.
    :param say: is told what happens.
    """

    def __init__(self, reactor: Any, directory: Path, ports: list[int], say: Say) -> None:
        self.nodes: list[Node] = []
        self.world = DemoWorld(reactor, directory, ports[0], SECONDS)
        self._reactor = reactor
        self._directory = directory
        self._ports = ports
        self._say = say

    async def start(self) -> None:
        """Start everything; return when every broker is ready.

        :raises DemoFailed: a part did not start.
        """
        await self.world.start_webapp()
        redis_url = await self.world.redis.start()
        self.world.start_graders(redis_url)
        first = self.world.write_config(redis_url)
        for port in self._ports:
            self.nodes.append(Node(self._reactor, self._say, self._config(first, port), port))
        for node in self.nodes:
            await node.ready()
            node.keep()

    def _config(self, first: Path, port: int) -> Path:
        """Write the configuration of a broker: the first one's, but for its address."""
        text = first.read_text(encoding="utf-8")
        for place in ("tcp:{}:", 'public_url = "http://127.0.0.1:{}"'):
            text = text.replace(place.format(self._ports[0]), place.format(port))
        path = self._directory / f"broker-{port}.toml"
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    async def stop(self) -> None:
        """Stop what was started."""
        await gatherResults([Deferred.fromCoroutine(node.stop()) for node in self.nodes])
        await self.world.stop()

    def hints(self) -> str:
        """Return what to try."""
        lines = [f"  broker        {node.url}  process {node.child.pid}" for node in self.nodes]
        return _HINTS.format(
            nodes=len(self.nodes),
            brokers="\n".join(lines),
            webapp=self.world.webapp.url,
            name=PARTICIPANT,
            key=self.world.api_key,
            seconds=SECONDS,
            python=sys.executable,
            first=self.nodes[0].url,
            second=self.nodes[1].url,
            challenge=EARLY,
            pid=self.nodes[0].child.pid,
            back=BACK_AFTER,
        )


def usual_ports() -> list[int]:
    """Return the ports from 5000 on if they are free, else others."""
    try:
        return [free_port(FIRST_PORT + number) for number in range(NODES)]
    except DemoFailed:
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(NODES)]
        ports = [int(probe.getsockname()[1]) for probe in probes]
        for probe in probes:
            probe.close()
        return ports


async def serve(reactor: Any, ports: list[int], say: Say) -> int:
    """Run a cluster until this is cancelled; return the status to end with."""
    directory = Path(tempfile.mkdtemp(prefix="crowdai-cluster-"))
    cluster = Cluster(reactor, directory, ports, say)
    try:
        say("Starting Redis, a small webapp, two graders and three brokers …")
        await cluster.start()
        say(cluster.hints())
        await Deferred()  # until Ctrl-C
    except CancelledError:
        return 0
    except (DemoFailed, BrokerError) as error:
        say(f"The cluster failed: {error}")
        return 1
    finally:
        await cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), multiple=True, help="One of the brokers' ports; three times."
)
def main(port: tuple[int, ...]) -> None:
    """Run three brokers on one Redis, and say how to try a fail-over."""
    if len(port) not in (0, NODES):
        raise click.UsageError(f"--port has to be given {NODES} times, or not at all")
    ports = list(port) or usual_ports()
    try:
        react(lambda reactor: run_until_stopped(reactor, lambda: serve(reactor, ports, click.echo)))
    except KeyboardInterrupt:  # before the reactor ran: nothing was started
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
