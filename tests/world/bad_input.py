"""What the tests of bad input share: one server, which must come through every one of them unharmed."""

from __future__ import annotations

import atexit
import functools
import time

from twisted.trial.unittest import SynchronousTestCase

from .conformance.engine import PollingSession
from .conformance.server import CALM, start
from .toolbox.process import Child, resident_megabytes
from .toolbox.raw import Raw, upgrade
from .toolbox.websocket import WebSocket

WEBSOCKET = "transport=websocket"
GROWTH = 48
"""MiB by which no test may make the server grow; far below what the large ones send."""


@functools.cache
def server() -> tuple[Child, int]:
    """Return the server under attack and its port."""
    child, port = start(CALM)
    atexit.register(child.stop)
    return child, port


class BadInputCase(SynchronousTestCase):
    """Sends the server something bad, and looks after it at the end."""

    def setUp(self) -> None:
        """Have the server run; remember its size and what it has logged."""
        self.child, self.port = server()
        self.size = resident_megabytes(self.child.pid)
        self.logged = len(self.child.errors())

    def tearDown(self) -> None:
        """The server runs, serves others at once, has not grown, and has logged no error of its own."""
        self.assertTrue(self.child.running, self.child.errors()[-3000:])
        began = time.monotonic()
        self.assert_serves()
        self.assertLess(time.monotonic() - began, 2)
        self.assertLess(resident_megabytes(self.child.pid) - self.size, GROWTH)
        said = self.child.errors()[self.logged :]
        for word in ("Traceback", "Unhandled", "#critical", "#error"):
            self.assertNotIn(word, said)

    def assert_serves(self) -> None:
        """A client that behaves gets its answer, by polling and by WebSocket."""
        session = PollingSession(self.port, 4, "/engine.io/")
        session.post("4alive?")
        self.assertEqual(session.received(), ["4alive?"])
        session.post("1")
        socket = self.chat()
        socket.send('42["message","alive?"]')
        self.assertEqual(socket.receive(), '42["message-back","alive?"]')
        socket.close()

    def chat(self, eio: int = 4) -> WebSocket:
        """Open a WebSocket and be in the main namespace."""
        socket = WebSocket(self.port, f"/socket.io/?EIO={eio}&transport=websocket")
        self.addCleanup(socket.close)
        socket.receive()
        if eio == 4:
            socket.send("40")
        self.assertEqual(socket.text()[:2], "40")
        self.assertEqual(socket.receive(), '42["auth",{}]')
        return socket

    def raw(self) -> Raw:
        """Open a TCP connection."""
        connection = Raw(self.port)
        self.addCleanup(connection.close)
        return connection

    def raw_websocket(self) -> Raw:
        """Open a WebSocket by hand, past the open packet."""
        connection = upgrade(self.port, "/engine.io/?EIO=4&transport=websocket")
        self.addCleanup(connection.close)
        connection.until(b"}")
        return connection
