"""Evaluators as organizers write them, and as they should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from crowdai_broker.grading import Context


def counts(payload: Any, context: Context) -> dict[str, Any]:
    """Score a file by its length."""
    print("what an evaluator prints is no event")  # noqa: T201
    context.progress(50, "half way")
    context.info("reading")
    return {"score": len(context.file(payload["file_key"]).read_text())}


def echoes(payload: Any, context: Context) -> dict[str, Any]:
    """Return what was handed in, and what the context says."""
    return {"score": 1, "payload": payload, "context": dict(context)}


class Conventional:
    """The convention of the public crowdAI evaluators."""

    def _evaluate(self, client_payload: Mapping[str, Any], _context: Context) -> dict[str, Any]:
        return {"score": client_payload["value"], "score_secondary": len(_context["api_key"])}


def raises(payload: Any, context: Context) -> dict[str, Any]:
    """Fail with a message for the participant."""
    raise ValueError("The file has 3 columns, 5 are needed.")


def returns_no_dict(payload: Any, context: Context) -> Any:
    """Return something else."""
    return 0.5


class NumberOfALibrary:
    """What numpy's numbers look like."""

    def item(self) -> float:
        """Return the number itself."""
        return 0.25


def returns_numbers_of_a_library(payload: Any, context: Context) -> dict[str, Any]:
    """Return what is not quite a number."""
    return {"score": NumberOfALibrary()}


def returns_nan(payload: Any, context: Context) -> Any:
    """Return what JSON has no word for."""
    return {"score": float("nan")}


def crashes(payload: Any, context: Context) -> Any:
    """Die as a broken extension module does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves(payload: Any, context: Context) -> Any:
    """End the process in the middle; a daemon that it has started keeps all that it had open."""
    escaped = subprocess.Popen(["sleep", "1000"], start_new_session=True, close_fds=False)
    context.info(str(escaped.pid))
    sys.exit(7)


def never_ends(payload: Any, context: Context) -> Any:
    """Run for ever, and start something that does."""
    child = subprocess.Popen(["sleep", "1000"])
    context.info(str(child.pid))
    while True:
        time.sleep(1)


def eats_memory(payload: Any, context: Context) -> Any:
    """Ask for far more memory than there is."""
    return {"score": len(bytearray(1 << 40))}


def says_too_much(payload: Any, context: Context) -> Any:
    """Send an event that is larger than any may be."""
    context.info("x" * 2_000_000)
    return {"score": 1}


def reads_input(payload: Any, context: Context) -> dict[str, Any]:
    """Read standard input, as a careless library might, and leave a file behind."""
    handle, name = tempfile.mkstemp()
    os.close(handle)
    context.info(name)
    return {"score": len(sys.stdin.read())}


def waits(payload: Any, context: Context) -> Any:
    """Wait until a file is there."""
    context.info("waiting")
    while not os.path.exists(payload["until"]):  # noqa: PTH110
        time.sleep(0.01)
    return {"score": 1}


NOT_AN_EVALUATOR = 5
