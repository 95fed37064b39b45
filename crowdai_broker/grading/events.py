"""What is said of a job, as graders say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .process import Said

PREFIX = "CrowdAI.Event.Job."


def event_of(order: Mapping[str, Any], said: Said) -> dict[str, Any]:
    """Return the event; it carries the number of the order, which is all that the broker needs."""
    return {
        "job_id": str(order["data_sequence_no"]),
        "data_sequence_no": order["data_sequence_no"],
        "response_type": f"{PREFIX}{said.kind}",
        "data": said.data,
        "message": said.message,
    }
