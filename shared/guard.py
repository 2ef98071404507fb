"""Turns work that may fail into its result or None, so that one loop's fault does not hold up the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

from shared.counters import Counters
from shared.storage import StorageError
from shared.telemetry.about import about
from shared.telemetry.traces import Traces

log = logging.getLogger("rankloop")

T = TypeVar("T")


class Guarded:
    """Work of the timers.

    Args:
        counters: gets <what>.failed, and is told how long it took.
        traces: get a span of it.
    """

    def __init__(self, counters: Counters, traces: Traces | None = None) -> None:
        self._counters = counters
        self._traces = traces or Traces()

    async def run(self, what: str, whose: str, work: Awaitable[T]) -> T | None:
        """The result of some work, or None; its failure is counted and logged."""
        began, loop = time.monotonic(), whose.removeprefix("loop ")
        with about(loop), self._traces.part(what) as span:
            span.tell("rankloop.loop", loop)
            try:
                return await work
            except Exception as e:
                self._counters.add(f"{what}.failed")
                span.tell("error.type", type(e).__name__)
                fault = None if isinstance(e, StorageError) else e  # whose place in the code is worth knowing
                log.error(
                    "the %s of %s failed and is tried again with the next run: %s", what, whose, e, exc_info=fault
                )
                return None
            finally:
                kind = f"{what}_run" if loop == whose else what
                self._counters.measure("task.duration", time.monotonic() - began, kind)
