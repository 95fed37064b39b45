"""The broker's configuration: ``broker.toml`` read, checked and frozen before anything listens."""

from __future__ import annotations

from .challenges import ChallengeTable, ignored_secrets, merge_challenge
from .declaration import (
    BrokerConfig,
    ChallengeConfig,
    GitLabConfig,
    GraderConfig,
    LimitsConfig,
    RedisConfig,
    WebappConfig,
)
from .loading import Config, load_config
from .redis_url import RedisAddress, parse_redis_url
from .secret import Secret

__all__ = [
    "BrokerConfig",
    "ChallengeConfig",
    "ChallengeTable",
    "Config",
    "GitLabConfig",
    "GraderConfig",
    "LimitsConfig",
    "RedisAddress",
    "RedisConfig",
    "Secret",
    "WebappConfig",
    "ignored_secrets",
    "load_config",
    "merge_challenge",
    "parse_redis_url",
]
