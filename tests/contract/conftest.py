"""Turns the function app into served loops: Azurite and two instances, which take %2F in a path in both ways."""

import functools
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from localhost.azurite import HOST, ROOT, Azurite
from localhost.up import app_environment
from shared.learning.signed import generate_key

KEY = "the key of the contract tests"
SEEDS = Path(os.environ.get("RANKLOOP_SHARED") or ROOT.parent / "shared").absolute()
# Generous: it only bounds how long a broken run hangs.
DEADLINE = 120.0
QUICKSTART_SIGNER = "f29c84894cad644319945f2d14584bfa37c1f06e0a5767ec5932b2059b7ba4d2"
"""The certificate that Personalizer signed its exported quickstart model with."""
_signing_key = functools.cache(generate_key)
_REMOVED = ("RANKLOOP_", "AzureWebJobs", "FUNCTIONS_", "HOST_", "PYTHON")


class Answer(NamedTuple):
    """One response to a plain HTTP call."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Instance:
    """One process that serves the app.

    Attributes:
        endpoint: its address, without a slash at the end.
    """

    def __init__(self, storage: str, folder: Path, *options: str, settings: Mapping[str, str] | None = None) -> None:
        folder.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED)}
        # A busy machine is no reason for a 503.
        patient = {"RANKLOOP_LOG_DEADLINE_MS": "3500", "RANKLOOP_REWARD_DEADLINE_MS": "3500"}
        signs = {"RANKLOOP_SIGNING_KEY": _signing_key(), "RANKLOOP_TRUSTED_SIGNERS": QUICKSTART_SIGNER}
        self._output = folder / "output.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "localhost", "--host", HOST, "--port", "0", *options],
                cwd=ROOT,
                env=app_environment({**kept, **patient, **signs, **(settings or {})}, storage, KEY, folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.endpoint = self._ready()

    def _ready(self) -> str:
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < deadline:
            for line in self._output.read_text().splitlines():
                if line.startswith("ready "):
                    return line.removeprefix("ready ").rstrip("/")
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise RuntimeError(f"the app was not served:\n{self._output.read_text()}")

    def call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, key: str = KEY
    ) -> Answer:
        """Send the path as it is given; nothing but a body and a key is added."""
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(HOST, address.port or 0, timeout=DEADLINE)
        sent = {"Ocp-Apim-Subscription-Key": key} if headers is None else dict(headers)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def health(self) -> Any:
        return self.call("GET", "/rankloop/v1/health").json

    def stop(self) -> int:
        """Let it drain and end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()


class Deployment(NamedTuple):
    """One storage and two instances over it.

    Attributes:
        storage: the connection string.
        kept: leaves %2F in a path alone, as `func start` does.
        decoded: decodes it before routing, as Azure does.
    """

    storage: str
    kept: Instance
    decoded: Instance


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """A new loop, served; each instance must have stored everything when it ends."""
    with Azurite() as azurite, ExitStack() as stack:
        made = []
        for name, option in (("kept", "--no-decode-slash"), ("decoded", "--decode-slash")):
            made.append(Instance(azurite.connection_string, folder / name, option))
            stack.callback(_end, made[-1])
        yield Deployment(azurite.connection_string, *made)


def _end(instance: Instance) -> None:
    assert instance.stop() == 0


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests that do not look at what is learned."""
    with deployment(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Deployment]:
    """One whose loop has seen nothing yet."""
    with deployment(tmp_path) as running:
        yield running


def wait_until(condition: Callable[[], bool], seconds: float = DEADLINE) -> float:
    """Poll until it holds; returns the seconds that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.2)
    return time.monotonic() - started


def seed(pattern: str) -> Path | None:
    """A published document, if this machine has it."""
    return next(iter(sorted((SEEDS / "seeds").glob(pattern))), None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once more, where it is seen, that the published code was not run."""
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if "no published" in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(
            f"WARNING: {len(skipped)} tests of the published documents' own code did NOT run: there are no documents. "
            "Set RANKLOOP_SHARED to the folder that holds seeds/, contract/ and data/.",
            yellow=True,
            bold=True,
        )
