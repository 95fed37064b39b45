"""Drives socketIO-client-2, the library under the participants' client. README.rst says in what words.

The library receives only inside its ``wait``: the main thread stays in there, and another one carries out
the commands, as the library's own heartbeat does.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from urllib.parse import urlsplit

from socketIO_client import SocketIO, SocketIONamespace

from .agent_words import EVENTS, commands, pack, say, unpack

TRANSPORTS = {
    "polling": ["xhr-polling"],
    "websocket": ["websocket"],
    "upgrade": ["xhr-polling", "websocket"],
}


class Watched(SocketIONamespace):  # type: ignore[misc]
    """A namespace that reports all that happens to it."""

    def initialize(self) -> None:
        """Listen for the events of the scenarios."""
        for event in EVENTS:
            self.on(event, lambda *args, event=event: self.heard(event, *args))

    def heard(self, event: str, *args: Any) -> None:
        """Report an event; if its last argument acknowledges, acknowledge with the others."""
        answer = args[-1] if args and callable(args[-1]) else None
        values = args[:-1] if answer else args
        say("event", nsp=self.path or "/", event=event, args=pack(values))
        if answer:
            answer(*values)

    def on_connect(self) -> None:
        """Report the first connection."""
        say("connect", nsp=self.path or "/")

    def on_reconnect(self) -> None:
        """Report a later connection."""
        say("connect", nsp=self.path or "/")

    def on_disconnect(self) -> None:
        """Report the end of a connection."""
        say("disconnect", nsp=self.path or "/")

    def on_error(self, data: object) -> None:
        """Report a refusal."""
        say("refused", nsp=self.path or "/", reason=data)


def connect(url: str, transports: str, namespaces: list[str]) -> Any:
    """Connect and join the namespaces."""
    address = urlsplit(url)
    io = SocketIO(address.hostname, address.port, Watched, transports=TRANSPORTS[transports])
    say("transport", name={"xhr-polling": "polling"}.get(io.transport_name, io.transport_name))
    for nsp in namespaces:
        if nsp != "/":
            # Its define() would wait for ever for a namespace that is refused.
            io._namespace_by_path[nsp] = Watched(io, nsp)
            io.connect(nsp)
    return io


def emit(io: Any, nsp: str, event: str, args: list[Any], ack: int | None) -> None:
    """Emit; the library takes attachments as bytearrays."""
    values = unpack(args, bytearray)
    if ack is not None:
        values.append(lambda *answer: say("ack", ack=ack, args=pack(answer)))
    io.emit(event, *values, path="" if nsp == "/" else nsp)


def obey(io: Any, closing: threading.Event) -> None:
    """Carry out the commands; the end of input ends the process, whatever the main thread waits for."""
    for line in commands():
        match line["do"]:
            case "emit":
                emit(io, line["nsp"], line["event"], line["args"], line.get("ack"))
            case "leave":
                io.disconnect(line["nsp"])
            case "close":
                closing.set()
    os._exit(0)


def main() -> None:
    """Connect as the first line says, then do what the others say."""
    first, closing = next(commands()), threading.Event()
    io = connect(first["url"], first["transports"], first["namespaces"])
    threading.Thread(target=obey, args=[io, closing], daemon=True).start()
    while not closing.is_set():
        io.wait(seconds=0.1)
    io.disconnect()
    threading.Event().wait()  # only the end of input is still to come


if __name__ == "__main__":
    main()
