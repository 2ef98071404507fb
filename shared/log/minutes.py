"""Turns joined decisions into sums by minute, and by hour and action: what a chart of a loop is drawn from (ADR 0036).

A decision is an event, or one slot of a multi-slot event. It counts in the minute in which it was ranked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from shared.log.records import APPRENTICE, ONLINE, Ranked, RankedSlot

MINUTE, HOUR = 60, 3600
COUNTS = (
    "events",
    "rewarded",
    "explored",
    "held",
    "apprentice",
    "imitated",
    "inactiveEvents",
    "repeatedEvents",
    "emptySlots",
)
SUMS = (
    "rewards",
    "squares",
    "baseline",
    "baselineWeights",
    "baselineSquares",
    "baselineWeightSquares",
    "baselineCross",
    "explorationAsked",
    "heldRewards",
    "heldSquares",
    "apprenticeRewards",
    "imitatedRewards",
)
"""What is summed, by the name that the API has for it; shared/edge/metrics.py says what each is."""
MEASURES = (*COUNTS, *SUMS)
(
    _EVENTS,
    _REWARDED,
    _EXPLORED,
    _HELD,
    _APPRENTICE,
    _IMITATED,
    _INACTIVE,
    _REPEATED,
    _EMPTY,
    _REWARDS,
    _SQUARES,
    _BASELINE,
    _WEIGHTS,
    _BASELINE_SQUARES,
    _WEIGHT_SQUARES,
    _CROSS,
    _ASKED,
    _HELD_REWARDS,
    _HELD_SQUARES,
    _APPRENTICE_REWARDS,
    _IMITATED_REWARDS,
) = range(len(MEASURES))
OTHERS = ""
"""Stands for the actions that are not told apart; no action has an empty id."""
MOST_ACTIONS = 200
"""Actions of an hour that are told apart: with more, those with the most events."""

Earnings = tuple[int, float, float]
"""Of an action: events, rewards, and the squares of those, summed."""


class Exploration(msgspec.Struct, frozen=True, gc=False):
    """How much of a decision was exploration.

    Attributes:
        asked: the probability that not the best-scored action was drawn.
        drawn: whether another one was.
    """

    asked: float
    drawn: bool


NONE_ASKED = Exploration(0.0, False)


def of_event(event: Ranked) -> Exploration:
    """The exploration of a single-slot event; none for those of an earlier release, whose lines do not tell."""
    return NONE_ASKED if event.g is None else Exploration(1.0 - event.g, event.x)


def of_slot(slot: RankedSlot) -> Exploration:
    """The exploration of a slot that has actions. The best-scored one is the most probable, the first among equals."""
    best = max(slot.probabilities)
    first = min(action for action, p in zip(slot.actions, slot.probabilities, strict=True) if p == best)
    return Exploration(1.0 - best, slot.actions[0] != first)


class Part(msgspec.Struct, omit_defaults=True):
    """The sums of a run of windows, as they are stored before a blob of their day has them.

    Attributes:
        end: of the last of the windows.
        minutes: those with anything, ascending, in seconds since the epoch.
        sums: of each of `minutes`, by the name of the measure; those that are zero throughout are left out.
        actions: by hour, in seconds, and id.
    """

    end: int
    minutes: list[int] = msgspec.field(default_factory=list)
    sums: dict[str, list[float]] = msgspec.field(default_factory=dict)
    actions: dict[int, dict[str, Earnings]] = msgspec.field(default_factory=dict)


@dataclass(slots=True)
class Minutes:
    """The sums of a window, while it is joined.

    Attributes:
        rows: by minute, as `MEASURES` has them.
        actions: events, rewards and their squares by hour and id.
    """

    rows: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(_new_row))
    actions: defaultdict[int, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))

    def decision(
        self,
        event: Ranked,
        reward: float,
        rewarded: bool,
        probability: float,
        first: bool,
        action: str,
        how: Exploration,
    ) -> None:
        """Count a decision of an active event.

        Args:
            event: the event.
            reward: as its rewards came to it, or the default.
            rewarded: whether there was any.
            probability: of the draw, not near zero.
            first: whether the draw was the baseline's action.
            action: the id of the one that was answered; empty where that is not known.
            how: the exploration.
        """
        row, square = self.rows[int(event.t) // MINUTE * MINUTE], reward * reward
        if event.held:
            row[_HELD] += 1
            row[_HELD_REWARDS] += reward
            row[_HELD_SQUARES] += square
            return
        row[_EVENTS] += 1
        row[_REWARDED] += rewarded
        row[_REWARDS] += reward
        row[_SQUARES] += square
        row[_ASKED] += how.asked
        row[_EXPLORED] += how.drawn
        # Where the loop only watches, what is answered is the baseline for certain, whatever was drawn.
        weight = 1.0 if event.m != ONLINE else 1.0 / probability if first else 0.0
        if weight:
            row[_BASELINE] += weight * reward
            row[_WEIGHTS] += weight
            row[_BASELINE_SQUARES] += weight * weight * square
            row[_WEIGHT_SQUARES] += weight * weight
            row[_CROSS] += weight * weight * reward
        if event.m == APPRENTICE:
            row[_APPRENTICE] += 1
            row[_APPRENTICE_REWARDS] += reward
            row[_IMITATED] += first
            row[_IMITATED_REWARDS] += reward if first else 0.0
        if action:
            earned = self.actions[int(event.t) // HOUR * HOUR].setdefault(action, [0, 0.0, 0.0])
            earned[0] += 1
            earned[1] += reward
            earned[2] += square

    def slots(self, event: Ranked, rewards: Sequence[tuple[float, bool, float] | None]) -> None:
        """Count the decisions of a multi-slot event.

        Args:
            event: the event.
            rewards: of each slot as `decision` takes them: reward, whether rewarded, probability; None where it is
                empty.
        """
        for slot, earned in zip(event.s or (), rewards, strict=True):
            if earned is None:
                self.rows[int(event.t) // MINUTE * MINUTE][_EMPTY] += 1
            else:
                self.decision(event, *earned, slot.actions[0] == slot.baseline, slot.shown, of_slot(slot))

    def inactive(self, event: Ranked) -> None:
        """Count an event that was never activated, though it waited for that."""
        self.rows[int(event.t) // MINUTE * MINUTE][_INACTIVE] += 1

    def repeated(self, event: Ranked) -> None:
        """Count a retry of an event."""
        self.rows[int(event.t) // MINUTE * MINUTE][_REPEATED] += 1

    def part(self, end: int) -> Part:
        """What was counted, as that of a window that ends so."""
        minutes = sorted(self.rows)
        sums = {name: [self.rows[minute][n] for minute in minutes] for n, name in enumerate(MEASURES)}
        actions = {hour: {name: _earnings(earned) for name, earned in of.items()} for hour, of in self.actions.items()}
        return Part(end, minutes, {name: held for name, held in sums.items() if any(held)}, actions)


def added(held: Part | None, more: Part) -> Part:
    """The sums of a run of windows and those of the ones behind it."""
    if held is None:
        return more
    minutes = sorted({*held.minutes, *more.minutes})
    sums = {}
    for name in sorted({*held.sums, *more.sums}):  # names of a later release among them
        column = dict.fromkeys(minutes, 0.0)
        for part in (held, more):
            for minute, value in zip(part.minutes, part.sums.get(name, ()), strict=False):
                column[minute] += value
        sums[name] = list(column.values())
    return Part(more.end, minutes, sums, added_actions(held.actions, more.actions))


def added_actions(
    held: dict[int, dict[str, Earnings]], more: dict[int, dict[str, Earnings]]
) -> dict[int, dict[str, Earnings]]:
    """What actions have earned by hour, of both; `MOST_ACTIONS` of an hour by name."""
    found = {hour: dict(of) for hour, of in held.items()}
    for hour, of in more.items():
        into = found.setdefault(hour, {})
        for name, earned in of.items():
            into[name] = sum_of(into.get(name), earned)
    return {hour: told_apart(of, MOST_ACTIONS) for hour, of in sorted(found.items())}


def sum_of(held: Earnings | None, more: Earnings) -> Earnings:
    """Both together."""
    return more if held is None else (held[0] + more[0], held[1] + more[1], held[2] + more[2])


def told_apart(of: dict[str, Earnings], most: int) -> dict[str, Earnings]:
    """The actions with the most events, so many at most, and the rest as `OTHERS`."""
    if len(of) - (OTHERS in of) <= most:
        return of
    ranking = sorted((name for name in of if name != OTHERS), key=lambda name: (-of[name][0], name))
    found = {name: of[name] for name in ranking[:most]}
    others = of.get(OTHERS)
    for name in ranking[most:]:
        others = sum_of(others, of[name])
    return found if others is None else {**found, OTHERS: others}


def days_of(part: Part) -> list[int]:
    """The days, by their start, in which a part has sums; ascending."""
    starts = [time // 86_400 * 86_400 for time in (*part.minutes, *part.actions)]
    return sorted(set(starts))


def _new_row() -> list[float]:
    return [0.0] * len(MEASURES)


def _earnings(earned: Sequence[float]) -> Earnings:
    events, rewards, squares = earned
    return int(events), rewards, squares
