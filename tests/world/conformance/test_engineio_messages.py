"""Messages over polling and over WebSocket, in every framing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlencode

from ..toolbox.http import request
from .engine import EngineCase
from .framing import encoded, joined, octets, split


class PollingTests(EngineCase):
    """Engine.IO 4 over polling."""

    def assert_echoed(self, *packets: str | bytes, **query: str | int) -> None:
        """Packets sent in one POST come back in one answer, byte for byte."""
        session = self.session(**query)
        sent = session.post(*packets)
        self.assertEqual((sent.status, sent.body), (200, b"ok"))
        self.assertEqual(sent.headers["content-type"].split(";")[0], "text/html")
        answer = session.get()
        self.assertEqual((answer.status, answer.text), (200, joined(self.eio, *packets)))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=UTF-8")

    def test_one_packet(self) -> None:
        """One text message."""
        self.assert_echoed("4hello")

    def test_several_packets(self) -> None:
        """Several text messages keep their order."""
        self.assert_echoed("4test1", "4test2", "4test3")

    def test_empty_message(self) -> None:
        """A message may be empty."""
        self.assert_echoed("4", "4x")

    def test_unicode(self) -> None:
        """Text beyond ASCII and beyond the basic plane; Engine.IO 3 counts UTF-16 code units."""
        self.assert_echoed("4é€", "4😀", "4x")

    def test_binary(self) -> None:
        """Binary messages, also an empty one, travel as base64."""
        self.assert_echoed("4hello", b"\x01\x02\x03\x04", b"", "4x")

    def test_waiting_get(self) -> None:
        """A GET waits until there is something; a POST meanwhile is normal."""
        session = self.session()
        waiting = session.waiting_get()
        session.post("4hello")
        self.assertEqual(session.packets(waiting.answer()), ["4hello"])

    def test_sixteen_packets_an_answer(self) -> None:
        """No answer has more than 16 packets, which is what python-engineio's clients accept."""
        session, sent = self.session(), [f"4{number}" for number in range(40)]
        session.post(*sent)
        for expected in (sent[:16], sent[16:32], sent[32:]):
            self.assertEqual(session.received(), expected)

    def test_compression(self) -> None:
        """An answer of 1024 bytes or more is compressed for who accepts it, a shorter one never."""
        accept = {"Accept-Encoding": "gzip, deflate"}
        session = self.session()
        session.post("4" + "x" * 1023)
        answer = session.get(accept)
        self.assertEqual(answer.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(answer.body).decode(), joined(self.eio, "4" + "x" * 1023))
        session.post("4" + "x" * 1000)
        self.assertNotIn("content-encoding", session.get(accept).headers)
        session.post("4" + "x" * 1023)
        self.assertNotIn("content-encoding", session.get().headers)


class PollingTests4(EngineCase):
    """What only Engine.IO 4 has."""

    def test_never_stored(self) -> None:
        """Answers tell caches to keep out."""
        session = self.session()
        self.assertEqual(session.opened.headers["cache-control"], "no-store")
        session.post("4x")
        self.assertEqual(session.get().headers["cache-control"], "no-store")

    def test_octet_stream(self) -> None:
        """There is no binary body in this version: it is refused and ends the session."""
        session = self.session()
        answer = session.post_body(octets("4hello"), "application/octet-stream")
        self.assertEqual((answer.status, answer.body), (400, b""))
        self.assert_over(session)


class PollingTests3(PollingTests):
    """The same in Engine.IO 3, for a client that takes no binary framing."""

    eio = 3
    query: ClassVar[Mapping[str, str | int]] = {"b64": 1}


class BinaryFramingTests(EngineCase):
    """The binary framing of Engine.IO 3, which its clients use for payloads with binary messages."""

    eio = 3

    def test_base64_in_octets_out(self) -> None:
        """A client that did not ask for base64 gets a payload with binary messages in binary framing."""
        session = self.session()
        session.post("4hello", b"\x01\x02\x03\x04")
        answer = session.get()
        self.assertEqual(answer.headers["content-type"], "application/octet-stream")
        self.assertEqual(answer.body, bytes.fromhex("00 06 ff 34 68 65 6c 6c 6f 01 05 ff 04 01 02 03 04"))

    def test_text_stays_text(self) -> None:
        """Without binary messages the framing is the textual one."""
        session = self.session()
        session.post("4hello")
        self.assertEqual(session.received(), ["4hello"])

    def test_octets_in(self) -> None:
        """A body of that content type is read as binary framing; lengths count bytes, digits are bytes."""
        session = self.session(b64=1)
        packets = ("4é€😀", b"\x01\x02\x03\x04", b"\xaa" * 12, b"", "4x")
        sent = session.post_body(octets(*packets), "application/octet-stream")
        self.assertEqual((sent.status, sent.body), (200, b"ok"))
        self.assertEqual(session.get().text, joined(3, *packets))

    def test_octets_out(self) -> None:
        """Text beyond ASCII and lengths of two digits in an answer."""
        session = self.session()
        session.post("4€", b"\xaa" * 12, b"")
        self.assertEqual(session.get().body, octets("4€", b"\xaa" * 12, b""))

    def test_base64_within_octets(self) -> None:
        """A text item of a binary payload may itself be a binary message in base64."""
        session = self.session(b64=1)
        session.post_body(octets("b4AQID"), "application/octet-stream")
        self.assertEqual(session.received(), ["b4AQID"])


class OldPythonClientTests(EngineCase):
    """A session recognised as socketIO-client-2's gets binary framing always, and text escaped to ASCII."""

    eio = 3

    def test_handshake(self) -> None:
        """Even the handshake is in binary framing, and alone in its payload."""
        answer = self.ask("GET", "EIO=3&transport=polling&t=1700000000000-0")
        length, _, packet = answer.body[1:].partition(b"\xff")
        self.assertEqual(answer.body[0], 0)
        self.assertEqual(int("".join(str(digit) for digit in length)), len(packet))
        self.assertEqual(packet[:1], b"0")
        self.assertEqual(json.loads(packet[1:])["upgrades"], ["websocket"])

    def test_form_of_javascript_clients(self) -> None:
        """JavaScript clients, whose t has another form, get the textual framing."""
        self.assertEqual(self.session(t="N8hyd6w").opened.body[-1:], b"}")


class JsonpTests(EngineCase):
    """Answers as scripts, for browsers without cross-origin requests."""

    eio = 3

    def script(self, body: str) -> str:
        """Return what the script hands to the callback of index 3."""
        self.assertTrue(body.startswith("___eio[3]("), body)
        self.assertTrue(body.endswith(");"), body)
        payload = json.loads(body[len("___eio[3](") : -2])
        self.assertIsInstance(payload, str)
        return str(payload)

    def test_round(self) -> None:
        """Handshake and echo: packets within a call, the body of a POST within a form field."""
        answer = self.ask("GET", f"EIO={self.eio}&transport=polling&j=3")
        self.assertIn("; charset=UTF-8", answer.headers["content-type"])
        opened = split(self.eio, self.script(answer.text))[0]
        target = f"EIO={self.eio}&transport=polling&j=3&sid={json.loads(opened[1:])['sid']}"
        # The client writes a newline as the two characters backslash and n.
        text = "4line\nbreak \\n €\u2028"
        written = joined(self.eio, text).replace("\\n", "\\\\n").replace("\n", "\\n")
        form = urlencode({"d": written})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        sent = request(self.port, "POST", f"{self.path}?{target}", form, kind)
        self.assertEqual((sent.status, sent.body), (200, b"ok"))
        answer = self.ask("GET", target)
        self.assertNotIn("\u2028", answer.text)
        self.assertEqual(split(self.eio, self.script(answer.text)), [text])

    def test_index(self) -> None:
        """Nothing but digits of the index gets into the script."""
        answer = self.ask("GET", f"EIO={self.eio}&transport=polling&j=3;alert(1)")
        self.assertTrue(answer.text.startswith("___eio[31]("), answer.text)


class WebSocketTests(EngineCase):
    """Engine.IO 4 over WebSocket: one packet a frame."""

    def test_text(self) -> None:
        """Text messages, one of them empty, keep their order."""
        socket = self.opened_websocket()
        for packet in ("4hello", "4", "4é€😀"):
            socket.send(packet)
        self.assertEqual([socket.receive() for _ in range(3)], ["4hello", "4", "4é€😀"])

    def test_binary(self) -> None:
        """A binary message is a binary frame; only Engine.IO 3 puts the type in front."""
        socket = self.opened_websocket()
        for data in (b"\x01\x02\x03\x04", b""):
            frame = data if self.eio == 4 else b"\x04" + data
            socket.send(frame)
            self.assertEqual(socket.receive(), frame)

    def test_base64(self) -> None:
        """A client that wants no binary frames gets base64, and may send it."""
        socket = self.opened_websocket(b64=1)
        packet = encoded(b"\x01\x02\x03\x04", self.eio)
        socket.send(packet)
        self.assertEqual(socket.receive(), packet)


class WebSocketTests3(WebSocketTests):
    """The same in Engine.IO 3."""

    eio = 3
