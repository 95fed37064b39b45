"""``crowdai-broker check-config FILE``."""

from __future__ import annotations

import os
import sys

import click

from ..config import Config, load_config, parse_redis_url
from ..errors import ConfigError


@click.command("check-config")
@click.argument("file", type=click.Path())
def check_config(file: str) -> None:
    """Say everything that is wrong with a configuration FILE; status 1 if anything is."""
    try:
        config = load_config(file, os.environ)
    except ConfigError as why:
        for line in why.problems:
            click.echo(line, err=True)
        sys.exit(1)
    click.echo(f"{file}: no errors")
    for line in _summary(config):
        click.echo(f"  {line}")


def _summary(config: Config) -> list[str]:
    """Say what a broker with this file would do, without secrets."""
    redis = parse_redis_url(config.redis.url.reveal())
    return [
        f"listens on {', '.join(config.broker.listen)}",
        f"is reached by {config.broker.public_url}",
        f"keeps its state in Redis: {redis.describe()}, keys {config.redis.prefix}…",
        f"serves the webapp {config.webapp.url}",
        f"archives code in {config.gitlab.url}" if config.gitlab else "archives no code",
        f"knows {len(config.challenges)} challenges of its own, and those of the webapp",
    ]
