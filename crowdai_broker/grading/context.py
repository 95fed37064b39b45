"""What an evaluator is given beside the data: a way to speak with the participant, and to uploaded files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Say = Callable[[str, dict[str, Any], str], None]
"""Sends an event: its kind, e.g. ``INFO``, its data and its message."""
Fetch = Callable[[str], Path]
"""Brings the file of a key to a local path."""


class Context(Mapping[str, Any]):
    """One job, as its evaluator sees it.

    Evaluators of the crowdAI convention read ``context["api_key"]`` and the like; those members are here too:
    ``job_id``, ``api_key``, ``execution_id``, ``challenge_client_name``, ``submission_id``, ``dry_run``.
    """

    def __init__(self, members: Mapping[str, Any], say: Say, fetch: Fetch) -> None:
        self._members = dict(members)
        self._say = say
        self._fetch = fetch

    def progress(self, percent: float, message: str = "") -> None:
        """Move the participant's bar to ``percent`` (0 to 100)."""
        self._say("PROGRESS_UPDATE", {"percent_complete": min(100.0, max(0.0, float(percent)))}, message)

    def info(self, message: str) -> None:
        """Show the participant a line."""
        self._say("INFO", {}, message)

    def file(self, file_key: str) -> Path:
        """Return a local path of an uploaded file; it is deleted with the job."""
        return self._fetch(file_key)

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)
