"""Fakes that ship: what a test of the broker, or of something built on it, runs without servers."""

from __future__ import annotations

from ..memory_redis import MemoryRedis
from ..memory_store import MemoryStore
from .graders import GraderJob, LooseGraders, QueueGraders, ScriptedGrader
from .peers import Peer
from .spawned import Spawned
from .webapp import StubChallenge, StubSubmission, StubWebapp

__all__ = [
    "GraderJob",
    "LooseGraders",
    "MemoryRedis",
    "MemoryStore",
    "Peer",
    "QueueGraders",
    "ScriptedGrader",
    "Spawned",
    "StubChallenge",
    "StubSubmission",
    "StubWebapp",
]
