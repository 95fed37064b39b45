"""Finding an evaluator by its name, and calling it as it likes to be called."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import GradingError
from .context import Context

Evaluator = Callable[[Any, Context], Any]
"""Takes a job's data and its context, returns its result."""
METHODS = ("_evaluate", "evaluate")
"""What an evaluator that is an object is called by."""


def load_evaluator(name: str) -> Evaluator:
    """Return the evaluator that ``module:attribute`` names; a class is made once.

    :raises GradingError: saying what was not found, or cannot be called.
    """
    found = find_evaluator(name)
    if inspect.isclass(found):
        found = found()
    for method in METHODS:
        bound = getattr(found, method, None)
        if callable(bound):
            return _by_keywords(bound)
    evaluator: Evaluator = found
    return evaluator


def find_evaluator(name: str) -> Any:
    """Return what ``module:attribute`` names; modules are found from the current directory too.

    :raises GradingError: saying what was not found, or cannot be called.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise GradingError(f"{name!r} names no evaluator: write MODULE:NAME, e.g. mymodule:evaluate")
    found = _import(module_name, name)
    for part in attribute.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise GradingError(f"{name}: the module {module_name} has no {attribute}")
    methods = any(callable(getattr(found, method, None)) for method in METHODS)
    if not methods and (inspect.isclass(found) or not callable(found)):
        raise GradingError(f"{name} can neither be called nor has it an _evaluate method")
    return found


def _import(module_name: str, name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise GradingError(f"{name}: there is no module {error.name} here or on the Python path") from None
    except Exception as error:
        raise GradingError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _by_keywords(method: Callable[..., Any]) -> Evaluator:
    """Call by the names of the crowdAI convention where the method has them, else by position."""
    names = inspect.signature(method).parameters
    if "client_payload" in names and "_context" in names:
        return lambda payload, context: method(client_payload=payload, _context=context)
    return method
