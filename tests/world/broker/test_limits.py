"""What one client may use, and that others are served all the same."""

from __future__ import annotations

import threading
from typing import ClassVar

import socketio

from crowdai_broker.assembly import SPARE_CONNECTIONS

from ..toolbox.http import request
from ..toolbox.process import PATIENCE
from ..toolbox.raw import Raw
from .case import WorldCase
from .participant import Participant
from .programs import until
from .world import Plan

PLAIN = "Plain"


class LimitTests(WorldCase):
    """Limits that a test can reach."""

    plan: ClassVar[Plan] = Plan(
        challenges={PLAIN: {}},
        tables={
            "limits": {
                "max_message_bytes": 200_000,
                "max_connections": 20,
                "max_connections_per_address": 3,
                "executions_per_minute": 2,
                "auth_failures_per_minute": 2,
            }
        },
    )

    def test_connections(self) -> None:
        """One address has so many connections and no more; a place that becomes free is free."""
        held = [self.participant(PLAIN, authenticate=False) for _ in range(3)]
        with self.assertRaises(socketio.exceptions.ConnectionError):
            Participant(self.broker().port, self.world.keys[0], PLAIN)
        held.pop().leave()
        until(self._connects, "a place is free")

    def test_idle_connections(self) -> None:
        """Connections that ask for nothing are bounded; the next is turned away politely until one ends."""
        port = self.broker().port
        idle = [Raw(port) for _ in range(2 * 20 + SPARE_CONNECTIONS)]
        until(lambda: request(port, "GET", "/healthz").status == 503, "it is full")
        for one in idle:
            one.close()
        until(lambda: request(port, "GET", "/healthz").status == 200, "a place is free")

    def _connects(self) -> bool:
        try:
            self.participant(PLAIN)
        except socketio.exceptions.ConnectionError:
            return False
        return True

    def test_executions(self) -> None:
        """A session has so many executions a minute; it is told when to try again, another is served."""
        participant = self.participant(PLAIN)
        for _ in range(2):
            execution = participant.execute("x")
            self.hands.take(PLAIN).complete()
            execution.result()
        (item,) = participant.execute("x").result()
        self.assertRegex(item["message"], r"Too many executions.*try again in \d+ s")
        execution = self.participant(PLAIN).execute("x")
        self.hands.take(PLAIN).complete()
        execution.result()

    def test_large_messages(self) -> None:
        """A message above the limit ends its connection; until it is known who asks, the limit is lower."""
        for authenticate, small, large in ((False, 60_000, 70_000), (True, 190_000, 210_000)):
            participant = self.participant(PLAIN, transport="websocket", authenticate=authenticate)
            answer = participant.ask("execution_status", execution_id="x", padding="x" * small)
            self.assertEqual(answer["response_type"], "CrowdAI.Event.ERROR")
            gone = threading.Event()
            participant.client.on("disconnect", lambda _reason, gone=gone: gone.set())
            participant.client.emit("execution_status", {"padding": "x" * large})
            self.assertTrue(gone.wait(PATIENCE))
        self.participant(PLAIN)

    def test_wrong_keys(self) -> None:
        """One address guesses so many keys a minute; after that nothing from there is looked at."""
        participant = self.participant(PLAIN, authenticate=False)
        for _ in range(2):
            self.assertIn("API key", participant.authenticate(API_KEY="guess")["message"])
        calls = self.world.webapp.state()["calls"]["participant"]
        for key in ("guess", participant.api_key):
            answer = participant.authenticate(API_KEY=key)
            self.assertEqual(answer["response_type"], "CrowdAI.Event.Authentication.ERROR")
            self.assertRegex(answer["message"], r"Too many wrong API keys.*try again in \d+ s")
        self.assertEqual(self.world.webapp.state()["calls"]["participant"], calls)
