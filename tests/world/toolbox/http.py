"""HTTP requests as a careful or a careless client makes them."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 10.0
"""Seconds that a request may take before the test fails."""


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end.

    :ivar headers: with names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    @property
    def error(self) -> tuple[int, Any, Any]:
        """The status, and the ``code`` and ``message`` of a body in JSON."""
        said = json.loads(self.body)
        return self.status, said["code"], said["message"]


class Request:
    """A request that has been sent and whose answer may take its time.

    :param target: path and query.
    :param announced: the ``Content-Length`` to send; all but this comes from ``body``.
    """

    def __init__(
        self,
        port: int,
        method: str,
        target: str,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        announced: int | None = None,
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        data = body.encode() if isinstance(body, str) else body
        lines = {"Content-Type": "text/plain;charset=UTF-8"} if data else {}
        if announced is not None:
            lines["Content-Length"] = str(announced)
        self._connection.request(method, target, data or None, {**lines, **(headers or {})})

    def answer(self) -> Answer:
        """Wait for the answer.

        :raises OSError: (or ``http.client.HTTPException``) if the connection ends without one.
        """
        try:
            response = self._connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            self._connection.close()

    def abort(self) -> None:
        """Break the connection off, as a client that is killed does."""
        sock = self._connection.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


def request(
    port: int, method: str, target: str, body: str | bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request and wait for its answer."""
    return Request(port, method, target, body, headers).answer()
