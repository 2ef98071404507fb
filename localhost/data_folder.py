"""Turns RANKLOOP_DATA into a folder of one run: locked while it runs, with the deployment key kept in it."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        file = self.path / "key"
        try:
            kept = file.read_text().strip()
        except FileNotFoundError:
            kept = ""
        if kept:
            return kept
        made = secrets.token_hex(16)
        # Written aside and renamed: a start that is cut off leaves no empty key. mkstemp makes it mode 600.
        descriptor, aside = tempfile.mkstemp(dir=self.path, prefix="key.")
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
