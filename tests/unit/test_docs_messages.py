"""The tables of messages are complete, and true to what the code says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from .documents import ROOT, first_literals, section, tree

README = ROOT / "README.rst"
ERRORS = ROOT / "docs/errors.rst"
RAISED = {"PeerError", "NotNow", "TooMuch", "WrongKey", "NoScore", "StartupError"}
HOLE = "…"


class MessageTests(SynchronousTestCase):
    """The tables of messages."""

    def test_exist(self) -> None:
        """Every message that a document explains is one that the code says."""
        said = {text for _, text in _texts()}
        for where in (tree(ERRORS), section(README, "When something goes wrong")):
            self.assertEqual([text for text in first_literals(where) if text not in said], [])

    def test_explained(self) -> None:
        """Every refusal, failure and notice that the code has for people is explained."""
        explained = set(first_literals(tree(ERRORS)))
        missing = {f"{name}: {text}" for name, text in _texts() if name and text not in explained}
        self.assertEqual(sorted(missing), [])


def _texts() -> Iterator[tuple[str, str]]:
    """Yield every text of the package with ``…`` for what differs.

    The first item names those that are for people: raised as one of :data:`RAISED`, or kept in capitals.
    """
    for path in sorted((ROOT / "crowdai_broker").rglob("*.py")):
        parsed = ast.parse(path.read_text(encoding="utf-8"))
        kept = {name: text for name, value in _constants(parsed) if (text := _text(value, {})) is not None}
        for node in ast.walk(parsed):
            if (text := _text(node, kept)) is not None:
                yield "", text
            raised = _raised(node)
            if raised is not None and (text := _text(raised, kept)) is not None:
                yield f"{path.name}, raised", text
        if {"core", "web"} & set(path.parts):
            said = [(name, text) for name, text in kept.items() if text.endswith((".", ")")) and " " in text]
            yield from ((f"{path.name}, {name}", text) for name, text in said)


def _constants(parsed: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in parsed.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id.isupper():
            yield target.id, node.value


def _text(node: ast.AST, kept: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\{[^{}]*\}", HOLE, node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(each, kept) for each in node.values)
    return None


def _part(node: ast.expr, kept: dict[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return kept.get(node.value.id, HOLE)
    return HOLE


def _raised(node: ast.AST) -> ast.expr | None:
    """Return the text's place in ``SomeError(text, …)``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED:
        return node.args[0] if node.args else None
    return None
