"""Queries of Engine.IO requests, and their errors."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker.wire.eio_handshake import (
    MAX_PARAMETERS,
    check_handshake,
    check_same_session,
    open_packet,
    parse_request,
)
from crowdai_broker.wire.eio_packet import encode_text
from crowdai_broker.wire.eio_payload import Format
from crowdai_broker.wire.eio_settings import SessionSettings
from crowdai_broker.wire.faults import HttpRefusal
from tests.unit.wire.profile import BRISK


class ParseTests(SynchronousTestCase):
    def refusal(self, query: bytes, method: bytes = b"GET") -> HttpRefusal:
        """The error of a handshake."""
        error: HttpRefusal = self.assertRaises(
            HttpRefusal, lambda: check_handshake(parse_request(query), method)
        )
        return error

    def test_handshake(self) -> None:
        """A usual first request."""
        request = parse_request(b"EIO=4&transport=polling&t=abc&token=x%20y")
        self.assertEqual(request.transport, "polling")
        self.assertEqual((request.version, request.sid), (4, None))
        self.assertEqual(request.query, {"token": "x y"})
        self.assertEqual(check_handshake(request, b"GET"), 4)

    def test_empty_sid(self) -> None:
        """An empty sid counts as absent."""
        self.assertIsNone(parse_request(b"EIO=4&transport=polling&sid=").sid)
        self.assertEqual(parse_request(b"EIO=4&transport=polling&sid=a-_9").sid, "a-_9")

    def test_transport(self) -> None:
        """Missing or unknown: code 0, whatever else is wrong."""
        for query in (b"", b"EIO=4", b"EIO=9&transport=abc", b"transport="):
            refusal = self.refusal(query, b"PUT")
            self.assertEqual((refusal.status, refusal.code), (400, 0))

    def test_method(self) -> None:
        """A handshake is a GET: code 2, before the version is looked at."""
        for method in (b"POST", b"PUT", b"OPTIONS"):
            refusal = self.refusal(b"EIO=9&transport=polling", method)
            self.assertEqual((refusal.status, refusal.code), (400, 2))

    def test_version(self) -> None:
        """Missing or not served: code 5."""
        for query in (b"transport=polling", b"EIO=abc&transport=websocket", b"EIO=2&transport=polling"):
            refusal = self.refusal(query)
            self.assertEqual((refusal.status, refusal.code), (400, 5))

    def test_other_version(self) -> None:
        """A later request with another EIO: code 3; a missing one counts as 3."""
        with self.assertRaises(HttpRefusal) as caught:
            check_same_session(parse_request(b"EIO=3&transport=polling&sid=x"), Format(4))
        self.assertEqual(caught.exception.code, 3)
        check_same_session(parse_request(b"transport=polling&sid=x"), Format(3))
        with self.assertRaises(HttpRefusal):
            check_same_session(parse_request(b"transport=polling&sid=x"), Format(4))
        for other in (b"7", b"2", b"", b"3.0", b"x"):
            for version in (Format(3), Format(4)):
                with self.assertRaises(HttpRefusal) as caught:
                    check_same_session(parse_request(b"EIO=%b&transport=polling&sid=x" % other), version)
                self.assertEqual((caught.exception.status, caught.exception.code), (400, 3))

    def test_too_many_parameters(self) -> None:
        """A query beyond reason is a bad request, not work."""
        query = b"EIO=4&transport=polling" + b"&x=1" * MAX_PARAMETERS
        self.assertEqual(self.refusal(query).code, 3)

    @BRISK
    @given(st.binary())
    def test_any_bytes(self, query: bytes) -> None:
        """Rubbish gets a request or a refusal."""
        try:
            parse_request(query)
        except HttpRefusal as refusal:
            self.assertEqual(refusal.status, 400)


class FormTests(SynchronousTestCase):
    def form(self, query: bytes) -> Format:
        """The framing that a handshake asks for."""
        return parse_request(b"transport=polling&" + query).form

    def test_old_python(self) -> None:
        """socketIO-client-2 is known by its cache buster, EIO 3, and the absence of b64."""
        self.assertTrue(self.form(b"EIO=3&t=1700000000000-0").old_python)
        for query in (
            b"EIO=3&t=Q8AJxUS",
            b"EIO=3&t=1700000000000-0&b64=1",
            b"EIO=3&t=1700000000000-0&j=0",
            b"EIO=4&t=1700000000000-0",
            b"EIO=3&t=170000000000-0",
            b"EIO=3",
        ):
            self.assertFalse(self.form(query).old_python, query)

    def test_b64(self) -> None:
        """Asked for by any value but nothing or 0."""
        self.assertTrue(self.form(b"EIO=3&b64=1").b64)
        self.assertFalse(self.form(b"EIO=3&b64=0").b64)
        self.assertFalse(self.form(b"EIO=3").b64)

    def test_jsonp_index(self) -> None:
        """Digits only: nothing else of the client's gets into a script."""
        self.assertEqual(self.form(b"EIO=3&j=12").jsonp, "12")
        self.assertEqual(self.form(b"EIO=3&j=alert(7)//").jsonp, "7")
        self.assertEqual(self.form(b"EIO=3&j=").jsonp, "0")
        self.assertIsNone(self.form(b"EIO=3").jsonp)


class OpenTests(SynchronousTestCase):
    def test_polling(self) -> None:
        """Keys, their order and their units are the reference's."""
        packet = open_packet("WLolYF_zr5l1ocq7AAAA", "polling", SessionSettings())
        self.assertEqual(
            encode_text(packet),
            b'0{"sid":"WLolYF_zr5l1ocq7AAAA","upgrades":["websocket"],'
            b'"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}',
        )

    def test_websocket(self) -> None:
        """There is nothing to upgrade to."""
        data = msgspec.json.decode(open_packet("x", "websocket", SessionSettings()).data)
        self.assertEqual(data["upgrades"], [])
