"""Turns a function app's source into a `python -m localhost` process that a test can talk to."""

import http.client
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
# Generous: it only bounds how long a broken run hangs.
DEADLINE = 60.0
# Set where the tests run, these would change what is tested.
_REMOVED = ("RANKLOOP_", "AzureWebJobs", "FUNCTIONS_", "HOST_", "PYTHON_")


class Answer(NamedTuple):
    """One response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def command(app_dir: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "localhost", "--app", str(app_dir), "--port", "0", *options]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED)}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(extra or {})}


class Served:
    """A served app; leave the `with` block to end it in order."""

    def __init__(self, app_dir: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        self._said = ""
        self.process = subprocess.Popen(
            command(app_dir, *options), env=environment(env), stdout=subprocess.PIPE, stderr=self._errors, cwd=app_dir
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        ready = self.line()
        if not ready.startswith("ready http://127.0.0.1:"):
            self.stop(signal.SIGKILL)
            raise RuntimeError(f"the app was not served: {ready!r}\n{self.errors}")
        self.address = ready.removeprefix("ready ")
        self.port = urlsplit(self.address).port or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def errors(self) -> str:
        """What the process has written to its standard error so far."""
        if not self._errors.closed:
            # Reading at a position leaves alone the one that the process writes at.
            self._said = os.pread(self._errors.fileno(), os.fstat(self._errors.fileno()).st_size, 0).decode()
        return self._said

    def line(self) -> str:
        """The next line that the process writes to its standard output; empty at its end."""
        return self._lines.get(timeout=DEADLINE)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._lines.put(line.decode().rstrip("\n"))
        self._lines.put("")

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send the path as it is given: nothing is normalised on the way."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("POST", path, body, headers)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it (once) and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.wait()
            self._reader.join()
            self._said = self.errors
            self._errors.close()


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    """Return when the condition holds; `TimeoutError` with the text if it does not within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.02)
