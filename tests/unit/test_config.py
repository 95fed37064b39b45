"""Tests of reading ``broker.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import Config, Secret, load_config
from crowdai_broker.config.declaration import (
    BrokerConfig,
    ChallengeConfig,
    GitLabConfig,
    GraderConfig,
    LimitsConfig,
    RedisConfig,
    WebappConfig,
)
from crowdai_broker.errors import ConfigError

ROOT = Path(__file__).parents[2]
KEY = {"CROWDAI_API_KEY": "broker-key"}
TABLES: dict[str, type[Any]] = {
    "broker": BrokerConfig,
    "limits": LimitsConfig,
    "redis": RedisConfig,
    "webapp": WebappConfig,
    "gitlab": GitLabConfig,
    "challenges.NAME": ChallengeConfig,
    "challenges.NAME.grader": GraderConfig,
}


VALUES = [
    *("-1", "0", "10", "2.5", "nan", "true", '""', '"x"', "[]", '["x"]', "[[]]", "[{}]", "{}", '{a = "b"}'),
    *('{env = "E"}', '{file = "nope"}', "9223372036854775808", "1979-05-27T07:32:00Z"),
]


class ConfigCase(SynchronousTestCase):
    """Writes a file and loads it."""

    def setUp(self) -> None:
        """Make a directory for the file."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = self.directory / "broker.toml"

    def load(self, text: str, environ: Mapping[str, str] = KEY) -> Config:
        """Load a file that says ``text``."""
        self.file.write_text(text, encoding="utf-8")
        return load_config(self.file, environ)

    def problems(self, text: str, environ: Mapping[str, str] = KEY) -> list[str]:
        """Return the errors of a file, each without the file's name, which it must start with."""
        found = self.assertRaises(ConfigError, self.load, text, environ).problems
        prefix = f"{self.file}: "
        self.assertTrue(all(line.startswith(prefix) and "\n" not in line for line in found), found)
        return [line.removeprefix(prefix) for line in found]

    def assert_problem(self, text: str, *parts: str, environ: Mapping[str, str] = KEY) -> None:
        """Check that the file has exactly one error and that it says each of ``parts``."""
        found = self.problems(text, environ)
        self.assertEqual(len(found), 1, found)
        for part in parts:
            self.assertIn(part, found[0])


class Defaults(ConfigCase):
    def test_an_empty_file_has_the_documented_defaults(self) -> None:
        """A file that says nothing is a broker on port 5000 with an embedded Redis beside the file."""
        config = self.load("")
        self.assertEqual(config.broker.listen, ("tcp:5000:interface=127.0.0.1",))
        self.assertEqual(config.broker.data_dir, (self.directory / "var").absolute())
        self.assertEqual(config.redis.url.reveal(), "embedded:")
        self.assertEqual(config.webapp.url, "https://www.crowdai.org")
        self.assertEqual(config.webapp.api_key.reveal(), "broker-key")
        self.assertEqual(config.limits.executions_per_minute, 120)
        self.assertIsNone(config.gitlab)
        self.assertFalse(config.broker.ops_token)

    def test_the_ops_token_may_come_from_its_variable_alone(self) -> None:
        """BROKER_OPS_TOKEN is used without being named in the file."""
        config = self.load("", {**KEY, "BROKER_OPS_TOKEN": "ops"})
        self.assertTrue(config.broker.ops_token.matches("ops"))

    def test_relative_paths_are_beside_the_file(self) -> None:
        """Where the process was started from does not move the data."""
        self.assertEqual(
            self.load('[broker]\ndata_dir = "a/b"').broker.data_dir, (self.directory / "a/b").absolute()
        )

    def test_everything_set_is_what_is_read(self) -> None:
        """Values of every kind (numbers, lists, switches, tables) arrive."""
        config = self.load(
            '[broker]\nlisten = ["tcp:0", "unix:x"]\ndrain_timeout = 2.5\n[limits]\nmax_connections = 0\n'
            '[gitlab]\ntoken = "t"\n[challenges.X]\nnumber = 28\narchive_code = false\n'
            '[challenges.X.grader]\nkind = "http"\nurl = "http://grader:8000/"\n'
        )
        self.assertEqual((config.broker.listen, config.broker.drain_timeout), (("tcp:0", "unix:x"), 2.5))
        self.assertEqual(config.limits.max_connections, 0)
        assert config.gitlab is not None
        self.assertEqual(config.gitlab.group, "crowdai-challenges")
        challenge = config.challenge("X")
        self.assertEqual((challenge.number, challenge.archive_code), (28, False))
        self.assertEqual((challenge.grader.kind, challenge.grader.url), ("http", "http://grader:8000"))

    def test_an_empty_ca_file_is_the_systems(self) -> None:
        """The documented default may be written out."""
        self.assertIsNone(self.load('[webapp]\nca_file = ""').webapp.ca_file)


class References(ConfigCase):
    def test_any_string_may_come_from_the_environment(self) -> None:
        """{env = …} works for plain strings, items of lists and secrets."""
        config = self.load(
            '[broker]\nlisten = ["tcp:0", {env = "L"}]\npublic_url = {env = "U"}',
            {**KEY, "L": "tcp:1", "U": "https://b"},
        )
        self.assertEqual((config.broker.listen[1], config.broker.public_url), ("tcp:1", "https://b"))

    def test_a_file_is_found_beside_the_configuration(self) -> None:
        """{file = …} drops the newline that editors add, and nothing else."""
        (self.directory / "key").write_bytes(b"from-file\r\n")
        self.assertEqual(self.load('[webapp]\napi_key = {file = "key"}').webapp.api_key.reveal(), "from-file")

    def test_a_variable_that_is_not_set_is_named(self) -> None:
        """A missing or empty variable is an error with the key and the variable."""
        text = '[broker]\nops_token = {env = "NOPE"}'
        self.assert_problem(text, "broker.ops_token: ", "NOPE", "not set")
        self.assert_problem(text, "broker.ops_token: ", "NOPE", environ={**KEY, "NOPE": ""})

    def test_a_file_that_cannot_be_used_is_named(self) -> None:
        """Missing, empty, too large and not text: each names the key and the path, never the content."""
        (self.directory / "empty").write_bytes(b"\n")
        (self.directory / "huge").write_bytes(b"s3cret" * 20_000)
        (self.directory / "binary").write_bytes(b"\xff\xfe")
        for name in ("missing", "empty", "huge", "binary", "."):
            line = self.problems(f'[gitlab]\ntoken = {{file = "{name}"}}')[0]
            self.assertTrue(line.startswith("gitlab.token: "), line)
            self.assertIn(str(self.directory / name), line)
            self.assertNotIn("s3cret", line)

    def test_a_reference_needs_a_name(self) -> None:
        """Neither a number nor an empty name nor a NUL is looked up."""
        for bad in ("{env = 3}", '{file = ""}', '{file = "a\\u0000b"}', "{env = []}"):
            self.assert_problem(f"[webapp]\napi_key = {bad}", "webapp.api_key: ")

    def test_a_required_secret_must_be_somewhere(self) -> None:
        """No webapp key at all is an error that shows how to set one."""
        self.assert_problem("", "webapp.api_key: ", "missing", "CROWDAI_API_KEY", environ={})
        self.assert_problem("[gitlab]", "gitlab.token: ", "missing")

    def test_a_required_secret_must_not_be_empty(self) -> None:
        """An empty key is found before the webapp or GitLab can refuse it."""
        self.assert_problem('[webapp]\napi_key = ""', "webapp.api_key: is empty")
        self.assert_problem('[gitlab]\ntoken = ""', "gitlab.token: is empty")


class Problems(ConfigCase):
    def test_all_errors_are_reported_at_once(self) -> None:
        """One run shows everything there is to mend, in every table."""
        found = self.problems(
            '[broker]\nlisten = []\ndrain_timeout = -1\nsession_ttl = "x"\n[redis]\nurl = "redis:/x"\n'
            '[webapp]\nurl = "ftp://x"\n[challenges.X]\nmax_attempts = 0\n[nonsense]\n'
        )
        keys = sorted(line.split(": ")[0] for line in found)
        self.assertEqual(
            keys,
            [
                "broker.drain_timeout",
                "broker.listen",
                "broker.session_ttl",
                "challenges.X.max_attempts",
                "nonsense",
                "redis.url",
                "webapp.url",
            ],
        )

    def test_an_unknown_key_gets_a_suggestion(self) -> None:
        """A misspelt key or table is named with the one that was probably meant."""
        self.assert_problem("[broker]\ndrain_timout = 3", "broker.drain_timout: ", '"drain_timeout"')
        self.assert_problem("[brokr]", "brokr: ", '"broker"')
        self.assert_problem("[limits]\nzzz = 3", "limits.zzz: ", "max_connections")
        self.assert_problem('[challenges."a.b".grader]\nx = 1', 'challenges."a.b".grader.x: ')

    def test_wrong_types_are_named_in_plain_words(self) -> None:
        """The text says what is wanted and what is there."""
        for line, text in (
            ('session_ttl = "1"', "must be a whole number, not a string"),
            ("session_ttl = 1.5", "must be a whole number, not a number"),
            ("session_ttl = true", "must be a whole number, not true or false"),
            ("public_url = 3", "must be a string, not a whole number"),
            ('listen = "tcp:1"', "must be a list, not a string"),
            ("ops_token = 3", "must be a string, not a whole number"),
            ("ops_token = 1979-05-27", "must be a string, not a date"),
            ("data_dir = []", "must be a string, not a list"),
        ):
            self.assert_problem(f"[broker]\n{line}", f"broker.{line.split()[0]}: {text}")
        self.assert_problem("broker = 3", "broker: must be a table")
        self.assert_problem("challenges = 3", "challenges: must hold a table for each")
        self.assert_problem("[challenges]\nX = 3", "challenges.X: must be a table")
        self.assert_problem("[challenge_defaults]\nfunctions = [1]", "functions[0]: must be a string")

    def test_numbers_have_bounds(self) -> None:
        """A number outside its range, an infinite one and NaN are refused with the bound."""
        for line, text in (
            ("drain_timeout = -0.5", "at least 0"),
            ("drain_timeout = inf", "at most 3600"),
            ("drain_timeout = nan", "at least 0"),
            ("session_ttl = 0", "at least 1"),
        ):
            self.assert_problem(f"[broker]\n{line}", text)
        self.assert_problem("[webapp]\ntimeout = 0", "more than 0")
        self.assert_problem("[limits]\nmax_connections = -1", "at least 0")

    def test_choices_are_listed(self) -> None:
        """A word that is none of the choices is answered with them."""
        self.assert_problem('[challenges.X.grader]\nkind = "rediss"', '"redis", "http", "socketio"')
        self.assert_problem('[challenges.X]\ngrades_posted_by = "me"', '"broker", "grader"')

    def test_keys_that_need_each_other(self) -> None:
        """An HTTP grader needs its url, a Socket.IO one its token: here or in the defaults."""
        http = '[challenges.X.grader]\nkind = "http"\n'
        self.assert_problem(http, "challenges.X.grader.url: ")
        self.assert_problem('[challenges.X.grader]\nkind = "socketio"', "challenges.X.grader.token: ")
        self.load(http + '[challenge_defaults.grader]\nurl = "http://g"')

    def test_keys_that_need_each_other_beside_a_wrong_one(self) -> None:
        """What is missing is reported whatever else is wrong; what is there and wrong is not missing."""
        found = self.problems('[challenges.X]\nmax_attempts = 0\n[challenges.X.grader]\nkind = "http"')
        self.assertEqual(
            [line.split(": ")[0] for line in found], ["challenges.X.max_attempts", "challenges.X.grader.url"]
        )
        http = '[challenges.X.grader]\nkind = "http"\n'
        self.assert_problem(f"{http}url = 3", "challenges.X.grader.url: must be a string")
        self.assert_problem(f"{http}[challenge_defaults.grader]\nurl = 3", "challenge_defaults.grader.url: ")
        socketio = '[challenges.X.grader]\nkind = "socketio"\n'
        self.assert_problem(socketio + 'token = {env = "NO"}', "challenges.X.grader.token: ", "NO")

    def test_a_challenge_has_a_usable_name(self) -> None:
        """A name that no client could send is refused."""
        self.assert_problem('[challenges." X"]', 'challenges." X": the name of a challenge must')

    def test_a_file_that_is_no_configuration(self) -> None:
        """Missing, a directory, not text, not TOML, too large: one line that says which."""
        missing = self.assertRaises(ConfigError, load_config, self.directory / "no.toml", KEY)
        self.assertEqual(
            missing.problems, [f"{self.directory / 'no.toml'}: cannot be read: No such file or directory"]
        )
        self.assertRaises(ConfigError, load_config, self.directory, KEY)
        self.assert_problem("[broker\n", "is not TOML: ", "line 1")
        self.file.write_bytes(b"\xff")
        self.assertRaises(ConfigError, load_config, self.file, KEY)
        self.assert_problem("#" * 4_000_001, "is larger than")

    def test_no_error_repeats_a_secret(self) -> None:
        """What stands where a secret belongs is not shown, however wrong it is."""
        found = self.problems(
            '[redis]\nurl = "redis://:hunter2@h:0"\n[webapp]\nurl = "https://u:hunter2@w"\n'
            'api_key = "hunter2 "\n[gitlab]\ntoken = "hunter2\\n"\nurl = "hunter2"\n'
            '[challenges.X.grader]\nkind = {env = "S"}\nredis_url = "redis://hunter2@"',
            {**KEY, "S": "hunter2"},
        )
        self.assertEqual(len(found), 7, found)
        self.assertNotIn("hunter2", "\n".join(found))


class Anything(ConfigCase):
    @given(
        st.sampled_from([(table, key.name) for table in TABLES for key in fields(TABLES[table])]),
        st.sampled_from(VALUES),
    )
    def test_any_value_in_any_key_is_read_or_explained(self, place: tuple[str, str], value: str) -> None:
        """Whatever stands in a file, it is used or refused with a line that names the key: never a crash."""
        table, key = place
        try:
            self.load(f"[{table}]\n{key} = {value}\n", {**KEY, "E": "from-environment"})
        except ConfigError as why:
            own = [line for line in why.problems if f": {table}.{key}" in line]
            self.assertTrue(own or table == "gitlab", why.problems)


class Example(SynchronousTestCase):
    def test_the_example_file_is_a_configuration(self) -> None:
        """The example can be copied and used as it is."""
        config = load_config(ROOT / "broker.example.toml", KEY)
        self.assertEqual(config.challenges, {})

    def test_the_example_shows_every_key_with_its_default(self) -> None:
        """Each declared key stands in the example, in its table, with the value it has when left out."""
        shown = tomllib.loads(_uncommented(ROOT / "broker.example.toml"))
        for table, kind in TABLES.items():
            keys = _lookup(shown, table)
            declared = {field.name: field for field in fields(kind) if field.name != "grader"}
            self.assertEqual(set(keys) - {"grader"}, set(declared), table)
            for name, field in declared.items():
                if not field.required and not isinstance(keys[name], dict) and name != "number":
                    self.assertEqual(keys[name], _plain(field.default), f"{table}.{name}")


def _uncommented(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(re.sub(r"^# (?=\w+ = |\[)", "", line) for line in lines)


def _lookup(shown: dict[str, Any], table: str) -> dict[str, Any]:
    for name in table.split("."):
        shown = shown[name]
    return shown


def _plain(value: object) -> object:
    """Return a default as the file would write it."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    return "" if value is None else value
