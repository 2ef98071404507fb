"""Turns events that were decided in Apprentice mode into how well the loop would have done (contract 3.1, 5.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Self

import msgspec

from shared.log.join import Earned
from shared.log.records import APPRENTICE

BATCH = 1000
"""Events of `Apprenticeship.latest`."""
_event = struct.Struct(">dd?")


class Totals(msgspec.Struct):
    """Sums over events.

    Attributes:
        events: how many.
        imitated: those of them in which the draw was the baseline, of each slot in multi-slot.
        rewards: what they earned; it was always the baseline that was shown.
        imitated_rewards: what of it was earned where the draw was the baseline.
    """

    events: int = 0
    imitated: int = 0
    rewards: float = 0.0
    imitated_rewards: float = 0.0

    def add(self, reward: float, imitated_reward: float, imitated: bool) -> Self:
        """Count one more event; returns itself."""
        self.events += 1
        self.imitated += imitated
        self.rewards += reward
        self.imitated_rewards += imitated_reward
        return self


class Apprenticeship(msgspec.Struct, frozen=True):
    """What came of a loop's Apprentice mode since it was last turned to it.

    Attributes:
        start: when that was, in seconds since the epoch; of a loop that an earlier release turned to it, when its
            first event was ranked that is counted.
        last: when the latest event was ranked.
        totals: over all events.
        latest: the last thousand of them, packed: reward, imitated reward, whether imitated.
    """

    start: float
    last: float
    totals: Totals
    latest: bytes

    def batch(self) -> Totals:
        """Over the latest thousand."""
        found = Totals()
        for one in _event.iter_unpack(self.latest):
            found.add(*one)
        return found


def add(held: Apprenticeship | None, earned: Iterable[Earned]) -> Apprenticeship | None:
    """Count joined events, one by one in their order, so that it makes no difference how the log was cut.

    An event names the apprenticeship that it was decided in. A newer one begins anew; what is joined of an older one
    after that is left out.

    Args:
        held: the totals so far.
        earned: of events of any mode.
    """
    for one in earned:
        if one.event.m != APPRENTICE:
            continue
        began = one.event.b
        if held is None or (began is not None and began > held.start):
            held = Apprenticeship(one.event.t if began is None else began, one.event.t, Totals(), b"")
        elif began is not None and began < held.start:
            continue
        held = _with(held, one)
    return held


def _with(held: Apprenticeship, one: Earned) -> Apprenticeship:
    counts = one.reward, one.imitated_reward, one.imitated
    latest = held.latest[-_event.size * (BATCH - 1) :] + _event.pack(*counts)
    totals = msgspec.structs.replace(held.totals).add(*counts)
    return Apprenticeship(held.start, max(held.last, one.event.t), totals, latest)
