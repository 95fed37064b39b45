"""A participant with bare socketIO-client-2, the library under the ``crowdai`` client.

Install and run::

    pip install --no-deps socketIO-client-2
    pip install requests six websocket-client
    python participant_socketio_client_2.py 127.0.0.1 5000 OpenSNPChallenge2017 YOUR_API_KEY
"""

import json
import sys
from typing import Any

from socketIO_client import SocketIO

HOST, PORT, CHALLENGE, KEY = sys.argv[1:5]
CHANNEL = f"{CHALLENGE}::mine"
session: dict[str, Any] = {}

client = SocketIO(HOST, int(PORT))
client.on("authenticate_response", session.update)  # comes before the acknowledgement
client.emit("authenticate", {"API_KEY": KEY, "challenge_id": CHALLENGE}, lambda answer: None)
client.wait_for_callbacks(seconds=10)
if "session_token" not in session:
    sys.exit(session.get("message", "no answer"))
request = {
    "response_channel": CHANNEL,
    "session_token": session["session_token"],
    "api_key": KEY,
    "challenge_id": CHALLENGE,
    "function_name": "submit",
    "data": [[4200.0] * 100],
    "dry_run": False,
    "parallel": False,
}
client.on(CHANNEL, lambda text: print(json.loads(text)))
client.emit("execute_function", request, print)
client.wait_for_callbacks(seconds=3600)  # it receives only while it waits
client.disconnect()
