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

    def assert_fails(self, broker: Broker, *told: tuple[str, ...]) -> None:
        """It ends by itself; of each thing that is wrong one line tells, with all of its parts."""
        self.world.brokers.remove(broker)
        self.addCleanup(broker.stop)
        status = broker.wait()
        text = broker.errors() + "\n".join(str(line) for line in broker.unread())
        self.assertNotEqual(status, 0, text)
        self.assertNotIn("Traceback", text)
        for parts in told:
            lines = [line for line in text.splitlines() if all(part in line for part in parts)]
            self.assertEqual(len(lines), 1, f"{parts} in:\n{text}")
        for secret in self.world.secrets:
            self.assertNotIn(secret, text)

    def changed(self, **tables: Mapping[str, Any]) -> Broker:
        """Launch a broker with some keys of its file changed."""
        return self.world.launch(self.world.config(**tables))

    def test_no_redis(self) -> None:
        """Redis is not there: which key says where it should be, and why it cannot be reached."""
        url = f"redis://user:a-secret-word@127.0.0.1:{free_port()}"
        self.world.secrets.add("a-secret-word")
        self.assert_fails(self.changed(redis={"url": url}), ("redis.url", "refused"))

    def test_wrong_key(self) -> None:
        """The webapp does not accept the broker's key: which key of the file that is."""
        self.world.secrets.add("not-the-brokers-key")
        broker = self.changed(webapp={"api_key": "not-the-brokers-key"})
        self.assert_fails(broker, ("webapp.api_key",))

    def test_port_in_use(self) -> None:
        """Somebody else listens there: which entry of the file that is."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            listen = {"listen": [f"tcp:{port}:interface=127.0.0.1"]}
            self.assert_fails(self.changed(broker=listen), ("broker.listen", str(port)))

    def test_bad_configuration(self) -> None:
        """Every error in the file is told at once, each in one line with the file, the key and a hint."""
        bad: dict[str, dict[str, Any]] = {
            "brokr": {"x": 1},
            "broker": {"lissten": [], "session_ttl": "long", "drain_timeout": -1, "listen": ["nonsense"]},
            "webapp": {"url": "http://example.org", "api_key": {"env": "NOT_SET_ANYWHERE"}, "timeout": True},
            "gitlab": {"url": "ftp://example.org", "token": {"file": "no-such-file"}},
            "redis": {"url": "mysql://user:a-secret-word@here"},
            "limits": {"max_connections": 1.5},
            "challenge_defaults": {"grader": {"kind": "pigeon"}},
        }
        self.world.secrets.add("a-secret-word")
        told = (
            ("brokr", "broker"),
            ("broker.lissten", "listen"),
            ("broker.session_ttl", "whole number"),
            ("broker.drain_timeout", "at least 0"),
            ("broker.listen", "endpoint"),
            ("webapp.url", "https://"),
            ("webapp.api_key", "NOT_SET_ANYWHERE"),
            ("webapp.timeout", "a number"),
            ("gitlab.url", "https://"),
            ("gitlab.token", "no-such-file"),
            ("redis.url", "redis://"),
            ("limits.max_connections", "whole number"),
            ("challenge_defaults.grader.kind", "socketio"),
        )
        self.assert_fails(self.changed(**bad), *((".toml", *parts) for parts in told))

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
            self.assert_fails(broker, told)

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
