"""`python -m demo` as its user meets it: against a served loop, against none, and cut off."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.cognitiveservices.personalizer import PersonalizerClient
from msrest import Deserializer
from msrest.authentication import CognitiveServicesCredentials
from msrest.exceptions import HttpOperationError

from demo.play import repeated, send_reward
from localhost.azurite import ROOT
from tests.contract.conftest import DEADLINE, KEY, Deployment, wait_until

SETTINGS = "/personalizer/v1.0/configurations/service"


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RANKLOOP_", "PYTHON"))}
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env={**kept, "RANKLOOP_DATA": str(folder), "MPLCONFIGDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_demo_that_is_cut_off_shows_what_it_has_and_puts_the_settings_back(fresh: Deployment, tmp_path: Path) -> None:
    before = fresh.kept.call("GET", SETTINGS).json
    running = demo(tmp_path, "grocery", "--endpoint", fresh.kept.endpoint, "--key", KEY, "--rate", "50")
    try:
        # In the middle: the settings are the demo's, and some events have been rewarded.
        wait_until(lambda: bool(fresh.kept.health()["counters"].get("http.204", 0) > 20))
        during = fresh.kept.call("GET", SETTINGS).json
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=DEADLINE)
    finally:
        running.kill()

    assert during == {**before, "rewardWaitTime": "PT15S", "modelExportFrequency": "PT15S"}
    assert running.returncode == 130
    assert errors.endswith("Stopped; the loop has its own settings again.\n")
    assert "too fast to learn" in errors
    assert "mean reward of the first" in output
    assert (tmp_path / "demo" / "grocery.png").read_bytes().startswith(b"\x89PNG")
    assert fresh.kept.call("GET", SETTINGS).json == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--endpoint", "http://127.0.0.1:1/"], "start `make run` in another terminal"),
        (["--endpoint", "nowhere"], "nowhere is no endpoint"),
    ],
)
def test_without_a_loop_it_says_so_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    output, errors = (running := demo(tmp_path, *arguments)).communicate(timeout=DEADLINE)

    assert running.returncode == 1
    assert output == ""
    assert told in errors
    assert errors.count("\n") == 1


def test_a_slow_moment_of_storage_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[int | str] = [503, 503, "answered"]
    slept: list[float] = []
    monkeypatch.setattr("demo.play.time.sleep", slept.append)

    assert repeated(lambda: answer(answers)) == "answered"
    assert len(slept) == 2
    with pytest.raises(HttpOperationError):
        repeated(lambda: answer([400, "too late"]))


def test_a_reward_that_is_repeated_says_that_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.play.time.sleep", lambda seconds: None)
    connect: Any = PersonalizerClient  # its package has no types

    with (
        answering([503, 503, 204, 204]) as (endpoint, request_ids),
        connect(endpoint, CognitiveServicesCredentials(KEY)) as client,
    ):
        send_reward(client, "first", 1.0)
        send_reward(client, "second", 1.0)

    first, *repetitions, second = request_ids
    assert first
    assert repetitions == [first, first]
    assert second
    assert second != first


@contextmanager
def answering(statuses: list[int]) -> Iterator[tuple[str, list[str | None]]]:
    """A server that gives these answers; its address, and the request ids that came with the calls."""
    request_ids: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            request_ids.append(self.headers["x-ms-client-request-id"])
            self.send_response(statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", request_ids
        finally:
            server.shutdown()
            thread.join()


def answer(answers: list[int | str]) -> str:
    """What the SDK does with the next answer."""
    first = answers.pop(0)
    if isinstance(first, int):
        response = requests.Response()
        response.status_code = first
        untyped: Any = Deserializer
        raise HttpOperationError(untyped({}), response)
    return first


def test_a_wrong_key_is_one_line(served: Deployment, tmp_path: Path) -> None:
    running = demo(tmp_path, "--endpoint", served.kept.endpoint, "--key", "wrong")
    output, errors = running.communicate(timeout=DEADLINE)

    assert (running.returncode, output) == (1, "")
    assert "The key does not open" in errors
