"""Turns observations and tables of events into what became of each observation: joined, late, or of no known event.

The rule is the join's (contract 5.2): an observation counts for an event that was ranked less than a wait before it, or
less than two minutes after it. All times are seconds since the epoch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.log.buckets import BUCKET, EARLY, Waits
from shared.log.index import RANKED, Table

UNKNOWN, LATE, JOINED = range(3)
FATES = ("unknown", "late", "joined")
"""What became of an observation, by its code."""
HORIZON = 86_400
"""Seconds past its wait for which an event is remembered: what comes for it later is of an unknown one."""


class Fates(NamedTuple):
    """What became of observations, one entry each.

    Attributes:
        code: of `FATES`.
        ranked: when the event was ranked, NaN where it is unknown.
        delay: seconds from that to the observation, negative where it was early; NaN likewise.
    """

    code: NDArray[np.int64]
    ranked: NDArray[np.float64]
    delay: NDArray[np.float64]

    def part(self, first: int, last: int) -> Fates:
        """Those of the observations from `first` to before `last`."""
        return Fates(self.code[first:last], self.ranked[first:last], self.delay[first:last])


def newest(table: Table, digests: NDArray[np.uint64], times: NDArray[np.float64], since: float) -> NDArray[np.float64]:
    """When the newest event was ranked that each observation can be of; NaN where the table holds none.

    Args:
        table: rows of `shared.log.index`.
        digests: of the observations' events.
        times: when the observations arrived.
        since: events before it are deleted.
    """
    events = table[(table["kind"] == RANKED) & (table["time"] >= since)]
    ids, ranked = events["event"].astype(np.uint64), events["time"].astype(np.float64)
    first = np.searchsorted(ids, digests, "left")
    low, high = first.copy(), np.searchsorted(ids, digests, "right")
    # Of the rows of each event, which are in order of time, the first that is too late for the observation.
    while (searched := low < high).any():
        middle = (low + high) // 2
        fits = searched & (ranked[np.minimum(middle, len(ranked) - 1)] < times + EARLY)
        low = np.where(fits, middle + 1, low)
        high = np.where(searched & ~fits, middle, high)
    found = np.full(len(times), np.nan)
    hit = low > first
    found[hit] = ranked[low[hit] - 1]
    return found


def fates(times: NDArray[np.float64], ranked: NDArray[np.float64], waits: Waits) -> Fates:
    """What became of observations.

    Args:
        times: when they arrived.
        ranked: when their events were ranked, NaN where there is none.
        waits: of the loop.
    """
    since = np.array([since for since, _ in waits.steps], float)
    seconds = np.array([wait for _, wait in waits.steps], float)
    step = np.searchsorted(since, np.nan_to_num(ranked) // BUCKET * BUCKET, "right") - 1
    wait = seconds[np.maximum(step, 0)]
    delay = times - ranked
    known = delay < wait + HORIZON  # false for NaN
    code = np.where(known, np.where(delay < wait, JOINED, LATE), UNKNOWN)
    return Fates(code, np.where(known, ranked, np.nan), np.where(known, delay, np.nan))


def merged(held: Waits | None, now: Waits) -> Waits:
    """A loop's waits with those that it has forgotten since."""
    if held is None:
        return now
    return Waits((*(step for step in held.steps if step[0] < now.steps[0][0]), *now.steps))
