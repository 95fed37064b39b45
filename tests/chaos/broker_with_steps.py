"""A broker under twistd that dies, or kills somebody, at a step that it is told: for tests alone.

Run as ``python -m tests.chaos.broker_with_steps --config FILE``. Each line of its standard input is a plan,
``{"steps": [{"step": "accept.before", "of": "a broker"}, …]}``, which replaces the one before. A step with
``kill`` sends SIGKILL to that process, ``delay`` seconds after the step was begun; a step without it kills
the broker. Each step that is reached is said in a line of its standard output, with ``of`` as it was given.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.scripts.twistd import run

from crowdai_broker.backends.redis_store import RedisStore
from crowdai_broker.backends.webapp import Webapp

from .steps import WEBAPP_STEPS, names_of_moves

Names = Callable[[tuple[Any, ...]], Iterable[str]]


def kill(process: int) -> None:
    """Kill a process, unless another broker was faster."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


class Plan:
    """What is to happen at which step."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, Any]] = {}

    def read_all(self) -> None:
        """Take plans from standard input until it ends."""
        for line in sys.stdin:
            self._steps = {each["step"]: each for each in json.loads(line)["steps"]}

    def reach(self, step: str) -> None:
        """Do what is planned for a step, once."""
        planned = self._steps.pop(step, None)
        if planned is None:
            return
        os.write(1, json.dumps({"saw": "step", "step": step, "of": planned["of"]}).encode() + b"\n")
        if "kill" in planned:
            threading.Timer(planned["delay"], kill, [planned["kill"]]).start()
        else:
            kill(os.getpid())


def with_steps(plan: Plan, owner: type, method: str, names: Names, *, if_any: bool = False) -> None:
    """Let a method reach ``.before`` and ``.after`` of the steps that its arguments stand for.

    :param if_any: ``.after`` is only reached if the method returned something true.
    """
    original = getattr(owner, method)

    async def stepped(*args: Any, **kwargs: Any) -> Any:
        found = sorted(names(args))
        for name in found:
            plan.reach(f"{name}.before")
        result = await original(*args, **kwargs)
        if result or not if_any:
            for name in found:
                plan.reach(f"{name}.after")
        return result

    setattr(owner, method, stepped)


def _only(name: str, _arguments: tuple[Any, ...]) -> list[str]:
    return [name]


def add_steps(plan: Plan) -> None:
    """Give the store and the webapp their steps."""
    plain = {"accept": "accept", "postpone_effect": "postpone"}
    for method, name in plain.items():
        with_steps(plan, RedisStore, method, partial(_only, name))
    fruitful = {"take": "take", "lease_effects": "lease", "adopt": "adopt", "drop_adopted": "drop"}
    for method, name in fruitful.items():
        with_steps(plan, RedisStore, method, partial(_only, name), if_any=True)
    with_steps(plan, RedisStore, "move", lambda args: names_of_moves(args[1]))
    for name in WEBAPP_STEPS:
        with_steps(plan, Webapp, name, partial(_only, name))


def main() -> None:
    """Be ``twistd -n crowdai-broker``."""
    plan = Plan()
    add_steps(plan)
    threading.Thread(target=plan.read_all, daemon=True).start()
    sys.argv = ["twistd", "-n", "--pidfile=", "crowdai-broker", *sys.argv[1:]]
    run()


if __name__ == "__main__":
    main()
