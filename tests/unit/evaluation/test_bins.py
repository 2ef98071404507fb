"""Bins of five minutes against the recorded figures of contract 5.10, and against sums made one by one."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from shared.evaluation import scores
from shared.evaluation.bins import BIN, NOTHING, Bins, Point, Sums
from shared.evaluation.scores import Scores

T0 = 1_700_002_800


def scored(*rows: tuple[float, float, float, float]) -> Scores:
    """Decisions of these times, logged probabilities, targets and rewards."""
    return scores.of_rows([(time, 0, 0, logged, target, reward, 0.0, 0.0) for time, logged, target, reward in rows])


@pytest.mark.parametrize(
    ("sums", "mean", "half"),
    [
        (Sums(170, 0.0, 308.25, 0.0, 64), 0.0, 0.0),
        (Sums(196, 2.2, 193.761, 2.424, 68), 0.01122449, 0.015529361),
        (Sums(1906, 22.2, 1993.761, 2.484, 68), 0.011647429, 0.0015344538),
    ],
)
def test_the_recorded_bins_are_reproduced(sums: Sums, mean: float, half: float) -> None:
    assert sums.mean == pytest.approx(mean, rel=1e-7)
    assert sums.half_width == pytest.approx(half, rel=1e-7)
    assert sums.interval == (sums.mean - sums.half_width, sums.mean + sums.half_width)


@pytest.mark.parametrize("sums", [NOTHING, Sums(1, 3.0, 1.0, 9.0, 1)])
def test_one_decision_or_none_has_no_width(sums: Sums) -> None:
    assert (sums.mean, sums.half_width) == (sums.weighted, 0.0)


def test_rounding_makes_no_negative_variance() -> None:
    assert Sums(3, 0.3, 3.0, 0.03 - 1e-12, 3).half_width == 0.0


def test_a_bin_sums_its_decisions() -> None:
    bins = Bins.of(
        scored(
            (T0 + 299.9, 0.5, 0.25, 1.0),  # weight 0.5
            (T0, 0.25, 0.5, -1.0),  # weight 2
            (T0 + 300, 0.5, 0.0, 1.0),  # the policy never draws it
            (T0 + 1200, 0.8, 0.8, 0.5),
        )
    )

    assert bins.points() == [
        Point(T0, Sums(2, 0.5 - 2.0, 2.5, 0.25 + 4.0, 2)),
        Point(T0 + 300, Sums(1, 0.0, 0.0, 0.0, 0)),
        Point(T0 + 1200, Sums(1, 0.5, 1.0, 0.25, 1)),
    ]
    assert bins.total() == Sums(4, -1.0, 3.5, 4.5, 3)


def test_every_bin_is_listed_also_the_empty_ones() -> None:
    bins = Bins.of(scored((T0 + 10, 0.5, 0.5, 1.0), (T0 + 1000, 0.5, 0.5, 1.0)))

    points = bins.every()

    assert [point.time for point in points] == [T0, T0 + 300, T0 + 600, T0 + 900]
    assert [point.sums.events for point in points] == [1, 0, 0, 1]
    assert points[1].sums == NOTHING
    assert Bins.of(scored()).every() == []


def test_expanding_points_are_of_all_before_them() -> None:
    bins = Bins.of(scored(*((T0 + 400 * n, 0.5, 0.25, 1.0) for n in range(4))))

    points = bins.expanding(-math.inf, math.inf)

    assert [(point.time, point.sums.events) for point in points] == [
        (T0, 1),
        (T0 + 300, 2),
        (T0 + 600, 3),
        (T0 + 1200, 4),
    ]
    assert points[-1].sums == bins.total()
    within = bins.expanding(T0 + 310, T0 + 1200)
    assert [(point.time, point.sums.events) for point in within] == [(T0 + 300, 1), (T0 + 600, 2)]
    assert bins.expanding(T0 + 5000, T0 + 6000) == []


def test_rolling_points_are_of_their_own_span() -> None:
    hour = T0 // 3600 * 3600
    bins = Bins.of(scored(*((hour + 1500 * n, 0.5, 0.25, 1.0) for n in range(5))))

    points = bins.rolling(-math.inf, math.inf, 60)

    assert [(point.time, point.sums.events) for point in points] == [(hour, 3), (hour + 3600, 2)]
    assert [point.time for point in bins.rolling(hour + 3600, hour + 7200, 360)] == [(hour + 3600) // 21600 * 21600]
    assert bins.rolling(hour, hour + 1, 1440)[0].sums.events == 1


def test_merged_parts_are_the_whole() -> None:
    chance = random.Random(1)
    rows = [
        (T0 + chance.uniform(0, 4000), chance.uniform(0.01, 1), chance.choice([0.0, 0.3]), chance.uniform(-1, 1))
        for _ in range(500)
    ]
    whole = Bins.of(scored(*rows))

    merged = Bins.merged([Bins.of(scored(*rows[a:b])) for a, b in pairwise([0, 10, 10, 300, 500])])

    assert (merged.starts, merged.events, merged.matched) == (whole.starts, whole.events, whole.matched)
    for ours, theirs in ((merged.weighted, whole.weighted), (merged.squares, whole.squares)):
        assert ours == pytest.approx(theirs, abs=1e-9)
    weights = np.array([target / logged for _, logged, target, _ in rows])
    assert whole.total().weights == pytest.approx(weights.sum())
    assert sum(whole.events) == 500
    assert all(start % BIN == 0 for start in whole.starts)
    assert Bins.merged([]).points() == []
