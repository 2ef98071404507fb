"""Turns a joined line into whether its labels are such as learning may see; one that is not can ruin a model.

The join clamps what it writes. This is for lines that are damaged, or come from elsewhere: VW takes a cost of "NaN",
and learns an infinite loss from a probability of 1e-40.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from shared.log.join import MIN_PROBABILITY

Cost = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Probability = Annotated[float, msgspec.Meta(ge=MIN_PROBABILITY, le=1.001)]  # sums of 32-bit floats may exceed 1

_ROUNDING = 1e-5
"""Below it a probability that is what others leave is mostly their rounding."""


class _Slot(msgspec.Struct, gc=False):
    cost: Cost | None = msgspec.field(name="_label_cost", default=None)
    probabilities: list[float] = msgspec.field(name="_p", default_factory=list)

    def __post_init__(self) -> None:
        if self.cost is not None and not MIN_PROBABILITY <= max(self.probabilities[:1], default=0.0) <= 1.001:
            raise ValueError("a slot's probability is out of range")


class _Labels(msgspec.Struct, gc=False):
    cost: Cost | None = msgspec.field(name="_label_cost", default=None)
    probability: Probability | None = msgspec.field(name="_label_probability", default=None)
    outcomes: list[_Slot] | None = msgspec.field(name="_outcomes", default=None)


_decode = msgspec.json.Decoder(_Labels).decode


def sound(line: bytes) -> bool:
    """Whether each cost of a joined line is a finite number, and each drawn probability one that the join may write."""
    try:
        _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def drawn_with(label: float, told: float) -> float:
    """The probability with which an action was drawn.

    What learning sees is bounded by `MIN_PROBABILITY` from below, since one heavy weight can ruin a model. An estimate
    that divides by the bound is wrong however many events there are: of 50 actions with 2 % exploration, by half.

    Args:
        label: the one that learning sees.
        told: what the rest of the line says of it; VW's are rounded to 32 bits.
    """
    return told if label <= MIN_PROBABILITY and _ROUNDING <= told < label else label
