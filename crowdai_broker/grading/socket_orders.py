"""Orders over Socket.IO: nothing but an outgoing connection to a broker and a token is needed.

The connection is made again as often as it is lost; what is said of jobs in hand waits until it is stored.
"""

from __future__ import annotations

import queue
import random
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import socketio
from socketio.exceptions import SocketIOError

from ..errors import GradingError
from .events import event_of
from .process import TERMINAL, Said

NAMESPACE = "/grader"
PATIENCE = 20.0  # s for a connection, and for the acknowledgement of an event
LEAVING = 3.0  # s for the acknowledgement that this leaves
LOOK = 1.0  # s that one look for an order waits
PAUSE = 1.0  # s before another try after a failure
LONGEST_PAUSE = 10.0  # a broker waits 30 s for a grader whose connection is lost


class SocketOrders:
    """Takes orders of some challenges from a broker.

    :param url: of the broker, e.g. ``https://broker.example.org``.
    :param hello: ``grader_id``, ``token``, ``challenges`` and ``functions``.
    :ivar problem: why no orders will come any more, for people; empty: nothing is wrong.
    """

    def __init__(self, url: str, hello: Mapping[str, Any], slots: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise GradingError("--broker must be an address that begins with http:// or https://")
        self.problem = ""
        self._url = url
        self._hello = dict(hello)
        self._slots = slots
        self._orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._running: dict[str, dict[str, Any]] = {}  # orders in hand, by the name of their attempt
        self._client: Any = None
        self._lost = threading.Event()
        self._speaking = threading.Lock()
        self._waiting: set[threading.Event] = set()  # for acknowledgements, or the end of the connection
        self._closing = threading.Event()
        self._given_up = threading.Event()
        self._cancel: Callable[[dict[str, Any]], None] = lambda order: None
        self._end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._stay_connected, name="connection")

    # -- what slots ask for

    def listen(self, cancel: Callable[[dict[str, Any]], None], end: Callable[[], None]) -> None:
        """Connect, and stay connected."""
        self._cancel, self._end = cancel, end
        self._thread.start()

    def take(self) -> dict[str, Any] | None:
        """Return the next order, or ``None`` after a short wait."""
        try:
            return self._orders.get(timeout=0 if not self._slots else LOOK)
        except queue.Empty:
            return None

    def take_no_more(self) -> None:
        """Tell the broker that this is about to end."""
        self._slots = 0
        client = self._client
        if client is not None:
            self._emit(client, "slots", 0, lambda answer: None)

    def say(self, order: dict[str, Any], said: Said) -> None:
        """Send an event; this waits until the broker has stored it, however often the connection is lost."""
        event = {**event_of(order, said), "attempt_id": order["attempt_id"]}
        goes_on = self._surely(event)
        if said.kind in TERMINAL or not goes_on:
            self._running.pop(order["attempt_id"], None)
        if not goes_on and said.kind not in TERMINAL:
            self._cancel(order)

    def give_back(self, order: dict[str, Any]) -> None:
        """Nothing is to be said: whoever leaves a broker gives back what it has."""
        self._running.pop(order["attempt_id"], None)

    def give_up(self) -> None:
        """Wait for the broker no longer."""
        self._given_up.set()

    def close(self) -> None:
        """Leave; what is in hand is others' at once."""
        client = self._client
        if client is not None:
            self._ask(client, "leave", None, LEAVING)
        self._closing.set()
        self._lost.set()
        self._thread.join()

    def _surely(self, event: dict[str, Any]) -> bool:
        """Send an event until it is stored; tell whether its attempt goes on."""
        while not self._given_up.is_set():
            client = self._client
            answer = None if client is None else self._ask(client, "event", event, PATIENCE)
            if answer is not None:
                return bool(answer["status"])
            self._given_up.wait(PAUSE)
        sys.stderr.write("an event could not be sent and is lost\n")
        return True

    def _ask(self, client: Any, name: str, what: Any, patience: float) -> dict[str, Any] | None:
        """Send something once; return its acknowledgement, or ``None`` if none comes."""
        answers: list[dict[str, Any]] = []
        done = threading.Event()

        def answered(answer: dict[str, Any]) -> None:
            answers.append(answer)
            done.set()

        self._waiting.add(done)
        if self._client is client and self._emit(client, name, what, answered):
            done.wait(patience)
        self._waiting.discard(done)
        return answers[0] if answers else None

    def _emit(self, client: Any, name: str, what: Any, answered: Callable[[Any], None]) -> bool:
        try:
            with self._speaking:
                client.emit(name, what, namespace=NAMESPACE, callback=answered)
        except SocketIOError as error:
            _complain(error)
            return False
        return True

    # -- the connection

    def _stay_connected(self) -> None:
        pause, met = PAUSE, False
        while not self._closing.is_set():
            self._lost.clear()
            refusals: list[str] = []
            client = self._make_client(refusals)
            try:
                client.connect(
                    self._url, auth=self._auth(), namespaces=[NAMESPACE], wait_timeout=PATIENCE, retry=False
                )
            except SocketIOError as error:
                if client.failed_namespaces and not met:
                    self._despair(refusals[0])
                else:
                    _complain(error, *refusals)
            else:
                sys.stderr.write(f"connected to {self._url}\n")
                self._client, pause, met = client, PAUSE, True
                self._lost.wait()
                self._client = None
                for waiting in tuple(self._waiting):
                    waiting.set()
            self._leave(client)
            self._closing.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads many graders
            pause = min(LONGEST_PAUSE, pause * 2)

    def _leave(self, client: Any) -> None:
        try:
            client.disconnect()
        except SocketIOError as error:
            _complain(error)

    def _auth(self) -> dict[str, Any]:
        return {**self._hello, "slots": max(1, self._slots), "running": list(self._running)}

    def _make_client(self, refusals: list[str]) -> Any:
        client = socketio.Client(reconnection=False, handle_sigint=False)
        client.on("job", self._job, namespace=NAMESPACE)
        client.on("cancel", self._cancelled, namespace=NAMESPACE)
        client.on("dismissed", self._despair, namespace=NAMESPACE)
        client.on("disconnect", lambda *why: self._lost.set(), namespace=NAMESPACE)
        client.on("connect_error", lambda why=None: refusals.append(_reason(why)), namespace=NAMESPACE)
        return client

    def _job(self, order: dict[str, Any]) -> bool:
        if not self._slots:
            return False
        if order["attempt_id"] not in self._running:
            self._running[order["attempt_id"]] = order
            self._orders.put(order)
        return True

    def _cancelled(self, what: dict[str, Any]) -> None:
        order = self._running.pop(what["attempt_id"], None)
        if order is not None:
            order["cancelled"] = True
            self._cancel(order)

    def _despair(self, why: str) -> None:
        """End, since the broker will not have this grader."""
        self.problem = str(why)
        self._closing.set()
        self._lost.set()
        self._end()


def _reason(why: Any) -> str:
    return str(why.get("message", why)) if isinstance(why, dict) else str(why)


def _complain(error: Exception, *reasons: str) -> None:
    what = "; ".join(reasons) or f"{type(error).__name__} {error}".strip()
    sys.stderr.write(f"The broker does not answer ({what}); trying again\n")
