"""A grader that a test plays itself, step by step: it pops orders and pushes events, as graders do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

JOB = "CrowdAI.Event.Job."
TAKES = 10  # seconds that an order may take to come


def client(socket: Path, **options: Any) -> redis.Redis:
    """Return a client of the Redis at ``socket`` that waits as long as it is told and repeats nothing."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis(unix_socket_path=str(socket), socket_timeout=None, retry=once, **options)


class Order:
    """An order that a grader holds.

    :ivar job: the order itself.
    """

    def __init__(self, server: redis.Redis, text: str) -> None:
        self._server = server
        self.text = text
        self.job: dict[str, Any] = json.loads(text)
        self.data = self.job["data"]
        self.number = self.job["data_sequence_no"]

    def say(self, kind: str, data: Any = None, message: str = "", **members: Any) -> None:
        """Push an event, well-formed unless ``members`` (put over it) say otherwise."""
        event = {
            "job_id": "a-graders-own-id",
            "data_sequence_no": self.number,
            "response_type": JOB + kind,
            "data": {} if data is None else data,
            "message": message,
        }
        self.push(json.dumps({**event, **members}))

    def push(self, text: str | bytes) -> None:
        """Push anything."""
        self._server.rpush(self.job["broker_response_channel"], text)

    def running(self) -> None:
        """Say that the work has begun."""
        self.say("RUNNING")

    def progress(self, percent: Any) -> None:
        """Say how far the work is."""
        self.say("PROGRESS_UPDATE", {"percent_complete": percent})

    def complete(self, data: Any = None, message: str = "") -> None:
        """Say that the work is done."""
        self.say("COMPLETE", {"score": 0.5} if data is None else data, message)

    def fail(self, message: str) -> None:
        """Say that the work failed."""
        self.say("ERROR", {}, message)


class Hands:
    """Takes orders off queues."""

    def __init__(self, server: redis.Redis) -> None:
        self._server = server

    def take(self, queue: str, patience: float = TAKES) -> Order:
        """Wait for an order on a queue and pop it."""
        popped = self._server.brpop([f"{queue}::enqueue_job"], timeout=patience)
        if popped is None:
            raise AssertionError(f"no order came on the queue {queue} within {patience} s")
        return Order(self._server, str(popped[1]))

    def lying(self, queue: str) -> int:
        """Return how many orders lie on a queue."""
        return int(self._server.llen(f"{queue}::enqueue_job"))
