"""What the model is worth: against textbook numbers, against simulation, and where nothing can be said."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from shared.evaluation.lift import about, lift, mean
from shared.log.arms import Arms, Sums


def sums(rewards: list[float]) -> Sums:
    return Sums(len(rewards), sum(rewards), sum(reward * reward for reward in rewards))


def coins(heads: int, events: int) -> list[float]:
    return [1.0] * heads + [0.0] * (events - heads)


def test_the_difference_has_welchs_error() -> None:
    held, model = coins(30, 200), coins(500, 1900)
    found = lift(Arms(1.0, sums(held), sums(model)), 0.1)

    error = math.sqrt(statistics.variance(held) / 200 + statistics.variance(model) / 1900)
    difference = 500 / 1900 - 30 / 200
    assert found.difference == pytest.approx(difference)
    assert found.difference_interval == pytest.approx((difference - 1.959964 * error, difference + 1.959964 * error))
    assert found.ratio == pytest.approx(500 / 1900 / 0.15)
    assert found.more_events == 0
    assert found.says == "The model earns more than the baseline: the 95 % interval of the difference holds no zero."


def test_the_ends_of_the_ratios_interval_are_where_the_same_test_changes_its_mind() -> None:
    held, model = coins(60, 300), coins(700, 2700)
    found = lift(Arms(1.0, sums(held), sums(model)), 0.1)

    assert found.ratio_interval is not None and found.ratio is not None
    assert found.ratio_interval[0] < found.ratio < found.ratio_interval[1]
    for end in found.ratio_interval:
        scaled = [end * reward for reward in held]
        error = math.sqrt(statistics.variance(scaled) / 300 + statistics.variance(model) / 2700)
        assert abs(statistics.fmean(model) - statistics.fmean(scaled)) == pytest.approx(1.959964 * error)


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.2), (0.1, 0.15), (0.5, 0.4)])
def test_the_intervals_hold_the_truth_19_times_out_of_20(p: float, q: float) -> None:
    chance, runs = np.random.default_rng(1), 2000
    inside = ratios = 0
    for _ in range(runs):
        held, model = chance.binomial(400, p), chance.binomial(3600, q)
        found = lift(Arms(1.0, Sums(400, held, held), Sums(3600, model, model)), 0.1)
        assert found.difference_interval is not None and found.ratio_interval is not None
        inside += found.difference_interval[0] <= q - p <= found.difference_interval[1]
        ratios += found.ratio_interval[0] <= q / p <= found.ratio_interval[1]

    spread = 4 * math.sqrt(0.05 * 0.95 / runs)
    assert abs(inside / runs - 0.95) < spread
    assert abs(ratios / runs - 0.95) < spread


def test_less_is_told_too() -> None:
    found = lift(Arms(1.0, sums(coins(150, 300)), sums(coins(800, 2700))), 0.1)
    assert found.says.startswith("The model earns less")
    assert found.difference is not None and found.difference < 0


def test_what_says_nothing_yet_tells_how_many_more_events_would() -> None:
    held, model = sums(coins(20, 100)), sums(coins(207, 900))
    found = lift(Arms(1.0, held, model), 0.1)
    assert found.more_events is not None and found.more_events > 0
    assert f"about {found.more_events} more events will tell" in found.says

    # With so many more of the same, and a few less, it does, and does not.
    for factor, told in ((1.05, True), (0.8, False)):
        times = (1000 + factor * found.more_events) / 1000
        grown = [Sums(round(s.events * times), s.rewards * times, s.squares * times) for s in (held, model)]
        assert (lift(Arms(1.0, *grown), 0.1).more_events == 0) is told


def test_where_both_earn_the_same_nobody_can_say_how_many() -> None:
    found = lift(Arms(1.0, sums(coins(50, 100)), sums(coins(50, 100))), 0.5)
    assert (found.difference, found.more_events) == (0.0, None)
    assert found.says == "It says nothing yet: the 95 % interval of the difference holds zero."


def test_small_arms_are_not_judged() -> None:
    found = lift(Arms(1.0, sums(coins(1, 10)), sums(coins(80, 190))), 0.05)

    assert (found.difference_interval, found.ratio_interval) == (None, None)
    assert found.more_events == 1800  # (100 - 10) / 0.05
    assert found.says == ("It says nothing yet: each arm needs 100 events at least. That takes about 1800 more events.")
    assert lift(Arms(1.0, Sums(), sums(coins(1, 9))), 0.0).more_events is None
    assert lift(Arms(), 0.5).more_events == 200


def test_an_arm_of_rewards_that_are_alike_may_vary_as_the_other_one_does() -> None:
    found = lift(Arms(1.0, sums([0.1] * 100), sums([0.1] * 1800 + [0.6] * 200)), 0.05)

    error = math.sqrt(statistics.variance([0.1] * 1800 + [0.6] * 200) * (1 / 100 + 1 / 2000))
    assert found.difference_interval == pytest.approx((0.05 - 1.959964 * error, 0.05 + 1.959964 * error))


def test_where_no_reward_varies_nothing_is_judged() -> None:
    found = lift(Arms(1.0, sums([0.1] * 1000), sums([0.3] * 5000)), 0.1)

    assert found.difference == pytest.approx(0.2)
    assert found.ratio == pytest.approx(3.0)
    assert (found.difference_interval, found.more_events) == (None, None)
    assert found.says == "It cannot be judged: in neither arm do rewards vary."


def test_a_ratio_needs_a_baseline_above_zero_and_an_end() -> None:
    negative = lift(Arms(1.0, sums([-1.0, 0.0] * 100), sums([0.0, 1.0] * 100)), 0.5)
    assert (negative.ratio, negative.ratio_interval) == (None, None)
    assert negative.difference_interval is not None
    endless = lift(Arms(1.0, sums(coins(1, 100)), sums(coins(30, 100))), 0.5)
    assert endless.ratio == pytest.approx(30.0)
    assert endless.ratio_interval is None


def test_an_estimate_has_two_digits() -> None:
    assert [about(n) for n in (0.0, 1.0, 99.2, 101.0, 12345.6)] == [1, 1, 100, 110, 13000]


def test_without_events_there_is_no_mean() -> None:
    assert mean(Sums()) is None
