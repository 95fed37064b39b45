"""The Engine.IO session's machine, with a clock that is a number."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_events import (
    AnswerPoll,
    CloseCandidate,
    Closed,
    CloseSocket,
    CutPost,
    MessageReceived,
    Output,
    PauseWrites,
    SendBytes,
    SendToCandidate,
    Upgraded,
)
from crowdai_broker.wire.eio_handshake import TransportName
from crowdai_broker.wire.eio_packet import message
from crowdai_broker.wire.eio_payload import TEXT_TYPE, Format
from crowdai_broker.wire.eio_session import EioSession
from crowdai_broker.wire.eio_settings import SessionSettings, State
from crowdai_broker.wire.faults import HttpRefusal, Violation
from crowdai_broker.wire.ws_frame import encode_ws_frame
from tests.unit.wire.profile import BRISK

V3 = Format(3)
V4 = Format(4)
SETTINGS = SessionSettings(ping_interval=10.0, ping_timeout=5.0)


def frame(text: bytes) -> bytes:
    """A text frame as it goes out."""
    return encode_ws_frame(text, binary=False)


def answer(body: bytes) -> AnswerPoll:
    """An answer to a GET, in a text framing."""
    return AnswerPoll(body, TEXT_TYPE)


def session(
    form: Format = V4, transport: TransportName = "polling", settings: SessionSettings = SETTINGS
) -> EioSession:
    """A session that has sent its open packet, at time 0."""
    made = EioSession("sid", form, transport, settings, 0.0)
    if transport == "polling":
        made.poll_arrived(0.0)
    made.resume_writes()
    made.flush()
    made.take()
    made.resume_writes()
    return made


def probing() -> EioSession:
    """A polling session with a candidate that has probed."""
    made = session()
    made.candidate_opened(0.0)
    made.candidate_frame(b"2probe", binary=False, now=0.0)
    made.take()
    return made


class Machine(SynchronousTestCase):
    def said(self, machine: EioSession) -> list[Output]:
        """What follows, with everything queued on its way."""
        machine.flush()
        return machine.take()

    def refused(self, call: Callable[[], object]) -> tuple[int, int | None]:
        """Status and code of a refusal."""
        with self.assertRaises(HttpRefusal) as caught:
            call()
        return caught.exception.status, caught.exception.code


class OpenTests(Machine):
    def test_polling(self) -> None:
        """The first GET is answered with the open packet alone."""
        machine = EioSession("sid", V4, "polling", SETTINGS, 0.0)
        machine.poll_arrived(0.0)
        (output,) = self.said(machine)
        assert isinstance(output, AnswerPoll)
        self.assertTrue(output.body.startswith(b'0{"sid":"sid"'))

    def test_websocket(self) -> None:
        """The open packet is the first frame, apart from the handshake's answer and from what follows."""
        machine = EioSession("sid", V4, "websocket", SETTINGS, 0.0)
        self.assertEqual(self.said(machine), [PauseWrites()])
        machine.resume_writes()
        output, pause = self.said(machine)
        assert isinstance(output, SendBytes)
        self.assertIn(b'0{"sid":"sid"', output.data)
        self.assertEqual(pause, PauseWrites())


class PollingTests(Machine):
    def test_waits_until_there_is_something(self) -> None:
        """A GET is answered with everything buffered by the end of the turn."""
        machine = session()
        machine.poll_arrived(0.0)
        self.assertEqual(self.said(machine), [])
        machine.send(message("a"))
        machine.send(message("b"))
        self.assertEqual(self.said(machine), [answer(b"4a\x1e4b")])

    def test_buffered(self) -> None:
        """What comes without a GET waits for the next."""
        machine = session(V3)
        machine.send(message("a"))
        self.assertEqual(self.said(machine), [])
        machine.poll_arrived(0.0)
        self.assertEqual(self.said(machine), [answer(b"2:4a")])

    def test_marks(self) -> None:
        """They are for WebSockets only: an answer takes what there is."""
        machine = session()
        machine.send(message("a"))
        machine.mark()
        machine.send(message("b"))
        machine.poll_arrived(0.0)
        self.assertEqual(self.said(machine), [answer(b"4a\x1e4b")])

    def test_sixteen_packets(self) -> None:
        """No answer holds more packets than python-engineio takes."""
        machine = session()
        for _ in range(20):
            machine.send(message(""))
        machine.poll_arrived(0.0)
        self.assertEqual(self.said(machine), [answer(b"\x1e".join([b"4"] * 16))])
        machine.poll_arrived(0.0)
        self.assertEqual(self.said(machine), [answer(b"\x1e".join([b"4"] * 4))])

    def test_two_gets(self) -> None:
        """The first gets the close packet, the second 400, the session ends."""
        for form, close in ((V4, b"1"), (V3, b"1:1")):
            machine = session(form)
            machine.poll_arrived(0.0)
            self.assertEqual(self.refused(partial(machine.poll_arrived, 0.0)), (400, None))
            self.assertEqual(self.said(machine), [answer(close), Closed("transport error")])
            self.assertEqual(self.refused(partial(machine.poll_arrived, 0.0)), (400, 1))

    def test_lost_get(self) -> None:
        """A GET dropped midway ends the session."""
        machine = session()
        machine.poll_arrived(0.0)
        machine.poll_lost()
        self.assertEqual(self.said(machine), [Closed("transport error")])

    def test_lost_after_its_answer(self) -> None:
        """A connection that goes after its answer means nothing."""
        machine = session()
        machine.poll_lost()
        self.assertTrue(machine.is_open)

    def test_messages(self) -> None:
        """The packets of a POST are told in order."""
        machine = session()
        machine.post_begun()
        machine.post_received(b"4a\x1ebAQI=", octets=False, now=0.0)
        self.assertEqual(
            self.said(machine), [MessageReceived(b"a", False), MessageReceived(b"\x01\x02", True)]
        )
        machine.post_begun()

    def test_bad_payload(self) -> None:
        """The good packets count, then the session ends, and a pending GET is let go."""
        machine = session()
        machine.poll_arrived(0.0)
        machine.post_begun()
        machine.post_received(b"4a\x1exyz", octets=False, now=0.0)
        self.assertEqual(
            self.said(machine), [MessageReceived(b"a", False), answer(b"1"), Closed("parse error")]
        )
        self.assertEqual(self.refused(machine.post_begun), (400, 1))

    def test_octets_in_version_4(self) -> None:
        """That content type belongs to version 3."""
        machine = session()
        machine.post_begun()
        self.assertEqual(
            self.refused(lambda: machine.post_received(b"4a", octets=True, now=0.0)), (400, None)
        )
        self.assertEqual(self.said(machine), [Closed("transport error")])

    def test_two_posts(self) -> None:
        """The second is refused, the first is cut, the session ends."""
        machine = session()
        machine.post_begun()
        self.assertEqual(self.refused(machine.post_begun), (400, None))
        self.assertEqual(self.said(machine), [CutPost(), Closed("transport error")])

    def test_lost_post(self) -> None:
        """A POST that breaks off ends the session."""
        machine = session()
        machine.post_begun()
        machine.post_lost()
        self.assertEqual(self.said(machine), [Closed("transport error")])

    def test_refused_post(self) -> None:
        """A POST that was refused for its size does no harm."""
        machine = session()
        machine.post_begun()
        machine.post_refused()
        machine.post_begun()
        self.assertEqual(self.said(machine), [])

    def test_close_packet(self) -> None:
        """The GET gets a noop; packets behind the close packet are dropped."""
        for form, body, noop in ((V4, b"1\x1e4a", b"6"), (V3, b"1:12:4a", b"1:6")):
            machine = session(form)
            machine.poll_arrived(0.0)
            machine.post_begun()
            machine.post_received(body, octets=False, now=0.0)
            self.assertEqual(self.said(machine), [answer(noop), Closed("transport close")])

    def test_large_packet(self) -> None:
        """A text packet is bounded also where attachments may make the POST larger."""
        machine = session()
        machine.max_message_bytes = 10
        machine.max_binary_bytes = 1000
        machine.post_begun()
        machine.post_received(b"4" + b"x" * 11, octets=False, now=0.0)
        self.assertEqual(self.said(machine), [Closed("parse error")])


class CloseTests(Machine):
    def test_with_a_get(self) -> None:
        """What is queued and the close packet go out together."""
        machine = session()
        machine.poll_arrived(0.0)
        machine.send(message("bye"))
        machine.close("server namespace disconnect", 0.0)
        self.assertEqual(self.said(machine), [answer(b"4bye\x1e1"), Closed("server namespace disconnect")])
        self.assertIs(machine.state, State.CLOSED)

    def test_without_a_get(self) -> None:
        """The next GET gets what is buffered, the one after the end."""
        for form, first, last in ((V4, b"4bye", b"6\x1e1"), (V3, b"4:4bye", b"1:61:1")):
            machine = session(form)
            machine.send(message("bye"))
            machine.close("x", 0.0)
            self.assertEqual(self.said(machine), [Closed("x")])
            machine.poll_arrived(1.0)
            self.assertEqual(self.said(machine), [answer(first)])
            machine.poll_arrived(1.0)
            self.assertEqual(self.said(machine), [answer(last)])
            self.assertEqual(self.refused(partial(machine.poll_arrived, 1.0)), (400, 1))

    def test_with_a_get_and_too_much(self) -> None:
        """More than one answer takes is fetched in several."""
        machine = session()
        machine.poll_arrived(0.0)
        for _ in range(20):
            machine.send(message(""))
        machine.close("x", 0.0)
        self.assertEqual(self.said(machine), [answer(b"\x1e".join([b"4"] * 16)), Closed("x")])
        machine.poll_arrived(0.0)
        self.assertEqual(self.said(machine), [answer(b"\x1e".join([b"4"] * 4))])

    def test_may_return(self) -> None:
        """A client that may come back gets what is left, and never the close packet."""
        machine = session()
        machine.poll_arrived(0.0)
        machine.send(message("bye"))
        machine.close("x", 0.0, may_return=True)
        self.assertEqual(self.said(machine), [answer(b"4bye\x1e6"), Closed("x")])
        self.assertIs(machine.state, State.CLOSED)

    def test_may_return_later(self) -> None:
        """The session is over with the last of what was left, or at once if nothing was."""
        machine = session()
        for _ in range(17):
            machine.send(message(""))
        machine.close("x", 0.0, may_return=True)
        machine.poll_arrived(0.0)
        machine.poll_arrived(0.0)
        first, rest = answer(b"\x1e".join([b"4"] * 16)), answer(b"4")
        self.assertEqual(self.said(machine), [Closed("x"), first, rest])
        self.assertEqual(self.refused(partial(machine.poll_arrived, 1.0)), (400, 1))
        empty = session()
        empty.close("x", 0.0, may_return=True)
        self.assertIs(empty.state, State.CLOSED)

    def test_nobody_comes(self) -> None:
        """A drained session ends by itself; the application was told before, once."""
        machine = session()
        machine.close("x", 100.0)
        self.assertEqual(self.said(machine), [Closed("x")])
        self.assertEqual(machine.deadline, 130.0)
        machine.tick(129.0)
        self.assertIs(machine.state, State.DRAINING)
        machine.tick(130.0)
        self.assertIs(machine.state, State.CLOSED)
        self.assertEqual(self.said(machine), [])
        self.assertIsNone(machine.deadline)

    def test_draining_hears_nothing(self) -> None:
        """A POST is taken, nothing of it is told, nothing more is sent."""
        machine = session()
        machine.close("x", 0.0)
        machine.post_begun()
        machine.post_received(b"4a", octets=False, now=0.0)
        machine.send(message("b"))
        self.assertFalse(machine.candidate_opened(0.0))
        self.assertEqual(self.said(machine), [Closed("x")])

    def test_websocket(self) -> None:
        """Queued frames, then the socket."""
        machine = session(transport="websocket")
        machine.send(message("bye"))
        machine.close("x", 0.0)
        self.assertEqual(self.said(machine), [SendBytes(frame(b"4bye")), CloseSocket(), Closed("x")])

    def test_twice(self) -> None:
        """The end is told once, however many reasons there are."""
        machine = session(transport="websocket")
        machine.close("x", 0.0)
        machine.close("y", 0.0)
        machine.fail(Violation("z"))
        machine.socket_lost()
        machine.tick(1e9)
        self.assertEqual(
            [output for output in self.said(machine) if isinstance(output, Closed)], [Closed("x")]
        )


class WebSocketTests(Machine):
    def test_one_write(self) -> None:
        """Everything of a turn is one piece of bytes."""
        machine = session(transport="websocket")
        machine.send(message("a"))
        machine.send(message(b"b"))
        expected = frame(b"4a") + encode_ws_frame(b"b", binary=True)
        self.assertEqual(self.said(machine), [SendBytes(expected)])

    def test_marks(self) -> None:
        """What is queued behind a mark waits until writing may go on."""
        machine = session(transport="websocket")
        machine.send(message("a"))
        machine.mark()
        machine.send(message("b"))
        machine.mark()
        machine.send(message("c"))
        machine.send(message("d"))
        self.assertEqual(self.said(machine), [SendBytes(frame(b"4a")), PauseWrites()])
        self.assertEqual(self.said(machine), [])
        machine.resume_writes()
        self.assertEqual(self.said(machine), [SendBytes(frame(b"4b")), PauseWrites()])
        machine.resume_writes()
        self.assertEqual(self.said(machine), [SendBytes(frame(b"4c") + frame(b"4d"))])

    def test_close_behind_a_mark(self) -> None:
        """The end does not wait."""
        machine = session(transport="websocket")
        machine.send(message("a"))
        machine.mark()
        machine.send(message("b"))
        machine.close("x", 0.0)
        self.assertEqual(
            [output for output in self.said(machine) if not isinstance(output, PauseWrites)],
            [SendBytes(frame(b"4a")), SendBytes(frame(b"4b")), CloseSocket(), Closed("x")],
        )

    def test_messages(self) -> None:
        """Text and binary."""
        machine = session(V3, "websocket")
        machine.frame_received(b"4a", binary=False, now=0.0)
        machine.frame_received(b"\x04b", binary=True, now=0.0)
        self.assertEqual(self.said(machine), [MessageReceived(b"a", False), MessageReceived(b"b", True)])

    def test_rubbish(self) -> None:
        """A bad frame closes with a policy code."""
        machine = session(transport="websocket")
        machine.frame_received(b"abc", binary=False, now=0.0)
        machine.frame_received(b"4late", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [CloseSocket(1008), Closed("parse error")])

    def test_too_big(self) -> None:
        """A packet above its bound closes with 1009."""
        machine = session(transport="websocket")
        machine.max_message_bytes = 3
        machine.frame_received(b"4abcd", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [CloseSocket(1009), Closed("parse error")])

    def test_close_packet(self) -> None:
        """It closes at once."""
        machine = session(transport="websocket")
        machine.frame_received(b"1", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [CloseSocket(), Closed("transport close")])

    def test_lost(self) -> None:
        """The connection is gone."""
        machine = session(transport="websocket")
        machine.socket_lost()
        self.assertIn(Closed("transport close"), self.said(machine))

    def test_polling_is_refused(self) -> None:
        """The transport is the session's: code 3."""
        machine = session(transport="websocket")
        self.assertEqual(self.refused(lambda: machine.poll_arrived(0.0)), (400, 3))
        self.assertEqual(self.refused(machine.post_begun), (400, 3))

    def test_slow_reader(self) -> None:
        """What it does not take is buffered up to the bound, then it is closed and the buffer freed."""
        machine = session(transport="websocket", settings=SessionSettings(max_buffered_bytes=100))
        machine.writable = False
        for _ in range(5):
            machine.send(message("x" * 18))
        self.assertEqual(self.said(machine), [])
        machine.send(message("y" * 5))
        self.assertEqual(self.said(machine), [CloseSocket(1008), Closed("transport error")])

    def test_slow_reader_of_many(self) -> None:
        """The number of buffered packets is bounded, too."""
        machine = session(settings=SessionSettings(max_buffered_packets=3))
        for _ in range(3):
            machine.send(message(""))
        self.assertTrue(machine.is_open)
        machine.send(message(""))
        self.assertEqual(self.said(machine), [Closed("transport error")])

    def test_one_large_packet(self) -> None:
        """An empty buffer takes a packet of any size: its size is the application's choice."""
        machine = session(transport="websocket", settings=SessionSettings(max_buffered_bytes=100))
        machine.send(message("x" * 1000))
        self.assertEqual(self.said(machine), [SendBytes(frame(b"4" + b"x" * 1000))])

    def test_writable_again(self) -> None:
        """What waited goes out in one piece."""
        machine = session(transport="websocket")
        machine.writable = False
        machine.send(message("a"))
        machine.send(message("b"))
        self.assertEqual(self.said(machine), [])
        machine.writable = True
        self.assertEqual(self.said(machine), [SendBytes(frame(b"4a") + frame(b"4b"))])


class UpgradeTests(Machine):
    def test_upgrade(self) -> None:
        """Probe, noop for the waiting GET, upgrade, and what is buffered goes by WebSocket."""
        machine = session()
        machine.poll_arrived(0.0)
        self.assertTrue(machine.candidate_opened(0.0))
        machine.candidate_frame(b"2probe", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [SendToCandidate(frame(b"3probe")), answer(b"6")])
        machine.send(message("a"))
        machine.candidate_frame(b"5", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [Upgraded(), SendBytes(frame(b"4a"))])
        self.assertEqual(self.refused(lambda: machine.poll_arrived(0.0)), (400, 3))
        machine.frame_received(b"4hello", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [MessageReceived(b"hello", False)])

    def test_polling_goes_on_meanwhile(self) -> None:
        """Messages take the GET there is; a POST is processed."""
        machine = probing()
        machine.poll_arrived(0.0)
        machine.send(message("a"))
        self.assertEqual(self.said(machine), [answer(b"4a")])
        machine.post_begun()
        machine.post_received(b"4b", octets=False, now=0.0)
        self.assertEqual(self.said(machine), [MessageReceived(b"b", False)])

    def test_late_get(self) -> None:
        """A GET after the probe gets its noop a little later, not at once: no busy loop."""
        machine = probing()
        machine.poll_arrived(1.0)
        self.assertEqual(self.said(machine), [])
        self.assertEqual(machine.deadline, 1.1)
        machine.tick(1.05)
        self.assertEqual(self.said(machine), [])
        machine.tick(1.1)
        self.assertEqual(self.said(machine), [answer(b"6")])
        self.assertGreater(machine.deadline or 0, 1.1)

    def test_get_pending_at_the_switch(self) -> None:
        """It gets the close packet."""
        machine = probing()
        machine.poll_arrived(0.0)
        machine.candidate_frame(b"5", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [answer(b"1"), Upgraded()])

    def test_without_probe(self) -> None:
        """An upgrade without a probe is accepted, and each of several probes answered."""
        machine = session()
        machine.candidate_opened(0.0)
        machine.candidate_frame(b"5", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [Upgraded()])
        machine = probing()
        machine.candidate_frame(b"2probe", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [SendToCandidate(frame(b"3probe"))])

    def test_nonsense(self) -> None:
        """Anything else closes the candidate only, and another attempt is allowed."""
        for data in (b"4hello", b"2", b"xyz", b""):
            machine = session()
            machine.candidate_opened(0.0)
            machine.candidate_frame(data, binary=False, now=0.0)
            self.assertEqual(self.said(machine), [CloseCandidate()])
            machine.candidate_frame(b"5", binary=False, now=0.0)
            self.assertEqual((self.said(machine), machine.transport), ([], "polling"))
            self.assertTrue(machine.candidate_opened(0.0))

    def test_timeout(self) -> None:
        """It has ``upgrade_timeout``; polling goes on."""
        machine = session(V3)
        machine.candidate_opened(0.0)
        self.assertEqual(machine.deadline, 10.0)
        machine.tick(10.0)
        self.assertEqual(self.said(machine), [CloseCandidate()])
        self.assertTrue(machine.is_open)

    def test_second_candidate(self) -> None:
        """It is refused, the first one unharmed; so is one after the upgrade."""
        machine = probing()
        self.assertFalse(machine.candidate_opened(0.0))
        machine.candidate_frame(b"5", binary=False, now=0.0)
        self.assertFalse(machine.candidate_opened(0.0))
        self.assertTrue(machine.is_open)

    def test_candidate_dies(self) -> None:
        """Polling goes on, without noops."""
        machine = probing()
        machine.drop_candidate()
        machine.poll_arrived(0.0)
        machine.tick(1.0)
        self.assertEqual(self.said(machine), [CloseCandidate()])

    def test_session_ends(self) -> None:
        """The candidate goes with it."""
        machine = probing()
        machine.poll_arrived(0.0)
        machine.poll_lost()
        self.assertEqual(self.said(machine), [CloseCandidate(), Closed("transport error")])


class HeartbeatTests(Machine):
    def test_version_4(self) -> None:
        """A ping after the interval, the next an interval after the pong."""
        machine = session(transport="websocket")
        self.assertEqual(machine.deadline, 10.0)
        machine.tick(9.9)
        self.assertEqual(self.said(machine), [])
        machine.tick(10.0)
        self.assertEqual(self.said(machine), [SendBytes(frame(b"2"))])
        machine.frame_received(b"3", binary=False, now=12.0)
        self.assertEqual(machine.deadline, 22.0)

    def test_late_timers(self) -> None:
        """A little lateness does not add up; a long one leaves the client its whole time."""
        machine = session(transport="websocket")
        machine.tick(10.4)
        self.assertEqual(machine.deadline, 15.0)
        machine = session(transport="websocket")
        machine.tick(11.0)
        self.assertEqual(machine.deadline, 16.0)

    def test_version_4_only_pongs_count(self) -> None:
        """Messages are no sign of life."""
        machine = session(transport="websocket")
        machine.tick(10.0)
        machine.frame_received(b"4a", binary=False, now=14.0)
        self.said(machine)
        self.assertEqual(machine.deadline, 15.0)
        machine.tick(15.0)
        self.assertEqual(self.said(machine), [CloseSocket(1008), Closed("ping timeout")])

    def test_unasked_pong(self) -> None:
        """It postpones the ping."""
        machine = session(transport="websocket")
        machine.frame_received(b"3", binary=False, now=5.0)
        self.assertEqual(machine.deadline, 15.0)

    def test_client_ping_in_version_4(self) -> None:
        """It is a violation."""
        machine = session(transport="websocket")
        machine.frame_received(b"2", binary=False, now=0.0)
        self.assertEqual(self.said(machine), [CloseSocket(1008), Closed("forced close")])

    def test_version_3(self) -> None:
        """Pings are answered at once and without their data; any packet counts."""
        machine = session(V3, "websocket")
        self.assertEqual(machine.deadline, 15.0)
        machine.frame_received(b"2x", binary=False, now=3.0)
        self.assertEqual(self.said(machine), [SendBytes(frame(b"3"))])
        self.assertEqual(machine.deadline, 18.0)
        machine.frame_received(b"4a", binary=False, now=4.0)
        machine.frame_received(b"3", binary=False, now=5.0)
        self.assertEqual(machine.deadline, 20.0)
        self.said(machine)
        machine.tick(20.0)
        self.assertEqual(self.said(machine), [CloseSocket(1008), Closed("ping timeout")])

    def test_polling(self) -> None:
        """The ping waits for the next GET; without a pong the waiting GET gets the close packet."""
        machine = session()
        machine.tick(10.0)
        machine.poll_arrived(11.0)
        self.assertEqual(self.said(machine), [answer(b"2")])
        machine.poll_arrived(12.0)
        machine.tick(15.0)
        self.assertEqual(self.said(machine), [answer(b"1"), Closed("ping timeout")])


INPUTS: dict[str, Callable[[EioSession, float], object]] = {
    "get": lambda m, now: m.poll_arrived(now),
    "get lost": lambda m, now: m.poll_lost(),
    "post": lambda m, now: m.post_begun(),
    "body": lambda m, now: m.post_received(b"4a", octets=False, now=now),
    "bad body": lambda m, now: m.post_received(b"x", octets=False, now=now),
    "post lost": lambda m, now: m.post_lost(),
    "frame": lambda m, now: m.frame_received(b"4a", binary=False, now=now),
    "candidate": lambda m, now: m.candidate_opened(now),
    "probe": lambda m, now: m.candidate_frame(b"2probe", binary=False, now=now),
    "switch": lambda m, now: m.candidate_frame(b"5", binary=False, now=now),
    "candidate dropped": lambda m, now: m.drop_candidate(),
    "tick": lambda m, now: m.tick(now),
    "send": lambda m, now: m.send(message("x")),
    "close": lambda m, now: m.close("x", now),
    "lost": lambda m, now: m.socket_lost(),
}


class AnyOrderTests(Machine):
    @BRISK
    @given(st.lists(st.sampled_from(sorted(INPUTS)), max_size=30), st.sampled_from([V3, V4]))
    def test_any_order(self, names: list[str], form: Format) -> None:
        """Whatever happens in whatever order: GETs and answers match, the end is told once and is the end."""
        machine = session(form)
        gets = answers = ends = 0
        for now, name in enumerate(names):
            try:
                INPUTS[name](machine, float(now))
            except HttpRefusal:
                gets -= name == "get"
            gets += name == "get"
            for output in self.said(machine):
                answers += isinstance(output, AnswerPoll)
                ends += isinstance(output, Closed)
                if isinstance(output, MessageReceived):
                    self.assertEqual(ends, 0)
            self.assertLessEqual(answers, gets)
        self.assertEqual(ends, 0 if machine.is_open else 1)
        self.assertEqual(machine.deadline is None, machine.state is State.CLOSED)
