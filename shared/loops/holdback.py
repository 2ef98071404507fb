"""Turns what a caller wants to be held back from the model into a setting of the loop (docs/adr/0027)."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contract.errors import ApiError

MOST = 0.5
"""The largest share: past it, the comparison would become worse again."""


@dataclass(frozen=True, slots=True)
class Holdback:
    """What share of a loop's decisions is kept from its model, so that both can be compared.

    Attributes:
        share: in [0, 0.5].
        since: when it was last changed, in seconds since the epoch, to the millisecond, since the log spells it so.
    """

    share: float = 0.0
    since: float = 0.0


NOBODY = Holdback()
"""That of a loop where it was never changed."""


def put(share: float, held: Holdback, now: float) -> Holdback:
    """The holdback that a PUT results in; the same one where the share does not change.

    Args:
        share: of decisions.
        held: the holdback so far.
        now: seconds since the epoch.

    Raises:
        ApiError: InvalidRequest when the share is out of range.
    """
    if not 0.0 <= share <= MOST:
        raise ApiError("InvalidRequest", f"share must be from 0 to {MOST:g}; it is {share:g}.", "share")
    # A clock that was set back must not make a later share look like an earlier one.
    return held if share == held.share else Holdback(share, round(max(now, held.since + 0.001), 3))
