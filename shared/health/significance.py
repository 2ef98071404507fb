"""Turns how far counts are from what was expected of them into how likely chance alone is to do that."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_VARIANCE = 5.0
"""Below it a count is too coarse for a normal approximation: the textbook's five expected events of a kind."""


class Moments(NamedTuple):
    """A sample: its size, its mean, and its variance."""

    n: int
    mean: float
    variance: float


def chi_square_tail(x: float, df: int) -> float:
    """The probability that a chi-square variable of `df` >= 1 degrees of freedom exceeds x.

    Exact for whole degrees of freedom: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.4.4 and 26.4.5.
    """
    if x <= 0.0:
        return 1.0
    half = x / 2.0
    if df % 2:
        total, term, step = math.erfc(math.sqrt(half)), 2.0 * math.sqrt(half / math.pi) * math.exp(-half), 1.5
    else:
        total, term, step = 0.0, math.exp(-half), 1.0
    for _ in range(df // 2):
        total += term
        term *= half / step
        step += 1.0
    return total


def normal_tails(z: float) -> float:
    """The probability that a standard normal variable is farther from 0 than z, on either side."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def sample_ratio(counted: NDArray[np.float64], expected: NDArray[np.float64], squares: NDArray[np.float64]) -> float:
    """The p-value of counts of draws that each had a distribution of its own: Pearson's test with their covariance.

    Where all distributions are the same it is Pearson's chi-square. Where they differ Pearson's own denominators are
    too large, and something that is wrong would pass.

    Args:
        counted: how often each of k cells was drawn.
        expected: the sum of its probabilities, over all draws.
        squares: k by k, the sum over all draws of the products of the probabilities of two cells.

    Returns:
        1 where there is too little to tell anything. Cells of little variance are merged into one.
    """
    covariance = np.diag(expected) - squares
    difference = counted - expected
    few = np.diag(covariance) < LEAST_VARIANCE
    if few.any():
        gather = np.vstack([np.eye(len(few))[~few], few.astype(float)])
        covariance, difference = gather @ covariance @ gather.T, gather @ difference
    # Counts add up to the draws, so that at least one direction has no variance; the others must have enough of it.
    variances, directions = np.linalg.eigh(covariance)
    kept = variances >= LEAST_VARIANCE
    if not kept.any():
        return 1.0
    along = directions[:, kept].T @ difference
    return chi_square_tail(float(np.sum(along**2 / variances[kept])), int(kept.sum()))


def fewer(count: int, of: int, before: int, of_before: int) -> float:
    """The p-value of rare events having become no rarer: how likely chance alone gives so few of them, or fewer.

    Exact for Poisson counts, given how many there are in both samples: Przyborowski and Wilenski, 1940.

    Args:
        count: of the events, now.
        of: in so many tries, more than 0.
        before: of the events, then.
        of_before: in so many tries, more than 0.
    """
    both, share = count + before, of / (of + of_before)
    ways = math.lgamma(both + 1)
    logs = (
        ways - math.lgamma(k + 1) - math.lgamma(both - k + 1) + k * math.log(share) + (both - k) * math.log1p(-share)
        for k in range(count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def welch(one: Moments, other: Moments) -> float:
    """The two-sided p-value of two means being one: Welch's test for samples large enough to be taken as normal."""
    error = one.variance / one.n + other.variance / other.n
    if error <= 0.0:
        return 1.0 if one.mean == other.mean else 0.0
    return normal_tails((one.mean - other.mean) / math.sqrt(error))
