"""Turns a Python 3.13 of this machine into a run of the suite on it: `make test-313`.

Azure runs the app on 3.13, and the locks are made on 3.11. Where there is no 3.13 it says so, and fails: no run is no
success. The environment is kept in .venv-3.13; Azurite and Node's packages are those of `make setup`.
"""
# ruff: noqa: S603 - it starts fixed programs, without a shell

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localhost.setup import DEV_FILES, PIP_INSTALL, RUNTIME_FILE  # noqa: E402 - a file outside the packages finds it now

WANTED = (3, 13)
VENV = ROOT / ".venv-3.13"
PROBE = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != {WANTED})"


def candidates(home: Path) -> Iterator[Path]:
    """Where a Python 3.13 may be: on the path, or among those of pyenv and of uv."""
    if found := shutil.which("python3.13"):
        yield Path(found)
    yield from sorted(home.glob(".pyenv/versions/3.13*/bin/python3.13"), reverse=True)
    yield from sorted(home.glob(".local/share/uv/python/cpython-3.13*/bin/python3.13"), reverse=True)


def find(home: Path) -> Path | None:
    """The first that starts, is what it is called, and can make environments; None where there is none."""
    for python in candidates(home):
        # Run first: a version manager's stub is found for versions that it then refuses to start.
        if subprocess.run([python, "-c", PROBE], capture_output=True, check=False).returncode == 0:
            return python
    return None


def install(python: Path) -> None:
    """Make the environment of what the locks say, unless it is that already.

    Raises:
        subprocess.CalledProcessError: pip could not.
    """
    locks = [*DEV_FILES, RUNTIME_FILE]
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in locks)).hexdigest()
    stamp = VENV / ".installed"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    subprocess.run([python, "-m", "venv", "--clear", VENV], check=True)
    pip = [str(VENV / "bin" / "python"), "-I", *PIP_INSTALL, "--quiet"]
    subprocess.run([*pip, *(part for name in DEV_FILES for part in ("-r", name))], cwd=ROOT, check=True)
    # Without what it depends on, which is pinned by the app's own lock.
    subprocess.run([*pip, "--no-deps", "-r", RUNTIME_FILE], cwd=ROOT, check=True)
    stamp.write_text(digest)


def main(arguments: list[str]) -> int:
    """Run the suite; pytest's own code, or 2 where it was not run."""
    python = find(Path.home())
    if python is None:
        print("NOT TESTED ON PYTHON 3.13: this machine has none. Install one, as python3.13 on the path or by pyenv.")
        return 2
    try:
        install(python)
    except subprocess.CalledProcessError as error:
        print(f"NOT TESTED ON PYTHON 3.13: what the locks pin could not be installed (code {error.returncode}).")
        return 2
    suite = [str(VENV / "bin" / "python"), "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    return subprocess.run([*suite, *arguments], cwd=ROOT, env=os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
