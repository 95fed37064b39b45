"""``crowdai-broker demo``: the whole platform on this machine, and one submission through it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

from ..errors import BrokerError
from .children import DemoFailed
from .hints import hints
from .world import PENGUINS, DemoWorld, free_port

INTERRUPTED = 130  # the status of a process that Ctrl-C ended


def leaderboard_table(title: str, lines: list[dict[str, Any]]) -> Table:
    """Return a leaderboard as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    for name in ("rank", "participant", "score", "secondary", "entries"):
        table.add_column(name, justify="left" if name == "participant" else "right")
    for line in lines:
        second = line["score_secondary"]
        shown = ("" if second is None else f"{second:.3f}", str(line["entries"]))
        table.add_row(str(line["rank"]), Text(line["participant"]), f"{line['score']:.3f}", *shown)
    return table


class Demo:
    """One run of the demo.

    :param once: end after the leaderboard.
    """

    def __init__(self, reactor: Any, console: Console, once: bool) -> None:
        self._reactor = reactor
        self._console = console
        self._once = once

    async def run(self, port: int | None) -> int:
        """Do it all, clean up whatever happens, and return the status to end with."""
        data_dir = Path(tempfile.mkdtemp(prefix="crowdai-demo-"))
        try:
            world = DemoWorld(self._reactor, data_dir, free_port(port))
            try:
                return await self._in(world)
            finally:
                await world.stop()
        except (DemoFailed, BrokerError) as error:
            self._console.print(f"The demo failed: {error}", style="bold red", markup=False, highlight=False)
            return 1
        finally:
            shutil.rmtree(data_dir, ignore_errors=True)

    async def _in(self, world: DemoWorld) -> int:
        self._say("Starting Redis, a small webapp, two graders and the broker …")
        await world.start()
        self._say(f"The broker listens on {world.url}; the webapp on {world.webapp.url}")
        self._say(f"A participant submits sample predictions to {PENGUINS}:")
        status = await world.submit()
        if status != 0:
            raise DemoFailed(f"the submission ended with status {status}\n{world.broker.output()}")
        lines = await world.graded(PENGUINS)
        self._console.print(leaderboard_table(f"Leaderboard of {PENGUINS}", lines))
        if self._once:
            return 0
        self._console.print(hints(world), markup=False, highlight=False, soft_wrap=True)
        return await self._serve(world)

    async def _serve(self, world: DemoWorld) -> int:
        """Go on until Ctrl-C, or until the broker ends by itself."""
        try:
            await world.broker.ended()
        except CancelledError:
            return 0
        world.broker.check()
        return 0

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def run_until_stopped(reactor: Any, main: Callable[[], Coroutine[Any, Any, int]]) -> Deferred[None]:
    """Run ``main``; a stop of the reactor (Ctrl-C, SIGTERM) cancels it and waits until it has cleaned up.

    Fires, for :func:`twisted.internet.task.react`, as ``SystemExit`` with the status.
    """

    async def watched() -> None:
        try:
            await when_running  # from there on a signal is the reactor's, and stops it
            status = await main()
        except CancelledError:
            status = INTERRUPTED
        finally:
            cleaned_up.callback(None)
        raise SystemExit(status)

    when_running: Deferred[None] = Deferred()
    cleaned_up: Deferred[None] = Deferred()
    running = Deferred.fromCoroutine(watched())

    def stop() -> Deferred[None]:
        running.cancel()
        return cleaned_up

    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.callWhenRunning(when_running.callback, None)
    return running


@click.command()
@click.option("--once", is_flag=True, help="End after the first submission, with status 0.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The broker's port on this machine; default: 5000, or any if that is in use.",
)
def demo(once: bool, port: int | None) -> None:
    """Run everything on this machine, with nothing to configure, and make one submission.

    Starts an embedded Redis, a small webapp with a real challenge and its data, two graders and the broker;
    uploads sample predictions, shows their grading, and prints the leaderboard. Then serves on, until Ctrl-C.
    """
    console = Console()
    try:
        react(lambda reactor: run_until_stopped(reactor, lambda: Demo(reactor, console, once).run(port)))
    except KeyboardInterrupt:  # before the reactor ran: nothing was started
        sys.exit(INTERRUPTED)
