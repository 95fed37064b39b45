"""Starts a grader on HTTP by somebody else, and reads what it got."""

from __future__ import annotations

from typing import Any

from ..toolbox.places import ROOT
from ..toolbox.ports import free_port
from ..toolbox.process import Line
from .programs import Program, python

STRANGER = ROOT / "tests" / "world" / "broker" / "grader_http.py"


class HttpGrader:
    """A grader that listens on a port of its own, once it is started.

    :param webapp: where it puts grades by itself; ``""``: it posts events to the broker.
    :param key: an organizer's, for the webapp.
    """

    def __init__(self, webapp: str = "", key: str = "") -> None:
        self.port = free_port()
        self._arguments = [str(self.port), *([webapp, key] if webapp else [])]
        self._started: Program | None = None

    @property
    def table(self) -> dict[str, Any]:
        """The ``grader`` table of a challenge that has it."""
        return {"kind": "http", "url": f"http://127.0.0.1:{self.port}"}

    @property
    def program(self) -> Program:
        """The process."""
        assert self._started is not None, "it is not started"
        return self._started

    def start(self) -> Program:
        """Start it and wait until it listens."""
        self._started = Program(python(STRANGER, *self._arguments))
        self._started.expect(saw="ready")
        return self._started

    def order(self, key: str) -> Line:
        """Wait for the order with this file key."""
        return self.program.expect(saw="order", key=key)
