"""Installs the foreign clients that the interoperability tests drive, under ``.tools/`` in the checkout.

Run as ``python -m tests.world.install`` from the checkout. It needs the standard library and a Node
(:mod:`tests.world.toolbox.node`). What is there already, made from the same lists by the same Python, is
left alone: a second run takes a fraction of a second.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .toolbox.node import NodeMissing, find_node
from .toolbox.places import CLIENTS, TOOLS

REQUIREMENTS = CLIENTS / "requirements"
RECIPE = "1"
"""Part of every stamp: raise it when the steps below change."""


class InstallFailed(Exception):
    """A step of the installation failed; the text is what it printed."""


@dataclass(frozen=True)
class Tool:
    """One folder below ``.tools/``.

    :ivar name: of the folder.
    :ivar lists: the files that say what is in it; a change of any makes it anew.
    :ivar fill: puts it into the (empty) folder.
    """

    name: str
    lists: tuple[Path, ...]
    fill: Callable[[Path], None]

    def stamp(self) -> str:
        """Return what a finished installation of this tool is marked with."""
        digest = hashlib.sha256(f"{RECIPE} {sys.version}".encode())
        for path in self.lists:
            digest.update(path.read_bytes())
        return digest.hexdigest()


def fill_node(folder: Path) -> None:
    """Install the JavaScript clients exactly as locked; no script of any package is run."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CLIENTS / name, folder / name)
    node = find_node()
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    run([*node.npm, "ci", *options], cwd=folder, env=node.environment())


def fill_python_socketio_4(folder: Path) -> None:
    """Make a virtual environment with python-socketio 4."""
    pip = make_venv(folder)
    run([*pip, "-r", str(REQUIREMENTS / "python-socketio-4.txt")])


def fill_crowdai(folder: Path) -> None:
    """Make a virtual environment with the participants' client, as participants install it today."""
    pip = make_venv(folder)
    run([*pip, "--no-deps", "-r", str(REQUIREMENTS / "crowdai-bare.txt")])
    run([*pip, "-r", str(REQUIREMENTS / "crowdai.txt")])


TOOLS_WANTED = (
    Tool("node", (CLIENTS / "package.json", CLIENTS / "package-lock.json"), fill_node),
    Tool("python-socketio-4", (REQUIREMENTS / "python-socketio-4.txt",), fill_python_socketio_4),
    Tool("crowdai", (REQUIREMENTS / "crowdai-bare.txt", REQUIREMENTS / "crowdai.txt"), fill_crowdai),
)


def make_venv(folder: Path) -> list[str]:
    """Make a virtual environment in ``folder``; return the command that installs into it."""
    run([sys.executable, "-m", "venv", str(folder)])
    return [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def run(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run ``command`` quietly.

    :raises InstallFailed: if it fails, with all that it printed.
    """
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InstallFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def install(tool: Tool, tools: Path) -> bool:
    """Install ``tool`` below ``tools`` unless it is there; tell whether there was anything to do."""
    folder = tools / tool.name
    mark, stamp = folder / ".stamp", tool.stamp()
    if mark.exists() and mark.read_text() == stamp:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tool.fill(folder)
    mark.write_text(stamp)  # last, so that an interrupted installation is begun again
    return True


@contextmanager
def only_one(tools: Path) -> Iterator[None]:
    """Wait for any other run of this script on the same folder to end."""
    tools.mkdir(exist_ok=True)
    with (tools / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Install everything; return the exit status."""
    with only_one(TOOLS), ThreadPoolExecutor(len(TOOLS_WANTED)) as pool:
        jobs = {tool.name: pool.submit(install, tool, TOOLS) for tool in TOOLS_WANTED}
        for name, job in jobs.items():
            try:
                said = "installed" if job.result() else "is there"
            except (InstallFailed, NodeMissing) as error:
                sys.stderr.write(f"{name}: {error}\n")
                return 1
            sys.stdout.write(f"{name}: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
