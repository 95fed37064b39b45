"""The documents, parsed: what tests compare with the code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.rst", ROOT / "NEWS.rst", *sorted((ROOT / "docs").glob("*.rst")))
_HARSH = {"report_level": 1, "halt_level": 5, "warning_stream": False, "syntax_highlight": "none"}


@cache
def tree(page: Path) -> Any:
    """Return a document's tree; what is wrong with it is in there as system messages."""
    return publish_doctree(page.read_text(encoding="utf-8"), str(page), settings_overrides=_HARSH)


def section(page: Path, title: str) -> Any:
    """Return the section with that title."""
    (found,) = (each for each in tree(page).findall(nodes.section) if each[0].astext() == title)
    return found


def rows(within: Any) -> list[list[Any]]:
    """Return the cells of each table row within a node, headings left out."""
    return [list(row) for body in within.findall(nodes.tbody) for row in body]


def literals(within: Any) -> list[str]:
    """Return the texts in double backticks within a node, a line break in one read as a blank."""
    return [" ".join(each.astext().split()) for each in within.findall(nodes.literal)]


def first_literals(within: Any) -> list[str]:
    """Return the first literal of each row's first cell, of rows that begin with one."""
    return [found[0] for row in rows(within) if (found := literals(row[0]))]


def code(page: Path, language: str) -> list[str]:
    """Return a document's blocks of code in that language."""
    blocks = tree(page).findall(nodes.literal_block)
    return [each.astext() for each in blocks if language in each["classes"]]
