"""One Engine.IO session: what is allowed when, without sockets, timers or a clock.

Inputs are methods (a GET arrived, a frame came in, the time is now ...); what follows from them is read off
:meth:`EioSession.take` as the frozen facts and orders of :mod:`crowdai_broker.wire.eio_events`; the next
moment at which :meth:`EioSession.tick` has something to do is :attr:`EioSession.deadline`.

A session is ``OPEN`` until something ends it. A polling session that *we* end while no GET is there is
``DRAINING``: the application has been told, but what is buffered and the close packet are still fetched, for
at most ``drain_timeout``. Then it is ``CLOSED`` and its owner forgets it. Facts: engine.io-protocol, and what
was measured on engine.io 3.6.2 and 6.6.12.
"""

from __future__ import annotations

from crowdai_broker.wire import eio_packet, faults
from crowdai_broker.wire.eio_buffer import OutgoingBuffer
from crowdai_broker.wire.eio_candidate import Candidate, Step
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
from crowdai_broker.wire.eio_handshake import TransportName, open_packet
from crowdai_broker.wire.eio_heartbeat import Beat, heartbeat
from crowdai_broker.wire.eio_packet import Packet, PacketType, decode_frame, encode_frame
from crowdai_broker.wire.eio_payload import Format, decode_payload, encode_frames, encode_payload, post_bound
from crowdai_broker.wire.eio_settings import SessionSettings, State
from crowdai_broker.wire.ws_frame import encode_ws_frame


class EioSession:
    """The state machine of one session.

    :ivar max_message_bytes: bound of one text packet, and of a payload; may be raised later.
    :ivar max_binary_bytes: bound of one binary packet; may be raised later.
    :ivar writable: whether the WebSocket takes more bytes; its owner keeps it current.
    """

    def __init__(
        self, sid: str, form: Format, transport: TransportName, settings: SessionSettings, now: float
    ) -> None:
        self.sid = sid
        self.form = form
        self.transport: TransportName = transport
        self.state = State.OPEN
        self.writable = True
        self.max_message_bytes = settings.max_message_bytes
        self.max_binary_bytes = settings.max_message_bytes
        self._settings = settings
        self._heartbeat = heartbeat(form.version, now, settings.ping_interval, settings.ping_timeout)
        self._buffer = OutgoingBuffer(settings.max_buffered_packets, settings.max_buffered_bytes)
        self._outputs: list[Output] = []
        self._polling = False
        self._posting = False
        self._paused = transport == "websocket"  # the answer to its handshake is to arrive alone, too
        if self._paused:
            self._outputs.append(PauseWrites())
        self._candidate: Candidate | None = None
        self._drained_by: float | None = None
        self._may_return = False
        self._buffer.put(open_packet(sid, transport, settings))
        self._buffer.mark()

    # -- what comes out

    def take(self) -> list[Output]:
        """Everything that followed since the last call, in order."""
        outputs, self._outputs = self._outputs, []
        return outputs

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` is wanted next; ``None``: never again."""
        if self.state is State.CLOSED:
            return None
        if self._drained_by is not None:
            return self._drained_by
        soonest = self._heartbeat.deadline
        return soonest if self._candidate is None else min(soonest, self._candidate.deadline)

    @property
    def is_open(self) -> bool:
        """Whether messages still flow."""
        return self.state is State.OPEN

    @property
    def max_post_bytes(self) -> int:
        """Bound of a POST's body: that of a packet, or what the attachments allowed need in base64."""
        return post_bound(self.max_message_bytes, self.max_binary_bytes)

    @property
    def max_frame_bytes(self) -> int:
        """Bound of a WebSocket message."""
        return max(self.max_message_bytes, self.max_binary_bytes)

    # -- what the application does

    def send(self, packet: Packet) -> None:
        """Queue a packet; it goes out with the next :meth:`flush`. After the end it is dropped."""
        if self.state is not State.OPEN:
            return
        try:
            self._buffer.put(packet)
        except faults.SlowPeer as error:
            self._buffer.clear()
            self.fail(error)

    def mark(self) -> None:
        """Let what is queued so far go out in a write of its own, if it goes by WebSocket.

        Who begins to listen for a packet only when it has the one before (the public conformance suites do)
        misses the second of two that arrive in one piece; the reference writes each frame apart.
        """
        if self.state is State.OPEN:
            self._buffer.mark()

    def resume_writes(self) -> None:
        """What a mark kept back may go out with the next :meth:`flush`."""
        self._paused = False

    def flush(self) -> None:
        """Turn what is queued into an answer or into one write, if the transport can take it."""
        if not self._buffer:
            return
        if self._polling:
            self._answer(self._buffer.take(self._settings.max_packets_per_answer))
        elif self.transport == "websocket" and self.writable and not self._paused:
            self._send_frames()

    def close(self, reason: str, now: float, *, may_return: bool = False) -> None:
        """End the session from our side; what is queued is still delivered where a way is there.

        :param may_return: without the close packet, after which python-engineio's clients stay away.
        """
        if self.state is not State.OPEN:
            return
        self._may_return = may_return
        if self.transport == "websocket":
            self._send_the_rest()
        elif not self._close_pending_poll() and (self._buffer or not may_return):
            self.drop_candidate()
            self._drained_by = now + self._settings.drain_timeout
            self.state = State.DRAINING
            self._outputs.append(Closed(reason))
            return
        self._end(reason, None)

    def fail(self, error: faults.WireError) -> None:
        """End the session at once because of what the peer did."""
        if self.state is State.CLOSED:
            return
        if self._polling:
            self._answer([eio_packet.CLOSE])
        self._end(error.reason, error.close_code)

    # -- polling

    def poll_arrived(self, now: float) -> None:
        """A GET: it is answered (:class:`AnswerPoll`) now or as soon as there is something to say.

        :raises HttpRefusal: code 1 or 3, or 400 without a code for a second GET, which ends the session.
        """
        self._check_polling()
        if self._polling:
            self.fail(faults.Overlap("two GETs at once"))
            raise faults.HttpRefusal(400, None, "overlap")
        self._polling = True
        if self.state is State.DRAINING:
            self._drain()
        elif self._buffer:
            self.flush()
        elif self._candidate is not None:
            self._candidate.poll_arrived(now)

    def poll_lost(self) -> None:
        """The pending GET's connection is gone."""
        if self._polling:
            self._polling = False
            self._end("transport error", None)

    def post_begun(self) -> None:
        """The head of a POST came in; its body is to follow.

        :raises HttpRefusal: code 1 or 3, or 400 without a code for a second POST, which ends the session.
        """
        self._check_polling()
        if self._posting:
            self._outputs.append(CutPost())
            self.fail(faults.Overlap("two POSTs at once"))
            raise faults.HttpRefusal(400, None, "overlap")
        self._posting = True

    def post_lost(self) -> None:
        """The POST's connection is gone before its end, or its body was larger than allowed."""
        if self._posting:
            self._posting = False
            self.fail(faults.Overlap("a POST was not finished"))

    def post_refused(self) -> None:
        """The POST ended with an error status that leaves the session unharmed (413 in protocol 4)."""
        self._posting = False

    def post_received(self, body: bytes, *, octets: bool, now: float) -> None:
        """The whole body of a POST; it is answered ``ok`` whatever is in it.

        :param octets: its content type is exactly ``application/octet-stream``.
        :raises HttpRefusal: 400 without a code if protocol 4 gets octets, which ends the session.
        """
        self._posting = False
        if self.state is not State.OPEN:
            return
        if octets and self.form.version == 4:
            self.fail(faults.Overlap("application/octet-stream in protocol 4"))
            raise faults.HttpRefusal(400, None, "content type")
        limit = self._settings.max_packets_per_post
        decoded = decode_payload(body, self.form, octets=octets, max_packets=limit)
        for packet in decoded.packets:
            if self.state is not State.OPEN:
                return
            self._packet(packet, now)
        if decoded.error is not None and self.state is State.OPEN:
            self.fail(decoded.error)

    # -- websocket

    def frame_received(self, data: bytes, *, binary: bool, now: float) -> None:
        """A message on the session's WebSocket."""
        if self.state is not State.OPEN:
            return
        try:
            packet = decode_frame(data, self.form.version, binary=binary)
        except faults.WireError as error:
            self.fail(error)
        else:
            self._packet(packet, now)

    def socket_lost(self) -> None:
        """The session's WebSocket is gone."""
        self._end("transport close", None)

    def candidate_opened(self, now: float) -> bool:
        """A WebSocket with this sid opened; ``False``: it has no chance, close it."""
        taken = self.transport == "websocket" or self._candidate is not None
        if taken or self.state is not State.OPEN:
            return False
        self._candidate = Candidate(self.form.version, now + self._settings.upgrade_timeout)
        return True

    def candidate_frame(self, data: bytes, *, binary: bool, now: float) -> None:
        """A message on the candidate: a probe, the upgrade, or its end (of the candidate only)."""
        if self._candidate is None:
            return
        step = self._candidate.frame(data, binary=binary)
        if step is Step.PROBE:
            self._answer_probe()
        elif step is Step.UPGRADE:
            self._switch(now)
        else:
            self.drop_candidate()

    def drop_candidate(self) -> None:
        """The candidate is gone or has to go; polling goes on and another attempt is allowed."""
        if self._candidate is not None:
            self._candidate = None
            self._outputs.append(CloseCandidate())

    # -- time

    def tick(self, now: float) -> None:
        """Do what is due; safe to call early."""
        if self.state is State.CLOSED:
            return
        if self._drained_by is not None:
            if now >= self._drained_by:
                self._end("ping timeout", None)
            return
        if self._candidate is not None:
            self._tick_candidate(self._candidate, now)
        beat = self._heartbeat.due(now)
        if beat is Beat.SEND_PING:
            self.send(eio_packet.PING)
            self.flush()
        elif beat is Beat.GIVE_UP:
            self.fail(faults.PingTimeout("no sign of life in time"))

    # -- inside

    def _check_polling(self) -> None:
        if self.state is State.CLOSED:
            raise faults.session_unknown()
        if self.transport != "polling":
            raise faults.bad_request()

    def _packet(self, packet: Packet, now: float) -> None:
        limit = self.max_binary_bytes if packet.binary else self.max_message_bytes
        if len(packet.data) > limit:
            self.fail(faults.TooBig("a packet above its bound"))
            return
        self._heartbeat.packet(now)
        if packet.type is PacketType.MESSAGE:
            self._outputs.append(MessageReceived(packet.data, packet.binary))
        elif packet.type is PacketType.PING:
            self._ping()
        elif packet.type is PacketType.PONG:
            self._heartbeat.pong(now)
        elif packet.type is PacketType.CLOSE:
            self._closed_by_peer()

    def _ping(self) -> None:
        if self.form.version == 3:
            self.send(eio_packet.PONG)
        else:
            self.fail(faults.Violation("a ping from a client of protocol 4"))

    def _closed_by_peer(self) -> None:
        if self._polling:
            self._answer([eio_packet.NOOP])
        self._end("transport close", None)

    def _answer_probe(self) -> None:
        frame, _ = encode_frame(eio_packet.PROBE_PONG, self.form.version)
        self._outputs.append(SendToCandidate(encode_ws_frame(frame, binary=False)))
        if self._polling:
            self.flush()
            self._noop()

    def _switch(self, now: float) -> None:
        if self._polling:
            self._answer([eio_packet.CLOSE])
        self._candidate = None
        self.transport = "websocket"
        self._heartbeat.packet(now)
        self._outputs.append(Upgraded())
        self.flush()

    def _tick_candidate(self, candidate: Candidate, now: float) -> None:
        if now >= candidate.until:
            self.drop_candidate()
        elif candidate.noop_is_due(now):
            self._noop()

    def _noop(self) -> None:
        if self._polling:
            self._answer([eio_packet.NOOP])

    def _answer(self, packets: list[Packet]) -> None:
        self._polling = False
        if self._candidate is not None:
            self._candidate.poll_answered()
        self._outputs.append(AnswerPoll(*encode_payload(packets, self.form)))

    def _send_the_rest(self) -> None:
        while self._buffer and self.writable:
            self._send_frames()

    def _send_frames(self) -> None:
        packets, self._paused = self._buffer.take_to_mark()
        self._outputs.append(SendBytes(encode_frames(packets, self.form)))
        if self._paused:
            self._outputs.append(PauseWrites())

    def _close_pending_poll(self) -> bool:
        """Whether everything still to be said, the farewell too, went into a pending GET."""
        if not self._polling or len(self._buffer) >= self._settings.max_packets_per_answer:
            self.flush()
            return False
        farewell = eio_packet.NOOP if self._may_return else eio_packet.CLOSE
        self._answer([*self._buffer.take(), farewell])
        return True

    def _drain(self) -> None:
        if self._buffer:
            self.flush()
        else:
            self._answer([eio_packet.NOOP, eio_packet.CLOSE])
            self.state = State.CLOSED
        if self._may_return and not self._buffer:
            self.state = State.CLOSED

    def _end(self, reason: str, code: int | None) -> None:
        if self.state is State.CLOSED:
            return
        told = self.state is State.DRAINING
        self.drop_candidate()
        self._buffer.clear()
        self._polling = False
        self.state = State.CLOSED
        if self.transport == "websocket":
            self._outputs.append(CloseSocket(code))
        if not told:
            self._outputs.append(Closed(reason))
