"""Turns the scores of a policy into what it would have earned, how sure that is, and whether to believe it.

IPS weighs each reward with how much more probable the policy makes the action that was drawn. SNIPS divides by the sum
of these weights instead of the number of decisions. DR starts from what a model of rewards expects, and weighs only
what that leaves unexplained (Dudik et al., Statistical Science 29, 2014). docs/evaluation.md says when to trust which.

All of them are made of sums over events that add up, so a log may be summed shard by shard. The decisions of one event
with many slots are not independent: their sums count as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.evaluation.intervals import Moments, Ratio, clopper_pearson, enough, moments, ratio, stretch
from shared.evaluation.lift import about
from shared.evaluation.scores import Scores

LEAST: Final = 200
"""The effective sample below which no interval is trusted."""
Z: Final = 1.96
"""Standard errors to either side in 95 % of the cases, as Personalizer rounded it (contract 5.10)."""
_TAIL: Final = 0.025
_FAR: Final = 4.0
"""Standard errors that the mean weight is from 1 by chance once in 15,000 logs."""
_APART: Final = 0.01
"""How far the mean weight may be from 1 for rounded probabilities."""

Range = tuple[float, float]
_Column = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean reward of a decision, with the ends of its 95 % interval, which may lie outside the reward range."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a policy would have earned.

    Where there is nothing to divide by, an estimate is 0, or what of the reward range is nearest, and its interval is
    the whole range.

    Attributes:
        events: how many there are; each may hold many decisions, one for each slot.
        effective: of how many events of the policy's own they tell as much: Kish's (sum of weights)^2 / sum of squares.
        matched: decisions of which the policy might have drawn the same action.
        ips: inverse propensity score, with the normal interval.
        snips: self-normalised, with the normal interval of its linearisation.
        dr: doubly robust, with the normal interval.
        conservative: IPS within the reward range, with an interval that needs no normal distribution: Clopper and
            Pearson's, for rewards above and below zero apart. It takes the heaviest weight seen for the heaviest there
            is, or 1, since weights average 1.
        trusted: whether the normal intervals may be believed.
        more_events: how many more would make them so if all goes on like this; 0 where they are, None where no number
            of them would, or nobody can say.
        says: the same, in words for people.
    """

    events: int
    effective: float
    matched: int
    ips: Estimate
    snips: Estimate
    dr: Estimate
    conservative: Estimate
    trusted: bool
    more_events: int | None
    says: str


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Of a run of events: what estimates are made of. Those of two runs add up.

    Attributes:
        events: how many.
        decisions: how many of them there are.
        matched: decisions of which the policy might have drawn the same action.
        heaviest: the greatest weight of a decision; 0 without one.
        gained: the weighted rewards of decisions that earned more than zero.
        weights: of the events' weights by their decisions.
        rewards: of their rewards by their decisions, as logged.
        ips: of their weighted rewards by their decisions.
        snips: of their weighted rewards by their weights.
        dr: of their doubly robust rewards by their decisions.
    """

    events: int
    decisions: int
    matched: int
    heaviest: float
    gained: float
    weights: Moments
    rewards: Moments
    ips: Moments
    snips: Moments
    dr: Moments

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.events + other.events,
            self.decisions + other.decisions,
            self.matched + other.matched,
            max(self.heaviest, other.heaviest),
            self.gained + other.gained,
            self.weights + other.weights,
            self.rewards + other.rewards,
            self.ips + other.ips,
            self.snips + other.snips,
            self.dr + other.dr,
        )


def estimate(scores: Scores, reward_range: Range) -> Estimates:
    """What the policy of the scores would have earned.

    Args:
        scores: of whole events, all slots of each or one.
        reward_range: the lowest and the highest reward there can be, low < high.
    """
    return judge(gather(scores), reward_range)


def gather(scores: Scores) -> Sums:
    """The sums of a run of whole events. Of none, all are 0."""
    weights = scores.targets / scores.logged
    weighted = weights * scores.rewards
    robust = scores.values + weights * (scores.rewards - scores.modelled)
    starts = _starts(scores)
    columns = (np.ones_like(weights), weights, scores.rewards, weighted, robust)
    bottom, weight, reward, top, doubly = (_by_event(column, starts) for column in columns)
    return Sums(
        events=len(starts),
        decisions=len(weights),
        matched=int(np.count_nonzero(weights)),
        heaviest=float(weights.max(initial=0.0)),
        gained=float(weighted[scores.rewards > 0].sum()),
        weights=moments(weight, bottom),
        rewards=moments(reward, bottom),
        ips=moments(top, bottom),
        snips=moments(top, weight),
        dr=moments(doubly, bottom),
    )


def _starts(scores: Scores) -> NDArray[np.intp]:
    """The row of each event's first decision: places rise within an event, and all of them arrived at once."""
    begins = np.ones(len(scores.times), np.bool_)
    begins[1:] = (np.diff(scores.places) <= 0) | (np.diff(scores.times) != 0)
    return np.flatnonzero(begins)


def _by_event(column: _Column, starts: NDArray[np.intp]) -> _Column:
    # where each event is one decision there is nothing to add, and reduceat would refuse to make nothing of nothing
    return column if len(starts) == len(column) else np.add.reduceat(column, starts)


def judge(sums: Sums, reward_range: Range) -> Estimates:
    """What the sums tell of the policy.

    Args:
        sums: of all events that are to count.
        reward_range: the lowest and the highest reward there can be, low < high.
    """
    squares = float(sums.weights[2, 0])
    effective = float(sums.weights[1, 0]) ** 2 / squares if squares else 0.0
    weights, *means = (ratio(each) for each in (sums.weights, sums.ips, sums.snips, sums.dr))
    ips, snips, dr = (_normal(mean, reward_range) for mean in means)
    trusted, more_events, says = _trust(sums, effective, weights, means)
    return Estimates(
        sums.events,
        effective,
        sums.matched,
        ips,
        snips,
        dr,
        _conservative(sums, reward_range),
        trusted,
        more_events,
        says,
    )


def _normal(mean: Ratio | None, reward_range: Range) -> Estimate:
    if mean is None:
        return Estimate(_pivot(reward_range), *reward_range)
    return Estimate(mean.value, mean.value - Z * mean.error, mean.value + Z * mean.error)


def _pivot(reward_range: Range) -> float:
    """What is earned where nothing is: zero, or what is nearest to it."""
    low, high = reward_range
    return min(max(0.0, low), high)


def _conservative(sums: Sums, reward_range: Range) -> Estimate:
    """The mean of what is earned above the pivot, less that of what is lost below it, each with half of the risk.

    Apart, a loss that might be but was never seen widens the interval by a few weights in all. Taken together, rewards
    of 0 and 1 in a range from -1 would be as uncertain as coins that show one or the other.
    """
    low, high = reward_range
    pivot = _pivot(reward_range)
    if not sums.heaviest:
        return Estimate(pivot, low, high)
    balance = float(sums.ips[1, 0]) - pivot * float(sums.weights[1, 0])
    gained = sums.gained if low < 0 < high else max(balance, 0.0)
    parts = (high > pivot) + (low < pivot)
    fewest_gained, most_gained = _part(sums, gained, high - pivot, _TAIL / parts)
    fewest_lost, most_lost = _part(sums, gained - balance, pivot - low, _TAIL / parts)
    value = pivot + balance / sums.decisions
    return Estimate(
        min(max(value, low), high),
        max(low, pivot + fewest_gained - most_lost),
        min(high, pivot + most_gained - fewest_lost),
    )


def _part(sums: Sums, earned: float, span: float, tail: float) -> Range:
    """The interval of the mean of a weighted reward between 0 and `span`; an event is one trial, with all its slots."""
    if not span:
        return 0.0, 0.0
    most = span * max(sums.heaviest, 1.0)
    share = min(max(earned / (most * sums.decisions), 0.0), 1.0)
    low, high = clopper_pearson(share * sums.events, sums.events, tail)
    return most * low, most * high


def _trust(
    sums: Sums, effective: float, weights: Ratio | None, means: list[Ratio | None]
) -> tuple[bool, int | None, str]:
    """Whether the normal intervals may be believed, how many more events would make them so, and both in words."""
    if weights is None:
        return False, None, "Nothing can be said: there are no events."
    if not sums.matched:
        return False, None, "Nothing can be said: the policy would have taken none of the actions that were taken."
    logged = "1 logged event is" if sums.events == 1 else f"{sums.events} logged events are"
    told = f"{logged} worth {effective:.0f} of the policy's own"
    # A rare reward may have met no heavy weight yet. How skewed it will be then is foreseen from rewards and weights
    # apart, as if they had nothing to do with each other.
    foreseen = stretch(sums.weights) * _skewness(ratio(sums.rewards))
    most = max(foreseen, *map(_skewness, (weights, *means)))
    needed = max(sums.events * LEAST / effective, enough(most))
    if needed > sums.events:
        more = about(needed - sums.events)
        why = _why(sums, effective, weights)
        return False, more, f"The intervals cannot be trusted: {told}, {why}. About {more} more events are needed."
    if means[1] is None or means[1].skewness is None:  # SNIPS: a reward that is always the same has no error there
        return (
            False,
            None,
            f"The intervals cannot be trusted: {told}, but no reward among them differs from the others.",
        )
    if abs(weights.value - 1) > max(_FAR * weights.error, _APART):
        says = (
            f"The log cannot tell: weights average {weights.value:.2f} where they should average 1. The policy takes "
            "actions that had little chance or none, or the logged probabilities are not those of the draws."
        )
        return False, None, says
    return True, 0, f"The intervals can be trusted: {told}."


def _skewness(mean: Ratio | None) -> float:
    """Its size; 0 where nothing varies."""
    return abs(mean.skewness) if mean and mean.skewness else 0.0


def _why(sums: Sums, effective: float, weights: Ratio) -> str:
    """Why so many events are too few."""
    if sums.events < LEAST:
        return f"and {LEAST} are the least"
    if effective < LEAST:
        return f"since weights are heavy, up to {sums.heaviest:.3g}; {LEAST} are the least"
    if enough(_skewness(weights)) > sums.events:
        return f"but a few of heavy weight, up to {sums.heaviest:.3g}, decide what is estimated"
    return "but rewards that differ from the rest are rare, so that a few decide what is estimated"
