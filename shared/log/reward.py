"""Turns the observations of one event into its aggregated reward (contract 5.2)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

AGGREGATIONS: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "earliest": lambda values: values[0],
    "average": statistics.fmean,
    "median": statistics.median,
    "sum": sum,
    "min": min,
    "max": max,
}
"""By name as `rewardAggregation` spells it; each takes one or more rewards in order of arrival.

`max` is the true maximum. The original's started from the smallest positive float, so rewards of 0 and less gave the
default reward there; docs/differences.md lists it.
"""


def aggregate(values: Sequence[float], aggregation: str, default: float) -> float:
    """One reward for an event.

    Args:
        values: the rewards in order of arrival; may be empty.
        aggregation: a key of `AGGREGATIONS`.
        default: the reward of an event without any.
    """
    return AGGREGATIONS[aggregation](values) if values else default
