"""Tests of what no file may hold, and of what every test must have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ..source import ROOT, tests, texts, tracked, tree, where

LONGEST = 400  # lines of a file
WRITTEN = (".py", ".lua", ".toml", ".rst", ".js", "")  # kinds of files that are ours word for word
RAISE = ("expect", "parse", "compile", "verify")  # calls that raise where something is wrong
LONGEST_TEST = 700  # lines of a file of cases, which are read one by one


class Files(SynchronousTestCase):
    def test_no_file_names_a_place_of_one_machine(self) -> None:
        """What is written here holds anywhere: no path of somebody's home or work directory."""
        place = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/")
        wrong = [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
            for path, text in texts()
            for number, line in enumerate(text.splitlines(), 1)
            if path != Path(__file__) and place.search(line)
        ]
        self.assertEqual(wrong, [])

    def test_nothing_is_left_undone(self) -> None:
        """No marker of unfinished work, no error that is swallowed unsaid."""
        marker = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|except[^:\n]*:\s*pass\b")
        wrong = [
            f"{path.relative_to(ROOT)}: {found[0]!r}"
            for path, text in texts()
            if path != Path(__file__)
            and path.suffix in (".py", ".lua", ".toml", ".rst", ".js", "")
            and (found := marker.search(text))
        ]
        self.assertEqual(wrong, [])

    def test_no_file_is_long(self) -> None:
        """A file that needs scrolling to be known holds two ideas."""
        long = {}
        for path in tracked():
            longest = LONGEST_TEST if path.is_relative_to(ROOT / "tests") else LONGEST
            if path.suffix == ".py" and (lines := path.read_text(encoding="utf-8").count("\n")) > longest:
                long[str(path.relative_to(ROOT))] = lines
        self.assertEqual(long, {})

    def test_the_plugin_directory_is_nobodys_package(self) -> None:
        """An ``__init__.py`` there would hide the plugins of Twisted and of everybody else."""
        self.assertEqual([path.name for path in (ROOT / "twisted").rglob("__init__.py")], [])

    def test_the_plugin_is_one_statement(self) -> None:
        """Twistd imports it for every command: it names the broker by string and imports nothing of it."""
        plugin = tree(ROOT / "twisted" / "plugins" / "crowdai_broker_plugin.py")
        kinds = [type(node).__name__ for node in plugin.body]
        self.assertEqual(kinds, ["Expr", "ImportFrom", "Assign"])


class Tests(SynchronousTestCase):
    def test_every_test_says_what_it_protects(self) -> None:
        """A test's docstring is the behaviour that would be lost without it."""
        wrong = [where(path, test) for path, test in tests() if not ast.get_docstring(test)]
        self.assertEqual(wrong, [])

    def test_no_test_is_skipped(self) -> None:
        """A test that does not run protects nothing."""
        wrong = [
            where(path, node)
            for path in sorted((ROOT / "tests").rglob("*.py"))
            for node in ast.walk(tree(path))
            if isinstance(node, ast.stmt) and skips(node)
        ]
        self.assertEqual(wrong, [])

    def test_every_test_can_fail(self) -> None:
        """A test asserts something, or hands on to what does."""
        wrong = [where(path, test) for path, test in tests() if not asserts(test)]
        self.assertEqual(wrong, [])


def asserts(test: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a test calls anything of its own class, asserts, or raises."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert | ast.Raise):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "self":
                return True
            if "assert" in node.func.attr.lower() or node.func.attr.startswith(RAISE):
                return True
    return False


def skips(node: ast.stmt) -> bool:
    """Tell whether a statement keeps trial from running a test, or from minding how it ends."""
    if isinstance(node, ast.ClassDef):
        inner = [name for each in node.body if isinstance(each, ast.Assign) for name in each.targets]
        return any(isinstance(name, ast.Name) and name.id in ("skip", "todo") for name in inner)
    if isinstance(node, ast.Assign):
        return any(isinstance(name, ast.Attribute) and name.attr in ("skip", "todo") for name in node.targets)
    if isinstance(node, ast.Raise):
        return "SkipTest" in ast.dump(node)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
        "skip" in ast.dump(decorator).lower() for decorator in node.decorator_list
    )
