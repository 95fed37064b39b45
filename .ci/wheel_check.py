"""Builds the wheel, installs it with what it needs into a fresh environment, and uses it from elsewhere.

An editable install finds files that the wheel forgot; this does not.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNWANTED = ("twisted/__init__.py", "twisted/plugins/__init__.py", "tests/", "benchmarks/", "examples/")


def main() -> None:
    """Check; a failure ends with a traceback or a message and status 1."""
    with tempfile.TemporaryDirectory(prefix="wheel-check-") as name:
        place = Path(name)
        run(sys.executable, "-m", "build", "--outdir", str(place / "dist"), str(ROOT), cwd=place)
        (wheel,) = (place / "dist").glob("*.whl")
        check_contents(wheel)
        venv.create(place / "venv", with_pip=True)
        programs = place / "venv" / "bin"
        pip = (str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "install", str(wheel), cwd=place)
        expect("crowdai-broker", str(programs / "twistd"), "--help", cwd=place)
        expect("--config", str(programs / "twistd"), "crowdai-broker", "--help", cwd=place)
        expect("check-config", str(programs / "crowdai-broker"), "--help", cwd=place)
        run(str(programs / "python"), "-m", "pip", "check", cwd=place)
    print("the wheel is complete")  # noqa: T201


def check_contents(wheel: Path) -> None:
    """Check that the wheel holds every file of the package, and nothing that is not its own."""
    names = zipfile.ZipFile(wheel).namelist()
    foreign = [name for name in names if name.startswith(UNWANTED)]
    files = [path for room in ("crowdai_broker", "twisted") for path in (ROOT / room).rglob("*")]
    ours = {str(path.relative_to(ROOT)) for path in files if path.is_file() and kept(path)}
    missing = sorted(ours - set(names))
    if missing or foreign:
        raise SystemExit(f"the wheel lacks {missing} and has too much: {foreign}")


def kept(path: Path) -> bool:
    """Tell whether a file is the project's, not made by Python or Twisted beside it."""
    return "__pycache__" not in path.parts and path.name != "dropin.cache"


def run(*command: str, cwd: Path) -> str:
    """Run a command away from the checkout; what it printed is shown if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(text: str, *command: str, cwd: Path) -> None:
    """Run a command and check that it prints ``text``."""
    if text not in run(*command, cwd=cwd):
        raise SystemExit(f"{' '.join(command)} does not say {text}")


if __name__ == "__main__":
    main()
