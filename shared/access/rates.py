"""Turns how often a loop is called into whether one more call may be answered, as its owner says (docs/adr/0038).

A token bucket for each loop that has a limit, in each process: nobody else is asked, and no other loop is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.loops.limits import Limits


class Rates:
    """How often the loops of one process are called.

    Args:
        steady: a clock that never jumps, in seconds.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, loop_id: str, limits: Limits) -> float | None:
        """Take a call's token.

        Args:
            loop_id: the loop that is called.
            limits: its own.

        Returns:
            None where the call may be answered; else, and nothing is taken, the seconds until one may.
        """
        rate, burst = limits.calls_per_second, float(limits.call_burst)
        if not rate:
            self._buckets.pop(loop_id, None)
            return None
        now = self._steady()
        held, since = self._buckets.get(loop_id, (burst, now))
        held = min(burst, held + rate * (now - since))
        if held < 1:
            self._buckets[loop_id] = held, now
            return (1 - held) / rate
        self._buckets[loop_id] = held - 1, now
        return None
