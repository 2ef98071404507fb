"""Timers on a clock that the test moves: no waiting, no flakiness."""

import asyncio
import heapq
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.functions.timer import TimerRequest

from localhost.config import StartError
from localhost.functions import Function, RetryPolicy, TimerTrigger
from localhost.timers import Timers

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Time passes only in `advance`."""

    def __init__(self) -> None:
        self.time = START
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.time + timedelta(seconds=seconds), id(event), event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        end = self.time + timedelta(seconds=seconds)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, event = heapq.heappop(self._sleepers)
            event.set()
            await settle()
        self.time = end


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Runs:
    """Records the runs of timers, each of which may take time or fail."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.seen: list[tuple[float, bool, tuple[int, int]]] = []
        self.status: list[dict[str, str]] = []
        self.durations: list[float] = []
        self.failures = 0
        self.running = 0
        self.most = 0

    async def __call__(self, function: Function, request: TimerRequest, retry: tuple[int, int]) -> None:
        self.seen.append(((self.clock.time - START).total_seconds(), request.past_due, retry))
        self.status.append(request.schedule_status)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.durations:
            await self.clock.sleep(self.durations.pop(0))
        self.running -= 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("boom")

    @property
    def times(self) -> list[float]:
        return [time for time, _, _ in self.seen]


def make(
    schedule: str,
    *,
    startup: bool = False,
    monitor: bool = False,
    disabled: bool = False,
    retry: RetryPolicy | None = None,
) -> Function:
    return Function(
        name="tick",
        trigger=TimerTrigger(schedule, startup, monitor),
        call=lambda timer: None,
        argument="timer",
        wants_context=False,
        is_async=True,
        returns=False,
        disabled=disabled,
        retry=retry,
        directory=".",
    )


Make = Callable[[Function], Timers]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def runs(clock: FakeClock) -> Runs:
    return Runs(clock)


@pytest.fixture
def start(clock: FakeClock, runs: Runs, tmp_path: Path) -> Make:
    def start(function: Function) -> Timers:
        timers = Timers([function], runs, clock, tmp_path)
        timers.start()
        return timers

    return start


async def test_runs_at_each_instant_of_the_schedule(clock: FakeClock, runs: Runs, start: Make) -> None:
    timers = start(make("*/15 * * * * *"))

    await clock.advance(61)

    assert runs.seen == [(15, False, (0, 0)), (30, False, (0, 0)), (45, False, (0, 0)), (60, False, (0, 0))]
    assert await timers.stop(1)


async def test_a_long_wait_ends_in_time(clock: FakeClock, runs: Runs, start: Make) -> None:
    timers = start(make("0 0 * * * *"))

    await clock.advance(3600)

    assert runs.times == [3600]
    assert await timers.stop(1)


async def test_an_overrun_is_followed_by_one_run_at_once_then_by_the_schedule(
    clock: FakeClock, runs: Runs, start: Make
) -> None:
    runs.durations = [37, 1, 1]
    timers = start(make("*/10 * * * * *"))

    await clock.advance(75)

    assert runs.times == [10, 47, 50, 60, 70]
    assert runs.most == 1
    assert await timers.stop(1)


async def test_run_on_startup(clock: FakeClock, runs: Runs, start: Make) -> None:
    timers = start(make("0 * * * * *", startup=True))

    await clock.advance(60)

    assert runs.times == [0, 60]
    assert await timers.stop(1)


async def test_a_disabled_timer_runs_only_when_asked(clock: FakeClock, runs: Runs, start: Make) -> None:
    timers = start(make("* * * * * *", disabled=True))
    await clock.advance(5)
    assert runs.times == []

    assert timers.run_now("tick")
    assert not timers.run_now("tock")
    await settle()

    assert runs.times == [5]
    assert await timers.stop(1)


async def test_a_run_that_was_asked_for_waits_for_the_one_under_way(clock: FakeClock, runs: Runs, start: Make) -> None:
    runs.durations = [5]
    timers = start(make("10 * * * * *"))
    await clock.advance(11)

    timers.run_now("tick")
    await clock.advance(10)

    assert runs.times == [10, 15]
    assert runs.most == 1
    assert await timers.stop(1)


async def test_a_failure_is_logged_and_the_schedule_goes_on(
    clock: FakeClock, runs: Runs, start: Make, caplog: pytest.LogCaptureFixture
) -> None:
    runs.failures = 1
    timers = start(make("*/10 * * * * *"))

    await clock.advance(25)

    assert runs.times == [10, 20]
    assert "timer tick failed" in caplog.text
    assert "boom" in caplog.text
    assert await timers.stop(1)


async def test_fixed_delay(clock: FakeClock, runs: Runs, start: Make) -> None:
    runs.failures = 9
    timers = start(make("0 * * * * *", retry=RetryPolicy(2, timedelta(seconds=3), None)))

    await clock.advance(80)

    assert runs.seen == [(60, False, (0, 2)), (63, False, (1, 2)), (66, False, (2, 2))]
    assert await timers.stop(1)


async def test_exponential_backoff(clock: FakeClock, runs: Runs, start: Make) -> None:
    runs.failures = 5
    timers = start(make("0 0 * * * *", retry=RetryPolicy(-1, timedelta(seconds=5), timedelta(seconds=18))))

    await clock.advance(3700)

    assert runs.times == [3600, 3605, 3615, 3633, 3651, 3669]
    assert await timers.stop(1)


async def test_a_monitored_timer_that_missed_its_time_is_past_due(
    clock: FakeClock, runs: Runs, start: Make, tmp_path: Path
) -> None:
    first = start(make("0 * * * * *", monitor=True))
    await clock.advance(65)
    assert await first.stop(1)
    assert runs.seen == [(60, False, (0, 0))]
    assert json.loads((tmp_path / "tick.json").read_text()) == {
        "Last": "2026-11-22T12:01:00+00:00",
        "Next": "2026-11-22T12:02:00+00:00",
        "LastUpdated": "2026-11-22T12:01:00+00:00",
    }

    clock.time += timedelta(seconds=100)
    second = start(make("0 * * * * *", monitor=True))
    await clock.advance(30)

    assert runs.seen[1:] == [(165, True, (0, 0)), (180, False, (0, 0))]
    assert runs.status[1]["Last"] == "2026-11-22T12:01:00+00:00"
    assert await second.stop(1)


async def test_a_monitored_timer_that_missed_nothing_is_not_past_due(clock: FakeClock, runs: Runs, start: Make) -> None:
    first = start(make("0 0 * * * *", monitor=True))
    await clock.advance(65)
    assert await first.stop(1)

    second = start(make("0 0 * * * *", monitor=True))
    await clock.advance(3600)

    assert runs.seen == [(3600, False, (0, 0))]
    assert await second.stop(1)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"Last": 1, "Next": 2, "LastUpdated": 3}'])
async def test_an_unreadable_status_counts_as_none(
    clock: FakeClock, runs: Runs, start: Make, tmp_path: Path, text: str
) -> None:
    (tmp_path / "tick.json").write_text(text)

    timers = start(make("0 * * * * *", monitor=True))
    await clock.advance(60)

    assert runs.seen == [(60, False, (0, 0))]
    assert await timers.stop(1)


async def test_a_status_that_cannot_be_written_does_not_stop_the_timer(
    clock: FakeClock, runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    timers = Timers([make("0 * * * * *", monitor=True)], runs, clock, tmp_path / "file" / "timers")
    timers.start()

    await clock.advance(125)

    assert runs.times == [60, 120]
    assert "the status of timer tick was not written" in caplog.text
    assert await timers.stop(1)


async def test_more_than_one_run_a_minute_is_not_monitored(
    clock: FakeClock, runs: Runs, start: Make, tmp_path: Path
) -> None:
    timers = start(make("*/15 * * * * *", monitor=True))

    await clock.advance(20)

    assert runs.status == [{}]
    assert os.listdir(tmp_path) == []
    assert await timers.stop(1)


async def test_stop_waits_for_what_is_running(clock: FakeClock, runs: Runs, start: Make) -> None:
    runs.durations = [20]
    timers = start(make("10 * * * * *"))
    await clock.advance(11)

    stopping = asyncio.ensure_future(timers.stop(60))
    await settle()
    assert not stopping.done()
    await clock.advance(30)

    assert await stopping
    assert runs.running == 0
    assert not timers.run_now("tick")


async def test_stop_gives_up_after_its_grace(clock: FakeClock, runs: Runs, start: Make) -> None:
    runs.durations = [20]
    timers = start(make("10 * * * * *"))
    await clock.advance(11)

    assert not await timers.stop(0.01)


async def test_stop_does_not_wait_for_a_retry(clock: FakeClock, runs: Runs, start: Make) -> None:
    runs.failures = 1
    timers = start(make("10 * * * * *", retry=RetryPolicy(3, timedelta(hours=1), None)))
    await clock.advance(11)

    assert await timers.stop(60)
    assert runs.times == [10]


def test_a_wrong_schedule_is_refused(clock: FakeClock, runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="schedule 'never'"):
        Timers([make("never")], runs, clock, tmp_path)
