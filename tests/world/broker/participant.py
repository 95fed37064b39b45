"""A participant on python-socketio 5, who keeps everything that is received, in order and unread."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import socketio

from ..clients.agent_socketio import in_arrival_order
from ..toolbox.process import PATIENCE
from .hands import JOB

Event = dict[str, Any]
TERMINAL = ("COMPLETE", "ERROR", "TIMEOUT")


class Execution:
    """What a participant got of one request.

    :ivar channel: the event that its job events come as.
    :ivar raw: the arguments of each, as they came.
    """

    def __init__(self, channel: str, news: threading.Condition) -> None:
        self.channel = channel
        self.raw: list[tuple[Any, ...]] = []
        self._news = news
        self._acks: list[Any] = []

    def heard(self, *arguments: Any) -> None:
        """Take an event."""
        with self._news:
            self.raw.append(arguments)
            self._news.notify_all()

    def acknowledged(self, *arguments: Any) -> None:
        """Take the acknowledgement."""
        with self._news:
            self._acks.append(arguments)
            self._news.notify_all()

    @property
    def events(self) -> list[Event]:
        """All events so far."""
        return [json.loads(arguments[0]) for arguments in tuple(self.raw)]

    def of(self, kind: str) -> list[Event]:
        """Return the events of one kind so far, e.g. ``"INFO"``."""
        return [event for event in self.events if event["response_type"] == JOB + kind]

    def kinds(self) -> list[str]:
        """Return the kinds of all events so far."""
        return [event["response_type"].removeprefix(JOB) for event in self.events]

    def messages(self, kind: str = "INFO") -> str:
        """Return the messages of the events of a kind so far, a line each."""
        return "\n".join(event["message"] for event in self.of(kind))

    def expect(self, kind: str, patience: float = PATIENCE, number: int = 0, saying: str = "") -> Event:
        """Wait for an event of a kind; return the one with that number (from 0) of those ``saying`` so."""
        found: list[Event] = []

        def there() -> bool:
            found[:] = [event for event in self.of(kind) if saying in event["message"]]
            return len(found) > number

        self._wait(there, patience, f"{kind} {saying!r}")
        return found[number]

    def result(self, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Wait for the acknowledgement; return its only argument, one object a job."""
        outcomes = self.answer(patience)
        assert isinstance(outcomes, list)
        return outcomes

    def answer(self, patience: float = PATIENCE) -> Any:
        """Wait for the acknowledgement; return its only argument, whatever it is."""
        self._wait(lambda: bool(self._acks), patience, "the acknowledgement")
        ((argument,),) = self._acks
        return argument

    @property
    def acknowledgements(self) -> int:
        """How many acknowledgements came."""
        return len(self._acks)

    @property
    def execution_id(self) -> str:
        """The execution's id, once it is accepted."""
        enqueued: str = self.expect("ENQUEUED")["data"]["execution_id"]
        return enqueued

    def _wait(self, there: Callable[[], bool], patience: float, what: str) -> None:
        deadline = time.monotonic() + patience
        with self._news:
            while not there():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not within {patience:g} s: {what}; events: {self.events}")
                self._news.wait(left)


class Participant:
    """A connected participant.

    :param transport: ``polling``, ``websocket``, or ``""``: the one, then the other.
    :ivar token: what ``authenticate`` gave.
    """

    def __init__(self, port: int, api_key: str, challenge: str, transport: str = "") -> None:
        self.api_key = api_key
        self.challenge = challenge
        self.token = ""
        self.responses: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.client = socketio.Client(reconnection=False, handle_sigint=False)
        in_arrival_order(self.client)
        self.client.on("authenticate_response", self._answered)
        self.client.connect(f"http://127.0.0.1:{port}", transports=[transport] if transport else None)

    def _answered(self, answer: dict[str, Any]) -> None:
        self.responses.append(answer)

    def identity(self) -> dict[str, Any]:
        """Return what the participant says of itself."""
        return {"API_KEY": self.api_key, "challenge_id": self.challenge, "client_version": "1.0.22"}

    def authenticate(self, **changes: Any) -> dict[str, Any]:
        """Authenticate; return the acknowledgement and keep the token."""
        answer: dict[str, Any] = self.call("authenticate", {**self.identity(), **changes})
        self.token = answer.get("session_token", self.token)
        return answer

    def call(self, event: str, argument: Any) -> Any:
        """Emit an event; return the one argument of its acknowledgement."""
        return self.client.call(event, argument, timeout=PATIENCE)

    def ask(self, event: str, **members: Any) -> dict[str, Any]:
        """Send a request with the session's token; return its acknowledgement."""
        answer: dict[str, Any] = self.call(event, {"session_token": self.token, **members})
        return answer

    def request(self, data: Any, function: str = "evaluate", **changes: Any) -> dict[str, Any]:
        """Return an ``execute_function`` request; a change to ``...`` leaves the member out."""
        request = {
            "response_channel": f"{self.challenge}::{uuid.uuid4()}",
            "session_token": self.token,
            "api_key": self.api_key,
            "challenge_client_name": self.challenge,
            "function_name": function,
            "data": data,
            "dry_run": False,
            "parallel": False,
        }
        return {name: value for name, value in {**request, **changes}.items() if value is not ...}

    def execute(self, data: Any, function: str = "evaluate", **changes: Any) -> Execution:
        """Ask for an execution; what comes of it is collected."""
        return self.send(self.request(data, function, **changes))

    def send(self, request: dict[str, Any]) -> Execution:
        """Send an ``execute_function`` request as it is."""
        execution = self.listen(str(request.get("response_channel", "")))
        self.client.emit("execute_function", request, callback=execution.acknowledged)
        return execution

    def listen(self, channel: str) -> Execution:
        """Collect what comes on a channel."""
        execution = Execution(channel, self._news)
        if channel:
            self.client.on(channel, execution.heard)
        return execution

    def leave(self) -> None:
        """Disconnect."""
        self.client.disconnect()
