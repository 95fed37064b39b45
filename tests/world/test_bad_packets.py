"""Packets that no client should send: each ends its own connection at most."""

from __future__ import annotations

import time

from .bad_input import BadInputCase
from .conformance.engine import PollingSession
from .conformance.server import CALM, start
from .toolbox.process import resident_megabytes
from .toolbox.raw import frame, upgrade
from .toolbox.websocket import Closed

PLACE = '{"_placeholder":true,"num":0}'


class PacketTests(BadInputCase):
    """Socket.IO packets."""

    def assert_ends(self, *packets: str | bytes, eio: int = 4) -> None:
        """The packets end the connection, without an answer."""
        socket = self.chat(eio)
        for packet in packets:
            socket.send(packet)
        self.assertEqual(socket.until_closed()[0], [])

    def assert_survives(self, *packets: str) -> list[str | bytes]:
        """The connection goes on after the packets; return what was answered to them."""
        socket, heard = self.chat(), list[str | bytes]()
        for packet in (*packets, '42["message","end"]'):
            socket.send(packet)
        while not heard or heard[-1] != '42["message-back","end"]':
            heard.append(socket.receive())
        return heard[:-1]

    def test_not_json(self) -> None:
        """What is no JSON."""
        for text in (
            "x",
            "[",
            '["message"',
            '["message",]',
            "['message']",
            '["message",1]]',
            '["message",0x1]',
        ):
            for eio in (3, 4):
                self.assert_ends(f"42{text}", eio=eio)

    def test_wrong_types(self) -> None:
        """JSON that is not what the packet is to hold."""
        for packet in (
            "42{}",
            "42null",
            "42true",
            "42[[]]",
            "42[true]",
            "421[{}]",
            "43{}",
            "431null",
            "40[]",
        ):
            self.assert_ends(packet)

    def test_deep(self) -> None:
        """Nesting 10,000 and 300,000 deep, of arrays and of objects."""
        for depth in (10_000, 300_000):
            self.assert_ends('42["message",' + "[" * depth + "]" * depth + "]")
        self.assert_ends('42["message",' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "]")
        self.assert_ends('42["message",' + "[" * 900_000)

    def test_huge_numbers(self) -> None:
        """Numbers beyond every type: echoed or refused, never stumbled over."""
        for number in ("1e999", "-1e999", "9" * 400, "9" * 100_000, "1e-999", "0." + "1" * 10_000, "-0"):
            socket = self.chat()
            socket.send(f'42["message",{number}]')
            try:
                self.assertTrue(socket.text().startswith('42["message-back",'), number[:10])
            except Closed:
                self.assertGreater(len(number) + 10 * ("999" in number), 10, number)

    def test_huge_ids(self) -> None:
        """Ids of acknowledgements, numbers of attachments and names of namespaces beyond reason."""
        self.assert_ends("42" + "9" * 1000 + '["message"]')
        self.assert_ends("45" + "9" * 1000 + '-["message"]')
        self.assert_ends("40/" + "n" * 900_000)
        self.assert_ends("4" * 100_000)

    def test_strange_text(self) -> None:
        """Controls, unpaired surrogates and separators inside JSON strings are refused or come back."""
        for text in ("\\u0000", "\\ud800", "\\udfff\\ud800", "\u2028", "\x1e", "\x7f", "\ufeff"):
            socket = self.chat()
            socket.send(f'42["message","{text}"]')
            try:
                self.assertTrue(socket.text().startswith('42["message-back","'))
            except Closed:
                self.assertIn(text, ("\\ud800", "\\udfff\\ud800", "\x1e"))

    def test_unknown_events(self) -> None:
        """Events that nobody knows, among them names of Python's and ours: passed over."""
        names = ("x", "", "__class__", "__init__", "on_connect", "emit", "é" * 1000)
        self.assertEqual(self.assert_survives(*(f'42["{name}",1]' for name in names)), [])
        self.assertEqual(self.assert_survives('421["nobody"]', "42[1]", "42[-1.5,2]"), [])

    def test_unasked_acknowledgements(self) -> None:
        """A thousand acknowledgements of nothing."""
        self.assertEqual(self.assert_survives(*(f"43{number}[{number}]" for number in range(1000))), [])

    def test_unknown_namespaces(self) -> None:
        """Refusals one after another, and then too many at once."""
        answers = self.assert_survives(*(f"40/unknown{number}" for number in range(300)))
        self.assertEqual(len(answers), 300)
        self.assertEqual(answers[-1], '44/unknown299,{"message":"Invalid namespace"}')

    def test_attachments_never_come(self) -> None:
        """An event whose attachments are missing is not delivered, and goes with its connection."""
        socket = self.chat()
        socket.send(f'451-["message",{PLACE}]')
        socket.close()
        self.assert_ends(f'451-["message",{PLACE}]', f'451-["message",{PLACE}]')
        self.assert_ends(f'451-["message",{PLACE}]', "41")

    def test_attachments_too_large(self) -> None:
        """Ten attachments that are each allowed but not together."""
        places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
        socket = self.chat()
        socket.send(f'4510-["message",{places}]')
        ended = False
        for _ in range(10):
            try:
                socket.send(bytes(990_000))
            except OSError:
                ended = True
        self.assertTrue(ended or socket.until_closed()[0] == [])

    def test_stray_bytes(self) -> None:
        """Attachments of nothing."""
        self.assert_ends(b"stray")
        self.assert_ends(b"\x04stray", eio=3)


class PollingTests(BadInputCase):
    """Engine.IO payloads in POSTs."""

    def test_garbage(self) -> None:
        """Bodies of every kind that are no payload: the session ends, the POST is answered."""
        bodies = [
            bytes(range(256)),
            b"\x00" * 1000,
            b"\xff" * 1000,
            b"4" + b"\xff" * 1000 + b"\x1e9",
            b"\x1e" * 9999,
        ]
        for eio in (3, 4):
            for body in bodies:
                for kind in (
                    "text/plain",
                    "application/octet-stream",
                    "application/x-www-form-urlencoded",
                    "",
                ):
                    session = PollingSession(self.port, eio, "/socket.io/")
                    self.assertIn(session.post_body(body, kind).status, (200, 400), body[:10])
                    self.assertIn(session.get().status, (200, 400))

    def test_many_packets(self) -> None:
        """A body of half a million packets."""
        for eio, packet in ((4, b"4\x1e"), (3, b"1:4")):
            session = PollingSession(self.port, eio, "/engine.io/")
            self.assertIn(session.post_body((packet * 500_000)[:999_999]).status, (200, 400))
            self.assertEqual(session.get().status, 400)

    def test_lying_lengths(self) -> None:
        """Lengths in Engine.IO 3 that promise more, or are none."""
        for body in (
            "999999:4x",
            "4294967297:4x",
            f"{'9' * 5000}:4x",
            "\u0661:4",
            "1e3:4x",
            "+1:4",
            " 1:4",
            "1_0:4",
        ):
            session = PollingSession(self.port, 3, "/engine.io/")
            self.assertIn(session.post_body(body).status, (200, 400))
            self.assertEqual(session.get().status, 400)

    def test_never_fetched(self) -> None:
        """A client that sends and never polls: its answers are not kept without bound."""
        session = PollingSession(self.port, 4, "/engine.io/")
        sent = 0
        while session.post("4" + "x" * 900_000).status == 200:
            sent += 1
            self.assertLess(sent, 100)
        self.assertEqual(session.get().status, 400)


class FrameTests(BadInputCase):
    """WebSocket frames against RFC 6455: closed with the code that says why."""

    def assert_code(self, code: int, *frames: bytes) -> None:
        """The frames are answered by a close frame with this code."""
        connection = self.raw_websocket()
        for data in frames:
            connection.send(data)
        self.assertEqual(connection.close_code(), code, frames[0][:10])

    def test_protocol_errors(self) -> None:
        """Unmasked, reserved bits and opcodes, long or split control frames, a continuation of nothing."""
        self.assert_code(1002, frame(0x81, b"4x", masked=False))
        for first in (0xC1, 0xA1, 0x91, 0x83, 0x87, 0x8B, 0x8F, 0x09, 0x80):
            self.assert_code(1002, frame(first, b"x"))
        self.assert_code(1002, frame(0x89, b"x" * 126))
        self.assert_code(1002, frame(0x01, b"4a"), frame(0x81, b"4b"))
        self.assert_code(1002, frame(0x88, b"\x00"))
        self.assert_code(1002, frame(0x88, b"\x03\xed"))

    def test_invalid_utf8(self) -> None:
        """A text frame that is no UTF-8, whole or in pieces."""
        self.assert_code(1007, frame(0x81, b"4\xff"))
        self.assert_code(1007, frame(0x01, b"4\xe2\x82"), frame(0x80, b"x"))
        self.assert_code(1007, frame(0x81, b"4\xed\xa0\x80"))

    def test_announced_only(self) -> None:
        """A frame that claims 100 MB, or all a length can say, is refused by its head."""
        for length in (100_000_000, 2**40, 2**63 - 1):
            self.assert_code(1009, frame(0x82, announced=length))

    def test_endless_message(self) -> None:
        """A message in fragments without end is cut at the bound."""
        connection = self.raw_websocket()
        connection.send(frame(0x01, b"4"))
        taken = connection.send_all(frame(0x00, b"x" * 60_000) for _ in range(2000))
        self.assertGreater(taken, 1_000_000)
        self.assertEqual(connection.close_code(), 1009)

    def test_tiny_fragments(self) -> None:
        """So is one of a hundred thousand empty fragments, or it is read and waits for its end."""
        connection = self.raw_websocket()
        connection.send(frame(0x01, b"4"))
        connection.send_all(frame(0x00) * 1000 for _ in range(100))
        connection.send(frame(0x80, b"x"))
        self.assertEqual(connection.until(b"4x")[-2:], b"4x")

    def test_pings(self) -> None:
        """A flood of pings whose pongs nobody reads: what is to be sent is not kept without bound."""
        child, port = start(CALM)  # of its own: a server that was large before would not need to grow
        self.addCleanup(child.stop)
        connection = upgrade(port, "/engine.io/?EIO=4&transport=websocket")
        self.addCleanup(connection.close)
        small = resident_megabytes(child.pid)
        connection.send_all(frame(0x89, b"x" * 125) * 1000 for _ in range(250))
        self.assertLess(resident_megabytes(child.pid) - small, 16)

    def test_never_closed(self) -> None:
        """A client that does not answer a close frame is cut off; its session has ended before."""
        connection = self.raw_websocket()
        connection.send(frame(0x81, b"4x", masked=False))
        self.assertEqual(connection.close_code(), 1002)
        began = time.monotonic()
        connection.until_closed()
        self.assertLess(time.monotonic() - began, 8)

    def test_half_open(self) -> None:
        """Handshakes begun and left, upgrades never finished, sockets that vanish: others go on."""
        session = PollingSession(self.port, 4, "/engine.io/")
        for _ in range(50):
            connection = self.raw()
            connection.send(
                b"GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            )
        candidate = session.websocket()
        self.addCleanup(candidate.close)
        candidate.send("2probe")
        self.assertEqual(candidate.receive(), "3probe")
        for _ in range(50):
            self.raw_websocket().close()
        session.post("4alive?")
        candidate.send("5")
        self.assertEqual(candidate.receive(), "4alive?")
