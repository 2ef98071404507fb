"""How likely chance is: tails against published tables, and tests whose false alarms are as many as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.health.significance import Moments, chi_square_tail, fewer, normal_tails, sample_ratio, welch

TABLE = [  # Abramowitz and Stegun, table 26.8
    (1, 0.05, 3.84146),
    (1, 0.001, 10.8276),
    (2, 0.05, 5.99146),
    (3, 0.01, 11.3449),
    (5, 0.05, 11.0705),
    (7, 0.05, 14.0671),
    (7, 0.001, 24.3219),
    (8, 0.995, 1.344419),
    (30, 0.05, 43.7729),
]


@pytest.mark.parametrize(("df", "tail", "x"), TABLE)
def test_the_tail_of_chi_square_is_that_of_the_tables(df: int, tail: float, x: float) -> None:
    assert chi_square_tail(x, df) == pytest.approx(tail, rel=1e-4)


@pytest.mark.parametrize("df", [1, 2, 3, 6, 7])
def test_the_tail_is_the_integral_of_the_density(df: int) -> None:
    x = np.linspace(4.0, 200.0, 400_001)
    density = x ** (df / 2 - 1) * np.exp(-x / 2) / (2 ** (df / 2) * math.gamma(df / 2))

    assert chi_square_tail(4.0, df) == pytest.approx(np.trapezoid(density, x), rel=1e-6)


def test_nothing_is_more_than_certain() -> None:
    assert chi_square_tail(0.0, 3) == chi_square_tail(-1.0, 2) == 1.0
    assert chi_square_tail(5000.0, 3) == 0.0


def test_the_tails_of_the_normal_are_those_of_the_tables() -> None:
    assert normal_tails(1.95996) == pytest.approx(0.05, rel=1e-4)
    assert normal_tails(-3.29053) == pytest.approx(0.001, rel=1e-4)


def _counts(rng: np.random.Generator, n: int, wrong: bool = False) -> float:
    """The p-value of draws from distributions that differ from draw to draw."""
    p = rng.dirichlet([0.3, 0.5, 1.0, 3.0], n)
    drawn = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    if wrong:
        drawn[: n // 10] = 0
    return sample_ratio(np.bincount(drawn, minlength=4).astype(float), p.sum(axis=0), p.T @ p)


def test_draws_that_differ_give_p_values_as_uniform_as_they_should_be() -> None:
    rng = np.random.default_rng(3)
    found = np.array([_counts(rng, 500) for _ in range(2000)])

    for level in (0.01, 0.05, 0.5):
        assert np.mean(found < level) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 2000))


def test_draws_that_are_wrong_are_found() -> None:
    assert _counts(np.random.default_rng(3), 5000, wrong=True) < 1e-12


def test_of_equal_distributions_it_is_pearsons_own() -> None:
    counted, p, n = np.array([320.0, 410.0, 270.0]), np.array([0.3, 0.4, 0.3]), 1000
    pearson = float(np.sum((counted - n * p) ** 2 / (n * p)))

    assert sample_ratio(counted, n * p, n * np.outer(p, p)) == pytest.approx(chi_square_tail(pearson, 2))


def test_cells_with_little_to_expect_are_merged() -> None:
    p, n = np.array([0.5, 0.4992, 0.0004, 0.0004]), 1000
    expected, squares = n * p, n * np.outer(p, p)

    assert sample_ratio(np.array([500.0, 496.0, 4.0, 0.0]), expected, squares) > 0.5
    assert sample_ratio(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.full((2, 2), 0.25)) == 1.0


def test_certain_draws_tell_nothing() -> None:
    assert sample_ratio(np.array([900.0, 0.0]), np.array([900.0, 0.0]), np.diag([900.0, 0.0])) == 1.0


def test_welchs_test_looks_at_both_variances() -> None:
    # z = 0.2 / sqrt(1/400 + 3/400) = 2
    assert welch(Moments(400, 0.5, 1.0), Moments(400, 0.3, 3.0)) == pytest.approx(0.0455, abs=1e-4)
    assert welch(Moments(400, 0.5, 0.0), Moments(400, 0.5, 0.0)) == 1.0
    assert welch(Moments(400, 0.5, 0.0), Moments(400, 0.4, 0.0)) == 0.0


def test_rare_events_that_have_become_fewer() -> None:
    assert fewer(0, 1000, 10, 1000) == pytest.approx(0.5**10)
    assert fewer(1, 1000, 10, 1000) == pytest.approx(12 * 0.5**11)
    assert fewer(0, 1000, 10, 3000) == pytest.approx(0.75**10)
    assert fewer(10, 1000, 0, 1000) == pytest.approx(1.0)
    assert fewer(0, 1000, 0, 1000) == 1.0
    assert fewer(5, 100_000, 100_000, 100_000) == 0.0


def test_alike_rare_events_are_seldom_said_to_be_fewer() -> None:
    rng = np.random.default_rng(5)
    found = [fewer(int(now), 5000, int(then), 5000) for now, then in rng.poisson(20, (1000, 2))]

    assert sum(p < 0.01 for p in found) <= 20
