"""``crowdai-broker status``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from ..core.operators import NodeView, Operators, Status
from ..core.roster import GraderView
from .operating import config_option, json_option, operate, show_json


@click.command()
@config_option
@json_option
def status(file: str, *, as_json: bool) -> None:
    """Show jobs, backlogs, effects that are not settled, and nodes at a glance."""
    found = operate(file, Operators.status)
    if as_json:
        show_json(found)
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: Status) -> list[str]:
    waiting = [f"  {challenge}: {count}" for challenge, count in sorted(found.waiting.items())]
    return [
        f"jobs with graders: {found.in_flight}",
        f"jobs waiting: {sum(found.waiting.values())}",
        *waiting,
        f"oldest open execution: {found.oldest:g} s",
        f"registrations and grades under way: {found.effects}, held for an operator: {found.held}",
        f"nodes: {len(found.nodes)}",
        *(f"  {node.node}: {_life(node)}" for node in found.nodes),
        f"graders connected: {sum(map(len, found.graders.values()))}",
        *(f"  {_grader(one, node)}" for node, there in sorted(found.graders.items()) for one in there),
    ]


def _grader(one: GraderView, node: str) -> str:
    since = datetime.fromtimestamp(one.since / 1000, UTC)
    of = ", ".join(one.challenges)
    return f"{one.grader_id}: {of}, {one.busy} of {one.slots} slots busy, at {node} since {since:%F %T} UTC"


def _life(node: NodeView) -> str:
    return f"silent for {node.silent_for:g} s" if node.silent_for else "alive"
