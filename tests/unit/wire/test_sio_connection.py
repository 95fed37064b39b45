"""The Socket.IO connection's machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_packet import message
from crowdai_broker.wire.faults import PacketError, TooBig, Violation, WireError
from crowdai_broker.wire.sio_connection import SioConnection, SioSettings
from crowdai_broker.wire.sio_events import (
    AckMissed,
    AckReceived,
    ConnectRequested,
    EventReceived,
    Left,
    SioEvent,
)
from crowdai_broker.wire.sio_packet import SioVersion
from tests.unit.wire.profile import BRISK

PLACEHOLDER = '{"_placeholder":true,"num":0}'


def connection(version: SioVersion = 5, settings: SioSettings | None = None) -> SioConnection:
    """A new connection at time 0."""
    return SioConnection(version, settings or SioSettings(), 0.0, max_attachment_bytes=100)


def joined(version: SioVersion = 5, settings: SioSettings | None = None) -> SioConnection:
    """One that is in the root namespace."""
    made = connection(version, settings)
    if version == 5:
        made.receive(b"0", binary=False, now=0.0)
    else:
        made.begin()
    made.accept("/", "s")
    return made


def hear(machine: SioConnection, text: str | bytes, now: float = 0.0) -> list[SioEvent]:
    """What a message means."""
    if isinstance(text, str):
        return machine.receive(text.encode(), binary=False, now=now)
    return machine.receive(text, binary=True, now=now)


class Version5Tests(SynchronousTestCase):
    def test_connect(self) -> None:
        """Nothing is connected unasked; the reply carries the namespace's sid."""
        machine = connection()
        self.assertEqual(machine.begin(), [])
        self.assertEqual(hear(machine, '0{"token":"1"}'), [ConnectRequested("/", {"token": "1"})])
        self.assertFalse(machine.is_connected("/"))
        self.assertEqual(machine.accept("/", "abc"), ([message('0{"sid":"abc"}')], []))
        self.assertTrue(machine.is_connected("/"))

    def test_other_namespaces(self) -> None:
        """With or without comma; a query is a part of the name."""
        machine = connection()
        self.assertEqual(hear(machine, "0/a"), [ConnectRequested("/a", {})])
        self.assertEqual(hear(machine, "0/b,"), [ConnectRequested("/b", {})])
        self.assertEqual(hear(machine, "0/a?x=1,"), [ConnectRequested("/a?x=1", {})])
        self.assertEqual(machine.accept("/a", "s")[0], [message('0/a,{"sid":"s"}')])

    def test_refusal(self) -> None:
        """An object, with data if there are any; another try is allowed."""
        machine = connection()
        hear(machine, "0")
        self.assertEqual(machine.refuse("/", "No"), [message('4{"message":"No"}')])
        self.assertEqual(hear(machine, "0"), [ConnectRequested("/", {})])
        self.assertEqual(
            machine.refuse("/", "No", {"code": 7}), [message('4{"message":"No","data":{"code":7}}')]
        )

    def test_violations(self) -> None:
        """Each of these closes the connection."""
        for text in ("0", "4{}", '2/other,["x"]', "1/other,", "3/other,1[]"):
            with self.assertRaises(Violation, msg=text):
                hear(joined(), text)
        with self.assertRaises(Violation):
            hear(connection(), '2["x"]')

    def test_second_connect_while_the_first_waits(self) -> None:
        """It is a second one, too."""
        machine = connection()
        hear(machine, "0")
        with self.assertRaises(Violation):
            hear(machine, "0")

    def test_leave_and_return(self) -> None:
        """Leaving is unanswered, and CONNECT is allowed again."""
        machine = joined()
        self.assertEqual(hear(machine, "1"), [Left("/")])
        self.assertFalse(machine.is_connected("/"))
        self.assertEqual(hear(machine, "0"), [ConnectRequested("/", {})])

    def test_put_out(self) -> None:
        """What the client had on its way when we put it out is no violation."""
        machine = joined()
        self.assertEqual(machine.leave("/"), [message("1")])
        self.assertEqual(machine.leave("/"), [])
        self.assertEqual(hear(machine, '2["x"]'), [])
        self.assertEqual(hear(machine, "0"), [ConnectRequested("/", {})])

    def test_connect_timeout(self) -> None:
        """A connection that joins nothing ends, also after a refusal; one that joined does not."""
        machine = connection()
        self.assertEqual(machine.deadline, 45.0)
        hear(machine, "0")
        machine.refuse("/", "No")
        self.assertEqual(machine.tick(44.0), [])
        with self.assertRaises(Violation):
            machine.tick(45.0)
        self.assertIsNone(joined().deadline)

    def test_namespaces_are_bounded(self) -> None:
        """A connection may not ask for any number."""
        machine = connection(settings=SioSettings(max_namespaces=2))
        hear(machine, "0/a")
        hear(machine, "0/b")
        with self.assertRaises(TooBig):
            hear(machine, "0/c")

    def test_type_alone(self) -> None:
        """An event or ack without payload passes without effect."""
        self.assertEqual(hear(joined(), "2"), [])
        self.assertEqual(hear(joined(), "3"), [])


class Version4Tests(SynchronousTestCase):
    def test_begin(self) -> None:
        """The root is connected unasked; the reply has no payload."""
        machine = connection(4)
        self.assertEqual(machine.begin(), [ConnectRequested("/", {})])
        self.assertEqual(machine.accept("/", "s"), ([message("0")], []))

    def test_other_namespaces(self) -> None:
        """The query goes to the application, the name is without it."""
        machine = joined(4)
        self.assertEqual(hear(machine, "0/a?token=1&x=,"), [ConnectRequested("/a", {"token": "1", "x": ""})])
        self.assertEqual(machine.accept("/a", "s")[0], [message("0/a,")])

    def test_before_the_root_is_ready(self) -> None:
        """Requests wait for it."""
        machine = connection(4)
        machine.begin()
        self.assertEqual(hear(machine, "0/a,"), [])
        self.assertEqual(machine.accept("/", "s")[1], [ConnectRequested("/a", {})])

    def test_refusal(self) -> None:
        """The message as a string, or the data alone."""
        machine = joined(4)
        self.assertEqual(
            machine.refuse("/random", "Invalid namespace"), [message('4/random,"Invalid namespace"')]
        )
        self.assertEqual(machine.refuse("/", "No"), [message('4"No"')])
        self.assertEqual(machine.refuse("/", "No", [1]), [message("4[1]")])

    def test_harmless(self) -> None:
        """What closes in version 5 is passed over."""
        machine = joined(4)
        for text in ("0", '4"x"', '2/other,["x"]', "1/other,", "3/other,1[]", "7", "abc"):
            self.assertEqual(hear(machine, text), [], text)
        self.assertEqual(hear(machine, '2["disconnect"]'), [EventReceived("/", "disconnect", [], None)])

    def test_query_beyond_reason(self) -> None:
        """It is bounded."""
        with self.assertRaises(PacketError):
            hear(joined(4), "0/a?" + "x=1&" * 200)


class EventTests(SynchronousTestCase):
    def test_event(self) -> None:
        """Name, arguments, id."""
        machine = joined()
        self.assertEqual(hear(machine, '20["a",1]'), [EventReceived("/", "a", [1], 0)])
        self.assertEqual(hear(machine, "2[7]"), [EventReceived("/", 7, [], None)])

    def test_attachments(self) -> None:
        """They are put in their places when the last is there."""
        machine = joined()
        self.assertEqual(hear(machine, f'51-3["a",{PLACEHOLDER}]'), [])
        self.assertEqual(hear(machine, b"xyz"), [EventReceived("/", "a", [b"xyz"], 3)])

    def test_attachments_that_do_not_come(self) -> None:
        """They have a time."""
        machine = joined(settings=SioSettings(attachment_timeout=5.0))
        hear(machine, f'51-["a",{PLACEHOLDER}]', 10.0)
        self.assertEqual(machine.deadline, 15.0)
        self.assertEqual(machine.tick(14.0), [])
        with self.assertRaises(PacketError):
            machine.tick(15.0)

    def test_attachment_faults(self) -> None:
        """A stray one, another packet between, too many bytes."""
        with self.assertRaises(PacketError):
            hear(joined(), b"stray")
        machine = joined()
        hear(machine, f'51-["a",{PLACEHOLDER}]')
        with self.assertRaises(PacketError):
            hear(machine, '2["b"]')
        machine = joined()
        hear(machine, f'51-["a",{PLACEHOLDER}]')
        with self.assertRaises(TooBig):
            hear(machine, b"x" * 101)

    def test_before_the_reply(self) -> None:
        """Events that come while the application decides are kept, in order, and bounded."""
        machine = connection(settings=SioSettings(max_early_packets=2))
        hear(machine, "0")
        self.assertEqual(hear(machine, '2["a"]'), [])
        self.assertEqual(hear(machine, '2["b"]'), [])
        with self.assertRaises(TooBig):
            hear(machine, '2["c"]')
        events = [EventReceived("/", "a", [], None), EventReceived("/", "b", [], None)]
        self.assertEqual(machine.accept("/", "s")[1], events)

    def test_refused_with_early_events(self) -> None:
        """They are forgotten."""
        machine = connection()
        hear(machine, "0")
        hear(machine, '2["a"]')
        machine.refuse("/", "No")
        hear(machine, "0")
        self.assertEqual(machine.accept("/", "s")[1], [])

    def test_depth(self) -> None:
        """Nesting is bounded by the settings."""
        with self.assertRaises(PacketError):
            hear(joined(settings=SioSettings(max_depth=3)), '2["a",[[[]]]]')

    def test_ascii(self) -> None:
        """For the one client that needs it."""
        machine = SioConnection(4, SioSettings(), 0.0, max_attachment_bytes=9, ascii_json=True)
        self.assertEqual(machine.event("/", ["a", "é"]), [message('2["a","\\u00e9"]')])
        self.assertEqual(machine.refuse("/", "é"), [message('4"\\u00e9"')])
        self.assertTrue(machine.ascii_json)


class AckTests(SynchronousTestCase):
    def test_ours(self) -> None:
        """The answer to the client's event."""
        self.assertEqual(joined().acknowledge("/", 0, ["x"]), [message('30["x"]')])
        self.assertEqual(
            joined().acknowledge("/a", 4, [b"x"]), [message(f"61-/a,4[{PLACEHOLDER}]"), message(b"x")]
        )

    def test_theirs(self) -> None:
        """Told once; others are ignored."""
        machine = joined()
        number = machine.want_ack("/", 0.0)
        self.assertEqual(machine.event("/", ["q"], number), [message(f'2{number}["q"]')])
        self.assertEqual(hear(machine, f"3{number}[1]"), [AckReceived("/", number, [1])])
        self.assertEqual(hear(machine, f"3{number}[1]"), [])
        self.assertEqual(hear(machine, "3999[1]"), [])
        self.assertEqual(hear(machine, "3[1]"), [])

    def test_without_payload(self) -> None:
        """socketIO-client-2 acknowledges without arguments by the id alone."""
        machine = joined(4)
        number = machine.want_ack("/", 0.0)
        self.assertEqual(hear(machine, f"3{number}"), [AckReceived("/", number, [])])

    def test_binary(self) -> None:
        """An acknowledgement may have attachments."""
        machine = joined()
        number = machine.want_ack("/", 0.0)
        hear(machine, f"61-{number}[{PLACEHOLDER}]")
        self.assertEqual(hear(machine, b"x"), [AckReceived("/", number, [b"x"])])

    def test_timeout(self) -> None:
        """Missed acknowledgements are told, in order, and late ones ignored."""
        machine = joined(settings=SioSettings(ack_timeout=5.0))
        first = machine.want_ack("/", 0.0)
        second = machine.want_ack("/", 1.0)
        self.assertEqual(machine.deadline, 5.0)
        self.assertEqual(machine.tick(5.0), [AckMissed("/", first)])
        self.assertEqual(hear(machine, f"3{first}[]"), [])
        self.assertEqual(machine.deadline, 6.0)
        self.assertEqual(hear(machine, f"3{second}[]"), [AckReceived("/", second, [])])
        self.assertIsNone(machine.deadline)

    def test_bound(self) -> None:
        """A client that never acknowledges cannot make us remember without end."""
        machine = joined(settings=SioSettings(max_outstanding_acks=2))
        machine.want_ack("/", 0.0)
        machine.want_ack("/", 0.0)
        with self.assertRaises(TooBig):
            machine.want_ack("/", 0.0)

    def test_gone_with_the_namespace(self) -> None:
        """Who leaves owes nothing."""
        machine = joined()
        number = machine.want_ack("/", 0.0)
        hear(machine, "1")
        hear(machine, "0")
        machine.accept("/", "s")
        self.assertEqual(hear(machine, f"3{number}[]"), [])


class AnyOrderTests(SynchronousTestCase):
    TEXTS = (
        "0",
        "0/a",
        "1",
        "1/a,",
        '2["x"]',
        '2/a,0["x"]',
        "30[]",
        "4",
        f'51-["x",{PLACEHOLDER}]',
        "7",
        "2[",
    )

    @BRISK
    @given(st.lists(st.sampled_from([*TEXTS, b"attachment"])), st.sampled_from([4, 5]))
    def test_any_order(self, messages: list[str | bytes], version: SioVersion) -> None:
        """Any sequence means events of connected namespaces, or ends in a WireError."""
        machine = connection(version)
        todo = machine.begin()
        for text in [None, *messages]:
            try:
                todo += [] if text is None else hear(machine, text)
            except WireError:
                return
            while todo:
                event = todo.pop(0)
                if isinstance(event, ConnectRequested):
                    todo += machine.accept(event.namespace, "s")[1]
                elif isinstance(event, EventReceived):
                    self.assertTrue(machine.is_connected(event.namespace))
