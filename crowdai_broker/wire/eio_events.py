"""What an Engine.IO session tells its owner: facts for the application, orders for its transport."""

from __future__ import annotations

import msgspec


class MessageReceived(msgspec.Struct, frozen=True, gc=False):
    """A message came in: UTF-8 text, or bytes if ``binary``."""

    data: bytes
    binary: bool


class Upgraded(msgspec.Struct, frozen=True):
    """The candidate WebSocket is now the session's transport; whoever holds it moves it there."""


class Closed(msgspec.Struct, frozen=True):
    """The session is over for the application; told exactly once.

    :ivar reason: ``transport close``, ``transport error``, ``ping timeout``, ``parse error`` or what the
        application said.
    """

    reason: str


class AnswerPoll(msgspec.Struct, frozen=True):
    """Answer the pending GET with 200 and this body."""

    body: bytes
    content_type: bytes


class CutPost(msgspec.Struct, frozen=True):
    """Cut the connection of the POST that is still coming in (a second one overlapped it)."""


class SendBytes(msgspec.Struct, frozen=True):
    """Write these bytes (whole WebSocket frames, joined) to the session's WebSocket."""

    data: bytes


class PauseWrites(msgspec.Struct, frozen=True):
    """What was written is to arrive alone: call ``resume_writes`` some milliseconds later."""


class SendToCandidate(msgspec.Struct, frozen=True):
    """Write these bytes (one WebSocket frame) to the WebSocket that tries to become the transport."""

    data: bytes


class CloseSocket(msgspec.Struct, frozen=True):
    """Close the session's WebSocket; ``code`` ``None`` is a close frame without one."""

    code: int | None = None


class CloseCandidate(msgspec.Struct, frozen=True):
    """Close the candidate WebSocket only."""


Output = (
    MessageReceived
    | Upgraded
    | Closed
    | AnswerPoll
    | CutPost
    | SendBytes
    | PauseWrites
    | SendToCandidate
    | CloseSocket
    | CloseCandidate
)
