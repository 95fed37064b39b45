"""Opening an Engine.IO session, and being refused one."""

from __future__ import annotations

import json
from typing import Any

from ..toolbox.http import request
from .engine import EngineCase
from .server import HASTY


class HandshakeTests(EngineCase):
    """Engine.IO 4."""

    timing = HASTY

    def assert_handshake(self, handshake: dict[str, Any], upgrades: list[str]) -> None:
        """The handshake has exactly the keys of the protocol, with this server's values."""
        self.assertRegex(handshake.pop("sid"), "^[A-Za-z0-9_-]{20}$")
        self.assertEqual(
            handshake,
            {"upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000},
        )

    def test_polling(self) -> None:
        """A GET without sid opens a session and offers the upgrade."""
        session = self.session()
        self.assertEqual(session.opened.status, 200)
        self.assertEqual(session.opened.headers["content-type"], "text/plain; charset=UTF-8")
        self.assertEqual(len(session.packets(session.opened)), 1)
        self.assert_handshake(session.handshake, upgrades=["websocket"])

    def test_websocket(self) -> None:
        """A WebSocket without sid opens a session with nothing left to upgrade to."""
        packet = self.websocket().text()
        self.assertEqual(packet[0], "0")
        self.assert_handshake(json.loads(packet[1:]), upgrades=[])

    def test_ids_differ(self) -> None:
        """No two sessions share an id."""
        self.assertEqual(len({self.session().sid for _ in range(20)}), 20)

    def test_empty_sid_is_none(self) -> None:
        """An empty sid parameter counts as absent."""
        answer = self.ask("GET", f"EIO={self.eio}&transport=polling&sid=")
        self.assertEqual(answer.status, 200)

    def test_unknown_parameters(self) -> None:
        """Parameters beyond the protocol's belong to the application and do no harm."""
        self.assertEqual(self.session(t="abc", token="x y").opened.status, 200)


class HandshakeTests3(HandshakeTests):
    """The same in Engine.IO 3."""

    eio = 3


class RefusalTests(EngineCase):
    """Requests that open nothing: statuses, codes and messages of Engine.IO 4."""

    def assert_refused(self, query: str, code: int, message: str, method: str = "GET") -> None:
        """A plain request is refused with this error."""
        answer = self.ask(method, query)
        self.assertEqual(answer.error, (400, code, message))
        self.assertEqual(answer.headers["content-type"].split(";")[0], "application/json")

    def test_version(self) -> None:
        """A version that is missing, no number or not served is refused."""
        for version in ("", "&EIO=", "&EIO=abc", "&EIO=2", "&EIO=5", "&EIO=44"):
            self.assert_refused(f"transport=polling{version}", 5, "Unsupported protocol version")

    def test_transport(self) -> None:
        """A transport that is missing or unknown is refused, whatever else is wrong."""
        for query in (f"EIO={self.eio}", f"EIO={self.eio}&transport=abc", "EIO=abc", "transport=constructor"):
            self.assert_refused(query, 0, "Transport unknown")

    def test_method(self) -> None:
        """Only GET opens a session."""
        for method in ("POST", "PUT", "DELETE"):
            self.assert_refused(f"EIO={self.eio}&transport=polling", 2, "Bad handshake method", method)

    def test_unknown_session(self) -> None:
        """A sid that is not known is refused, to send and to receive."""
        for method in ("GET", "POST"):
            query = f"EIO={self.eio}&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA"
            self.assert_refused(query, 1, "Session ID unknown", method)

    def test_websocket_without_upgrade(self) -> None:
        """A WebSocket request must ask for the upgrade."""
        self.assert_refused(f"EIO={self.eio}&transport=websocket", 3, "Bad request")

    def test_other_version_later(self) -> None:
        """A session keeps the version that it was opened with."""
        session = self.session()
        other = session.target(EIO=7 - self.eio)
        self.assertEqual(request(self.port, "GET", other).error, (400, 3, "Bad request"))
        self.assert_alive(session)

    def test_upgrade_requests(self) -> None:
        """An upgrade request is refused with the same message, as text in HTML's content type."""
        for query, message in (
            ("transport=websocket", "Unsupported protocol version"),
            ("EIO=abc&transport=websocket", "Unsupported protocol version"),
            (f"EIO={self.eio}", "Transport unknown"),
            (f"EIO={self.eio}&transport=abc", "Transport unknown"),
            (f"EIO={self.eio}&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", "Session ID unknown"),
        ):
            answer = self.refused_upgrade(query)
            self.assertEqual((answer.status, answer.text), (400, message), query)
            self.assertEqual(answer.headers["content-type"].split(";")[0], "text/html")

    def test_upgrade_request_for_polling(self) -> None:
        """Polling over a WebSocket is accepted as a connection and then closed: clients cope with that."""
        socket = self.websocket(transport="polling")
        self.assertEqual(socket.until_closed()[0], [])


class RefusalTests3(RefusalTests):
    """The same in Engine.IO 3."""

    eio = 3
