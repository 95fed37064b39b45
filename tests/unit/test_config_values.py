"""Tests of single values: URLs, endpoints, names, secrets."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.config import Secret, parse_redis_url, values
from crowdai_broker.config.redis_url import other_redis_url


class Values(SynchronousTestCase):
    def assert_refused(self, check: Callable[[Any], Any], *bad: Any) -> None:
        """Check that each value is refused, and with a text that shows no password."""
        for value in bad:
            text = str(self.assertRaises(ValueError, check, value))
            self.assertTrue(text)
            self.assertNotIn("hunter2", text)

    def test_endpoints(self) -> None:
        """What Twisted can listen on is kept as written; anything else is refused before anything listens."""
        for good in ("tcp:5000", "tcp:0:interface=127.0.0.1", "tcp6:port=80", "unix:/run/x.sock:mode=600"):
            self.assertEqual(values.endpoint(good), good)
        self.assert_refused(
            values.endpoint,
            *("", "5000", "tcp:", "tcp:x", "tcp:99999", "tcp:port=70000", "foo:1", "tcp:1:bogus=2", "tcp:-1"),
            *("ssl:443:privateKey=/nowhere/key.pem", f"ssl:443:privateKey={__file__}", "systemd:index=0"),
        )

    def test_web_urls(self) -> None:
        """An http or https address, without what would leak or confuse; the last slash is dropped."""
        self.assertEqual(values.web_url("https://a.b:8443/x/"), "https://a.b:8443/x")
        self.assertEqual(values.web_url("http://[::1]:80"), "http://[::1]:80")
        self.assert_refused(
            values.web_url,
            *("", "a.b", "//a.b", "ftp://a.b", "https://", "https://a.b:x", "https://a.b:99999"),
            *("https://u:hunter2@a.b", "https://a.b/?q=1", "https://a.b/#f", "https://a b", "https://[::1"),
            *("https://a.b:0", "https://a.b\n", "https://a\\b"),
        )

    def test_a_key_is_sent_only_over_tls_or_to_this_machine(self) -> None:
        """Plain HTTP is for the loopback interface alone."""
        for good in ("https://a.b", "http://localhost:3000", "http://127.9.9.9:1", "http://[::1]"):
            self.assertEqual(values.private_url(good), good)
        self.assert_refused(values.private_url, "http://a.b", "http://10.0.0.1", "http://localhost.evil")

    def test_origins_are_written_as_browsers_send_them(self) -> None:
        """Case, default ports and a slash do not matter; a path does."""
        self.assertEqual(values.origin("HTTPS://WWW.crowdai.org:443/"), "https://www.crowdai.org")
        self.assertEqual(values.origin("http://[::1]:8080"), "http://[::1]:8080")
        self.assert_refused(
            values.origin, "*", "null", "https://a.b/c", "https://u@a.b", "a.b", "https://a?b"
        )

    def test_secrets_fit_in_a_header(self) -> None:
        """A key with a space or a line break would be cut or would forge a header."""
        self.assertEqual(values.one_line(Secret("aZ09-_=")).reveal(), "aZ09-_=")
        self.assert_refused(values.one_line, Secret("a b"), Secret("a\r\nX: y"), Secret("ä"))

    def test_names(self) -> None:
        """Names are bounded and visible."""
        self.assertEqual(values.plain_name("Füße & co"), "Füße & co")
        self.assertEqual((values.optional_name(""), values.optional_name("q")), ("", "q"))
        self.assert_refused(values.plain_name, "", " a", "a\n", "a\x00b", "x" * 201)
        self.assert_refused(values.key_prefix, "", "a b", "a*", "x" * 65)
        self.assert_refused(values.group_path, "", "/a", "a//b", "-a", "a b", "../a")
        self.assertEqual(values.group_path("a/b-c"), "a/b-c")
        self.assertEqual(values.optional_version("1.0.22"), "1.0.22")
        self.assert_refused(values.optional_version, "1.", "v1", "1.0rc1")

    def test_files(self) -> None:
        """A private authority must be readable PEM; a data directory must not be a file."""
        authority = Path(certifi.where())
        self.assertEqual(values.authority_file(authority), authority)
        self.assert_refused(values.authority_file, Path("nowhere.pem"))
        self.assertRaises(ValueError, values.authority_file, Path(__file__))
        self.assertRaises(ValueError, values.directory, Path(__file__))


class Redis(SynchronousTestCase):
    def test_the_five_forms(self) -> None:
        """Each documented form is taken apart into what a client needs."""
        self.assertEqual(parse_redis_url("embedded:").kind, "embedded")
        plain = parse_redis_url("redis://us%65r:p%40ss@h:1/2")
        self.assertEqual((plain.kind, plain.hosts, plain.database), ("tcp", (("h", 1),), 2))
        self.assertEqual((plain.username, plain.password.reveal()), ("user", "p@ss"))
        self.assertEqual(parse_redis_url("rediss://[::1]").hosts, (("::1", 6379),))
        local = parse_redis_url("unix://:pw@/run/redis.sock?db=3")
        self.assertEqual((local.path, local.database, local.password.reveal()), ("/run/redis.sock", 3, "pw"))
        sentinel = parse_redis_url("redis+sentinel://a:1,b/mymaster/4")
        self.assertEqual(sentinel.hosts, (("a", 1), ("b", 26379)))
        self.assertEqual((sentinel.service, sentinel.database), ("mymaster", 4))

    def test_a_description_holds_no_password(self) -> None:
        """What is logged about an address is where it is, and nothing else."""
        text = parse_redis_url("redis+sentinel://me:hunter2@a:1,b:2/svc").describe()
        self.assertEqual(text, "sentinel a:1,b:2 svc")

    def test_what_is_none_of_them_is_refused(self) -> None:
        """Anything that a client could not connect to is an error before it tries."""
        for bad in (
            *("", "redis", "redis:", "redis://", "embedded", "http://h", "redis://h:x", "redis://h:0"),
            *("redis://h:65536", "redis://h/x", "redis://h/1/2", "redis://a,b", "unix://x", "unix:///x?y=1"),
            *("redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h/s/x", "redis://h?db=1"),
            *("redis://[::1", "redis://[::1]x", "redis://a b", "redis+sentinel://h/s/1/2"),
            "redis+sentinel://" + ",".join(["h"] * 33) + "/s",
        ):
            self.assertRaises(ValueError, parse_redis_url, bad)

    def test_graders_have_a_redis_that_is_not_ours_to_start(self) -> None:
        """A challenge cannot ask for a second embedded server."""
        self.assertRaises(ValueError, other_redis_url, Secret("embedded:"))
        self.assertFalse(other_redis_url(Secret()))


class Secrets(SynchronousTestCase):
    def test_a_secret_is_seen_only_when_revealed(self) -> None:
        """Neither printing nor formatting nor a containing structure shows it."""
        secret = Secret("hunter2")
        for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}", repr({"a": secret})):
            self.assertNotIn("hunter2", text)
        self.assertEqual(secret.reveal(), "hunter2")

    def test_a_secret_is_not_written(self) -> None:
        """It can be neither pickled nor copied away."""
        self.assertRaises(TypeError, pickle.dumps, Secret("x"))
        self.assertRaises(TypeError, copy.copy, Secret("x"))

    def test_comparison(self) -> None:
        """A secret matches its own text only, and one that is not set matches nothing."""
        self.assertTrue(Secret("ä").matches("ä"))
        self.assertFalse(Secret("a").matches("b"))
        self.assertFalse(Secret("a").matches("\ud800"))
        self.assertFalse(Secret("").matches(""))
        self.assertEqual((Secret("a"), hash(Secret("a"))), (Secret("a"), hash(Secret("a"))))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertTrue(Secret("a"))
        self.assertFalse(Secret())
