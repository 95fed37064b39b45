"""A grader of the sample challenges, written as the public crowdAI graders are: over Redis alone.

Jobs are JSON popped from ``<queue>::enqueue_job``; events are JSON pushed to the list that the job names in
``broker_response_channel``, with an id of the grader's own and the job's ``data_sequence_no`` copied.
It survives a restart of Redis; it holds no state that would not.
"""

from __future__ import annotations

import functools
import re
import signal
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import click
import msgspec
import redis

from .challenge import MASS, PRACTICE, SPECIES, BadPredictions, Task

MAX_FILE = 16_000_000  # bytes of an uploaded file
POP_WAIT = 1  # s that one blocking pop waits; how late a stop may be noticed
RECONNECT = (0.1, 2.0)  # s between tries: the first, and the longest
GIVE_UP = 120.0  # s after which an event that cannot be delivered is given up, with its job
DOWNLOAD_WAIT = 30  # s
CHUNKS = 10  # reports of progress of one job, among which its duration is shared

TASKS = {"species": SPECIES, "mass": MASS}

_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # the demo is on this machine
_FILE_KEY = re.compile(r"submissions/[0-9A-Za-z-]{1,80}")


class Refused(Exception):
    """The job cannot be graded; the text tells the participant why."""


class Lost(Exception):
    """Redis is away for too long, or at a stop; the job is given up without a word, as if the grader died."""


def log(text: str) -> None:
    """Write a line for the operator."""
    print(f"grader: {text}", file=sys.stderr, flush=True)


class Connection:
    """A connection to Redis that comes back."""

    def __init__(self, url: str, stopped: threading.Event) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=POP_WAIT + 5)
        self._stopped = stopped

    def pop(self, key: str) -> bytes | None:
        """Return the next entry, or ``None`` after a while without any or at a stop."""
        taken = self._patiently(lambda: self._redis.brpop([key], timeout=POP_WAIT), give_up=None)
        return taken[1] if taken else None

    def push(self, key: str, entry: bytes) -> None:
        """Append an entry.

        :raises Lost: Redis was away for :data:`GIVE_UP` seconds, or was at a stop.
        """
        self._patiently(lambda: self._redis.rpush(key, entry), give_up=GIVE_UP)

    def _patiently(self, action: Callable[[], Any], give_up: float | None) -> Any:
        """Do something as soon as Redis lets us; a push whose answer was lost is made again."""
        wait, until = RECONNECT[0], time.monotonic() + (give_up or float("inf"))
        while True:
            try:
                return action()
            except (redis.ConnectionError, redis.TimeoutError) as error:
                log(f"Redis is away ({type(error).__name__}); trying again in {wait:g} s")
            if self._stopped.is_set() or time.monotonic() > until:
                break
            time.sleep(wait)
            wait = min(wait * 2, RECONNECT[1])
        if give_up is not None:
            raise Lost
        return None

    def close(self) -> None:
        """Close it."""
        self._redis.close()


class Job:
    """One job: what was asked, and the way its events go."""

    def __init__(self, connection: Connection, entry: bytes) -> None:
        order = msgspec.json.decode(entry, type=dict[str, Any])
        self.id = str(uuid.uuid4())
        self.function = str(order.get("function_name", ""))
        self.data: object = order.get("data")
        self._connection = connection
        self._sequence_no = order.get("data_sequence_no", 0)
        self._channel = str(order.get("broker_response_channel") or order["respond_to_me_at"])

    def tell(self, kind: str, data: dict[str, Any], message: str = "") -> None:
        """Send an event; ``kind`` is e.g. ``PROGRESS_UPDATE``."""
        event = {
            "job_id": self.id,
            "data_sequence_no": self._sequence_no,
            "response_type": f"CrowdAI.Event.Job.{kind}",
            "data": data,
            "message": message,
        }
        self._connection.push(self._channel, msgspec.json.encode(event))

    def progress(self, percent: float, message: str = "") -> None:
        """Tell how far it is."""
        self.tell("PROGRESS_UPDATE", {"percent_complete": round(percent, 1)}, message)


class Grader:
    """Grades one task.

    :param seconds: how long a job takes at least: a sample challenge has little to compute, and a bar that is
        full at once shows nothing.
    :param webapp_url: where uploaded files are fetched.
    """

    def __init__(self, task: Task, seconds: float, webapp_url: str = "") -> None:
        self._task = task
        self._pause = seconds / CHUNKS
        self._webapp_url = webapp_url.rstrip("/")
        self._functions: dict[str, Callable[[Job], dict[str, Any]]] = {
            "grade_submission": self._grade_submission,
            "submit": self._submit,
            "evaluate": self._evaluate,
        }

    def grade(self, job: Job) -> None:
        """Grade a job and tell its end, whatever it is.

        :raises Lost: nothing could be told.
        """
        job.tell("RUNNING", {})
        try:
            result = self._functions.get(job.function, self._unknown)(job)
        except (Refused, BadPredictions) as error:
            job.tell("ERROR", {}, str(error))
        except Lost:
            raise
        except Exception:  # noqa: BLE001 - a mistake of ours must neither end the grader nor leave a job open
            log(f"failed at job {job.id}\n{traceback.format_exc()}")
            job.tell("ERROR", {}, "The grader failed. That is no fault of your submission.")
        else:
            job.tell("COMPLETE", result, "Graded.")

    def _unknown(self, job: Job) -> dict[str, Any]:
        known = ", ".join(self._functions)
        raise Refused(f"There is no function {job.function[:80]!r} here; there are {known}.")

    def _score(self, job: Job, predictions: Any, rows: int | None = None) -> dict[str, Any]:
        def done(percent: float, message: str) -> None:
            time.sleep(self._pause)
            job.progress(percent, message)

        return self._task.score(predictions, done, rows)

    def _grade_submission(self, job: Job) -> dict[str, Any]:
        """Grade an uploaded file: data ``{"file_key": …}``."""
        key = job.data.get("file_key") if isinstance(job.data, dict) else None
        if not isinstance(key, str) or not _FILE_KEY.fullmatch(key):
            raise Refused("grade_submission needs the file_key that the upload was given.")
        job.tell("INFO", {}, "Fetching your file")
        return self._score(job, self._task.from_file(self._download(key))) | {"meta": {"file_key": key}}

    def _download(self, key: str) -> bytes:
        if not self._webapp_url:
            raise Refused("This grader cannot fetch uploaded files: it was not told from where.")
        address = f"{self._webapp_url}/files/{key}"
        try:
            with _open(address, timeout=DOWNLOAD_WAIT) as answer:
                content: bytes = answer.read(MAX_FILE + 1)
        except urllib.error.HTTPError:
            raise Refused("Your file is not there: was it uploaded?") from None
        except OSError:
            raise Refused("Your file could not be fetched; please submit again.") from None
        if len(content) > MAX_FILE:
            raise Refused(f"Your file is larger than {MAX_FILE // 1_000_000} MB.")
        return content

    def _submit(self, job: Job) -> dict[str, Any]:
        """Grade predictions that came with the request."""
        return self._score(job, self._task.from_data(job.data))

    def _evaluate(self, job: Job) -> dict[str, Any]:
        """Score only the first rows: a check of the format that goes on no leaderboard."""
        result = self._score(job, self._task.from_data(job.data), PRACTICE)
        return result | {"rows": PRACTICE}


def work(url: str, queue: str, grader: Grader, stopped: threading.Event) -> None:
    """Grade one job after another until told to stop; a job in hand is finished first."""
    connection = Connection(url, stopped)
    while not stopped.is_set():
        entry = connection.pop(f"{queue}::enqueue_job")
        if entry is None:
            continue
        try:
            job = Job(connection, entry)
        except (msgspec.DecodeError, KeyError):
            log("dropped an entry that is no job")
            continue
        try:
            grader.grade(job)
        except Lost:
            log(f"gave up job {job.id}: Redis is away")
    connection.close()


@click.command()
@click.option("--redis", "url", required=True, help="Where Redis is: redis://…, unix:///…")
@click.option("--queue", required=True, help="Name of the queue: jobs are taken from QUEUE::enqueue_job.")
@click.option("--task", type=click.Choice(sorted(TASKS)), default="species", help="What is graded.")
@click.option("--webapp-url", default="", help="Where uploaded files are fetched.")
@click.option("--slots", default=1, type=click.IntRange(1, 64), help="Jobs graded at the same time.")
@click.option("--seconds", default=2.5, type=click.FloatRange(0, 600), help="How long a job takes at least.")
def main(url: str, queue: str, task: str, webapp_url: str, slots: int, seconds: float) -> None:
    """Grade the sample challenge's jobs until stopped; a job in hand is finished first."""
    if webapp_url and not webapp_url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--webapp-url")
    stopped = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopped.set())
    grader = Grader(TASKS[task], seconds, webapp_url)
    target = functools.partial(work, url, queue, grader, stopped)
    threads = [threading.Thread(target=target, daemon=True) for _ in range(slots)]
    for thread in threads:
        thread.start()
    print(f"grading {queue}", flush=True)
    while any(thread.is_alive() for thread in threads):
        threads[0].join(0.2) if threads[0].is_alive() else threads.pop(0)


if __name__ == "__main__":
    main()
