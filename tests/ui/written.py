"""Turns numbers into what the page writes."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal


def written(value: float, digits: int) -> str:
    """A number below 10 with so many digits behind the point at most, or below 1 from the first that is not 0.

    A tie goes up, as JavaScript has it, and not to the even.
    """
    exact = Decimal(repr(value))
    places = digits - 1 - exact.adjusted() if 0 < abs(value) < 1 else digits
    told = f"{exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}"
    return told.rstrip("0").rstrip(".") if "." in told else told
