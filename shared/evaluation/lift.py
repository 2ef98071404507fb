"""Turns what both arms of a holdback have earned into what the model is worth, with its uncertainty (docs/adr/0027).

The arms are independent samples. The difference of their means has Welch's standard error; its interval is the normal
one, since arms of fewer than a hundred events are not judged. The interval of their ratio is Fieller's (1954), which is
the set of ratios that the same test does not refuse, and has no end where the baseline may as well earn nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from shared.log.arms import Arms, Sums

LEAST = 100
"""Events of an arm below which it is not judged."""
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_ROUNDING = 1e-9
"""The part of the sum of squares that rounding may leave of rewards that are all alike."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Lift:
    """What the model earns beyond the baseline.

    Attributes:
        difference: of the mean rewards, model less baseline; None where an arm has no event.
        difference_interval: with 95 % confidence; None where it is not judged.
        ratio: of the mean rewards; None where the baseline's is not above zero.
        ratio_interval: with the same confidence; None where it is not judged or has no end.
        more_events: how many more of them, of both arms, would tell if all goes on like this; 0 where it is told
            already, None where nobody can say.
        says: what all of this means, in a sentence for people.
    """

    difference: float | None
    difference_interval: Interval | None
    ratio: float | None
    ratio_interval: Interval | None
    more_events: int | None
    says: str


def mean(sums: Sums) -> float | None:
    """The mean reward of an arm, or None where it has no event."""
    return sums.rewards / sums.events if sums.events else None


def _variance(sums: Sums) -> float:
    """Of one reward, without bias; n >= 2."""
    left = sums.squares - sums.rewards**2 / sums.events
    return left / (sums.events - 1) if left > _ROUNDING * sums.squares else 0.0


def lift(arms: Arms, share: float) -> Lift:
    """Judge both arms.

    Args:
        arms: their sums.
        share: of decisions that is held back, by which events are still to come; 0 where none are.
    """
    held, model = arms.held, arms.model
    baseline, own = mean(held), mean(model)
    if baseline is None or own is None:
        return _unjudged(arms, share, None, None)
    difference = own - baseline
    ratio = own / baseline if baseline > 0 else None
    if min(held.events, model.events) < LEAST:
        return _unjudged(arms, share, difference, ratio)
    held_variance, model_variance = _variance(held), _variance(model)
    # An arm whose rewards were all alike so far may well vary: as much as the other one, if nothing sets them apart.
    held_error = (held_variance or model_variance) / held.events
    model_error = (model_variance or held_variance) / model.events
    error = math.sqrt(held_error + model_error)
    if not error:
        says = "It cannot be judged: in neither arm do rewards vary."
        return Lift(difference, None, ratio, None, None, says)
    half = _Z * error
    between = difference - half, difference + half
    ratios = _fieller(own, model_error, baseline, held_error) if ratio is not None else None
    if abs(difference) > half:
        word = "more" if difference > 0 else "less"
        says = f"The model earns {word} than the baseline: the 95 % interval of the difference holds no zero."
        return Lift(difference, between, ratio, ratios, 0, says)
    needed = _needed(difference, half, held.events + model.events)
    says = "It says nothing yet: the 95 % interval of the difference holds zero."
    if needed is not None:
        says += f" If the difference stays what it is, about {needed} more events will tell."
    return Lift(difference, between, ratio, ratios, needed, says)


def _unjudged(arms: Arms, share: float, difference: float | None, ratio: float | None) -> Lift:
    says, needed = f"It says nothing yet: each arm needs {LEAST} events at least.", None
    if share:
        missing = max((LEAST - arms.held.events) / share, (LEAST - arms.model.events) / (1 - share))
        needed = about(missing)
        says += f" That takes about {needed} more events."
    return Lift(difference, None, ratio, None, needed, says)


_MOST = 1e12
"""Events that no loop will see."""


def _needed(difference: float, half: float, events: int) -> int | None:
    """An interval shrinks with the root of the number of events."""
    factor = (half / difference) ** 2 if difference else math.inf
    return about(events * (factor - 1)) if events * factor < _MOST else None


def about(events: float) -> int:
    """Two digits of it, rounded up: it is an estimate."""
    whole = max(1, math.ceil(events))
    unit: int = 10 ** max(0, len(str(whole)) - 2)
    return -(-whole // unit) * unit


def _fieller(own: float, own_error: float, baseline: float, baseline_error: float) -> Interval | None:
    """The ratios r for which own - r x baseline is within its own interval around zero, or None where they have no end.

    Args:
        own: the mean.
        own_error: the square of its standard error.
        baseline: the mean below the line.
        baseline_error: the square of its standard error.
    """
    a = baseline * baseline - _Z * _Z * baseline_error
    if a <= 0:
        return None
    middle, half = own * baseline, _Z * math.sqrt(own * own * baseline_error + a * own_error)
    return (middle - half) / a, (middle + half) / a
