"""A grader by somebody else: what the public job factories do, and what some of them do wrong.

It knows the broker's Redis contract and nothing else of it: orders are popped with BRPOP from
``<queue>::enqueue_job``, events are pushed with RPUSH to the list that the order names. How it behaves is
said by the order's data, ``{"temper": "…"}``; without one it behaves well. Run as
``grader.py SOCKET QUEUE…``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

Data = dict[str, Any]


class Job:
    """An order, and how to answer it."""

    def __init__(self, server: redis.Redis, order: dict[str, Any]) -> None:
        self._server = server
        self.order = order
        self.data: Data = order["data"] if isinstance(order["data"], dict) else {}
        # The public graders read this, and fail without it.
        self.api_key = order["extra_params"]["api_key"]

    def push(self, event: Any) -> None:
        """Push an event, or a text as it is."""
        text = event if isinstance(event, (str, bytes)) else json.dumps(event)
        self._server.rpush(self.order["broker_response_channel"], text)

    def event(self, kind: str, data: Any = None, message: Any = "") -> Data:
        """Return a well-formed event."""
        return {
            "job_id": "1f6b7b5a",
            "data_sequence_no": self.order["data_sequence_no"],
            "response_type": f"CrowdAI.Event.Job.{kind}",
            "data": {} if data is None else data,
            "message": message,
        }

    def say(self, kind: str, data: Any = None, message: Any = "") -> None:
        """Push a well-formed event."""
        self.push(self.event(kind, data, message))

    @property
    def result(self) -> Data:
        """What it is worth."""
        return {"score": self.data.get("score", 0.5), "comment": "measured by somebody else"}


def good(job: Job) -> None:
    """Do everything as it should be done."""
    job.say("RUNNING")
    for percent in (25, 50, 75):
        job.say("PROGRESS_UPDATE", {"percent_complete": percent})
    job.say("INFO", {}, "Half of the rows are read")
    job.say("COMPLETE", job.result, "Done")


def old(job: Job) -> None:
    """Speak as in 2017: ``job_state``, and the answer to the name the list had then."""
    server, channel = job._server, job.order["respond_to_me_at"]
    for state, data in (
        ("RUNNING", {}),
        ("PROGRESS_UPDATE", {"percent_complete": 40.0}),
        ("COMPLETE", job.result),
    ):
        event = job.event("x", data)
        del event["response_type"]
        server.rpush(channel, json.dumps({**event, "job_state": f"crowdai.job_state.{state}"}))


def broken(job: Job) -> None:
    """Make every mistake that was seen in the field, then finish."""
    job.push("this is no JSON")
    job.push(b"\xff\xfe\x00")
    job.push("[1, 2, 3]")
    job.push("null")
    job.push('{"data_sequence_no": ')
    job.push("[" * 5000)
    job.push({"response_type": "CrowdAI.Event.Job.COMPLETE", "data": {"score": 1.0}})
    job.push({**job.event("COMPLETE", {"score": 1.0}), "data_sequence_no": 1})
    job.push({**job.event("COMPLETE", {"score": 1.0}), "data_sequence_no": None})
    job.say("WAITING")
    job.say("SOMETHING_NEW")
    job.push({**job.event("x"), "response_type": {"a": 1}})
    job.push({**job.event("RUNNING"), "job_id": {"job_id": "inside"}})
    job.push({**job.event("INFO", {}, {"text": "an object"})})
    event = job.event("INFO", {})
    del event["message"], event["job_id"], event["data"]
    job.push(event)
    job.push(
        {
            **job.event("INFO", {}, "a number in a string"),
            "data_sequence_no": str(job.order["data_sequence_no"]),
        }
    )
    job.say("PROGRESS_UPDATE", {"percent_complete": "60"})
    job.say("PROGRESS_UPDATE", {"percent_complete": "much"})
    job.say("PROGRESS_UPDATE", {"percent_complete": float("nan")})
    job.say("PROGRESS_UPDATE", "sixty")
    job.say("PROGRESS_UPDATE")
    job.say("PROGRESS_UPDATE", {"percent_complete": 1e9})
    job.say("INFO", {"note": float("nan")}, "a note that is not a number")
    job.say("INFO", {}, "x" * 200_000)
    job.say("INFO", {"blob": "y" * 2_000_000}, "too much")
    job.say("COMPLETE", job.result, {"said": "done"})
    job.say("COMPLETE", {"score": 0.0}, "a second end")
    job.say("ERROR", {}, "a third end")
    job.say("PROGRESS_UPDATE", {"percent_complete": 5})
    job.say("INFO", {}, "after the end")


def slow(job: Job) -> None:
    """Take ``seconds``, telling how far it is ``times`` on the way."""
    times = job.data.get("times", 3)
    job.say("RUNNING")
    for number in range(times):
        time.sleep(job.data["seconds"] / times)
        job.say("PROGRESS_UPDATE", {"percent_complete": 100 * (number + 1) / times})
    job.say("COMPLETE", job.result)


def dies(job: Job) -> None:
    """Die with the order in hand."""
    os._exit(3)


def fails(job: Job) -> None:
    """Report an error."""
    job.say("RUNNING")
    job.say("ERROR", {}, job.data.get("message", "The file has 3 columns, 5 are needed"))


def gives(job: Job) -> None:
    """Return whatever the order says as its result."""
    job.say("COMPLETE", job.data["result"])


TEMPERS: dict[str, Callable[[Job], None]] = {
    "good": good,
    "old": old,
    "broken": broken,
    "slow": slow,
    "dies": dies,
    "fails": fails,
    "gives": gives,
}


def say(saw: str, **more: Any) -> None:
    """Tell whoever started this what happens."""
    sys.stdout.write(json.dumps({"saw": saw, **more}) + "\n")
    sys.stdout.flush()


def main(socket: str, *queues: str) -> None:
    """Grade until told to end."""
    server = redis.Redis(unix_socket_path=socket)
    lists = [f"{queue}::enqueue_job" for queue in queues]
    say("ready")
    while True:
        try:
            popped = server.brpop(lists, timeout=1)
        except redis.ConnectionError:
            time.sleep(0.1)
            continue
        if popped is None:
            continue
        job = Job(server, json.loads(popped[1]))
        temper = job.data.get("temper", "good")
        say("order", temper=temper, data=job.data)
        TEMPERS[temper](job)


if __name__ == "__main__":
    main(*sys.argv[1:])
