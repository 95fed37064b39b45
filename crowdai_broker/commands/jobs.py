"""``crowdai-broker jobs``: what is being graded, and what to do about it."""

from __future__ import annotations

import click

from ..core.model import JobState
from .operating import config_option, json_option, operate, show_done, show_json, show_table


@click.group()
def jobs() -> None:
    """See and act on jobs."""


@jobs.command("list")
@config_option
@json_option
@click.option("--challenge", default="", help="Only this challenge's.")
@click.option("--state", default="", type=click.Choice(["", *JobState]), help="Only jobs in this state.")
@click.option("--limit", default=100, type=click.IntRange(1, 10_000), help="No more than this many.")
def list_jobs(file: str, challenge: str, state: str, limit: int, *, as_json: bool) -> None:
    """List jobs of executions that are not finished, the oldest first."""
    found = operate(file, lambda operators: operators.jobs(challenge, state, limit))
    if as_json:
        show_json(found)
    else:
        show_table(found, "No execution is open.")


@jobs.command()
@config_option
@json_option
@click.argument("job_id")
def show(file: str, job_id: str, *, as_json: bool) -> None:
    """Show a job, what of it is not settled, and what its participant was sent."""
    job, effects, events = operate(file, lambda operators: operators.job(job_id))
    if as_json:
        show_json({"job": job, "effects": effects, "events": events})
        return
    show_table([job], "")
    show_table(effects, "Nothing of it is to be settled with the webapp.")
    for event in events:
        click.echo(event)


@jobs.command()
@config_option
@json_option
@click.argument("job_id")
def retry(file: str, job_id: str, *, as_json: bool) -> None:
    """Take a job from its grader and give it to the next one."""
    operate(file, lambda operators: operators.retry_job(job_id))
    show_done(job_id, "goes to another grader", as_json=as_json)


@jobs.command()
@config_option
@json_option
@click.argument("job_id")
def cancel(file: str, job_id: str, *, as_json: bool) -> None:
    """End a job; no grade is posted for it."""
    operate(file, lambda operators: operators.cancel_job(job_id))
    show_done(job_id, "is cancelled", as_json=as_json)
