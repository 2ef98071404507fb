"""The local host's life: timers, an end in order, and an end at once."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sample_app import write_app
from tests.integration.served import DEADLINE, Answer, Served, wait_until

LIFE = """
    import asyncio, pathlib, sys
    import azure.functions as func

    app = func.FunctionApp(http_auth_level="ANONYMOUS")
    release = pathlib.Path("release")

    async def released():
        while not release.exists():
            await asyncio.sleep(0.01)

    @app.route(route="slow")
    async def slow(req: func.HttpRequest) -> str:
        print("in slow")
        await released()
        return "answered"

    @app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer")
    async def work(timer: func.TimerRequest) -> None:
        print("in work")
        await released()
        print("work done")

    @app.route(route="path")
    async def path(req: func.HttpRequest) -> str:
        return "\\n".join(sys.path)

    async def drain() -> None:
        print("drained")
        if pathlib.Path("fail").exists():
            raise RuntimeError("nowhere to write")
"""


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
    except ConnectionError:
        return False
    return True


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[Served]:
    with Served(write_app(tmp_path / "app", LIFE)) as running:
        yield running
        running.process.kill()


def fetch(served: Served, path: str, answers: list[Answer]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(served.get(path)))
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_in_order(alive: Served, tmp_path: Path, number: signal.Signals) -> None:
    answers: list[Answer] = []
    thread = fetch(alive, "/slow", answers)
    assert alive.line() == "in slow"
    alive.post("/admin/functions/work")
    assert alive.line() == "in work"

    alive.process.send_signal(number)
    # Once it takes no new connections, it must still be waiting for what it has begun.
    wait_until(lambda: not accepts(alive.port), "the port was still open")
    assert alive.process.poll() is None
    (tmp_path / "app" / "release").touch()
    thread.join(DEADLINE)

    assert [answer.text for answer in answers] == ["answered"]
    assert [alive.line(), alive.line()] == ["work done", "drained"]
    assert alive.process.wait(DEADLINE) == 0


def test_a_second_signal_ends_it_at_once(alive: Served) -> None:
    alive.post("/admin/functions/work")
    assert alive.line() == "in work"

    while alive.process.poll() is None:
        alive.process.send_signal(signal.SIGTERM)
        try:
            alive.process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue

    assert alive.process.returncode == 128 + signal.SIGTERM
    assert alive.line() == ""


def test_a_drain_that_fails_is_told(alive: Served, tmp_path: Path) -> None:
    (tmp_path / "app" / "fail").touch()

    assert alive.stop() == 1
    assert "nowhere to write" in alive.errors


def test_the_app_is_last_on_the_path(alive: Served, tmp_path: Path) -> None:
    entries = alive.get("/path").text.splitlines()

    assert entries[-1] == str(tmp_path / "app")
    assert entries.count(entries[-1]) == 1
    assert "" not in entries


TIMER = """
    import azure.functions as func

    app = func.FunctionApp()

    @app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=True, use_monitor=True)
    def tick(timer: func.TimerRequest) -> None:
        print("tick", timer.past_due)
"""


def test_a_timer_starts_with_the_app_and_notes_its_runs(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app", TIMER)
    status = app_dir / "data" / "timers" / "tick.json"

    with Served(app_dir, env={"RANKLOOP_DATA": "data"}) as served:
        assert served.line() == "tick False"
        wait_until(lambda: status.exists() and '"Last": "20' in status.read_text(), "the run was not noted")

    status.write_text(json.dumps(dict.fromkeys(("Last", "Next", "LastUpdated"), "2020-01-01T00:00:00+00:00")))
    with Served(app_dir, env={"RANKLOOP_DATA": str(app_dir / "data")}) as served:
        assert served.line() == "tick True"


def test_timers_can_be_left_out(tmp_path: Path) -> None:
    app_dir = write_app(tmp_path / "app", TIMER)

    with Served(app_dir, "--no-timers") as served:
        assert served.get("/admin/host/ping").status == 200

    assert not os.path.exists(app_dir / ".rankloop")
    assert "tick False" not in served.errors
