"""A grader over Redis, complete: it scores lists of numbers by their mean.

Install and run::

    pip install redis
    python grader.py redis://127.0.0.1:6379 MyChallenge
"""

import json
import sys
from typing import Any

import redis

URL, QUEUE = sys.argv[1:3]
server: Any = redis.Redis.from_url(URL, socket_timeout=None)  # a blocking pop may wait for ever


def tell(job: dict[str, Any], kind: str, data: dict[str, Any], message: str = "") -> None:
    """Send an event; ``data_sequence_no`` is copied from the job, whatever it is."""
    event = {
        "job_id": "any string",
        "data_sequence_no": job["data_sequence_no"],
        "response_type": f"CrowdAI.Event.Job.{kind}",
        "data": data,
        "message": message,
    }
    server.rpush(job["broker_response_channel"], json.dumps(event))


while True:
    _, entry = server.brpop([f"{QUEUE}::enqueue_job"])
    job = json.loads(entry)
    tell(job, "RUNNING", {})
    try:
        numbers = [float(number) for number in job["data"]]
        tell(job, "PROGRESS_UPDATE", {"percent_complete": 50.0}, f"{len(numbers)} numbers read")
        tell(job, "COMPLETE", {"score": sum(numbers) / len(numbers), "comment": "the mean"})
    except (TypeError, ValueError, ZeroDivisionError):
        tell(job, "ERROR", {}, "A list of numbers is needed, and it must not be empty.")
