"""Means, errors and skewness against NumPy's and SciPy's own, the interval of a probability against VW's estimators."""

from __future__ import annotations

import math

import numpy as np
import pytest
from estimators.math import clopper_pearson as published
from scipy import stats

from shared.evaluation.intervals import clopper_pearson, enough, moments, ratio, stretch

CHANCE = np.random.default_rng(3)
TOPS = CHANCE.gamma(0.5, 2.0, 400)
BOTTOMS = CHANCE.gamma(2.0, 1.0, 400)
ONES = np.ones(400)


def test_a_ratio_to_ones_is_a_mean_with_its_error_and_skewness() -> None:
    found = ratio(moments(TOPS, ONES))

    assert found is not None
    assert found.value == pytest.approx(TOPS.mean(), rel=1e-12)
    assert found.error == pytest.approx(TOPS.std(ddof=1) / 20, rel=1e-9)
    assert found.skewness == pytest.approx(float(stats.skew(TOPS)), rel=1e-9)


def test_a_ratio_has_the_error_and_skewness_of_what_is_left_of_its_tops() -> None:
    found = ratio(moments(TOPS, BOTTOMS))

    assert found is not None
    assert found.value == pytest.approx(TOPS.sum() / BOTTOMS.sum(), rel=1e-12)
    left = TOPS - found.value * BOTTOMS
    assert found.error == pytest.approx(left.std(ddof=1) / 20 / BOTTOMS.mean(), rel=1e-9)
    assert found.skewness == pytest.approx(float(stats.skew(left)), rel=1e-9)


def test_moments_of_two_runs_add_up() -> None:
    apart = moments(TOPS[:150], BOTTOMS[:150]) + moments(TOPS[150:], BOTTOMS[150:])

    np.testing.assert_allclose(apart, moments(TOPS, BOTTOMS), rtol=1e-12)


def test_moments_of_many_events_are_summed_in_blocks() -> None:
    tops, bottoms = np.tile(TOPS, 50), np.tile(BOTTOMS, 50)

    np.testing.assert_allclose(moments(tops, bottoms), 50 * moments(TOPS, BOTTOMS), rtol=1e-12)


def test_one_event_has_no_error_and_what_is_always_the_same_no_skewness() -> None:
    assert ratio(moments(np.array([0.3]), np.array([2.0]))) == (0.15, 0.0, None)
    # Tops of a third of their bottoms: rounding leaves a little.
    found = ratio(moments(BOTTOMS / 3, BOTTOMS))
    assert found is not None and (found.error, found.skewness) == (0.0, None)
    # A little that is more than rounding is told.
    little = ratio(moments(1 + 1e-4 * TOPS, ONES))
    assert little is not None and little.error == pytest.approx(1e-4 * TOPS.std(ddof=1) / 20, rel=1e-3)


def test_nothing_has_no_ratio() -> None:
    assert ratio(moments(np.zeros(0), np.zeros(0))) is None
    assert ratio(moments(np.zeros(4), np.zeros(4))) is None


def test_factors_stretch_the_skewness_of_what_they_multiply() -> None:
    chance = np.random.default_rng(5)
    factors = np.where(chance.random(2_000_000) < 0.1, 5.0, 0.5)
    numbers = (chance.random(2_000_000) < 0.2) - 0.2

    alone = float(stats.skew(numbers))
    stretched = stretch(moments(factors, np.ones_like(factors))) * alone
    assert stretched == pytest.approx(float(stats.skew(factors * numbers)), rel=0.02)
    assert stretched > 2 * alone
    assert stretch(moments(np.full(9, 3.0), np.ones(9))) == pytest.approx(1.0)


def test_a_skewed_mean_takes_more_events_by_cochrans_rule() -> None:
    assert [enough(skewness) for skewness in (0.0, 2.0, -2.0)] == [28.0, 128.0, 128.0]


def test_from_enough_events_on_a_normal_interval_misses_6_times_in_100_at_most() -> None:
    chance = np.random.default_rng(7)
    skewness = (1 - 2 * 0.04) / math.sqrt(0.04 * 0.96)  # of a coin that shows heads 4 times in 100
    events = math.ceil(enough(skewness))
    heads = chance.binomial(events, 0.04, 20_000) / events
    half = 1.96 * np.sqrt(heads * (1 - heads) / (events - 1))

    assert (abs(heads - 0.04) > half).mean() < 0.06 + 4 * math.sqrt(0.06 * 0.94 / 20_000)


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 50), (17, 50), (50, 50), (3.7, 12.5), (900, 100_000)])
def test_clopper_pearson_is_what_vws_estimators_say(successes: float, trials: float) -> None:
    assert clopper_pearson(successes, trials, 0.025) == pytest.approx(published(successes, trials, 0.05), abs=1e-9)


def test_of_no_success_the_upper_end_is_what_chance_alone_would_spare() -> None:
    low, high = clopper_pearson(0, 300, 0.025)

    assert low == 0.0
    assert (1 - high) ** 300 == pytest.approx(0.025)
