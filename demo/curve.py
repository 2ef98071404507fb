"""Turns the rewards of a run into the curve that is shown: means, a sparkline, and where the model changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(slots=True)
class Curve:
    """What a run earned.

    Attributes:
        rewards: of the events, in order.
        changes: how many events had been played when the served model was first seen to have changed.
    """

    rewards: list[float] = field(default_factory=list)
    changes: list[int] = field(default_factory=list)

    def latest(self, count: int) -> float:
        """The mean reward of the last so many events; 0 before the first."""
        return fmean(self.rewards[-count:]) if self.rewards else 0.0

    def rolling(self, width: int) -> tuple[list[int], list[float]]:
        """The mean of each `width` events in a row, and how many events had been played then."""
        if len(self.rewards) < width:
            return [], []
        total = sum(self.rewards[:width])
        means = [total / width]
        for leaving, coming in zip(self.rewards, self.rewards[width:], strict=False):
            total += coming - leaving
            means.append(total / width)
        return list(range(width, len(self.rewards) + 1)), means


def sparkline(values: Sequence[float], low: float, high: float, width: int = 60) -> str:
    """Values as one line of bars.

    Args:
        values: in order; they are averaged into at most `width` groups.
        low: what the lowest bar stands for.
        high: what the highest one stands for.
        width: characters at most.
    """
    count = min(width, len(values))
    line = ""
    for n in range(count):
        mean = fmean(values[len(values) * n // count : len(values) * (n + 1) // count])
        share = (mean - low) / (high - low) if high > low else 1.0
        line += _BARS[min(len(_BARS) - 1, max(0, int(share * len(_BARS))))]
    return line
