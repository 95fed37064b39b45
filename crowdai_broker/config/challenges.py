"""The configuration of one challenge, from three sources: defaults < the webapp's < the operator's own table.

The webapp's may hold any key but secrets (contract with the webapp: ``config`` of ``challenge_config``), and
what it holds is checked like the operator's, since it can be wrong at any time: then :func:`merge_challenge`
raises, and the caller keeps the last good one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .declaration import ChallengeConfig, GraderConfig
from .problems import Problems, join
from .reading import Reader
from .redis_url import parse_redis_url
from .secret import Secret

_SECRETS = ("organizer_api_key",)
_GRADER_SECRETS = ("token",)


@dataclass(frozen=True, slots=True)
class ChallengeTable:
    """The keys that one source sets for a challenge, checked, and only those."""

    values: Mapping[str, Any] = field(default_factory=dict)
    grader: Mapping[str, Any] = field(default_factory=dict)


def read_challenge(reader: Reader, raw: object, at: str) -> ChallengeTable:
    """Read a table that may hold some of a challenge's keys."""
    values = reader.table(ChallengeConfig, raw, at)
    grader = values.pop("grader", {})
    return ChallengeTable(values=values, grader=grader)


def merge_challenge(
    defaults: ChallengeTable,
    webapp_config: Mapping[str, object] | None,
    operator: ChallengeTable,
    *,
    name: str = "",
) -> ChallengeConfig:
    """Merge what is said about a challenge; keys of its grader are merged one by one too.

    Secrets in the webapp's configuration are not used (:func:`ignored_secrets` names them), a null there
    is a key not set, and it cannot refer to the operator's files or environment.

    :param webapp_config: the decoded JSON object as the webapp sent it, or ``None``.
    :raises ConfigError: with every error, each naming the key.
    """
    problems = Problems(f"the webapp's configuration of {name or 'a challenge'}")
    remote = _read_remote(problems, webapp_config)
    problems.raise_if_any()
    merged = merge_tables(defaults, remote, operator)
    check_challenge(problems, merged, "")
    problems.raise_if_any()
    return merged


def ignored_secrets(webapp_config: Mapping[str, object] | None) -> list[str]:
    """Name the keys of the webapp's configuration that are not used because they are secrets."""
    config = webapp_config or {}
    grader = config.get("grader")
    inner = grader if isinstance(grader, dict) else {}
    return [key for key in _SECRETS if config.get(key)] + [
        join("grader", key) for key in _GRADER_SECRETS if inner.get(key)
    ]


def merge_tables(*tables: ChallengeTable) -> ChallengeConfig:
    """Merge tables, a later one over an earlier one, over the built-in defaults."""
    values: dict[str, Any] = {}
    grader: dict[str, Any] = {}
    for table in tables:
        values.update(table.values)
        grader.update(table.grader)
    return ChallengeConfig(**values, grader=GraderConfig(**grader))


def check_challenge(problems: Problems, challenge: ChallengeConfig, at: str, *others: str) -> None:
    """Check what keys demand of each other.

    :param at: the table to name where a key is missing; one that was found wrong is not missing.
    :param others: more tables that ``challenge`` was merged from.
    """
    grader, tables = challenge.grader, [join(table, "grader") for table in (at, *others)]
    if grader.kind == "http" and not grader.url:
        _miss(problems, "url", tables, 'is needed by kind = "http": where the grader listens')
    if grader.kind == "socketio" and not grader.token:
        text = 'is needed by kind = "socketio", in the operator\'s file: a grader proves itself with it'
        _miss(problems, "token", tables, text)


def _miss(problems: Problems, name: str, tables: list[str], text: str) -> None:
    keys = [join(table, name) for table in tables]
    if not any(map(problems.concern, keys)):
        problems.add(keys[0], text)


def _read_remote(problems: Problems, config: Mapping[str, object] | None) -> ChallengeTable:
    if config is None:
        return ChallengeTable()
    if not isinstance(config, dict):
        problems.add("", "must be an object")
        return ChallengeTable()
    plain = _without(config, _SECRETS)
    if isinstance(plain.get("grader"), dict):
        plain["grader"] = _without(plain["grader"], _GRADER_SECRETS)
    table = read_challenge(Reader(problems, None), plain, "")
    address: Secret | None = table.grader.get("redis_url")
    if address and parse_redis_url(address.reveal()).password:
        problems.add("grader.redis_url", "must not hold a password: write it in the operator's file")
    return table


def _without(table: Mapping[str, object], secrets: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None and key not in secrets}
