"""The project's own source, as the tests of its rules read it."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crowdai_broker"


def modules() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """Return the first name below the package: ``core`` for ``crowdai_broker/core/jobs.py``."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Return what a module imports, wherever in it: full dotted names, one for each imported name."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(path, node)
            yield from ((f"{base}.{alias.name}", node) for alias in node.names)


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """Return the module that ``from … import`` names, also a relative one."""
    if not node.level:
        return node.module or ""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[: len(parts) - node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


def inside(name: str) -> str | None:
    """Return the part of a dotted name below the package, ``None`` if it is from elsewhere."""
    package, _, rest = name.partition(".")
    return rest if package == "crowdai_broker" else None


def where(path: Path, node: ast.stmt) -> str:
    """Return ``file:line``."""
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def tracked() -> list[Path]:
    """Return every file that is kept under version control, or, in a copy without it, the package's own."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = listed.stdout.decode().split("\0") if listed.returncode == 0 else []
    found = [ROOT / name for name in names if name] or [*modules(), *(ROOT / "tests").rglob("*.py")]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def requirements() -> list[str]:
    """Return what ``setup.py`` says is installed with the package."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            found: list[str] = ast.literal_eval(node.value)
            return found
    raise LookupError("setup.py has no install_requires")


def texts() -> Iterator[tuple[Path, str]]:
    """Return every tracked file that is text."""
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def tests() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return every test method."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and member.name.startswith(
                        "test_"
                    ):
                        yield path, member
