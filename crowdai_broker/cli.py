"""``crowdai-broker``: the command line beside ``twistd crowdai-broker``."""

from __future__ import annotations

from importlib import import_module

import click

_COMMANDS = {
    "check-config": "crowdai_broker.commands.check_config:check_config",
    "demo": "crowdai_broker.demo.command:demo",
    "grade": "crowdai_broker.commands.grade:grade",
    "grades": "crowdai_broker.commands.grades:grades",
    "jobs": "crowdai_broker.commands.jobs:jobs",
    "status": "crowdai_broker.commands.status:status",
}
"""Where each command is; it is imported when it is asked for, so that each starts fast."""


class _Commands(click.Group):
    """A group that imports only the command that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in alphabetical order."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crowdai-broker", prog_name="crowdai-broker")
def main() -> None:
    """Broker between challenge participants, graders and the webapp.

    The service itself is run by: twistd -n crowdai-broker --config broker.toml
    """
