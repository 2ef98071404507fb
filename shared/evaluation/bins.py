"""Turns scores into sums over bins of five minutes, and these into what the API says of a span (contract 5.10)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.evaluation.scores import Scores

BIN: Final = 300
"""Seconds of a bin; each begins at a multiple of it."""
_Z: Final = 1.96
"""Of the half widths, to the digits with which Personalizer's were recorded."""


class Sums(NamedTuple):
    """What IPS needs of some decisions.

    Attributes:
        events: how many there are.
        weighted: the sum of their rewards, each times the weight of its decision: the policy's probability of the
            action over the logged one.
        weights: the sum of the weights.
        squares: the sum of the squares of the weighted rewards.
        matched: decisions of which the policy gives the action some probability.
    """

    events: int
    weighted: float
    weights: float
    squares: float
    matched: int

    @property
    def mean(self) -> float:
        """The reward that is expected of the policy by IPS; 0 of nothing."""
        return self.weighted / self.events if self.events else 0.0

    @property
    def half_width(self) -> float:
        """Of the 95 % interval around the mean, as Personalizer gave it; 0 of a single decision."""
        if self.events < 2:
            return 0.0
        variance = (self.squares - self.weighted**2 / self.events) / (self.events - 1)
        return _Z * math.sqrt(max(0.0, variance) / self.events)

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of it; not clipped to the range of rewards."""
        return self.mean - self.half_width, self.mean + self.half_width


class Point(NamedTuple):
    """The sums of a span that begins at a time, in seconds since the epoch."""

    time: float
    sums: Sums


class Bins(msgspec.Struct, frozen=True):
    """The bins that hold decisions, in order.

    Attributes:
        starts: when they begin, in seconds since the epoch.
        events, matched: whole numbers; see `Sums`.
        weighted, weights, squares: see `Sums`.
    """

    starts: list[int]
    events: list[int]
    weighted: list[float]
    weights: list[float]
    squares: list[float]
    matched: list[int]

    @classmethod
    def of(cls, scores: Scores) -> Self:
        """The bins of some decisions, in any order."""
        weights = scores.targets / scores.logged
        weighted, matched = weights * scores.rewards, (scores.targets > 0).astype(np.float64)
        starts = (scores.times // BIN).astype(np.int64) * BIN
        return cls._summed(starts, [np.ones_like(weights), weighted, weights, weighted**2, matched])

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The bins of all parts together; a bin may be in several."""
        held = list(parts)
        starts = np.array([start for part in held for start in part.starts], np.int64)
        names = ("events", "weighted", "weights", "squares", "matched")
        columns = [np.array([value for part in held for value in getattr(part, name)], np.float64) for name in names]
        return cls._summed(starts, columns)

    @classmethod
    def _summed(cls, starts: NDArray[np.int64], columns: list[NDArray[np.float64]]) -> Self:
        times, place = np.unique(starts, return_inverse=True)
        sums = [np.bincount(place, column, len(times)) for column in columns]
        events, weighted, weights, squares, matched = sums
        whole = [column.astype(np.int64).tolist() for column in (events, matched)]
        return cls(times.tolist(), whole[0], weighted.tolist(), weights.tolist(), squares.tolist(), whole[1])

    def points(self, start: float = -math.inf, end: float = math.inf) -> list[Point]:
        """Each bin that begins in [start, end); a bin that `start` lies in counts, too."""
        columns = zip(self.starts, self.events, self.weighted, self.weights, self.squares, self.matched, strict=True)
        return [Point(time, Sums(*sums)) for time, *sums in columns if start - BIN < time < end]

    def every(self) -> list[Point]:
        """Every bin from the first to the last, those between that hold nothing as well."""
        held = dict(self.points())
        return [Point(time, held.get(time, NOTHING)) for time in range(*_span(self.starts), BIN)]

    def expanding(self, start: float, end: float) -> list[Point]:
        """Each bin in [start, end) that holds something, with the sums of all from the first of them to it."""
        sums, found = NOTHING, []
        for point in self.points(start, end):
            sums = add(sums, point.sums)
            found.append(Point(point.time, sums))
        return found

    def rolling(self, start: float, end: float, minutes: int) -> list[Point]:
        """Each span of so many minutes that begins at a multiple of them and holds something of [start, end)."""
        spans: dict[float, Sums] = {}
        for point in self.points(start, end):
            begins = point.time // (60 * minutes) * (60 * minutes)
            spans[begins] = add(spans.get(begins, NOTHING), point.sums)
        return [Point(time, sums) for time, sums in spans.items()]

    def total(self, start: float = -math.inf, end: float = math.inf) -> Sums:
        """The sums of the bins in [start, end)."""
        expanding = self.expanding(start, end)
        return expanding[-1].sums if expanding else NOTHING


NOTHING: Final = Sums(0, 0.0, 0.0, 0.0, 0)


def add(one: Sums, other: Sums) -> Sums:
    """The sums of both."""
    return Sums(
        one.events + other.events,
        one.weighted + other.weighted,
        one.weights + other.weights,
        one.squares + other.squares,
        one.matched + other.matched,
    )


def _span(starts: list[int]) -> tuple[int, int]:
    return (starts[0], starts[-1] + BIN) if starts else (0, 0)
