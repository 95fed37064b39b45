"""The store in Redis does what every store does, on a real server."""

from __future__ import annotations

from tests.contracts import store_dispatch, store_lifecycle, store_nodes, store_operators

from .redis_case import RedisCase


class RedisSessionTests(RedisCase, store_lifecycle.SessionContract): ...


class RedisAcceptTests(RedisCase, store_lifecycle.AcceptContract): ...


class RedisKnownTests(RedisCase, store_lifecycle.KnownContract): ...


class RedisMoveTests(RedisCase, store_lifecycle.MoveContract): ...


class RedisInboxTests(RedisCase, store_lifecycle.InboxContract): ...


class RedisTakeTests(RedisCase, store_dispatch.TakeContract): ...


class RedisSweepTests(RedisCase, store_dispatch.SweepContract): ...


class RedisOutboxTests(RedisCase, store_dispatch.OutboxContract): ...


class RedisNodesTests(RedisCase, store_nodes.NodesContract): ...


class RedisOperatorsTests(RedisCase, store_operators.OperatorsContract): ...


class RedisWatchTests(RedisCase, store_nodes.WatchContract): ...
