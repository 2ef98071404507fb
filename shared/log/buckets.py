"""Turns times into journal buckets, and reward waits into when a bucket is closed (design: docs/adr/0003).

Time is cut into buckets of 5 s by the storage's clock. A row may be written until its bucket's grace has passed; after
that the bucket never changes, so whatever is computed from closed buckets is the same for everyone who computes it.
All times are seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

BUCKET = 5
EARLY = 120
"""Seconds a reward may precede its rank, and within which a repeated event id is a client's retry (contract 5.2)."""
SETTINGS_LAG = 10
"""Seconds after which every instance surely knows a changed setting: twice the 5 s that it may take."""

LONGEST_GRACE = 90.0

LONG = 7200.0
"""Seconds; the observations of events with longer waits are routed to them in slices (docs/adr/0017)."""
_SLICES = (86_400, 21_600, 3600, 600)
_READS = 12
"""How often a row of observations is read at most, for windows that each read a whole wait of them."""
_BRISK = 60.0
"""Seconds of wait below which people watch a loop learn: its windows are a tenth of the wait, and come one so soon
after the other that the process has kept what they read again."""


def bucket_of(time: float) -> int:
    """The start of the bucket that holds a time."""
    return int(time) // BUCKET * BUCKET


def next_bucket(time: float) -> int:
    """The first bucket start at or after a time."""
    return -int(-time // BUCKET) * BUCKET


def grace(wait: float) -> float:
    """How long after its end a bucket may still be written: 4 s at waits up to 12 s, 90 s from 270 s on.

    Short waits are for people who watch a loop learn; long ones can afford a long outage.
    """
    return min(LONGEST_GRACE, max(4.0, wait / 3))


def least_window(wait: float) -> int:
    """Seconds that a window of a loop with such a wait spans at least, where more of it is not closed yet."""
    if wait < _BRISK:
        return next_bucket(wait / 10)
    return next_bucket((wait + EARLY + BUCKET) / (_READS - 1))


def slice_length(wait: float) -> int:
    """Seconds of a slice of a loop with such a wait: a twenty-fourth of it or less, a day at most."""
    return next((length for length in _SLICES if length <= wait / 24), _SLICES[-1])


@dataclass(frozen=True, slots=True)
class Waits:
    """The reward waits of a loop: (from bucket, seconds), ascending; the first holds for all time before, too.

    A change never touches what is already in the journal: it holds from a bucket in the future or, where nothing waits
    to be joined, from where the join stands.
    """

    steps: tuple[tuple[int, float], ...]

    def at(self, bucket: int) -> float:
        """The wait of events that were ranked in this bucket, in seconds."""
        held = self.steps[0][1]
        for since, wait in self.steps:
            if since <= bucket:
                held = wait
        return held

    def closes(self, bucket: int) -> float:
        """When the bucket can no longer be written, by the storage's clock.

        Around a change the longer grace holds, since an instance may not know of the change yet.
        """
        near = range(bucket - SETTINGS_LAG, bucket + SETTINGS_LAG + BUCKET, BUCKET)
        return bucket + BUCKET + max(grace(wait) for wait in map(self.at, near))

    def closed_before(self, now: float) -> int:
        """The first bucket that may still be written at `now`: all before it are closed for ever."""
        bucket = bucket_of(now - BUCKET - LONGEST_GRACE)
        while self.closes(bucket) <= now:
            bucket += BUCKET
        return bucket

    def changes(self, after: int, until: int) -> Iterator[int]:
        """The buckets in (after, until) from which another wait holds."""
        return (since for since, _ in self.steps[1:] if after < since < until)

    def long_stretches(self, after: int) -> Iterator[tuple[int, float, float]]:
        """The stretches of buckets with a long wait that end after a bucket: (first, end or infinity, wait)."""
        first = [0, *(since for since, _ in self.steps[1:])]
        ends = [*(float(since) for since in first[1:]), math.inf]
        for since, until, (_, wait) in zip(first, ends, self.steps, strict=True):
            if wait > LONG and until > after:
                yield since, until, wait

    def with_change(self, since: int, wait: float, forget_before: int) -> Waits:
        """These waits with another one from a bucket on, less what no event after `forget_before` can need."""
        steps = [(s, w) for s, w in self.steps if s < since]
        if not steps or steps[-1][1] != wait:  # else one that never held is taken back
            steps.append((since, wait))
        while len(steps) > 1 and steps[1][0] <= forget_before:
            steps.pop(0)
        return Waits(tuple(steps))


def day_of(bucket: int) -> str:
    """The UTC day of a bucket, as journal table names spell it."""
    return datetime.fromtimestamp(bucket, UTC).strftime("%Y%m%d")


def days(first: int, end: int) -> Iterator[tuple[str, int, int]]:
    """The days that buckets [first, end) touch, each with the part of the range that falls into it."""
    while first < end:
        midnight = (first // 86400 + 1) * 86400
        yield day_of(first), first, min(end, midnight)
        first = midnight


def iso(time: float) -> str:
    """A time as the logs and the API write it: UTC, microseconds, `Z`."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
