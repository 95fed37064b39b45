"""Follow an execution again, from another process, machine or day, with python-socketio.

Install and run::

    pip install "python-socketio[client]"
    python resume.py http://127.0.0.1:5000 OpenSNPChallenge2017 YOUR_API_KEY EXECUTION_ID
"""

import json
import sys
import threading
from typing import Any

import socketio

URL, CHALLENGE, KEY, EXECUTION = sys.argv[1:5]
seen = [0]  # numbers of the events that were printed
missing = threading.Event()
missing.set()


def job_event(channel: str, text: Any) -> None:
    """Print a job event."""
    if channel.startswith(f"{CHALLENGE}::"):
        event = json.loads(text)
        seen.append(event["event_no"])
        sys.stdout.write(f"{event['event_no']} {event['response_type']} {event['message']} {event['data']}\n")


def disconnected(*reason: object) -> None:
    """Remember that events may be missed."""
    missing.set()


client = socketio.Client()  # connects again by itself
client.on("*", job_event)
client.on("disconnect", disconnected)
client.connect(URL)
session = client.call("authenticate", {"API_KEY": KEY, "challenge_client_name": CHALLENGE})
if "session_token" not in session:
    sys.exit(session["message"])
which = {"session_token": session["session_token"], "execution_id": EXECUTION}
while True:
    try:
        if missing.is_set():
            receipt = client.call("resume", {**which, "after_event_no": max(seen)})
            missing.clear()
        else:
            receipt = client.call("execution_status", which)
    except socketio.exceptions.SocketIOError:
        client.sleep(1)  # the connection is lost; the client is trying to get it back
        continue
    if "state" not in receipt:
        sys.exit(receipt["message"])
    if receipt["state"] == "finished" and max(seen) >= receipt["event_no"]:
        break
    client.sleep(1)
client.disconnect()
