"""Turns the observations of a stretch of time into those of a window's events, a bounded number of each.

A flood of rewards for one event must not exhaust the join's memory: of each kind the first thousand of an event count,
and the rest is left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from shared.log.buckets import EARLY
from shared.log.records import Observed, Ranked, event_key

MOST = 1000
"""Rewards of an event that count, and activations: the earliest. SDKs send one or a handful."""


class Matching(NamedTuple):
    """The observations of one event in order of arrival, and how many were left out."""

    observations: list[Observed]
    duplicates: int
    surplus: int


def order(observation: Observed) -> tuple[float, str, float, str, list[tuple[str, float]]]:
    """A key that sorts observations by arrival, and those of one moment alike whatever order they come in."""
    return (observation.t, observation.q or "", observation.v, observation.k, observation.s or [])


def matching(observed: Iterable[Observed], time: float, wait: float) -> Matching:
    """Those observations of an event id that are of one event with it.

    Args:
        observed: in order of arrival; see `order`.
        time: of the event, in seconds.
        wait: seconds after it within which a reward counts; equal is too late.

    Returns:
        The first `MOST` of each kind that lie within the wait, or precede the event by less than two minutes; of
        those under one request id only the first.
    """
    kept: list[Observed] = []
    seen: set[tuple[str, str]] = set()
    counts = {"r": 0, "a": 0}
    duplicates = surplus = 0
    for o in observed:
        if not -EARLY < o.t - time < wait:
            continue
        if o.q is not None:
            if (o.q, o.k) in seen:
                duplicates += 1
                continue
            seen.add((o.q, o.k))
        if counts[o.k] == MOST:
            surplus += 1
            continue
        counts[o.k] += 1
        kept.append(o)
    return Matching(kept, duplicates, surplus)


class Inbox:
    """What is observed of a window's events.

    Args:
        events: of the window, in order of arrival.
        wait: see `matching`.
        since: what arrived before this time is of no event.

    Attributes:
        left_out: observations that were dropped, since their event has enough or they repeat others.
    """

    def __init__(self, events: Sequence[Ranked], wait: float, since: float) -> None:
        self._wait = wait
        self._since = since
        self._found: dict[str, list[Observed]] = {}
        self._times: defaultdict[str, list[float]] = defaultdict(list)
        last: dict[str, float] = {}
        for event in events:
            key = event_key(event.e)
            if event.t - last.get(key, -math.inf) >= EARLY:  # else it is a retry, which is no event
                self._times[key].append(event.t)
            last[key] = event.t
        self.left_out = 0

    @property
    def keys(self) -> Set[str]:
        """Of the events."""
        return self._times.keys()

    def add(self, observed: Iterable[Observed]) -> None:
        """Take in observations, of whatever events and in any order."""
        for o in observed:
            times = self._times.get(o.e)
            if times is None or o.t < self._since or not any(-EARLY < o.t - time < self._wait for time in times):
                continue
            found = self._found.setdefault(o.e, [])
            found.append(o)
            if len(found) > 4 * MOST * len(times):
                self._clear(o.e)

    def observed(self) -> list[Observed]:
        """All that can count for the events, in no order."""
        return [o for found in self._found.values() for o in found]

    def _clear(self, key: str) -> None:
        found = sorted(self._found[key], key=order)
        wanted = {id(o) for time in self._times[key] for o in matching(found, time, self._wait).observations}
        self._found[key] = [o for o in found if id(o) in wanted]
        self.left_out += len(found) - len(self._found[key])
