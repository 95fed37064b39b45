"""From polling to WebSocket without losing or doubling a packet."""

from __future__ import annotations

from .engine import EngineCase


class UpgradeTests(EngineCase):
    """Engine.IO 4."""

    def test_probe_then_poll(self) -> None:
        """After the probe a poll gets a noop, and after the upgrade the first frame is the first message."""
        session = self.session()
        socket = session.websocket()
        self.addCleanup(socket.close)
        socket.send("2probe")
        self.assertEqual(socket.receive(), "3probe")
        self.assertEqual(session.received(), ["6"])
        socket.send("5")
        socket.send("4hello")
        self.assertEqual(socket.receive(), "4hello")

    def test_poll_then_probe(self) -> None:
        """A poll that waits already when the probe comes is let go with a noop."""
        session = self.session()
        waiting = session.waiting_get()
        socket = session.websocket()
        self.addCleanup(socket.close)
        socket.send("2probe")
        self.assertEqual(socket.receive(), "3probe")
        self.assertEqual(session.packets(waiting.answer()), ["6"])

    def test_post_in_between(self) -> None:
        """A POST between probe and upgrade counts; its echo comes on whichever transport receives first."""
        session = self.session()
        socket = session.websocket()
        self.addCleanup(socket.close)
        socket.send("2probe")
        self.assertEqual(socket.receive(), "3probe")
        self.assertEqual(session.post("4between").body, b"ok")
        socket.send("5")
        self.assertEqual(socket.receive(), "4between")

    def test_message_for_poll_in_between(self) -> None:
        """Between probe and upgrade messages still go out by polling when a poll is there."""
        session = self.session()
        socket = session.websocket()
        self.addCleanup(socket.close)
        session.post("4before")
        socket.send("2probe")
        self.assertEqual(socket.receive(), "3probe")
        self.assertEqual(session.received()[0], "4before")

    def test_buffered_messages(self) -> None:
        """What nobody polled is delivered on the WebSocket, in order."""
        session = self.session()
        session.post("4one", "4two")
        socket = self.upgraded(session)
        self.assertEqual([socket.receive(), socket.receive()], ["4one", "4two"])

    def test_requests_afterwards(self) -> None:
        """Polling for an upgraded session is a bad request and does it no harm."""
        session = self.session()
        socket = self.upgraded(session)
        socket.send("4sync")
        self.assertEqual(socket.receive(), "4sync")
        self.assertEqual(session.get().error, (400, 3, "Bad request"))
        self.assertEqual(session.post("4x").error, (400, 3, "Bad request"))
        socket.send("4hello")
        self.assertEqual(socket.receive(), "4hello")

    def test_get_right_afterwards(self) -> None:
        """A GET right behind the upgrade packet is never left waiting."""
        session = self.session()
        self.upgraded(session)
        self.assertIn(session.get().status, (200, 400))
        self.assertEqual(session.get().status, 400)

    def test_pending_get_at_the_switch(self) -> None:
        """A GET that still waits at the switch is let go."""
        session = self.session()
        waiting = session.waiting_get()
        socket = session.websocket()
        self.addCleanup(socket.close)
        socket.send("5")
        self.assertIn(session.packets(waiting.answer())[0], ("1", "6"))
        socket.send("4hello")
        self.assertEqual(socket.receive(), "4hello")

    def test_second_websocket_afterwards(self) -> None:
        """A second WebSocket for an upgraded session is accepted and closed; the first goes on."""
        session = self.session()
        socket = self.upgraded(session)
        self.assert_closes_now(session.websocket())
        socket.send("4hello")
        self.assertEqual(socket.receive(), "4hello")

    def test_second_websocket_meanwhile(self) -> None:
        """So is one that comes while another upgrade is under way."""
        session = self.session()
        socket = session.websocket()
        self.addCleanup(socket.close)
        socket.send("2probe")
        self.assertEqual(socket.receive(), "3probe")
        self.assert_closes_now(session.websocket())
        socket.send("5")
        socket.send("4hello")
        self.assertEqual(socket.receive(), "4hello")

    def test_several_probes(self) -> None:
        """Every probe is answered."""
        session = self.session()
        socket = session.websocket()
        self.addCleanup(socket.close)
        for _ in range(3):
            socket.send("2probe")
            self.assertEqual(socket.receive(), "3probe")

    def test_no_probe(self) -> None:
        """The upgrade packet alone will do."""
        session = self.session()
        socket = session.websocket()
        self.addCleanup(socket.close)
        socket.send("5")
        socket.send("4hello")
        self.assertEqual(socket.receive(), "4hello")

    def test_anything_else(self) -> None:
        """Any other packet before the switch closes that WebSocket only; a new attempt may succeed."""
        for packet in ("4hello", "2", "3probe", "1", "abc"):
            session = self.session()
            socket = session.websocket()
            socket.send(packet)
            self.assert_closes_now(socket)
            self.assert_alive(session)
            again = self.upgraded(session)
            again.send("4hello")
            self.assertEqual(again.receive(), "4hello")

    def test_lost_attempt(self) -> None:
        """A WebSocket that dies after its probe leaves polling unharmed."""
        session = self.session()
        socket = session.websocket()
        socket.send("2probe")
        self.assertEqual(socket.receive(), "3probe")
        socket.close()
        session.post("4alive?")
        packets: list[str] = []
        while "4alive?" not in packets:  # the failed attempt may have left a noop
            packets += session.received()
        self.assertEqual(set(packets) - {"6"}, {"4alive?"})

    def test_end_of_upgraded(self) -> None:
        """The session ends with its WebSocket."""
        session = self.session()
        self.upgraded(session).close()
        self.eventually(lambda: session.get().error[1] == 1)


class UpgradeTests3(UpgradeTests):
    """The same in Engine.IO 3."""

    eio = 3
