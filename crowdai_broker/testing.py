"""Fakes that ship: what a test of the broker, or of something built on it, runs without servers."""

from __future__ import annotations

from .memory_redis import MemoryRedis
from .memory_store import MemoryStore

__all__ = ["MemoryRedis", "MemoryStore"]
