"""Turns work that may fail into its result or None, so that one loop's fault does not hold up the others."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from shared.counters import Counters
from shared.storage import StorageError

log = logging.getLogger("rankloop")

T = TypeVar("T")


class Guarded:
    """Work of the timers.

    Args:
        counters: gets <what>.failed.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    async def run(self, what: str, whose: str, work: Awaitable[T]) -> T | None:
        """The result of some work, or None; its failure is counted and logged."""
        try:
            return await work
        except Exception as e:
            self._counters.add(f"{what}.failed")
            fault = None if isinstance(e, StorageError) else e  # whose place in the code is worth knowing
            log.error("the %s of %s failed and is tried again with the next run: %s", what, whose, e, exc_info=fault)
            return None
