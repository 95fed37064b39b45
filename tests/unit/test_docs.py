"""The documents are in order: they render, links lead somewhere, programs are those of ``examples/``."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from docutils import nodes
from twisted.trial.unittest import SynchronousTestCase

from crowdai_broker import cli
from crowdai_broker.config import load_config
from crowdai_broker.demo import hints

from .documents import PAGES, ROOT, code, literals, rows, section, tree

EXAMPLES = ROOT / "examples"
README = ROOT / "README.rst"
_HEAD = re.compile(r'\A(?:"""(?:.|\n)*?"""\n|(?://.*\n)+)\s*')
_COMMAND = re.compile(r"crowdai-broker ([a-z][a-z-]*)(?: (list|show|retry|cancel|settle))?\b")
_OTHERS = {"config", "with", "is", "for"}  # words that follow the name in prose, and twistd's own option


def program(path: Path) -> str:
    """Return an example without what stands at its head."""
    return _HEAD.sub("", path.read_text(encoding="utf-8")).strip()


class DocumentTests(SynchronousTestCase):
    """All documents."""

    def test_render(self) -> None:
        """No document has an error, a warning or a duplicate name."""
        for page in PAGES:
            wrong = [each.astext() for each in tree(page).findall(nodes.system_message)]
            self.assertEqual(wrong, [], page.name)

    def test_links(self) -> None:
        """A link to a file of the project leads to one."""
        for page in PAGES:
            targets = [each["refuri"] for each in tree(page).findall(nodes.reference) if "refuri" in each]
            for target in targets:
                if not target.startswith(("http://", "https://", "mailto:")):
                    self.assertTrue((page.parent / target).exists(), f"{page.name} links to {target}")

    def test_index(self) -> None:
        """The index links to every other document."""
        linked = {each.get("refuri") for each in tree(ROOT / "docs/index.rst").findall(nodes.reference)}
        there = {page.name for page in PAGES if page.parent.name == "docs"} - {"index.rst"}
        self.assertEqual(there - linked, set())

    def test_rooms(self) -> None:
        """The picture of the house shows every room of the package."""
        package = ROOT / "crowdai_broker"
        there = {
            path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        cells = [row[0] for row in rows(section(ROOT / "docs/architecture.rst", "Rooms"))]
        shown = {name for cell in cells for name in literals(cell)}
        there = {"memory_*" if name.startswith("memory_") else name for name in there - {"__init__"}}
        self.assertEqual(there - shown, set())

    def test_two_commands(self) -> None:
        """The README names the two commands, and the Makefile has them."""
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        text = README.read_text(encoding="utf-8")
        for name in ("demo", "test"):
            self.assertIn(name, targets)
            self.assertIn(f"``make {name}``", text)

    def test_make_targets(self) -> None:
        """A target of make that a document names exists."""
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for page in PAGES:
            named = set(re.findall(r"``make ([a-z-]+)", page.read_text(encoding="utf-8")))
            self.assertEqual(named - targets, set(), page.name)

    def test_commands(self) -> None:
        """A command that a document or the demo names exists."""
        group = cli.main
        context = group.make_context("crowdai-broker", ["--config"], resilient_parsing=True)
        texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
        texts["hints"] = hints._HINTS
        for name, text in texts.items():
            for command, inner in _COMMAND.findall(text):
                if command in _OTHERS:
                    continue
                found = group.get_command(context, command)
                self.assertIsNotNone(found, f"{name}: crowdai-broker {command}")
                if inner:
                    self.assertIn(inner, getattr(found, "commands", {}), f"{name}: {command} {inner}")


class ExampleTests(SynchronousTestCase):
    """Programs and files that are shown."""

    def test_compile(self) -> None:
        """Every Python example compiles."""
        for path in EXAMPLES.glob("*.py"):
            ast.parse(path.read_text(encoding="utf-8"), str(path))

    def test_shown_in_readme(self) -> None:
        """The README shows the examples as they are."""
        wanted = [program(EXAMPLES / name) for name in ("participant_crowdai.py", "participant.py")]
        self.assertEqual(code(README, "python"), wanted)
        self.assertEqual(code(README, "javascript"), [program(EXAMPLES / "participant.js")])

    def test_grader_shown(self) -> None:
        """The document for graders shows the example as it is."""
        for page, name in (("graders-redis.rst", "grader.py"), ("graders-http.rst", "grader_http.py")):
            shown = code(ROOT / "docs" / page, "python")
            self.assertEqual(shown, [(EXAMPLES / name).read_text(encoding="utf-8").strip()])

    def test_evaluator_shown(self) -> None:
        """The document for organizers shows the example as it is."""
        self.assertEqual(code(ROOT / "docs/graders.rst", "python"), [program(EXAMPLES / "evaluator.py")])

    def test_socket_grader_shown(self) -> None:
        """The document for graders on Socket.IO shows the example as it is."""
        shown = code(ROOT / "docs/graders-socketio.rst", "javascript")
        self.assertEqual(shown, [program(EXAMPLES / "grader.js")])

    def test_named(self) -> None:
        """An example that a document names exists, and each is named in one."""
        texts = "".join(page.read_text(encoding="utf-8") for page in PAGES)
        there = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".js"}}
        named = set(re.findall(r"``(?:examples/)?([a-z_0-9]+\.(?:py|js))``", texts))
        self.assertEqual(there - named, set())
        self.assertEqual(set(re.findall(r"examples/([a-z_0-9]+\.(?:py|js))", texts)) - there, set())

    def test_configuration(self) -> None:
        """The configuration that the README shows is one."""
        (shown,) = code(README, "toml")
        tomllib.loads(shown)
        path = Path(self.mktemp())
        path.write_text(shown, encoding="utf-8")
        config = load_config(path, {"CROWDAI_API_KEY": "secret"})
        self.assertEqual(config.webapp.api_key.reveal(), "secret")
