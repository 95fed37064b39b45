"""A start that cannot succeed: one clear line, a status that is not 0, and nothing listens."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any, ClassVar

from ..toolbox.ports import free_port
from .case import WorldCase
from .programs import Broker, until
from .world import Plan, World


class StartTests(WorldCase):
    """What an operator gets wrong."""

    plan: ClassVar[Plan] = Plan(challenges={"Plain": {}})

    @classmethod
    def begin(cls, world: World) -> None:
        """Start no broker."""

    def assert_fails(self, broker: Broker, *told: str) -> None:
        """It ends by itself, with one line that tells what is wrong."""
        self.world.brokers.remove(broker)
        self.addCleanup(broker.stop)
        status = broker.wait()
        text = broker.errors() + "\n".join(str(line) for line in broker.unread())
        self.assertNotEqual(status, 0, text)
        self.assertNotIn("Traceback", text)
        lines = [line for line in text.splitlines() if all(part in line for part in told)]
        self.assertEqual(len(lines), 1, text)
        for secret in self.world.secrets:
            self.assertNotIn(secret, text)

    def changed(self, **tables: Mapping[str, Any]) -> Broker:
        """Launch a broker with some keys of its file changed."""
        return self.world.launch(self.world.config(**tables))

    def test_no_redis(self) -> None:
        """Redis is not there: which key says where it should be, and why it cannot be reached."""
        url = f"redis://user:a-secret-word@127.0.0.1:{free_port()}"
        self.world.secrets.add("a-secret-word")
        self.assert_fails(self.changed(redis={"url": url}), "redis.url", "refused")

    def test_wrong_key(self) -> None:
        """The webapp does not accept the broker's key: which key of the file that is."""
        self.world.secrets.add("not-the-brokers-key")
        self.assert_fails(self.changed(webapp={"api_key": "not-the-brokers-key"}), "webapp.api_key")

    def test_port_in_use(self) -> None:
        """Somebody else listens there: which entry of the file that is."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            listen = {"listen": [f"tcp:{port}:interface=127.0.0.1"]}
            self.assert_fails(self.changed(broker=listen), "broker.listen", str(port))

    def test_bad_configurations(self) -> None:
        """Each kind of error in the file is told with the file and the key."""
        bad: list[tuple[dict[str, Any], tuple[str, ...]]] = [
            ({"brokr": {"x": 1}}, ("brokr", "broker")),
            ({"broker": {"lissten": []}}, ("broker.lissten", "listen")),
            ({"broker": {"session_ttl": "long"}}, ("broker.session_ttl", "number")),
            ({"broker": {"listen": ["nonsense"]}}, ("broker.listen", "endpoint")),
            ({"webapp": {"url": "ftp://example.org"}}, ("webapp.url", "https://")),
            ({"webapp": {"url": "http://example.org"}}, ("webapp.url", "https://")),
            ({"webapp": {"api_key": {"env": "NOT_SET_ANYWHERE"}}}, ("webapp.api_key", "NOT_SET_ANYWHERE")),
            ({"webapp": {"api_key": {"file": "no-such-file"}}}, ("webapp.api_key", "no-such-file")),
            ({"redis": {"url": "mysql://here"}}, ("redis.url", "redis://")),
            (
                {"challenge_defaults": {"grader": {"kind": "pigeon"}}},
                ("challenge_defaults.grader.kind", "socketio"),
            ),
        ]
        started = [(self.changed(**tables), told) for tables, told in bad]
        for broker, told in started:
            self.assert_fails(broker, ".toml", *told)

    def test_every_error_at_once(self) -> None:
        """A file with three errors is told three, not the first alone."""
        broker = self.changed(
            broker={"session_ttl": -1}, webapp={"timeout": "x"}, limits={"max_connections": 1.5}
        )
        self.assert_fails(broker, "broker.session_ttl")
        for key in ("webapp.timeout", "limits.max_connections"):
            self.assertIn(key, broker.errors())

    def test_no_file(self) -> None:
        """A file that is not there, one that is not TOML, and no file at all."""
        missing, broken = self.world.directory / "missing.toml", self.world.directory / "broken.toml"
        broken.write_text("[broker\nlisten = 5")
        started = [
            (Broker(missing, 0), ("missing.toml", "cannot be read")),
            (Broker(broken, 0), ("broken.toml", "not TOML")),
        ]
        for broker, told in started:
            self.world.brokers.append(broker)
            self.assert_fails(broker, *told)

    def test_the_embedded_redis(self) -> None:
        """With ``embedded:`` nothing else is needed; it ends with the broker and leaves its data."""
        broker = self.changed(redis={"url": "embedded:"}).ready()
        self.assertEqual(broker.terminate(), 0)
        self.assertTrue(any((self.world.directory / "var").rglob("*.aof*")))
        again = self.changed(redis={"url": "embedded:"}).ready()
        self.assertEqual(again.terminate(), 0)

    def test_a_port_of_the_systems_choice(self) -> None:
        """``tcp:0`` is a port that the log names."""
        broker = self.changed(broker={"listen": ["tcp:0:interface=127.0.0.1"]})
        pattern = r"listening on 127\.0\.0\.1:(\d+)"
        (port,) = until(lambda: re.findall(pattern, broker.errors()), "a line with the port")
        broker.port = int(port)
        self.assertEqual(broker.ready().terminate(), 0)

    def test_several_endpoints(self) -> None:
        """Each of several endpoints serves; the log names them as people write them."""
        path, port = self.world.directory / "http.sock", free_port()
        listen = [f"tcp:{port}:interface=127.0.0.1", f"unix:{path}", "tcp6:0:interface=\\:\\:1"]
        broker = self.changed(broker={"listen": listen})
        broker.port = port
        self.assertEqual(broker.ready().terminate(), 0)
        for name in (f"127.0.0.1:{port}", str(path), "[::1]:"):
            self.assertIn(f"listening on {name}", broker.errors())
