"""A Redis server of the broker's own, for trying and for small places: see :mod:`.keeper`."""

from __future__ import annotations

from .keeper import EmbeddedRedis

__all__ = ["EmbeddedRedis"]
