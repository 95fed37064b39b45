"""What can be set about a Socket.IO server; every bound is here."""

from __future__ import annotations

import msgspec

from crowdai_broker.wire.eio_settings import SessionSettings
from crowdai_broker.wire.sio_connection import SioSettings
from crowdai_broker.wire.sio_json import MAX_DEPTH


class SocketIOSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes. Defaults are the reference's where it has any.

    :ivar ping_interval: announced; who pings depends on the protocol version.
    :ivar ping_timeout: announced; socketIO-client-2 gives up its requests after it, so keep it above 1 s.
    :ivar upgrade_timeout: for a probing WebSocket.
    :ivar connect_timeout: for the first namespace of a connection.
    :ivar drain_timeout: for a polling client to fetch what is left after we closed.
    :ivar close_timeout: for a WebSocket's closing handshake, then it is cut.
    :ivar ack_timeout: for the client's acknowledgement of an event.
    :ivar attachment_timeout: for all attachments of one packet.
    :ivar max_message_bytes: of one packet and of one POST, until :meth:`Socket.allow` raises it.
    :ivar max_payload: announced as ``maxPayload``.
    :ivar max_buffered_bytes: waiting for a client that does not read; above it the client is closed.
    :ivar max_pending_handlers: unfinished asynchronous handlers of one connection.
    :ivar max_connections: Engine.IO sessions in all; 0: no limit.
    :ivar max_connections_per_address: from one address; 0: no limit.
    :ivar allowed_origins: beside our own; ``"*"`` allows every origin.
    :ivar cors: whether to answer allowed origins with CORS headers.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    connect_timeout: float = 45.0
    drain_timeout: float = 30.0
    close_timeout: float = 5.0
    ack_timeout: float = 60.0
    attachment_timeout: float = 45.0
    max_message_bytes: int = 1_000_000
    max_payload: int = 1_000_000
    max_buffered_bytes: int = 4_000_000
    max_buffered_packets: int = 10_000
    max_packets_per_post: int = 10_000
    max_outstanding_acks: int = 1000
    max_pending_handlers: int = 1000
    max_namespaces: int = 32
    max_rooms_per_socket: int = 1000
    max_json_depth: int = MAX_DEPTH
    max_connections: int = 0
    max_connections_per_address: int = 0
    allowed_origins: tuple[str, ...] = ()
    cors: bool = True

    def session(self) -> SessionSettings:
        """What one Engine.IO session needs of this."""
        return SessionSettings(
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            upgrade_timeout=self.upgrade_timeout,
            drain_timeout=self.drain_timeout,
            max_payload=self.max_payload,
            max_message_bytes=self.max_message_bytes,
            max_buffered_bytes=self.max_buffered_bytes,
            max_buffered_packets=self.max_buffered_packets,
            max_packets_per_post=self.max_packets_per_post,
        )

    def connection(self) -> SioSettings:
        """What one Socket.IO connection needs of this."""
        return SioSettings(
            connect_timeout=self.connect_timeout,
            attachment_timeout=self.attachment_timeout,
            ack_timeout=self.ack_timeout,
            max_namespaces=self.max_namespaces,
            max_outstanding_acks=self.max_outstanding_acks,
            max_depth=self.max_json_depth,
        )
