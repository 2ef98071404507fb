"""Turns RANKLOOP_DATA into a folder of one run: locked while it runs, with its keys kept in it."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.learning.signed import generate_key


class Problem(Exception):
    """What keeps a run from starting, in one line that says what to do."""


class DataFolder:
    """Where a run keeps what outlives it."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.azurite = path / "azurite"

    def note_processes(self, *pids: int | None) -> None:
        """Write down who uses the folder, for the message that another run gives."""
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, " ".join(str(pid) for pid in pids if pid is not None).encode(), 0)

    def key(self) -> str:
        """Read the deployment key, made at the first start."""
        return self._kept("key", lambda: secrets.token_hex(16))

    def signing_key(self) -> str:
        """Read the key that signs models, made at the first start."""
        return self._kept("signing-key.pem", generate_key)

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        file = self.path / name
        try:
            kept = file.read_text().strip()
        except FileNotFoundError:
            kept = ""
        if kept:
            return kept
        made = make()
        # Written aside and renamed: a start that is cut off leaves no empty key. mkstemp makes it mode 600.
        descriptor, aside = tempfile.mkstemp(dir=self.path, prefix=f"{name}.")
        with os.fdopen(descriptor, "w") as out:
            out.write(made + "\n")
        Path(aside).replace(file)
        return made


@contextmanager
def data_folder(path: Path) -> Iterator[DataFolder]:
    """Open the folder for this run alone.

    The lock is the kernel's, on the pid file: it ends with the last process that holds it, however that ended, so a
    pid file left behind locks nobody out.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "pid", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise Problem(f"RANKLOOP_DATA={path} cannot be used: {error.strerror}. Choose another folder.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.pread(lock, 100, 0).decode(errors="replace").strip() or "unknown"
            raise Problem(
                f"Another run uses {path} (process {who}): stop it, or choose another folder with RANKLOOP_DATA."
            ) from error
        yield DataFolder(path, lock)
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)
