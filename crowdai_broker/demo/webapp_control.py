"""``/_control`` of the small webapp: another process on this machine plans faults and reads the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .webapp_api import Reply, reply, submission_json
from .webapp_faults import Fault, Faults
from .webapp_state import WebappState

if TYPE_CHECKING:
    from .webapp_site import WebappResource

LOOPBACK = frozenset({"127.0.0.1", "::1"})


class FaultPlan(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /_control/faults``: ``times`` calls, or each with ``probability``, or all of them."""

    call: str
    fault: Fault
    times: int = 1
    probability: float | None = None
    always: bool = False
    seconds: float = 1.0


class Control:
    """Answers what comes to ``/_control``."""

    def __init__(self, state: WebappState, faults: Faults, resource: WebappResource) -> None:
        self._state = state
        self._faults = faults
        self._resource = resource

    def answer(self, method: str, path: str, body: bytes, peer: str) -> Reply:
        """Return the reply to a request; only this machine's are listened to.

        * ``POST /_control/faults``: plan one (:class:`FaultPlan`)
        * ``DELETE /_control/faults``: plan nothing any more
        * ``POST /_control/release``: let what hangs go on
        * ``GET /_control/state``: submissions, leaderboards, counts of calls and faults met
        """
        table = {
            ("POST", "/_control/faults"): self._plan,
            ("DELETE", "/_control/faults"): self._clear,
            ("POST", "/_control/release"): self._release,
            ("GET", "/_control/state"): self._dump,
        }
        action = table.get((method, path)) if peer in LOOPBACK else None
        if action is None:
            return reply(404, {"message": "nothing to control here"})
        try:
            return reply(200, action(body))
        except (msgspec.DecodeError, ValueError) as error:
            return reply(400, {"message": str(error)})

    def _plan(self, body: bytes) -> dict[str, Any]:
        plan = msgspec.json.decode(body, type=FaultPlan)
        if plan.probability is not None:
            self._faults.chance(plan.call, plan.fault, plan.probability, plan.seconds)
        elif plan.always:
            self._faults.always(plan.call, plan.fault, plan.seconds)
        else:
            self._faults.next(plan.call, plan.fault, plan.times, plan.seconds)
        return {"planned": msgspec.to_builtins(plan)}

    def _clear(self, _body: bytes) -> dict[str, Any]:
        self._faults.clear()
        return {"planned": None}

    def _release(self, _body: bytes) -> dict[str, Any]:
        return {"released": self._faults.release()}

    def _dump(self, _body: bytes) -> dict[str, Any]:
        rows = self._state.submissions.values()
        return {
            "submissions": [
                submission_json(each) | {"grades": each.grades, "posts": each.posts, "patches": each.patches}
                for each in rows
            ],
            "leaderboards": {
                each.client_name: self._state.leaderboard(each) for each in self._state.challenges.values()
            },
            "calls": dict(self._resource.counts),
            "faults": self._faults.met,
            "queries": sorted({each.query for each in self._resource.seen if each.query}),
        }
