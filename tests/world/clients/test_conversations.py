"""Each client library, by each transport: what it says arrives, and what it is told it understands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from .agents import TRANSPORTS, Agent, libraries
from .cases import ClientCase, shared_server

VALUES: tuple[list[Any], ...] = (
    [],
    ["é€😀"],
    [None, True, -1.5, 0, ""],
    [{"a": [{"b": [[], {}]}]}, [1, [2, [3]]]],
)
"""Arguments without bytes."""

BINARY: tuple[list[Any], ...] = (
    [b"\x00\x80\xff"],
    [{"x": [b"abc", {"y": bytes(range(256))}]}, "between", b"last"],
)
"""Arguments with bytes; some clients stumble over numbers beside them."""


class ConversationTests(ClientCase):
    """socket.io-client 4."""

    library: ClassVar[str] = "socket.io-client 4"

    def each_transport(self, *namespaces: str) -> Iterator[Agent]:
        """Yield an agent of this library for every transport, connected."""
        for transport in TRANSPORTS:
            agent = self.agent(libraries()[self.library])
            agent.open(shared_server(), transport, ("/", *namespaces))
            self.connected(agent, transport)
            yield agent
            agent.stop()

    def test_namespaces(self) -> None:
        """Of two more namespaces one is joined and greeted, the other refused with the reason."""
        for agent in self.each_transport("/custom", "/random"):
            agent.expect(saw="connect", nsp="/custom")
            self.assertEqual(agent.heard("auth", "/custom"), [{}], agent.name)
            refused = agent.expect(saw="refused", nsp="/random")
            self.assertEqual(refused["reason"], "Invalid namespace", agent.name)
            agent.emit("message", "there", nsp="/custom")
            self.assertEqual(agent.heard("message-back", "/custom"), ["there"], agent.name)
            agent.leave("/custom")
            self.assert_echoes(agent, "still here")

    def test_put_out(self) -> None:
        """A client that is put out of one namespace learns of it and stays in the other."""
        for agent in self.each_transport("/custom"):
            agent.expect(saw="connect", nsp="/custom")
            agent.emit("put-me-out", nsp="/custom")
            agent.expect(saw="disconnect", nsp="/custom")
            self.assert_echoes(agent, "still here")

    def test_messages(self) -> None:
        """Events with and without bytes come back as they were sent."""
        for agent in self.each_transport():
            for values in (*VALUES, *BINARY):
                agent.emit("message", *values)
                self.assertEqual(agent.heard("message-back"), values, agent.name)

    def test_acknowledgements(self) -> None:
        """The server acknowledges the client's events, and the client the server's."""
        for agent in self.each_transport():
            for number, values in enumerate((*VALUES, *BINARY)):
                agent.emit("message-with-ack", *values, ack=number)
                self.assertEqual(agent.answer(number), values, agent.name)
                agent.emit("ask-me", *values)
                self.assertEqual(agent.heard("question"), values, agent.name)
                self.assertEqual(agent.heard("answered"), values, agent.name)

    def test_many(self) -> None:
        """500 messages sent at once come back, each once and in order."""
        for agent in self.each_transport():
            for number in range(500):
                agent.emit("message", str(number))
            heard = [agent.heard("message-back")[0] for _ in range(500)]
            self.assertEqual(heard, [str(number) for number in range(500)], agent.name)

    def test_large(self) -> None:
        """200 KB come back, as text beyond ASCII and as bytes."""
        for agent in self.each_transport():
            for value in ("é" * 100_000, bytes(range(250)) * 800):
                agent.emit("message", value)
                self.assertEqual(agent.heard("message-back"), [value], agent.name)


class JavaScript3Tests(ConversationTests):
    """socket.io-client 3."""

    library = "socket.io-client 3"


class JavaScript2Tests(ConversationTests):
    """socket.io-client 2, the browsers of before 2020."""

    library = "socket.io-client 2"


class Python5Tests(ConversationTests):
    """python-socketio 5."""

    library = "python-socketio 5"


class Python4Tests(ConversationTests):
    """python-socketio 4."""

    library = "python-socketio 4"


class OldPythonTests(ConversationTests):
    """socketIO-client-2, which the participants' client in the field is made of."""

    library = "socketIO-client-2"
