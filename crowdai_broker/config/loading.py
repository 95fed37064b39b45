"""Reads ``broker.toml``: the whole file is checked, and every error is reported at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from .challenges import (
    ChallengeTable,
    check_challenge,
    merge_challenge,
    merge_tables,
    read_challenge,
)
from .declaration import (
    DEFAULT_DATA_DIR,
    BrokerConfig,
    ChallengeConfig,
    GitLabConfig,
    LimitsConfig,
    RedisConfig,
    Table,
    WebappConfig,
)
from .problems import Problems, join
from .reading import Reader
from .references import References
from .values import plain_name

MOST_BYTES = 4_000_000
_TABLES: dict[str, type[Table]] = {
    "broker": BrokerConfig,
    "limits": LimitsConfig,
    "redis": RedisConfig,
    "webapp": WebappConfig,
    "gitlab": GitLabConfig,
}
_OPTIONAL = {"gitlab"}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration file, checked. ``gitlab`` is ``None`` where nothing is archived."""

    path: Path
    broker: BrokerConfig
    limits: LimitsConfig
    redis: RedisConfig
    webapp: WebappConfig
    gitlab: GitLabConfig | None = None
    challenge_defaults: ChallengeTable
    challenges: Mapping[str, ChallengeTable]

    def challenge(self, name: str, webapp_config: Mapping[str, object] | None = None) -> ChallengeConfig:
        """Return the configuration of the challenge ``name``, whether or not the file knows it.

        :param webapp_config: what the webapp says about it (see
            :func:`~crowdai_broker.config.challenges.merge_challenge`).
        :raises ConfigError: if what the webapp says cannot be used.
        """
        own = self.challenges.get(name, ChallengeTable())
        return merge_challenge(self.challenge_defaults, webapp_config, own, name=name)


def load_config(path: str | Path, environ: Mapping[str, str]) -> Config:
    """Read and check a configuration file.

    :param environ: where ``{env = "NAME"}`` is looked up; pass ``os.environ``.
    :raises ConfigError: with one line ``FILE: key.path: what is wrong and what to do`` an error.
    """
    file = Path(path)
    problems = Problems(str(path))
    raw = _parse(problems, file)
    problems.raise_if_any()
    reader = Reader(problems, References(file.absolute().parent, environ))
    tables = _read_tables(reader, raw)
    defaults = read_challenge(reader, raw.get("challenge_defaults", {}), "challenge_defaults")
    challenges = _read_challenges(reader, raw.get("challenges", {}), defaults)
    problems.raise_if_any()
    tables["broker"].setdefault("data_dir", file.absolute().parent / DEFAULT_DATA_DIR)
    built: dict[str, Any] = {name: _TABLES[name](**values) for name, values in tables.items()}
    return Config(path=file, challenge_defaults=defaults, challenges=challenges, **built)


def _parse(problems: Problems, file: Path) -> dict[str, Any]:
    """Return the file's tables; a file that cannot be used becomes a problem."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) <= MOST_BYTES:
            return tomllib.loads(content.decode())
        problems.add("", f"is larger than {MOST_BYTES} bytes")
    except OSError as why:
        problems.add("", f"cannot be read: {why.strerror}")
    except UnicodeDecodeError:
        problems.add("", "is not UTF-8 text")
    except tomllib.TOMLDecodeError as why:
        problems.add("", f"is not TOML: {why}")
    return {}


def _read_tables(reader: Reader, raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Read the tables that are there once; one left out has its defaults, but for ``[gitlab]``."""
    known = [*_TABLES, "challenge_defaults", "challenges"]
    for name in raw:
        if name not in known:
            reader.problems.unknown(join("", name), name, known)
    wanted = [name for name in _TABLES if name in raw or name not in _OPTIONAL]
    return {name: reader.table(_TABLES[name], raw.get(name, {}), name) for name in wanted}


def _read_challenges(reader: Reader, raw: object, defaults: ChallengeTable) -> dict[str, ChallengeTable]:
    """Read ``[challenges.X]`` for every X, and check each as it is with ``[challenge_defaults]``."""
    if not isinstance(raw, dict):
        reader.problems.add("challenges", "must hold a table for each challenge: [challenges.NAME]")
        return {}
    tables = {}
    for name, table in raw.items():
        at = join("challenges", name)
        try:
            plain_name(name)
        except ValueError as why:
            reader.problems.add(at, f"the name of a challenge {why}")
        tables[name] = read_challenge(reader, table, at)
        merged = merge_tables(defaults, tables[name])
        check_challenge(reader.problems, merged, at, "challenge_defaults")
    return tables
