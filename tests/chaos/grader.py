"""A grader by somebody else, which dies when it is told: for the proof of durability alone.

It knows the Redis contract of the public job factories and nothing else of the broker. An order's data says
what to do: ``values`` are averaged, ``error`` is reported, ``lost`` is never answered. Run as
``grader.py SOCKET QUEUE…``; a line ``{"die": "popped"}`` on standard input (one of :data:`MOMENTS`) lets it
die at that moment of the next order.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from typing import Any

import redis

MOMENTS = ("popped", "began", "graded", "answered")
PAUSE = 0.1  # s before Redis is asked again
WORK = (0.03, 0.03, 0.03, 0.5)  # s that jobs take

_told: list[str] = []


def _listen() -> None:
    _told.extend(json.loads(line)["die"] for line in sys.stdin)


def _say(saw: str, **more: Any) -> None:
    os.write(1, json.dumps({"saw": saw, **more}).encode() + b"\n")


def _perhaps_die(moment: str) -> None:
    if moment in _told:
        _say("death", moment=moment)
        os._exit(3)


class Order:
    """An order in hand."""

    def __init__(self, server: redis.Redis, text: bytes | str) -> None:
        self._server = server
        self._order: dict[str, Any] = json.loads(text)
        self.data: dict[str, Any] = self._order["data"]

    def say(self, kind: str, data: Any = None, message: str = "") -> None:
        """Push an event, again and again until Redis has it: so one may come twice."""
        event = {
            "job_id": "the-graders-own",
            "data_sequence_no": self._order["data_sequence_no"],
            "response_type": f"CrowdAI.Event.Job.{kind}",
            "data": {} if data is None else data,
            "message": message,
        }
        while True:
            try:
                self._server.rpush(self._order["broker_response_channel"], json.dumps(event))
            except redis.RedisError:
                time.sleep(PAUSE)
            else:
                return


def grade(order: Order) -> None:
    """Do a job."""
    _perhaps_die("popped")
    if "lost" in order.data:
        return
    order.say("RUNNING")
    _perhaps_die("began")
    for percent in (30, 60, 90):
        order.say("PROGRESS_UPDATE", {"percent_complete": percent})
    time.sleep(random.choice(WORK))
    _perhaps_die("graded")
    if "error" in order.data:
        order.say("ERROR", {}, order.data["error"])
    else:
        values = order.data["values"]
        order.say("COMPLETE", {"score": sum(values) / len(values)}, "graded")
    _perhaps_die("answered")


def main(socket: str, *queues: str) -> None:
    """Grade until told to die."""
    threading.Thread(target=_listen, daemon=True).start()
    server = redis.Redis(unix_socket_path=socket)
    lists = [f"{queue}::enqueue_job" for queue in queues]
    while True:
        try:
            # BRPOP looks at its lists in order: always in the same one, the last would starve.
            popped = server.brpop(random.sample(lists, len(lists)), timeout=1)
        except redis.RedisError:
            time.sleep(PAUSE)
            continue
        if popped is not None:
            grade(Order(server, popped[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
