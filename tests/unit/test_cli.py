"""Tests of the command line that need no server."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.cli import main


def run(*arguments: str, **environ: str) -> Result:
    """Run ``crowdai-broker``."""
    return CliRunner(env={"CROWDAI_API_KEY": None, **environ}).invoke(main, arguments)


class CommandLine(SynchronousTestCase):
    def test_every_command_has_a_line_of_help(self) -> None:
        """Each command that is listed can be imported and says what it does."""
        result = run("--help")
        self.assertEqual((result.exit_code, result.exception), (0, None))
        listed = result.output.partition("Commands:")[2].strip().splitlines()
        self.assertIn("check-config", result.output)
        self.assertTrue(all(len(line.split()) > 2 for line in listed), listed)

    def test_a_command_that_does_not_exist(self) -> None:
        """It is refused, with a status that is not 0."""
        self.assertEqual(run("no-such-thing").exit_code, 2)

    def test_the_version(self) -> None:
        """It is the installed package's."""
        self.assertRegex(run("--version").output, r"^crowdai-broker, version \d+\.\d+")


class CheckConfig(SynchronousTestCase):
    def setUp(self) -> None:
        """Have a path for the file."""
        self.file = Path(self.mktemp())

    def check(self, text: str, **environ: str) -> Result:
        """Check a file that says ``text``."""
        self.file.write_text(text)
        return run("check-config", str(self.file), **environ)

    def test_every_error_is_a_line_on_stderr(self) -> None:
        """Status 1, all errors, each with its key; nothing on stdout that a script could take for success."""
        result = self.check('[broker]\nlisten = []\n[redis]\nurl = "x"\n')
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), 3, lines)
        for key in ("broker.listen", "redis.url", "webapp.api_key"):
            self.assertTrue(any(line.startswith(f"{self.file}: {key}: ") for line in lines), lines)

    def test_a_good_file_says_what_it_would_do(self) -> None:
        """Status 0, and a summary without secrets."""
        text = '[redis]\nurl = "redis://:hunter2@h:1"\n[gitlab]\ntoken = "hunter2"\n[challenges.X]\n'
        result = self.check(text, CROWDAI_API_KEY="hunter2")
        self.assertEqual((result.exit_code, result.stderr), (0, ""))
        self.assertNotIn("hunter2", result.output)
        for part in ("tcp:5000:interface=127.0.0.1", "tcp h:1", "1 challenge", "gitlab.crowdai.org"):
            self.assertIn(part, result.output)

    def test_a_file_that_is_not_there(self) -> None:
        """Status 1 and the path."""
        result = run("check-config", "nowhere.toml")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertIn("nowhere.toml: cannot be read", result.stderr)
