"""One Socket.IO connection over one Engine.IO session: namespaces, events, acknowledgements, violations.

Messages go in through :meth:`SioConnection.receive`, which answers what they mean; methods named after what
the application does answer the Engine.IO packets to send. No clock: ``now`` is in seconds of the caller's.
Facts: socket.io-protocol 4 and 5; what the reference does with violations was measured on 2.5 and 4.8.
"""

from __future__ import annotations

import enum
import urllib.parse
from collections import OrderedDict
from typing import Any, Final

import msgspec

from crowdai_broker.wire import sio_json
from crowdai_broker.wire.eio_packet import Packet as EioPacket
from crowdai_broker.wire.faults import PacketError, TooBig, Violation
from crowdai_broker.wire.sio_attachments import Pending
from crowdai_broker.wire.sio_events import (
    AckMissed,
    AckReceived,
    ConnectRequested,
    EventReceived,
    Left,
    SioEvent,
)
from crowdai_broker.wire.sio_packet import (
    ROOT,
    SioPacket,
    SioType,
    SioVersion,
    decode,
    encode,
    encode_values,
)

_EVENTS: Final = frozenset({SioType.EVENT, SioType.BINARY_EVENT})


class SioSettings(msgspec.Struct, frozen=True):
    """Bounds of one connection; times in seconds.

    :ivar max_early_packets: packets kept for a namespace while the application decides on its CONNECT.
    """

    connect_timeout: float = 45.0
    attachment_timeout: float = 45.0
    ack_timeout: float = 60.0
    max_namespaces: int = 32
    max_outstanding_acks: int = 1000
    max_early_packets: int = 100
    max_depth: int = sio_json.MAX_DEPTH


class _Stage(enum.Enum):
    PENDING = enum.auto()
    CONNECTED = enum.auto()


class SioConnection:
    """The state machine.

    :ivar max_attachment_bytes: bound of all attachments of one packet together; may be raised later.
    """

    def __init__(
        self,
        version: SioVersion,
        settings: SioSettings,
        now: float,
        *,
        max_attachment_bytes: int,
        ascii_json: bool = False,
    ) -> None:
        self.version = version
        self.max_attachment_bytes = max_attachment_bytes
        self._settings = settings
        self._ascii = ascii_json
        self._stages: dict[str, _Stage] = {}
        self._left_by_us: set[str] = set()
        self._early: dict[str, list[SioPacket]] = {}
        self._queued_connects: list[ConnectRequested] = []
        self._attachments: Pending | None = None
        self._acks: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._next_ack = 1
        self._join_by: float | None = now + settings.connect_timeout

    # -- the peer

    def begin(self) -> list[SioEvent]:
        """What a new connection means at once: protocol 4 connects ``/`` unasked."""
        if self.version == 5:
            return []
        self._stages[ROOT] = _Stage.PENDING
        return [ConnectRequested(ROOT, {})]

    def receive(self, data: bytes, *, binary: bool, now: float) -> list[SioEvent]:
        """What a message means.

        :raises WireError: nothing good; the connection is to be closed.
        """
        if binary:
            return self._attachment(data)
        if self._attachments is not None:
            raise PacketError("a packet where an attachment was due")
        packet = decode(data, self.version, self._settings.max_depth)
        if packet is None:
            return []
        if packet.attachments:
            self._attachments = Pending(packet, now + self._settings.attachment_timeout)
            return []
        return self._packet(packet)

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` is wanted next."""
        times = [self._join_by] if self._join_by is not None else []
        if self._attachments is not None:
            times.append(self._attachments.deadline)
        if self._acks:
            times.append(next(iter(self._acks.values())))
        return min(times, default=None)

    def tick(self, now: float) -> list[SioEvent]:
        """What the passing of time means.

        :raises WireError: no namespace was joined, or attachments did not come, in time.
        """
        if self._join_by is not None and now >= self._join_by:
            raise Violation("no namespace joined in time")
        if self._attachments is not None and now >= self._attachments.deadline:
            raise PacketError("attachments that do not come")
        missed: list[SioEvent] = []
        while self._acks and next(iter(self._acks.values())) <= now:
            (namespace, number), _ = self._acks.popitem(last=False)
            missed.append(AckMissed(namespace, number))
        return missed

    # -- the application

    def is_connected(self, namespace: str) -> bool:
        """Whether events of this namespace may be sent."""
        return self._stages.get(namespace) is _Stage.CONNECTED

    def accept(self, namespace: str, sid: str) -> tuple[list[EioPacket], list[SioEvent]]:
        """Let the peer into a namespace it asked for.

        :returns: the reply to send, and what the peer had already sent meanwhile.
        """
        self._stages[namespace] = _Stage.CONNECTED
        self._join_by = None
        payload = sio_json.encode({"sid": sid}) if self.version == 5 else b""
        reply = encode(SioType.CONNECT, namespace, payload)
        return [reply], [*self._early_events(namespace), *self._freed_connects(namespace)]

    def refuse(self, namespace: str, message: str, data: Any = None) -> list[EioPacket]:
        """Do not let the peer in; it may ask again. Protocol 4 has room for the message or the data only."""
        self._stages.pop(namespace, None)
        self._early.pop(namespace, None)
        payload: Any = {"message": message}
        if self.version == 4:
            payload = message if data is None else data
        elif data is not None:
            payload["data"] = data
        return [encode(SioType.CONNECT_ERROR, namespace, sio_json.encode(payload, ascii_only=self._ascii))]

    def event(self, namespace: str, values: list[Any], number: int | None = None) -> list[EioPacket]:
        """An event: its name and arguments.

        :raises TypeError: an argument is no JSON.
        """
        return encode_values(SioType.EVENT, namespace, values, number, ascii_only=self._ascii)

    def want_ack(self, namespace: str, now: float) -> int:
        """A number for an event that wants an acknowledgement.

        :raises TooBig: too many are outstanding.
        """
        if len(self._acks) >= self._settings.max_outstanding_acks:
            raise TooBig("too many acknowledgements outstanding")
        number = self._next_ack
        self._next_ack += 1
        self._acks[namespace, number] = now + self._settings.ack_timeout
        return number

    def acknowledge(self, namespace: str, number: int, args: list[Any]) -> list[EioPacket]:
        """The answer to an event with an id."""
        return encode_values(SioType.ACK, namespace, args, number, ascii_only=self._ascii)

    def leave(self, namespace: str) -> list[EioPacket]:
        """Disconnect the peer from a namespace; what it still sends there is passed over."""
        if not self.is_connected(namespace):
            return []
        self._forget(namespace)
        self._left_by_us.add(namespace)
        return [encode(SioType.DISCONNECT, namespace)]

    @property
    def ascii_json(self) -> bool:
        """Whether this peer needs ASCII-escaped JSON."""
        return self._ascii

    # -- inside

    def _attachment(self, data: bytes) -> list[SioEvent]:
        if self._attachments is None:
            raise PacketError("an attachment nobody announced")
        packet = self._attachments.add(data, self.max_attachment_bytes)
        if packet is None:
            return []
        self._attachments = None
        return self._packet(packet)

    def _packet(self, packet: SioPacket) -> list[SioEvent]:
        if packet.type is SioType.CONNECT:
            return self._connect(packet)
        stage = self._stages.get(packet.namespace)
        if stage is _Stage.PENDING:
            self._keep_early(packet)
            return []
        if stage is None:
            return self._stray(packet)
        return self._connected(packet)

    def _stray(self, packet: SioPacket) -> list[SioEvent]:
        if self.version == 5 and packet.namespace not in self._left_by_us:
            raise Violation("a packet for a namespace that is not connected")
        return []

    def _connected(self, packet: SioPacket) -> list[SioEvent]:
        if packet.type is SioType.DISCONNECT:
            self._forget(packet.namespace)
            return [Left(packet.namespace)]
        if packet.type is SioType.CONNECT_ERROR:
            if self.version == 5:
                raise Violation("a CONNECT_ERROR from a client")
            return []
        if packet.type not in _EVENTS:
            return self._acked(packet)
        if packet.data is not msgspec.UNSET:
            return [EventReceived(packet.namespace, packet.data[0], packet.data[1:], packet.id)]
        return []

    def _acked(self, packet: SioPacket) -> list[SioEvent]:
        if packet.id is None or self._acks.pop((packet.namespace, packet.id), None) is None:
            return []
        # socketIO-client-2 acknowledges without arguments by the id alone.
        args = [] if packet.data is msgspec.UNSET else packet.data
        return [AckReceived(packet.namespace, packet.id, args)]

    def _connect(self, packet: SioPacket) -> list[SioEvent]:
        namespace, auth = self._wanted(packet)
        if namespace in self._stages:
            if self.version == 5:
                raise Violation("a second CONNECT for a namespace")
            return []
        if len(self._stages) >= self._settings.max_namespaces:
            raise TooBig("too many namespaces on one connection")
        self._stages[namespace] = _Stage.PENDING
        self._left_by_us.discard(namespace)
        request = ConnectRequested(namespace, auth)
        if self.version == 4 and self._stages.get(ROOT) is _Stage.PENDING and namespace != ROOT:
            self._queued_connects.append(request)
            return []
        return [request]

    def _wanted(self, packet: SioPacket) -> tuple[str, dict[str, Any]]:
        if self.version == 5:
            return packet.namespace, {} if packet.data is msgspec.UNSET else packet.data
        name, _, query = packet.namespace.partition("?")
        try:
            return name, dict(urllib.parse.parse_qsl(query, keep_blank_values=True, max_num_fields=100))
        except ValueError:
            raise PacketError("a namespace's query beyond reason") from None

    def _keep_early(self, packet: SioPacket) -> None:
        waiting = self._early.setdefault(packet.namespace, [])
        if len(waiting) >= self._settings.max_early_packets:
            raise TooBig("too many packets before the reply to CONNECT")
        waiting.append(packet)

    def _early_events(self, namespace: str) -> list[SioEvent]:
        return [event for packet in self._early.pop(namespace, []) for event in self._packet(packet)]

    def _freed_connects(self, namespace: str) -> list[ConnectRequested]:
        if namespace != ROOT:
            return []
        freed, self._queued_connects = self._queued_connects, []
        return freed

    def _forget(self, namespace: str) -> None:
        self._stages.pop(namespace, None)
        for key in [key for key in self._acks if key[0] == namespace]:
            del self._acks[key]
