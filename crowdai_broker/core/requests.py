"""Participants' requests, checked before they are believed.

Each reader takes what came over the wire, whatever it is, and returns a typed value or raises
:class:`~crowdai_broker.errors.PeerError` with a text that says which member is wrong and what to send.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ..errors import PeerError

MAX_NAME = 256  # characters of a channel, a challenge's or a function's name, an idempotency key
RESERVED_CHANNELS = frozenset(
    {
        "connect",
        "connect_error",
        "connect_timeout",
        "disconnect",
        "disconnecting",
        "error",
        "newListener",
        "ping",
        "pong",
        "reconnect",
        "removeListener",
    }
)
_FLAGS = {True: True, False: False, "true": True, "false": False, None: False}


class Authenticate(Struct, frozen=True):
    """``authenticate``: who asks, and for which challenge."""

    api_key: str
    challenge: str
    client_version: str


class ExecuteFunction(Struct, frozen=True):
    """``execute_function``: what is to be graded.

    :ivar items: the data of each job; never empty.
    :ivar has_code: code came with it, which is not kept here.
    """

    response_channel: str
    session_token: str
    api_key: str
    challenge: str
    grader_id: str
    function_name: str
    items: tuple[Any, ...]
    parallel: bool
    dry_run: bool
    idempotency_key: str
    has_code: bool


def read_object(args: list[Any], event: str) -> dict[str, Any]:
    """Return the one object that every request of ours has as its argument."""
    if len(args) != 1 or not isinstance(args[0], dict):
        raise PeerError(f"'{event}' takes exactly one argument, an object with the request's parameters.")
    return args[0]


def read_authenticate(args: list[Any]) -> Authenticate:
    """Read ``{"API_KEY", "challenge_id" | "challenge_client_name", "client_version"}``."""
    request = read_object(args, "authenticate")
    return Authenticate(
        api_key=read_text(request, "API_KEY", "api_key"),
        challenge=read_text(request, "challenge_client_name", "challenge_id"),
        client_version=read_optional_text(request, "client_version"),
    )


def read_session_token(args: list[Any], event: str) -> str:
    """Read the token of a request that has little else."""
    return read_text(read_object(args, event), "session_token")


def channel_of(args: list[Any]) -> str:
    """Return the ``response_channel`` of a request that may be wrong otherwise, ``""`` if it has none."""
    channel = args[0].get("response_channel") if args and isinstance(args[0], dict) else None
    usable = isinstance(channel, str) and len(channel) <= MAX_NAME and channel not in RESERVED_CHANNELS
    return channel if usable and isinstance(channel, str) else ""


def read_execute_function(args: list[Any]) -> ExecuteFunction:
    """Read an ``execute_function`` request."""
    request = read_object(args, "execute_function")
    channel = read_text(request, "response_channel")
    if channel in RESERVED_CHANNELS:
        raise PeerError(f"The response_channel {channel!r} is a reserved event name; choose another.")
    token = request.get("session_token")
    if token is None:
        raise PeerError("Not authenticated: send 'authenticate' first and pass its session_token.")
    return ExecuteFunction(
        response_channel=channel,
        session_token=read_text(request, "session_token"),
        api_key=read_text(request, "api_key"),
        challenge=read_text(request, "challenge_client_name", "challenge_id"),
        grader_id=read_optional_text(request, "grader_id"),
        function_name=read_text(request, "function_name"),
        items=_items(request),
        parallel=read_flag(request, "parallel"),
        dry_run=read_flag(request, "dry_run"),
        idempotency_key=read_optional_text(request, "idempotency_key"),
        has_code=request.get("code") is not None,
    )


def _items(request: dict[str, Any]) -> tuple[Any, ...]:
    """Return one item a job (the rule of the original broker, which clients rely on)."""
    if "data" not in request:
        raise PeerError("Missing parameter: data.")
    data = request["data"]
    if isinstance(data, list) and not data:
        raise PeerError("The parameter data is an empty list: there is nothing to grade.")
    if not read_flag(request, "parallel"):
        return (data[0],) if isinstance(data, list) and len(data) == 1 else (data,)
    if not isinstance(data, list):
        raise PeerError("With parallel=true the parameter data must be a list, one item a job.")
    return tuple(data)


def read_text(request: dict[str, Any], *names: str) -> str:
    """Return a string member under the first of ``names`` that is present."""
    for name in names:
        value = request.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise PeerError(f"The parameter {name} must be a string.")
        text = value.strip()
        if not text:
            raise PeerError(f"The parameter {name} is empty.")
        if len(text) > MAX_NAME:
            raise PeerError(f"The parameter {name} is longer than {MAX_NAME} characters.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise PeerError(f"The parameter {name} holds half of a surrogate pair, which is no text.")
        return text
    raise PeerError(f"Missing parameter: {' or '.join(names)}.")


def read_optional_text(request: dict[str, Any], name: str) -> str:
    """Return a string member, ``""`` where there is none."""
    value = request.get(name)
    if value is None or value is False or value == "":  # the old client sends False for no grader_id
        return ""
    return read_text(request, name)


def read_flag(request: dict[str, Any], name: str) -> bool:
    """Return a member that is true or false, in a string too; false where there is none."""
    value = request.get(name)
    if isinstance(value, bool | str | None) and value in _FLAGS:
        return _FLAGS[value]
    raise PeerError(f"The parameter {name} must be true or false.")


class Resume(Struct, frozen=True):
    """Which execution of the session's participant is meant: by its id, or by its idempotency key."""

    session_token: str
    execution_id: str
    idempotency_key: str
    after_event_no: int


def read_resume(args: list[Any]) -> Resume:
    """Read ``{"session_token", "execution_id", "after_event_no": 0}``."""
    request = read_object(args, "resume")
    after = request.get("after_event_no")
    after = 0 if after is None else after
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < 1 << 53:
        raise PeerError("The parameter after_event_no must be the number of an event, or 0 for all.")
    return Resume(read_text(request, "session_token"), read_text(request, "execution_id"), "", after)


def read_cancel(args: list[Any]) -> Resume:
    """Read ``{"session_token", "execution_id"}``."""
    request = read_object(args, "cancel")
    return Resume(read_text(request, "session_token"), read_text(request, "execution_id"), "", 0)


def read_status(args: list[Any]) -> Resume:
    """Read ``{"session_token", "execution_id" | "idempotency_key"}``."""
    request = read_object(args, "execution_status")
    token = read_text(request, "session_token")
    if request.get("execution_id") is None and request.get("idempotency_key") is not None:
        return Resume(token, "", read_text(request, "idempotency_key"), 0)
    return Resume(token, read_text(request, "execution_id"), "", 0)
