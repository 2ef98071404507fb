"""When telemetry begins, goes out and ends; and that nothing it does is in the way of calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

import pytest

from shared.counters import Counters
from shared.telemetry import telemetry
from shared.telemetry.telemetry import Telemetry

TO_COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


class Sender:
    """Takes note of what it is told to do, and of the thread that does."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.threads: set[str] = set()
        self.fails = False
        self.sent = threading.Event()

    def send(self) -> None:
        self.did.append("send")
        self.threads.add(threading.current_thread().name)
        self.sent.set()
        if self.fails:
            raise OSError("no way out")

    def close(self) -> None:
        self.did.append("close")
        if self.fails:
            raise OSError("no way out")


class Loaded:
    """Telemetry, what it counts, and what it has loaded."""

    def __init__(self, environment: Mapping[str, str], fails: bool = False) -> None:
        self.counters, self.sender, self.loads = Counters(), Sender(), 0
        self._fails = fails
        self.telemetry = Telemetry(environment, self.counters, self._load)

    def _load(self) -> Sender:
        self.loads += 1
        if self._fails:
            raise ValueError("a connection string that is none")
        return self.sender


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_AFTER", 0.0)


@pytest.mark.parametrize("environment", [{}, {"OTEL_SERVICE_NAME": "x"}, {**TO_COLLECTOR, "OTEL_SDK_DISABLED": "TRUE"}])
async def test_where_it_goes_nowhere_nothing_is_loaded(environment: dict[str, str]) -> None:
    loaded = Loaded(environment)
    loaded.telemetry.soon()
    await asyncio.sleep(0.01)
    await loaded.telemetry.flush()
    await loaded.telemetry.end()

    assert (loaded.loads, loaded.sender.did) == (0, [])


@pytest.mark.parametrize("name", telemetry._WHERE)
async def test_it_is_loaded_behind_the_first_answer_on_a_thread_of_its_own(name: str) -> None:
    loaded = Loaded({name: "x", "OTEL_METRIC_EXPORT_INTERVAL": "1"})
    for _ in range(3):
        loaded.telemetry.soon()
    assert loaded.loads == 0

    assert await asyncio.to_thread(loaded.sender.sent.wait, 60)
    await loaded.telemetry.end()

    assert (loaded.loads, loaded.sender.threads) == (1, {"telemetry"})
    assert loaded.sender.did[-1] == "close"
    assert loaded.sender.did.count("close") == 1


async def test_a_run_sends_what_it_has_told_unless_that_was_just_done() -> None:
    loaded = Loaded(TO_COLLECTOR)
    await loaded.telemetry.flush()
    await loaded.telemetry.flush()

    assert (loaded.loads, loaded.sender.did) == (1, ["send"])


async def test_what_cannot_be_set_up_is_told_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    loaded = Loaded(TO_COLLECTOR, fails=True)
    await loaded.telemetry.flush()
    await loaded.telemetry.flush()
    await loaded.telemetry.end()

    assert (loaded.loads, loaded.counters["telemetry.failed"]) == (1, 1)
    assert "could not be set up" in caplog.text


async def test_what_cannot_be_sent_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    loaded = Loaded({**TO_COLLECTOR, "OTEL_METRIC_EXPORT_INTERVAL": "odd"})
    loaded.sender.fails = True
    await loaded.telemetry.flush()
    await loaded.telemetry.end()
    await loaded.telemetry.end()

    assert loaded.sender.did == ["send", "close"]
    assert loaded.counters["telemetry.failed"] == 1
    assert "goes with the next round" in caplog.text
    assert "the last telemetry could not be sent" in caplog.text


async def test_what_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_PATIENCE", 0.01)
    loaded = Loaded(TO_COLLECTOR)
    gate = threading.Event()
    monkeypatch.setattr(loaded.sender, "send", gate.wait)

    await loaded.telemetry.flush()
    await loaded.telemetry.end()

    assert loaded.sender.did == []
    gate.set()


async def test_behind_the_end_nothing_is_sent() -> None:
    loaded = Loaded(TO_COLLECTOR)
    await loaded.telemetry.flush()
    await loaded.telemetry.end()
    loaded.telemetry._send()
    loaded.telemetry._sender = loaded.sender
    loaded.telemetry._send()

    assert loaded.sender.did == ["send", "close"]
