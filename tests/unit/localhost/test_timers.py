import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from localhost.config import StartError
from localhost.functions import RetryPolicy
from localhost.timers import Timers
from tests.unit.localhost.timed import FakeClock, Make, Runs, make, settle


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


class Others:
    """Leases of which this replica has none until it is given them."""

    def __init__(self) -> None:
        self.ours = False
        self.closed = False

    @asynccontextmanager
    async def run(self, name: str) -> AsyncIterator[bool]:
        yield self.ours

    async def close(self) -> None:
        self.closed = True


async def test_runs_of_the_schedule_are_left_to_the_replica_that_has_the_lease(
    clock: FakeClock, runs: Runs, tmp_path: Path
) -> None:
    others = Others()
    timers = Timers([make("*/10 * * * * *")], runs, clock, tmp_path, others)
    timers.start()

    await clock.advance(25)
    assert runs.times == []
    assert timers.run_now("tick")  # asked for here, it is done here
    await settle()
    others.ours = True
    await clock.advance(10)

    assert runs.times == [25, 30]
    assert await timers.stop(1)
    assert others.closed
