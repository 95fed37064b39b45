"""Graders on HTTP by somebody else: one that posts events, and one that knows nothing of them.

It is written from the contract and knows nothing of the broker's code: ``POST /enqueue_grading_job`` brings
a form with ``data[][submission_id]`` and ``data[][file_key]``; the answer is 200, or 400 with a message.
What it is to do is in the file key: ``score:0.5``, ``fail:why``, ``refuse:why``, ``slow:0.5``, or ``hold:``
before one of these, which it then does once it has read a line. Every order is printed as a line of JSON.

``grader_http.py PORT`` posts events to ``callback_url``. ``grader_http.py PORT WEBAPP KEY`` ignores that, and
does what a public grader does: it puts the grade on the submission at the webapp with an organizer's key.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Form = dict[str, str]
PORT = int(sys.argv[1])
WEBAPP, KEY = sys.argv[2:] or ("", "")
go_on = threading.Event()


def say(**line: Any) -> None:
    """Tell the test."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def send(method: str, url: str, body: bytes, **headers: str) -> int:
    """Send a request; return the status of its answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(url, body, named, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Events:
    """Reports to the broker; what could not be stored is sent again."""

    def __init__(self, form: Form) -> None:
        self._url = form["callback_url"]

    def post(self, body: Any) -> int:
        """Post an event or a list of them."""
        for _ in range(100):
            status = send("POST", self._url, json.dumps(body).encode(), Content_Type="application/json")
            if status not in (0, 503):
                break
            time.sleep(0.2)
        say(saw="answer", status=status)
        return status

    def event(self, kind: str, data: Any = None, message: str = "") -> dict[str, Any]:
        """Return an event."""
        return {"response_type": f"CrowdAI.Event.Job.{kind}", "data": data or {}, "message": message}

    def begun(self) -> None:
        """Say that the work began."""
        progress = self.event("PROGRESS_UPDATE", {"percent_complete": 50})
        self.post([self.event("RUNNING"), progress])

    def graded(self, score: float) -> None:
        """Say how good it is, twice: the second time is too late."""
        for _ in range(2):
            self.post(self.event("COMPLETE", {"score": score}, "graded by somebody else"))

    def failed(self, why: str) -> None:
        """Say why not."""
        self.post(self.event("ERROR", message=why))


class Webapp:
    """Changes the submission at the webapp, as public graders do."""

    def __init__(self, form: Form) -> None:
        self._url = f"{WEBAPP}/{form['data[][submission_id]']}"

    def put(self, **fields: str) -> None:
        """Change it; without a submission that fails, and nobody minds."""
        body = urllib.parse.urlencode(fields).encode()
        status = send("PUT", self._url, body, Authorization=f"Token token={KEY}")
        say(saw="answer", status=status)

    def begun(self) -> None:
        """Say that the work began."""
        self.put(grading_status="initiated", grading_message="Grading your submission...")

    def graded(self, score: float) -> None:
        """Say how good it is."""
        self.put(grading_status="graded", score=f"{score:.3f}", grading_message="graded by somebody else")

    def failed(self, why: str) -> None:
        """Say why not."""
        self.put(grading_status="failed", grading_message=why)


def grade(form: Form) -> None:
    """Grade one job."""
    report = Webapp(form) if WEBAPP else Events(form)
    report.begun()
    what, _, rest = form["data[][file_key]"].partition(":")
    if what == "hold":
        go_on.wait()
        what, _, rest = rest.partition(":")
    if what == "slow":
        time.sleep(3)
    if what == "fail":
        report.failed(rest)
    else:
        report.graded(float(rest))


class Handler(BaseHTTPRequestHandler):
    """Takes orders."""

    def do_POST(self) -> None:
        """Read the form as Flask would show it: the first value of each name."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form: Form = {}
        for name, value in urllib.parse.parse_qsl(body, keep_blank_values=True):
            form.setdefault(name, value)
        say(saw="order", path=self.path, key=form["data[][file_key]"], form=form)
        what, _, why = form["data[][file_key]"].partition(":")
        if what == "refuse":
            self.answer(400, why)
        else:
            threading.Thread(target=grade, args=[form], daemon=True).start()
            self.answer(200, "Task successfully submitted")

    def answer(self, status: int, message: str) -> None:
        """Answer."""
        body = json.dumps({"message": message}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Write no log."""


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
say(saw="ready")
for _ in sys.stdin:
    go_on.set()
