"""Turns a loop's settings and what came of an evaluation into when auto-optimization is due, and what it changes.

Contract 5.9 has the rules: by default 15 days after a loop was made and every 28 days from then on, on the last two
weeks of log or as much more as it takes; a policy is taken over where it earns more, and the lower end of its interval
is above that of what decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from shared.contract.evaluations import PolicySource
from shared.evaluation.field import MOST_BYTES
from shared.evaluation.results import Outcome
from shared.log.joined import Window

DAYS: Final = 14
"""Of log that are looked at, at least."""
ENOUGH_BYTES: Final = 2_300_000
"""Compressed bytes of log below which older days are looked at, too: 20 MB of lines, as measured."""
KEPT: Final = 24
"""Past runs of a loop that are kept."""
_DAY: Final = 86_400


def due(start: float, frequency: float, ran: float, now: float) -> float | None:
    """The latest time at which a run was due, unless there was one since; None where none is.

    Args:
        start: when the first one is due, in seconds since the epoch, as the next two.
        frequency: seconds from one to the next.
        ran: when there was one last; 0 for never.
        now: the time.
    """
    if now < start:
        return None
    latest = start + (now - start) // frequency * frequency
    return latest if ran < latest else None


def span(sizes: Mapping[Window, int], now: int) -> dict[Window, int]:
    """What of the log is looked at: its last two weeks, and older windows until there is enough; at most what may be.

    Args:
        sizes: of all windows, in order.
        now: seconds since the epoch.
    """
    found: dict[Window, int] = {}
    total = 0
    for window, size in reversed(list(sizes.items())):
        enough = window.start < now - DAYS * _DAY and total >= ENOUGH_BYTES
        if enough or total + size > MOST_BYTES:
            break
        found[window] = size
        total += size
    return dict(reversed(list(found.items())))


def winner(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The policy that is to be taken over, of those that were found; None where what decided stays."""
    held = list(outcomes)
    online = next((one for one in held if one.source is PolicySource.ONLINE), None)
    if online is None:
        return None
    now = online.slots[0].judged.snips
    better = [
        one
        for one in held
        if one.source is PolicySource.FOUND
        and one.slots[0].judged.trusted
        and one.slots[0].judged.snips.value > now.value
        and one.slots[0].judged.snips.low > now.low
    ]
    return max(better, key=lambda one: one.slots[0].judged.snips.value, default=None)
