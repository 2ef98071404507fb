"""Turns requirements*.in into requirements*.txt and package.json into its lock; --check compares and writes nothing.

The files name no index and no registry: whichever the machine uses serves them.
"""
# ruff: noqa: S603 - it starts fixed programs, without a shell

import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from localhost.azurite import node  # noqa: E402 - a file outside the packages finds them only now

# The order in which one constrains the next.
NAMES = ["requirements", "requirements-local", "requirements-dev", "requirements-audit"]
PACKAGES = (".", "tests/contract/js", "tests/ui/js")
"""Where package.json and its lock are: what `make run` needs, the SDKs that the tests call, and axe-core."""
FLAGS = (
    "--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --no-annotate --no-header --quiet"
)
# The locks are made on the oldest Python that is supported; pip-compile drops what its own Python doesn't install.
LOCK_PYTHON = (3, 11)
NEWER_PYTHON_LINES = {"requirements": 'azure-functions==2.3.0 ; python_version >= "3.13"\n'}
ADDRESS = {
    ".txt": re.compile(r"\w+://|--(extra-)?index-url|--find-links|--trusted-host"),
    ".json": re.compile(r'"resolved"'),
}


def main(arguments: list[str]) -> int:
    """Write the locks, or with --check tell whether they are what would be written."""
    if sys.version_info[:2] != LOCK_PYTHON:
        print(f"LOCK FILES NOT LOOKED AT: that takes Python {'.'.join(map(str, LOCK_PYTHON))} in .venv.")
        return 0 if arguments == ["--check"] else 1
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        packages = [
            ROOT / where / name for where in PACKAGES for name in ("package.json", "package-lock.json", ".npmrc")
        ]
        for file in [*ROOT.glob("requirements*"), *packages]:
            copy = folder / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        error = compile_all(folder)
        if error and arguments == ["--check"] and names_no_conflict(error):
            print(f"LOCK FILES NOT CHECKED, the package index could not be asked: {error.splitlines()[-1]}")
            return 0
        if error:
            print(error, file=sys.stderr)
            return 1
        written = [*(f"{name}.txt" for name in NAMES), *(f"{where}/package-lock.json" for where in PACKAGES)]
        if arguments == ["--check"]:
            return compare(folder, written)
        for name in written:
            (ROOT / name).write_bytes((folder / name).read_bytes())
    return 0


def compile_all(folder: Path) -> str:
    """Run pip-compile and npm over the copies in `folder`; what they said if they failed, else nothing."""
    npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    commands = [
        [sys.executable, "-m", "piptools", "compile", *FLAGS.split(), f"--output-file={name}.txt", f"{name}.in"]
        for name in NAMES
    ]
    lock = [str(node()), str(npm), "install", "--package-lock-only", "--ignore-scripts", "--prefix"]
    commands += [[*lock, where] for where in PACKAGES]
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return (done.stdout + done.stderr).strip() or f"{command[-1]}: code {done.returncode}"
    for name, lines in NEWER_PYTHON_LINES.items():
        file = folder / f"{name}.txt"
        file.write_text(file.read_text().replace(lines, "") + lines)
    return ""


def names_no_conflict(error: str) -> bool:
    """Whether a failure looks like a missing network rather than pins that contradict each other."""
    signs = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "name resolution", "ENOTFOUND", "EAI_AGAIN", "ECONN")
    return any(sign in error for sign in signs)


def compare(folder: Path, written: list[str]) -> int:
    """Show how the locks differ from what they should be: 0 when they don't."""
    stale = False
    for name in written:
        have, want = (ROOT / name).read_text(), (folder / name).read_text()
        sys.stdout.writelines(difflib.unified_diff(have.splitlines(True), want.splitlines(True), name, "`make lock`"))
        if found := ADDRESS[Path(name).suffix].search(have):
            print(f"{name} names an index or registry: {found.group()}")
            stale = True
        stale = stale or have != want
    print("Lock files are stale: run `make lock`." if stale else "Lock files are current.")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
