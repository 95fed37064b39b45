"""How operators' commands reach what is stored, and how they show it."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from ..assembly import open_store
from ..config import Config, load_config
from ..core.operators import Operators
from ..errors import BrokerError, ConfigError

Result = TypeVar("Result")

config_option = click.option(
    "--config", "-c", "file", required=True, type=click.Path(), help="The broker's configuration."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def operate(file: str, work: Callable[[Operators], Awaitable[Result]]) -> Result:
    """Run ``work`` on what the broker of this configuration has stored, and return what it returns.

    An error ends the process with status 1 and one line that says what is wrong.
    """
    try:
        config = load_config(file, os.environ)
    except ConfigError as why:
        raise click.ClickException(str(why)) from None
    outcome: list[Result] = []

    async def run(reactor: Any) -> None:
        outcome.append(await _with_store(reactor, config, work))

    errors: list[str] = []

    async def guarded(reactor: Any) -> None:
        try:
            await run(reactor)
        except BrokerError as why:
            errors.append(str(why))

    try:
        react(lambda reactor: Deferred.fromCoroutine(guarded(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    if errors:
        raise click.ClickException(errors[0])
    return outcome[0]


async def _with_store(reactor: Any, config: Config, work: Callable[[Operators], Awaitable[Result]]) -> Result:
    store, close = await open_store(reactor, config)
    try:
        return await work(Operators(reactor, store, "operator"))
    finally:
        await close()


def show_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(value).decode())


def show_table(rows: Sequence[msgspec.Struct], nothing: str) -> None:
    """Print values of one type as a table, or ``nothing`` if there are none."""
    if not rows:
        click.echo(nothing)
        return
    table = Table(*(name.replace("_", " ") for name in rows[0].__struct_fields__))
    for row in rows:
        table.add_row(*(str(value) for value in msgspec.structs.astuple(row)))
    width = None if sys.stdout.isatty() else 200
    Console(width=width).print(table)


def show_done(job_id: str, what: str, *, as_json: bool) -> None:
    """Say what was done with a job."""
    if as_json:
        show_json({"job_id": job_id, "done": what})
    else:
        click.echo(f"{job_id} {what}.")
