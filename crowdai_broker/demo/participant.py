"""The demo's participant: uploads predictions and watches their grading, with python-socketio's client.

It uses nothing of the broker's own package but the sample file: what it does, any Socket.IO client can do.
"""

from __future__ import annotations

import io
import json
import os
import sys
import uuid
from typing import Any

import click
import requests
import socketio
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from socketio.exceptions import ConnectionError as NotConnected
from socketio.exceptions import TimeoutError as NoAnswer

from .challenge import sample_file

ANSWER_WAIT = 10  # s for the answer to authenticate, and for one HTTP call
GRADE_WAIT = 120  # s for the grading

GRADED, FAILED, UNREACHABLE = 0, 1, 3


class Stopped(Exception):
    """The submission went no further; the text says why."""


def upload(http: requests.Session, webapp_url: str, key: str, content: bytes, bars: Progress) -> str:
    """Upload a file the way the webapp wants it, and return the key by which graders find it."""
    presigned = http.get(f"{webapp_url}/api/external_graders/{key}/presign", timeout=ANSWER_WAIT).json()
    if not presigned.get("presigned_url"):
        raise Stopped(str(presigned.get("message")))
    task = bars.add_task("uploading", total=len(content))
    with bars.wrap_file(io.BytesIO(content), task_id=task) as body:
        http.put(presigned["presigned_url"], data=body, timeout=ANSWER_WAIT).raise_for_status()
    bars.update(task, completed=len(content))
    return str(presigned["s3_key"])


class Watcher:
    """Turns the events of one job into a bar and lines."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("grading", total=100)

    def __call__(self, text: str) -> None:
        """Take one event, which is a string of JSON."""
        event = json.loads(text)
        kind = event["response_type"].rpartition(".")[2]
        if kind == "PROGRESS_UPDATE":
            self._bars.update(self._task, completed=event["data"]["percent_complete"])
        elif kind == "COMPLETE":
            self._bars.update(self._task, completed=100)
        elif kind == "INFO":
            self._bars.console.print(f"  {kind.lower()}: {event['message']}", markup=False)


def submit(client: Any, challenge: str, key: str, file_key: str, bars: Progress) -> dict[str, Any]:
    """Authenticate, submit the uploaded file, and return how its job ended."""
    request: dict[str, Any] = {"API_KEY": key, "challenge_id": challenge, "client_version": "1.0.22"}
    session = client.call("authenticate", request, timeout=ANSWER_WAIT)
    if "session_token" not in session:
        raise Stopped(session["message"])
    channel = f"{challenge}::{uuid.uuid4()}"
    client.on(channel, Watcher(bars))
    request = {
        "response_channel": channel,
        "session_token": session["session_token"],
        "api_key": key,
        "challenge_client_name": challenge,
        "grader_id": "crowdAI_GRADER_POOL",
        "function_name": "grade_submission",
        "data": [{"file_key": file_key, "round": 1}],
        "dry_run": False,
        "parallel": False,
    }
    (outcome,) = client.call("execute_function", request, timeout=GRADE_WAIT)
    result: dict[str, Any] = outcome
    return result


def run(url: str, webapp_url: str, challenge: str, key: str, console: Console) -> int:
    """Do all of it; return the status to end with."""
    http = requests.Session()
    http.trust_env = False  # no proxy stands between two processes of one machine
    client = socketio.Client(reconnection=False, http_session=http)
    columns = (TextColumn("  {task.description:<10}"), BarColumn(40), TaskProgressColumn())
    try:
        client.connect(url)
        with Progress(*columns, console=console) as bars:
            file_key = upload(http, webapp_url, key, sample_file(), bars)
            outcome = submit(client, challenge, key, file_key, bars)
    except (NotConnected, NoAnswer, requests.RequestException) as error:
        console.print(f"  unreachable: {error}", markup=False)
        return UNREACHABLE
    except Stopped as error:
        console.print(f"  refused: {error}", markup=False)
        return FAILED
    finally:
        client.disconnect()
    if not outcome["response_type"].endswith(".COMPLETE"):
        console.print(f"  failed: {outcome['message']}", markup=False)
        return FAILED
    data = outcome["data"]
    console.print(f"  graded: score {data['score']}, submission {data.get('submission_id')}", markup=False)
    return GRADED


@click.command()
@click.option("--url", required=True, help="The broker's address.")
@click.option("--webapp-url", required=True, help="The webapp's address.")
@click.option("--challenge", required=True, help="The challenge's name.")
def main(url: str, webapp_url: str, challenge: str) -> None:
    """Submit the sample predictions; the participant's key is in CROWDAI_API_KEY."""
    key = os.environ.get("CROWDAI_API_KEY", "")
    sys.exit(run(url, webapp_url, challenge, key, Console()))


if __name__ == "__main__":
    main()
