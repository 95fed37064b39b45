"""Orders over Redis, as public graders get them: popped off a list, answered on the list that each names."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import redis

from ..core.model import queue_key
from ..errors import GradingError
from .events import event_of
from .process import Said

WAIT = 1  # s that one look for an order waits
PATIENCE = 10.0  # s for an answer of Redis; a connection that was cut without a word is given up then
PAUSE = 1.0  # s before Redis is asked again after a failure
LONGEST_PAUSE = 30.0


class RedisOrders:
    """Takes orders of one queue.

    :param url: ``redis://``, ``rediss://`` or ``unix://``.
    :ivar problem: there is none: a Redis that does not answer is waited for.
    """

    problem = ""

    def __init__(self, url: str, queue: str) -> None:
        self._list = queue_key(queue)
        self._taking = True
        self._given_up = threading.Event()
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, health_check_interval=15
            )
        except ValueError as error:
            raise GradingError(f"--redis cannot be used: {error}") from None

    def take(self) -> dict[str, Any] | None:
        """Return the next order; ``None`` if there is none for a second, or Redis does not answer."""
        if not self._taking:
            return None
        try:
            popped: Any = self._redis.brpop([self._list], timeout=WAIT)
        except redis.RedisError as error:
            _complain(error)
            self._given_up.wait(PAUSE)
            return None
        return None if popped is None else _order(popped[1])

    def say(self, order: dict[str, Any], said: Said) -> None:
        """Send an event of an order; while Redis is away this waits, since a result must not be lost."""
        text = json.dumps(event_of(order, said))
        self._surely(lambda: self._redis.rpush(order["broker_response_channel"], text))

    def give_back(self, order: dict[str, Any]) -> None:
        """Put an order back where the next grader takes it: its attempt is not over."""
        text = json.dumps(order)
        self._surely(lambda: self._redis.rpush(self._list, text))

    def listen(self, cancel: Callable[[dict[str, Any]], None], end: Callable[[], None]) -> None:
        """Orders over Redis are never cancelled once they were taken: late results are ignored."""

    def take_no_more(self) -> None:
        """Let what lies on the list be others'."""
        self._taking = False

    def give_up(self) -> None:
        """Wait for Redis no longer; each event is tried once from now on."""
        self._given_up.set()

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _surely(self, push: Callable[[], object]) -> None:
        pause = PAUSE
        while True:
            try:
                push()
            except redis.RedisError as error:
                _complain(error)
                if self._given_up.wait(pause):
                    sys.stderr.write("an event could not be sent and is lost\n")
                    return
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                return


def _order(raw: bytes) -> dict[str, Any] | None:
    """Read an order; what is none is dropped, since there is nobody to tell."""
    try:
        order = json.loads(raw)
        if order["data_sequence_no"] is not None and isinstance(order["broker_response_channel"], str):
            return dict(order)
    except (ValueError, KeyError, TypeError):
        sys.stderr.write("an order was not understood and is dropped\n")
        return None
    sys.stderr.write("an order without number or channel is dropped\n")
    return None


def _complain(error: redis.RedisError) -> None:
    sys.stderr.write(f"Redis does not answer ({type(error).__name__}); trying again\n")
