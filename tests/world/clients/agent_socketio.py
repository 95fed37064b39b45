"""Drives python-socketio, version 4 or 5, whichever the interpreter has. README.rst says in what words."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import socketio

from .agent_words import EVENTS, commands, pack, say, unpack

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}


def in_arrival_order(client: Any) -> None:
    """Have messages handled one after another, as they come.

    Both versions start a thread for each, and the system may run those in any order: an attachment would
    sometimes overtake its event.
    """
    one_at_a_time, start = ThreadPoolExecutor(1), client.eio.start_background_task

    def start_in_order(target: Callable[..., object], *args: object, **kwargs: object) -> object:
        if target != client.eio.handlers["message"]:
            return start(target, *args, **kwargs)
        handled = one_at_a_time.submit(target, *args, **kwargs)
        handled.add_done_callback(lambda done: done.result())  # logs what the handler raised
        return handled

    client.eio.start_background_task = start_in_order


def listener(nsp: str, event: str) -> Callable[..., object]:
    """Return a handler that reports an event and acknowledges a ``question`` with its arguments."""

    def heard(*args: object) -> object:
        say("event", nsp=nsp, event=event, args=pack(args))
        return args if event == "question" else None

    return heard


def watch(client: Any, nsp: str) -> None:
    """Report all that happens to ``nsp``."""

    def connected() -> None:
        say("connect", nsp=nsp)

    def disconnected(*_reason: object) -> None:
        say("disconnect", nsp=nsp)

    def refused(reason: object = "") -> None:
        # Version 5 hands over the server's object, version 4 its text.
        say("refused", nsp=nsp, reason=reason["message"] if isinstance(reason, dict) else reason)

    client.on("connect", connected, namespace=nsp)
    client.on("disconnect", disconnected, namespace=nsp)
    client.on("connect_error", refused, namespace=nsp)
    for event in EVENTS:
        client.on(event, listener(nsp, event), namespace=nsp)


def connect(client: Any, url: str, transports: str, namespaces: list[str]) -> None:
    """Connect; the upgrade, if any, is over when the client's own call returns."""
    for nsp in namespaces:
        watch(client, nsp)
    # Version 5 would wait for all of them to be accepted, and give up the connection if one is not.
    extra = {"wait": False} if version("python-socketio").startswith("5.") else {}
    client.connect(url, transports=TRANSPORTS[transports], namespaces=namespaces, **extra)
    say("transport", name=client.transport())


def emit(client: Any, nsp: str, event: str, args: list[Any], ack: int | None) -> None:
    """Emit; a tuple is several arguments, and its bytes become attachments."""

    def answered(*values: object) -> None:
        say("ack", ack=ack, args=pack(values))

    client.emit(event, tuple(unpack(args)), namespace=nsp, callback=None if ack is None else answered)


def leave(client: Any, nsp: str) -> None:
    """Leave one namespace: neither version has a call of its own for it, so send the packet."""
    client._send_packet(socketio.packet.Packet(socketio.packet.DISCONNECT, namespace=nsp))


def main() -> None:
    """Do what the lines of the input say."""
    client = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)
    in_arrival_order(client)
    for line in commands():
        match line["do"]:
            case "open":
                connect(client, line["url"], line["transports"], line["namespaces"])
            case "emit":
                emit(client, line["nsp"], line["event"], line["args"], line.get("ack"))
            case "leave":
                leave(client, line["nsp"])
            case "close":
                client.disconnect()
    client.disconnect()


if __name__ == "__main__":
    main()
