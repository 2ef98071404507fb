"""Token buckets: how many calls a loop is let have, and that no other loop's are touched."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shared.access.rates import Rates
from shared.loops.limits import PERSONALIZERS

LIMITED = replace(PERSONALIZERS, calls_per_second=10.0, call_burst=3)


class Steady:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_let_through_and_then_the_rate() -> None:
    clock = Steady()
    rates = Rates(clock)

    assert [rates.take("a", LIMITED) for _ in range(3)] == [None] * 3
    wait = rates.take("a", LIMITED)
    assert wait is not None
    assert math.isclose(wait, 0.1)
    clock.now += 0.05
    again = rates.take("a", LIMITED)
    assert again is not None
    assert math.isclose(again, 0.05)  # being refused costs nothing
    clock.now += 0.051
    assert rates.take("a", LIMITED) is None
    assert rates.take("a", LIMITED) is not None


def test_a_silence_saves_no_more_than_a_burst() -> None:
    clock = Steady()
    rates = Rates(clock)
    rates.take("a", LIMITED)
    clock.now += 3600

    assert [rates.take("a", LIMITED) is None for _ in range(4)] == [True, True, True, False]


def test_a_loop_touches_no_other_one_and_one_without_a_limit_has_none() -> None:
    rates = Rates(Steady())
    while rates.take("a", LIMITED) is None:
        pass

    assert rates.take("b", LIMITED) is None
    assert [rates.take("c", PERSONALIZERS) for _ in range(1000)] == [None] * 1000


def test_a_limit_that_is_taken_away_is_forgotten() -> None:
    rates = Rates(Steady())
    while rates.take("a", LIMITED) is None:
        pass

    assert rates.take("a", PERSONALIZERS) is None
    assert rates.take("a", LIMITED) is None


@given(st.floats(0.01, 1000), st.integers(1, 50), st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_no_stretch_of_time_sees_more_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    clock = Steady()
    rates = Rates(clock)
    limits = replace(PERSONALIZERS, calls_per_second=rate, call_burst=burst)
    taken = 0
    for pause in pauses:
        clock.now += pause
        while taken < 2000 and rates.take("a", limits) is None:
            taken += 1
        assert taken <= burst + rate * clock.now + 1e-6
