"""Turns counts of journal rows into where a window ends, so that its events and observations fit into memory."""

from __future__ import annotations

from collections import defaultdict

from shared.log import rows
from shared.log.buckets import BUCKET
from shared.storage import Row

MAX_OBSERVED = 100_000
"""Observations that arrive in a window, about."""


class Load:
    """What a stretch of a loop's journal holds, by bucket.

    Args:
        events: that a window may hold, about.
        size: bytes of their lines that a window may hold, about; and of the lines of observations.
    """

    def __init__(self, events: int, size: int) -> None:
        self._most = (events, size, MAX_OBSERVED, size)
        # Events, their bytes, observations, theirs.
        self._counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def add(self, stream: str, row: Row) -> None:
        """Count a row of a stream; its columns `PartitionKey`, `n` and `s` are enough."""
        counts = self._counts[rows.bucket_of(row)]
        first = 0 if stream == "rank" else 2
        counts[first] += int(row["n"])
        counts[first + 1] += int(row["s"])

    def begins(self, start: int, limit: int) -> int:
        """The first bucket in [start, limit) that holds a row; `limit` where none does."""
        return min((bucket for bucket in self._counts if start <= bucket < limit), default=limit)

    def fills(self, start: int, limit: int) -> int | None:
        """Where a window from `start` on is full, or None where it is not before `limit`."""
        held = [0, 0, 0, 0]
        for bucket in sorted(bucket for bucket in self._counts if start <= bucket < limit):
            held = [a + b for a, b in zip(held, self._counts[bucket], strict=True)]
            if any(a > most for a, most in zip(held, self._most, strict=True)):
                return bucket + BUCKET
        return None
