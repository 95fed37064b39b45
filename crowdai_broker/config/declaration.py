"""``broker.toml``, declared: every table, every key, its type, its bounds and its default.

Seconds are numbers of seconds, sizes are bytes. A :class:`~crowdai_broker.config.secret.Secret` is a string
in the file; any string there may be ``{env = "NAME"}`` or ``{file = "PATH"}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from . import redis_url, values
from .secret import Secret
from .values import Check, EmptyMeansNone, FromEnvironment

DAY = 86400.0
DEFAULT_DATA_DIR = Path("var")  # beside the configuration file
Name = Annotated[str, Check(values.plain_name)]
Names = Annotated[tuple[Name, ...], Meta(max_length=1000)]
Limit = Annotated[int, Meta(ge=0, le=2_000_000_000)]
SecretWord = Annotated[Secret, Check(values.one_line)]
NeededWord = Annotated[Secret, Check(values.needed), Check(values.one_line)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: its fields are the keys it may have."""


class BrokerConfig(Table, frozen=True, kw_only=True):
    """``[broker]``: this process."""

    listen: Annotated[
        tuple[Annotated[str, Check(values.endpoint)], ...], Meta(min_length=1, max_length=64)
    ] = ("tcp:5000:interface=127.0.0.1",)
    public_url: Annotated[str, Check(values.web_url)] = "http://127.0.0.1:5000"
    data_dir: Annotated[Path, Check(values.directory)] = DEFAULT_DATA_DIR
    session_ttl: Annotated[int, Meta(ge=1, le=31_536_000)] = 172_800
    drain_timeout: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    ops_token: Annotated[SecretWord, FromEnvironment("BROKER_OPS_TOKEN")] = Secret()


class LimitsConfig(Table, frozen=True, kw_only=True):
    """``[limits]``: what one client may use; 0 means no limit."""

    max_message_bytes: Limit = 1_000_000
    allowed_origins: Annotated[tuple[Annotated[str, Check(values.origin)], ...], Meta(max_length=1000)] = ()
    max_connections: Limit = 20_000
    max_connections_per_address: Limit = 200
    auth_failures_per_minute: Limit = 30
    executions_per_minute: Limit = 120
    progress_per_second: Annotated[float, Meta(ge=0, le=1_000_000)] = 10.0


class RedisConfig(Table, frozen=True, kw_only=True):
    """``[redis]``: where everything is kept. The URL may hold a password, so it is a secret."""

    url: Annotated[Secret, Check(redis_url.redis_url)] = Secret("embedded:")
    prefix: Annotated[str, Check(values.key_prefix)] = "crowdai"


class WebappConfig(Table, frozen=True, kw_only=True):
    """``[webapp]``: the site that owns participants, challenges and leaderboards."""

    url: Annotated[str, Check(values.private_url)] = "https://www.crowdai.org"
    api_key: Annotated[NeededWord, FromEnvironment("CROWDAI_API_KEY")]
    timeout: Annotated[float, Meta(gt=0, le=600)] = 10.0
    ca_file: Annotated[Path | None, EmptyMeansNone(), Check(values.authority_file)] = None
    config_ttl: Annotated[float, Meta(ge=0, le=DAY)] = 60.0


class GitLabConfig(Table, frozen=True, kw_only=True):
    """``[gitlab]``: where submitted code is archived; without this table it is not."""

    url: Annotated[str, Check(values.private_url)] = "https://gitlab.crowdai.org"
    token: NeededWord
    group: Annotated[str, Check(values.group_path)] = "crowdai-challenges"


class GraderConfig(Table, frozen=True, kw_only=True):
    """``[challenges.X.grader]``: who grades a challenge, and how much may be handed out at once."""

    kind: Literal["redis", "http", "socketio"] = "redis"
    queue: Annotated[str, Check(values.optional_name)] = ""
    redis_url: Annotated[Secret, Check(redis_url.other_redis_url)] = Secret()
    share_api_key: bool = True
    url: Annotated[str, Check(values.optional_url)] = ""
    token: SecretWord = Secret()
    max_in_flight: Annotated[int, Meta(ge=1, le=1_000_000)] = 64


class ChallengeConfig(Table, frozen=True, kw_only=True):
    """``[challenges.X]``: one challenge. ``number`` is the webapp's id of it, ``None`` where nobody said."""

    number: Annotated[int, Meta(ge=1, le=2_000_000_000)] | None = None
    organizer_api_key: SecretWord = Secret()
    functions: Names = ()
    grader_ids: Names = ("crowdAI_GRADER_POOL",)
    scored_functions: Names = ("submit", "grade_submission")
    grades_posted_by: Literal["broker", "grader"] = "broker"
    max_parallel_jobs: Annotated[int, Meta(ge=1, le=100_000)] = 10
    job_timeout: Annotated[float, Meta(gt=0, le=365 * DAY)] = 20_000.0
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    min_client_version: Annotated[str, Check(values.optional_version)] = ""
    archive_code: bool = True
    grader: GraderConfig = GraderConfig()
