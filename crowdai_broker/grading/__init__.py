"""For people who write graders: an evaluator is a class or a function, the rest is done here.

::

    # mymodule.py
    def evaluate(payload, context):
        context.progress(50, "half way")
        return {"score": 0.9, "comment": "well done"}

``crowdai-broker grade mymodule:evaluate --try predictions.csv`` runs it once on a file, without a broker;
``crowdai-broker grade mymodule:evaluate --redis redis://… --queue MyChallenge`` takes jobs.

An evaluator may also be a class with ``_evaluate(self, client_payload, _context)``, the convention of the
public crowdAI evaluators. It returns a dict with ``score`` and, if it likes, ``score_secondary``,
``comment``, ``meta`` and the three ``media_`` fields. The message of an exception that it raises is for the
participant; its traceback goes to the grader's log only.

Each job runs in a process of its own, so that a crash, an endless loop or a memory bomb costs that job alone.
"""

from __future__ import annotations

from .context import Context
from .evaluator import Evaluator, load_evaluator

__all__ = ["Context", "Evaluator", "load_evaluator"]
