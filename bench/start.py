"""`make run` in a fresh clone of this repository: from nothing to ready, against a second start of the same clone.

What is cloned is what was committed last.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localhost.azurite import HOST, ROOT

READY = "Rankloop is ready"
LONGEST = 900.0
"""Seconds after which a start that hangs is killed."""


def seconds_to_ready(clone: Path) -> float:
    """Seconds from `make run` to the line that says that the loop is served; it is ended then."""
    said: deque[str] = deque(maxlen=20)
    started = time.monotonic()
    with _running(clone) as output:
        for line in output:
            said.append(line.rstrip())
            if line.startswith(READY):
                return time.monotonic() - started
    raise SystemExit("\n".join([*said, "make run in the clone ended before it was ready: see above."]))


@contextmanager
def _running(clone: Path) -> Iterator[Iterator[str]]:
    """The lines that `make run` prints; at the end, it and all that it started is ended."""
    with subprocess.Popen(
        ["make", "run"],
        cwd=clone,
        env=_environment(clone),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        deadline = threading.Timer(LONGEST, os.killpg, (process.pid, signal.SIGKILL))
        deadline.start()
        try:
            yield iter(process.stdout)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            # Until the last of the group has closed it: they drain, and need the clone's files for that.
            process.stdout.read()
            process.wait()
            deadline.cancel()


def _environment(clone: Path) -> dict[str, str]:
    """What a shell would give, without this run's settings and the `make` it may run under."""
    removed = ("RANKLOOP_", "MAKE", "MFLAGS", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    return {**kept, "RANKLOOP_PORT": str(port), "RANKLOOP_DATA": str(clone / ".rankloop")}


def main() -> None:
    """Print the seconds, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        if subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)]).returncode:
            raise SystemExit(f"{ROOT} could not be cloned: this measurement needs git, and the repository's history.")
        cold = seconds_to_ready(clone)
        warm = seconds_to_ready(clone)
    print("make run until it is ready, in seconds (the only goals that are absolute times):")
    print(f"  first, in a fresh clone: {cold:.1f} s  (goal under 180 with warm package caches)")
    print(f"  second, all in place:    {warm:.1f} s  (goal under 10)")
    print(f"  second / first:          {warm / cold:.3f}x")


if __name__ == "__main__":
    main()
