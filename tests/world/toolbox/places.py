"""Where things are: the checkout, and the foreign programs that ``tests.world.install`` puts beside it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The checkout."""

CLIENTS = ROOT / "tests" / "world" / "clients"
"""The agents that drive foreign clients, and the lists of what they need."""

TOOLS = ROOT / ".tools"
"""Foreign programs, installed on demand; ignored by git."""

NODE_MODULES = TOOLS / "node" / "node_modules"
"""The JavaScript clients."""

THIS_PYTHON = Path(sys.executable)
"""The interpreter of the tests, which has the broker and a current python-socketio."""

PYTHON_SOCKETIO_4 = TOOLS / "python-socketio-4" / "bin" / "python"
"""An interpreter with python-socketio 4 on python-engineio 3."""

CROWDAI = TOOLS / "crowdai" / "bin" / "python"
"""An interpreter with the participants' client in the field and its socketIO-client-2."""
