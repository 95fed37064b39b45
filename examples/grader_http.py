"""A grader over HTTP, complete: it scores a file key by its length, and tells how far it is.

Run it beside a challenge with ``kind = "http"`` and ``url = "http://127.0.0.1:10000"``::

    python grader_http.py 10000
"""

import json
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def tell(callback_url: str, kind: str, data: dict[str, Any], message: str = "") -> None:
    """Send an event; once the attempt is over, nobody wants to hear of it."""
    event = {"response_type": f"CrowdAI.Event.Job.{kind}", "data": data, "message": message}
    request = urllib.request.Request(callback_url, json.dumps(event).encode())
    request.add_header("Content-Type", "application/json")
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code not in (404, 410):
            raise


def grade(file_key: str, callback_url: str) -> None:
    """Grade one job."""
    tell(callback_url, "RUNNING", {})
    tell(callback_url, "PROGRESS_UPDATE", {"percent_complete": 50})
    tell(callback_url, "COMPLETE", {"score": len(file_key)}, "measured")


class Grader(BaseHTTPRequestHandler):
    """Takes jobs: answers at once, grades in a thread."""

    def do_POST(self) -> None:
        """Read the form of one job."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = urllib.parse.parse_qs(body, keep_blank_values=True)
        if "data[][file_key]" not in form:
            self.answer(400, "The data of a job must have a file_key.")
            return
        work = form["data[][file_key]"][0], form["callback_url"][0]
        threading.Thread(target=grade, args=work).start()
        self.answer(200, "taken")

    def answer(self, status: int, message: str) -> None:
        """Answer the broker."""
        body = json.dumps({"message": message}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Grader).serve_forever()
