import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from localhost.timers import Timers
from tests.unit.localhost.timed import FakeClock, Make, Runs, make


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
