"""Events, acknowledgements and attachments: the same in Socket.IO protocol 5 and 4."""

from __future__ import annotations

from .chat import BYTES, TWO, ChatCase


class EventTests(ChatCase):
    """Socket.IO protocol 5, over Engine.IO 4."""

    def test_event(self) -> None:
        """An event comes back with its arguments, in the shortest JSON."""
        socket = self.connected()
        socket.send('42["message",1,"2",{"3":[true]}]')
        self.assert_receives(socket, '42["message-back",1,"2",{"3":[true]}]')

    def test_arguments(self) -> None:
        """Every kind of JSON value survives, also as the only argument or none at all."""
        socket = self.connected()
        for arguments in ("", ",null", ',"é€😀"', ',-1.5,0,[],{},[[{"a":null}]],false', ',"\\\\ \\" \\n"'):
            socket.send(f'42["message"{arguments}]')
            self.assert_receives(socket, f'42["message-back"{arguments}]')

    def test_blanks(self) -> None:
        """JSON may be written with blanks."""
        socket = self.connected()
        socket.send('42["message", {"a": 1}, [ 2 ]]')
        self.assert_receives(socket, '42["message-back",{"a":1},[2]]')

    def test_attachments(self) -> None:
        """Bytes travel behind their event, in order."""
        socket = self.connected()
        self.send(socket, f'452-["message",{TWO}]', *BYTES)
        self.assert_receives(socket, f'452-["message-back",{TWO}]', *BYTES)

    def test_nested_attachments(self) -> None:
        """Their places may be anywhere in the arguments; an attachment may be empty."""
        socket = self.connected()
        place = '{"_placeholder":true,"num":0}'
        self.send(socket, f'451-["message",[{{"a":{place}}}],"x"]', b"")
        self.assert_receives(socket, f'451-["message-back",[{{"a":{place}}}],"x"]', b"")

    def test_ack(self) -> None:
        """An event with an id is acknowledged with that id; 0 is one too."""
        socket = self.connected()
        for number in (456, 0, 1):
            socket.send(f'42{number}["message-with-ack",1,"2",{{"3":[false]}}]')
            self.assert_receives(socket, f'43{number}[1,"2",{{"3":[false]}}]')

    def test_ack_of_nothing(self) -> None:
        """An acknowledgement without arguments is an empty list."""
        socket = self.connected()
        socket.send('427["message-with-ack"]')
        self.assert_receives(socket, "437[]")

    def test_ack_with_attachments(self) -> None:
        """Acknowledgements carry bytes as events do."""
        socket = self.connected()
        self.send(socket, f'452-789["message-with-ack",{TWO}]', *BYTES)
        self.assert_receives(socket, f"462-789[{TWO}]", *BYTES)

    def test_nobody_listens(self) -> None:
        """An event that nobody listens for is ignored, with an id too; so is an unasked acknowledgement."""
        self.assert_harmless('42["unknown",1]', '425["unknown",1]', "4399[]")

    def test_many_in_order(self) -> None:
        """Nothing is lost or overtaken."""
        socket = self.connected()
        for number in range(500):
            socket.send(f'42["message",{number}]')
        self.assert_receives(socket, *(f'42["message-back",{number}]' for number in range(500)))

    def test_polling(self) -> None:
        """Two events and an acknowledgement in one POST."""
        session = self.session()
        if self.eio == 4:
            session.post("40")
        packets: list[str] = []
        session.post('42["message","é"]', '423["message-with-ack",2]')
        while len(packets) < 4:
            packets += session.received()
        self.assertEqual(packets[0][:2], "40")
        self.assertEqual(packets[1:], ['42["auth",{}]', '42["message-back","é"]', "433[2]"])

    def test_attachments_by_polling(self) -> None:
        """An event and its attachment in two POSTs."""
        session = self.session(b64=1)
        if self.eio == 4:
            session.post("40")
        session.post('451-["message",{"_placeholder":true,"num":0}]')
        session.post(b"\x01\x02\x03")
        packets: list[str] = []
        while len(packets) < 4:
            packets += session.received()
        attachment = "bAQID" if self.eio == 4 else "b4AQID"
        self.assertEqual(packets[2:], ['451-["message-back",{"_placeholder":true,"num":0}]', attachment])

    def test_shape(self) -> None:
        """A packet whose contents have the wrong shape closes the connection."""
        self.assert_ended_by(
            "42{}",
            "42[]",
            "42[{}]",
            "42[null,1]",
            '42"message"',
            '42["message"',
            '42abc["message-with-ack",1]',
            "431{}",
            '43"x"',
            '42["message",NaN]',
        )

    def test_attachment_faults(self) -> None:
        """So does a packet whose attachments cannot be."""
        self.assert_ended_by(
            '45["message",{"_placeholder":true,"num":0}]',
            '450-["message",{"_placeholder":true,"num":0}]',
            '4511-["message",{"_placeholder":true,"num":0}]',
            '45x-["message",{"_placeholder":true,"num":0}]',
            self.frame(b"stray"),
        )

    def test_placeholder_faults(self) -> None:
        """So does a place without its attachment."""
        for number in ("1", "-1", '"0"', "0.5", "null"):
            socket = self.connected()
            self.send(socket, f'451-["message",{{"_placeholder":true,"num":{number}}}]', b"x")
            self.assert_closes_now(socket)

    def test_interrupted_attachments(self) -> None:
        """Another packet may not come before the attachments are there."""
        socket = self.connected()
        socket.send('451-["message",{"_placeholder":true,"num":0}]')
        socket.send('42["message"]')
        self.assert_closes_now(socket)


class EventTests4(EventTests):
    """Socket.IO protocol 4, over Engine.IO 3."""

    eio = 3
