"""Joining, being refused, leaving: where Socket.IO protocols 5 and 4 differ."""

from __future__ import annotations

import json
import time

from ..toolbox.http import request
from .chat import ChatCase
from .framing import octets


class ConnectTests(ChatCase):
    """Socket.IO protocol 5: a client is nowhere until it asks."""

    def assert_connects(self, request: str, nsp: str, auth: str) -> str:
        """The request is answered with an id and greeted with its payload; return the id."""
        socket = self.opened_websocket()
        socket.send(request)
        reply = socket.text()
        self.assertTrue(reply.startswith(f"40{nsp}"), reply)
        payload = json.loads(reply[len(f"40{nsp}") :])
        self.assertEqual(list(payload), ["sid"])
        self.assertEqual(socket.text(), f'42{nsp}["auth",{auth}]')
        return str(payload["sid"])

    def test_main(self) -> None:
        """The main namespace, with and without a payload."""
        self.assert_connects("40", "", "{}")
        self.assert_connects('40{"token":"123"}', "", '{"token":"123"}')

    def test_custom(self) -> None:
        """Another namespace, with and without a payload; the comma may be missing at the end."""
        self.assert_connects("40/custom,", "/custom,", "{}")
        self.assert_connects("40/custom", "/custom,", "{}")
        self.assert_connects('40/custom,{"token":"abc"}', "/custom,", '{"token":"abc"}')

    def test_ids(self) -> None:
        """Every namespace has an id of its own, which is not the connection's."""
        socket = self.websocket()
        ids = [json.loads(socket.text()[1:])["sid"]]
        for nsp in ("", "/custom,"):
            socket.send(f"40{nsp}")
            ids.append(json.loads(socket.text()[2 + len(nsp) :])["sid"])
            socket.text()
        self.assertEqual(len(set(ids)), 3)

    def test_unknown(self) -> None:
        """A namespace that is not there is refused; the connection stays and may ask again."""
        socket = self.opened_websocket()
        for nsp in ("/random", "/random,", "/custom?x=1", "/Custom"):
            socket.send(f"40{nsp}")
            name = nsp.rstrip(",")
            self.assertEqual(socket.receive(), f'44{name},{{"message":"Invalid namespace"}}')
        socket.send("40")
        self.assertTrue(socket.text().startswith("40{"))

    def test_invalid(self) -> None:
        """Anything that is no request to join closes a connection that is nowhere yet."""
        for packet in (
            "4abc",
            "40[]",
            '40"x"',
            "40{",
            '42["message",1]',
            "41",
            "430[]",
            '44{"message":"x"}',
        ):
            socket = self.opened_websocket()
            socket.send(packet)
            self.assert_closes_now(socket)

    def test_timeout(self) -> None:
        """Who joins nothing is closed after about a second."""
        socket, began = self.opened_websocket(), time.monotonic()
        self.assertEqual(socket.until_closed()[0], [])
        self.assertLess(time.monotonic() - began, 3)

    def test_timeout_after_refusal(self) -> None:
        """A refusal is no joining."""
        socket = self.opened_websocket()
        socket.send("40/random")
        socket.receive()
        self.assertEqual(socket.until_closed()[0], [])

    def test_twice(self) -> None:
        """A second request for a namespace that is joined closes the connection."""
        self.assert_ended_by("40", "40{}")

    def test_not_joined(self) -> None:
        """So does any packet for a namespace that is not joined."""
        self.assert_ended_by('42/custom,["message"]', "41/custom,", "43/custom,1[]", '42/random,["x"]')

    def test_client_refusal(self) -> None:
        """So does a refusal from a client."""
        self.assert_ended_by('44{"message":"x"}')

    def test_reserved_events(self) -> None:
        """So does an event with a reserved name."""
        names = ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
        self.assert_ended_by(*(f'42["{name}"]' for name in names))

    def test_unknown_types(self) -> None:
        """So does a packet of a type that does not exist, and a leaving that says more than that."""
        self.assert_ended_by("47", '48["x"]', "4abc", '41{"a":1}')

    def test_type_alone(self) -> None:
        """An event or acknowledgement of nothing at all passes without effect."""
        self.assert_harmless("42", "43")

    def test_numeric_event(self) -> None:
        """An event's name may be a number."""
        self.assert_harmless("42[5,1]")

    def test_leave_main(self) -> None:
        """Leaving the main namespace is not answered; the connection stays and may join again."""
        socket = self.connected()
        socket.send("41")
        socket.send("40")
        self.assertTrue(socket.text().startswith("40{"))
        self.assertEqual(socket.receive(), '42["auth",{}]')

    def test_leave_custom(self) -> None:
        """Leaving one namespace leaves the others alone; it may be joined again."""
        socket = self.connected()
        ids = set()
        for _ in range(2):
            socket.send("40/custom")
            ids.add(socket.text())
            self.assertEqual(socket.receive(), '42/custom,["auth",{}]')
            socket.send("41/custom")
            self.assert_echoes(socket)
        self.assertEqual(len(ids), 2)

    def test_several_in_one_body(self) -> None:
        """Polling clients ask for all their namespaces in one body."""
        session = self.session()
        session.post("40", "40/custom,", "40/random,")
        packets: list[str] = []
        while len(packets) < 5:
            packets += session.received()
        heads = sorted(packet[:4] for packet in packets)
        self.assertEqual(heads, ["40/c", '40{"', "42/c", '42["', "44/r"])


class ConnectTests4(ChatCase):
    """Socket.IO protocol 4: a client is in the main namespace unasked."""

    eio = 3

    def test_main(self) -> None:
        """The main namespace comes unasked and without payload, then its greeting."""
        socket = self.opened_websocket()
        self.assertEqual(socket.receive(), "40")
        self.assertEqual(socket.receive(), '42["auth",{}]')

    def test_apart_from_the_handshake(self) -> None:
        """By polling it comes in an answer of its own, behind the handshake."""
        session = self.session()
        self.assertEqual(len(session.packets(session.opened)), 1)
        packets = session.received()
        if len(packets) == 1:
            packets += session.received()
        self.assertEqual(packets, ["40", '42["auth",{}]'])

    def test_custom(self) -> None:
        """Another namespace is joined without payload, with or without the comma."""
        for packet in ("40/custom,", "40/custom"):
            socket = self.connected()
            socket.send(packet)
            self.assertIn(socket.receive(), ("40/custom", "40/custom,"))
            self.assertEqual(socket.receive(), '42/custom,["auth",{}]')

    def test_custom_with_query(self) -> None:
        """What follows the name of a namespace is its query, and no part of the name."""
        socket = self.connected()
        socket.send("40/custom?token=abc,")
        self.assertIn(socket.receive(), ("40/custom", "40/custom,"))
        self.assertEqual(socket.receive(), '42/custom,["auth",{"token":"abc"}]')

    def test_unknown(self) -> None:
        """A namespace that is not there is refused with a text."""
        socket = self.connected()
        socket.send("40/random")
        self.assertEqual(socket.receive(), '44/random,"Invalid namespace"')
        self.assert_echoes(socket)

    def test_harmless(self) -> None:
        """Asking twice, other namespaces, reserved names and unknown types are ignored, as by socket.io 2."""
        self.assert_harmless(
            '42/random,["x"]', "41/custom,", '42["disconnect"]', '42["connect"]', "47", "4abc"
        )
        socket = self.connected()
        socket.send("40")
        socket.send('42["message","sync"]')
        packets = [socket.receive()]
        while packets[-1] != '42["message-back","sync"]':
            packets.append(socket.receive())

    def test_leave_custom(self) -> None:
        """Leaving one namespace leaves the others alone."""
        socket = self.connected()
        socket.send("40/custom")
        socket.receive()
        socket.receive()
        socket.send("41/custom")
        self.assert_echoes(socket)


class OldPythonClientTests(ChatCase):
    """socketIO-client-2: Socket.IO protocol 4 in binary framing and ASCII."""

    eio = 3

    def setUp(self) -> None:
        """Open a session in the way by which this client is recognised."""
        super().setUp()
        form = "EIO=3&transport=polling&t=1700000000000-"
        opened = self.ask("GET", f"{form}0").body
        handshake, rest = json.JSONDecoder().raw_decode(opened[opened.index(b"{") :].decode())
        self.assertEqual(opened[opened.index(b"{") :].decode()[rest:], "")  # it would lose a second packet
        self.polling = f"{form}1&sid={handshake['sid']}"

    def received(self) -> bytes:
        """Receive one answer, as it is."""
        return self.ask("GET", self.polling).body

    def test_main(self) -> None:
        """Its first poll has the joining of the main namespace."""
        self.assertEqual(self.received()[:5], b"\x00\x02\xff40")

    def test_escaped(self) -> None:
        """It sends UTF-8 and is sent nothing but ASCII."""
        body = octets('42["message", "é€😀"]')
        kind = {"Content-Type": "application/octet-stream"}
        sent = request(self.port, "POST", f"{self.path}?{self.polling}", body, kind)
        self.assertEqual((sent.status, sent.body), (200, b"ok"))
        packet = '42["message-back","\\u00e9\\u20ac\\ud83d\\ude00"]'
        answers = b""
        while b"message-back" not in answers:
            answers += self.received()
        self.assertTrue(answers.endswith(octets(packet)), answers)

    def test_attachment(self) -> None:
        """It sends an attachment as base64 flagged as text, and is sent a raw one."""
        kind = {"Content-Type": "application/octet-stream"}
        header = '451-["message", {"_placeholder": true, "num": 0}]'
        for packet in (header, "b4AQID/w=="):
            request(self.port, "POST", f"{self.path}?{self.polling}", octets(packet), kind)
        expected = octets('451-["message-back",{"_placeholder":true,"num":0}]', b"\x01\x02\x03\xff")
        answers = b""
        while b"message-back" not in answers:
            answers += self.received()
        self.assertTrue(answers.endswith(expected), answers)
