"""The small webapp as a process, with its back door for tests: faults to come, and what it has seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..toolbox.http import request
from .programs import Program, python, until

Row = dict[str, Any]


class Webapp(Program):
    """A running small webapp.

    :param api_key: the key that it accepts of the broker.
    :param participants: API keys by name.
    :param challenges: its challenges, as its seed file has them.
    :param directory: where that file is written.
    """

    def __init__(
        self,
        api_key: str,
        participants: Mapping[str, str],
        challenges: Sequence[Mapping[str, Any]],
        directory: Path,
    ) -> None:
        people = [{"name": name, "api_key": key} for name, key in participants.items()]
        seed = directory / "webapp.json"
        seed.write_text(json.dumps({"participants": people, "challenges": challenges}))
        options = ["--port", "0", "--print-port", "--seed", str(seed), "--control"]
        super().__init__(python("-m", "crowdai_broker.demo.webapp", *options), {"CROWDAI_API_KEY": api_key})

    def listening(self) -> int:
        """Wait until it listens; return its port."""
        self.port = int(self.expect()["text"])
        return self.port

    @property
    def api(self) -> str:
        """The address that participants' clients know."""
        return f"http://127.0.0.1:{self.port}/api/external_graders/"

    def fault(self, call: str, fault: str, **plan: Any) -> None:
        """Let the next such call fail (``times``, ``always``, ``seconds``: see the webapp's control)."""
        self._control("POST", "faults", {"call": call, "fault": fault, **plan})

    def mend(self) -> None:
        """Plan no more faults, and let what hangs go on."""
        self._control("DELETE", "faults")
        self._control("POST", "release")

    def release(self) -> None:
        """Let what hangs go on."""
        self._control("POST", "release")

    def met(self, call: str, fault: str) -> int:
        """Return how often a fault was met."""
        return int(self.state()["faults"].get(f"{call}/{fault}", 0))

    def state(self) -> dict[str, Any]:
        """Return all that it knows and has counted."""
        return self._control("GET", "state")

    def submissions(self, **having: object) -> list[Row]:
        """Return the submissions whose members are as given."""
        rows: list[Row] = self.state()["submissions"]
        return [row for row in rows if all(row[name] == value for name, value in having.items())]

    def settled(
        self, count: int, status: str = "graded", patience: float = 20.0, **having: object
    ) -> list[Row]:
        """Wait until that many submissions have a grading status; return all that are ``having``."""

        def enough() -> bool:
            return len(self.submissions(grading_status_cd=status, **having)) >= count

        until(enough, f"{count} submissions {status}", patience)
        return self.submissions(**having)

    def _control(self, method: str, what: str, body: Any = None) -> dict[str, Any]:
        answer = request(self.port, method, f"/_control/{what}", b"" if body is None else json.dumps(body))
        assert answer.status == 200, answer.text
        content: dict[str, Any] = json.loads(answer.body)
        return content
