"""``crowdai-broker grades``: registrations and grades that cannot settle themselves."""

from __future__ import annotations

import click

from .operating import config_option, json_option, operate, show_done, show_json, show_table


@click.group()
def grades() -> None:
    """See and settle what is in doubt between the broker and the webapp."""


@grades.command("list")
@config_option
@json_option
@click.option("--limit", default=100, type=click.IntRange(1, 10_000), help="No more than this many.")
def list_grades(file: str, limit: int, *, as_json: bool) -> None:
    """List what is held for an operator, the oldest first."""
    found = operate(file, lambda operators: operators.held(limit))
    if as_json:
        show_json(found)
    else:
        show_table(found, "Nothing is held.")


@grades.command()
@config_option
@json_option
@click.argument("job_id")
def retry(file: str, job_id: str, *, as_json: bool) -> None:
    """Try again what is held; a doubtful registration is looked for before it is repeated."""
    operate(file, lambda operators: operators.retry_grade(job_id))
    show_done(job_id, "is tried again", as_json=as_json)


@grades.command()
@config_option
@json_option
@click.argument("job_id")
@click.option("--submission-id", type=click.IntRange(1), help="The submission that was registered for it.")
@click.option("--not-registered", is_flag=True, help="The webapp has no submission of it: register it again.")
@click.option("--posted", is_flag=True, help="Its grade stands at the webapp, or is given up.")
def settle(
    file: str, job_id: str, submission_id: int | None, *, not_registered: bool, posted: bool, as_json: bool
) -> None:
    """Say how it was: one of the three options, after a look at the webapp."""
    if (submission_id is not None) + not_registered + posted != 1:
        raise click.UsageError("give exactly one of --submission-id N, --not-registered and --posted")
    if posted:
        operate(file, lambda operators: operators.settle_grade(job_id))
    else:
        operate(file, lambda operators: operators.settle_registration(job_id, submission_id or 0))
    show_done(job_id, "is settled", as_json=as_json)
