"""``crowdai-broker grade``: runs an evaluator."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import GradingError
from ..grading.evaluator import find_evaluator
from ..grading.process import JobProcess, Limits, Said
from ..grading.redis_orders import RedisOrders
from ..grading.slots import Orders, Slots, try_on
from ..grading.socket_orders import SocketOrders


@click.command()
@click.argument("evaluator")
@click.option(
    "--redis", "redis_url", default="", help="Where orders are: redis://host:port/db or unix:///path."
)
@click.option("--queue", default="", help="The queue's name; by default of the broker the challenge's.")
@click.option("--broker", default="", help="Where orders are, without Redis: https://broker.example.org.")
@click.option("--challenge", "challenges", multiple=True, help="With --broker: a challenge; may be repeated.")
@click.option("--function", "functions", multiple=True, help="With --broker: only this; may be repeated.")
@click.option("--grader-id", default="", help="With --broker: its name, one for each process.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False),
    help="With --broker: file with the challenge's token; else CROWDAI_GRADER_TOKEN has it.",
)
@click.option("--files", default="", help="Address of uploaded files, with {key} where their key belongs.")
@click.option("--slots", default=1, type=click.IntRange(1, 256), help="Jobs graded at the same time.")
@click.option("--max-seconds", default=0.0, type=click.FloatRange(0), help="Time for one job; 0: any.")
@click.option("--max-memory", default=0, type=click.IntRange(0), help="MiB for one job; 0: any.")
@click.option("--try", "file", type=click.Path(exists=True), help="Run once on this file, without a broker.")
@click.option("--try-data", "data", help="Run once on this JSON, without a broker.")
def grade(
    evaluator: str,
    redis_url: str,
    queue: str,
    broker: str,
    challenges: tuple[str, ...],
    functions: tuple[str, ...],
    grader_id: str,
    token_file: str | None,
    files: str,
    slots: int,
    max_seconds: float,
    max_memory: int,
    file: str | None,
    data: str | None,
) -> None:
    """Grade jobs with EVALUATOR, e.g. mymodule:evaluate, each in a process of its own.

    SIGTERM: finish what is in hand and end.
    """
    limits = Limits(max_seconds, max_memory)
    try:
        find_evaluator(evaluator)
        if file is not None or data is not None:
            payload = {"file_key": file} if data is None else _json(data)
            sys.exit(0 if try_on(JobProcess(evaluator, file or files, limits), payload, _show) else 1)
        orders: Orders
        if broker and challenges:
            name = grader_id or f"{socket.gethostname()}-{os.getpid()}"
            hello = {"grader_id": name, "challenges": list(challenges), "functions": list(functions)}
            orders = SocketOrders(broker, {**hello, "token": _token(token_file)}, slots)
        elif redis_url and queue:
            orders = RedisOrders(redis_url, queue)
        else:
            raise click.UsageError(
                "give --redis and --queue, or --broker and --challenge, or --try or --try-data"
            )
        click.echo(f"Grading with {evaluator}, {slots} at a time.", err=True)
        Slots(orders, slots, lambda: JobProcess(evaluator, files, limits)).run()
    except GradingError as why:
        raise click.ClickException(str(why)) from None
    if orders.problem:
        raise click.ClickException(orders.problem)


def _token(path: str | None) -> str:
    token = os.environ.get("CROWDAI_GRADER_TOKEN", "") if path is None else Path(path).read_text().strip()
    if not token:
        raise GradingError("--broker needs --token-file, or CROWDAI_GRADER_TOKEN in the environment")
    return token


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--try-data is no JSON: {error}") from None


def _show(said: Said) -> None:
    what = {
        "RUNNING": "running",
        "PROGRESS_UPDATE": f"{said.data.get('percent_complete', 0):5.1f} % {said.message}",
        "INFO": f"info: {said.message}",
        "COMPLETE": json.dumps(said.data),
        "ERROR": f"error: {said.message}",
    }
    click.echo(what[said.kind], err=said.kind == "ERROR")
