"""A participant with python-socketio: submit, watch the events, print the result.

Install and run::

    pip install "python-socketio[client]"
    python participant.py http://127.0.0.1:5000 OpenSNPChallenge2017 YOUR_API_KEY
"""

import json
import sys
import uuid

import socketio

URL, CHALLENGE, KEY = sys.argv[1:4]
channel = f"{CHALLENGE}::{uuid.uuid4()}"


def job_event(text: str) -> None:
    """Print a job event; it comes as one string of JSON."""
    event = json.loads(text)
    sys.stdout.write(f"{event['event_no']} {event['response_type']} {event['message']} {event['data']}\n")


client = socketio.Client()
client.on(channel, job_event)
client.connect(URL)
session = client.call("authenticate", {"API_KEY": KEY, "challenge_client_name": CHALLENGE})
if "session_token" not in session:
    sys.exit(session["message"])
request = {
    "response_channel": channel,
    "session_token": session["session_token"],
    "api_key": KEY,
    "challenge_client_name": CHALLENGE,
    "function_name": "submit",
    "data": [[4200.0] * 100],  # one item, so one job: a body mass for each of 100 penguins
    "parallel": False,
    "dry_run": False,
    "idempotency_key": str(uuid.uuid4()),
}
for job in client.call("execute_function", request, timeout=3600):
    print(job["response_type"], job["message"], job["data"])
client.disconnect()
