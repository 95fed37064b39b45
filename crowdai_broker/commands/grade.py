"""``crowdai-broker grade``: runs an evaluator."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from ..errors import GradingError
from ..grading.evaluator import find_evaluator
from ..grading.process import JobProcess, Limits, Said
from ..grading.redis_orders import RedisOrders
from ..grading.slots import Slots, try_on


@click.command()
@click.argument("evaluator")
@click.option(
    "--redis", "redis_url", default="", help="Where orders are: redis://host:port/db or unix:///path."
)
@click.option("--queue", default="", help="The queue's name; by default of the broker the challenge's.")
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
        if not redis_url or not queue:
            raise click.UsageError("give --redis and --queue, or --try or --try-data")
        orders = RedisOrders(redis_url, queue)
    except GradingError as why:
        raise click.ClickException(str(why)) from None
    click.echo(f"Grading jobs of {queue} with {evaluator}, {slots} at a time.", err=True)
    Slots(orders, slots, lambda: JobProcess(evaluator, files, limits)).run()


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
