"""Turns the events of a holdback into what each of its two arms has earned (docs/adr/0027)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from shared.log.join import Earned


class Sums(msgspec.Struct, frozen=True):
    """What the events of one arm have earned.

    Attributes:
        events: how many.
        rewards: the sum of their rewards.
        squares: the sum of their squares.
    """

    events: int = 0
    rewards: float = 0.0
    squares: float = 0.0


class Arms(msgspec.Struct, frozen=True):
    """Both arms of a holdback, since its share was last changed.

    Attributes:
        since: when that was, in seconds since the epoch; 0 while no event of a holdback is joined.
        held: decided without the model.
        model: decided by it, or drawn evenly before there was one.
    """

    since: float = 0.0
    held: Sums = Sums()
    model: Sums = Sums()


def add(held: Arms | None, earned: Iterable[Earned]) -> Arms | None:
    """Count joined events, one by one in their order, so that it makes no difference how the log was cut.

    An event names the share's time that it was decided under. A newer one begins anew; what is joined of an older one
    after that is left out.

    Args:
        held: the sums so far.
        earned: of events with a holdback and without.
    """
    for one in earned:
        if (arm := one.event.h) is None:
            continue
        if held is None or arm.since > held.since:
            held = Arms(arm.since)
        if arm.since == held.since:
            name = "held" if arm.held else "model"
            held = msgspec.structs.replace(held, **{name: _with(getattr(held, name), one)})
    return held


def _with(sums: Sums, one: Earned) -> Sums:
    return Sums(sums.events + 1, sums.rewards + one.reward, sums.squares + one.reward * one.reward)
