"""Turns what two models would have earned on the same events into whether the newer one does far worse; no VW.

Of each event there is what the older model, left as it is, and the newer one, each moment before it learned the event,
would have cost by IPS. Neither had learned it then, so the difference is fair; and since both are judged by the same
draw, reward and propensity, the noise that they share goes out of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

RECENT: Final = 2000
"""Events that are looked at, at most: the last ones. Scoring them takes about as long as learning them."""
ENOUGH: Final = 200
"""Events without which nothing is said: IPS has rare events of large weight, and with few of them no error to trust."""
CERTAIN: Final = 5.0
"""Standard errors by which the difference must lie beyond the margin. By chance alone that would be once in three
million versions, or in a year and a half of one every 15 s."""
SHARE: Final = 0.1
"""The margin: what may be lost of what the older model earns."""
LEAST: Final = 0.01
"""The margin where the older one earns next to nothing, in rewards, which lie within [-1, 1]."""
PROBES: Final = 20
"""Events of which a distribution is asked for."""


def far_below(newer: Sequence[float | None], older: Sequence[float | None]) -> str | None:
    """Why a newer model should not take the place of an older one, a sentence for people; None if nothing says so.

    Args:
        newer: what the newer one would have cost on each event as it went; None where VW refused it.
        older: the same of the older one, on the same events.
    """
    pairs = [
        (b, a)
        for a, b in zip(newer, older, strict=True)
        if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
    ]
    if len(pairs) < ENOUGH:
        return None
    # In rewards: a cost is a reward with its sign turned.
    differences = [before - after for before, after in pairs]
    mean = math.fsum(differences) / len(pairs)
    spread = math.fsum((one - mean) ** 2 for one in differences) / (len(pairs) - 1)
    error = math.sqrt(spread / len(pairs))
    earned = -math.fsum(before for before, _ in pairs) / len(pairs)
    if mean + CERTAIN * error >= -max(SHARE * abs(earned), LEAST):
        return None
    return (
        f"As it learned the last {len(pairs)} events it earned {earned + mean:.4g} on average, where the model before "
        f"it would have earned {earned:.4g}: {-mean:.4g} less, with a standard error of {error:.2g}."
    )
