"""Fixtures for timers on a clock that the test moves."""

from pathlib import Path

import pytest

from localhost.functions import Function
from localhost.timers import Timers
from tests.unit.localhost.timed import FakeClock, Make, Runs


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
