"""Turns notes of what waits to be joined into joined windows, loop by loop, none of which holds up the others."""

from __future__ import annotations

import time

from shared.clock import StorageClock
from shared.counters import Counters
from shared.guard import Guarded
from shared.log import activity
from shared.log.activity import Span
from shared.log.joiner import Joiner
from shared.loops.loops import Loops
from shared.storage import Tables

_JOINING = 300.0
"""Seconds after which a timer run begins no other loop's join: the host ends a run that takes ten minutes."""
_JOINING_ONE = 60.0
"""Seconds after which a loop's join begins no other window; the next run goes on."""


class Joining:
    """The join of the deployment's loops.

    Args:
        tables: hold the notes.
        clock: the storage's time.
        loops: the deployment's.
        joiner: does the work.
        counters: gets join.failed, and is told the join's lag.
        guarded: lets one loop fail without the others.
    """

    def __init__(
        self, tables: Tables, clock: StorageClock, loops: Loops, joiner: Joiner, counters: Counters, guarded: Guarded
    ) -> None:
        self._tables = tables
        self._clock = clock
        self._loops = loops
        self._joiner = joiner
        self._counters = counters
        self._guarded = guarded.run
        self._last = ""

    async def run(self) -> int:
        """Join what is due in any loop; returns how many windows. With nothing due it costs one read."""
        noted = await activity.noted(self._tables)
        self._counters.worst("join.lag", 0.0)  # of each loop that has something due the joiner tells its own
        due = [loop_id for loop_id, spans in noted.items() if min(span.due for span in spans) <= self._clock.now()]
        deleted = await self._loops.deleted() if due else {}
        due = [loop_id for loop_id in due if loop_id not in deleted]
        if not due:
            return 0
        # By the storage's own word, and before the notes are read again: with an estimate that runs ahead, or a note
        # that was made meanwhile, the join would pass a bucket without having seen all of its events.
        now = await self._clock.read()
        noted = await activity.noted(self._tables)

        until, passed = time.monotonic() + _JOINING, 0
        # Each run goes on behind the loop at which the one before stopped, so that none waits for ever.
        for loop_id in sorted(due, key=lambda loop_id: (loop_id <= self._last, loop_id)):
            self._last = loop_id
            passed += await self._guarded("join", f"loop {loop_id}", self._join(loop_id, noted[loop_id], now)) or 0
            if time.monotonic() > until:
                break
        return passed

    async def run_loop(self, loop_id: str) -> None:
        """Join what is closed in one loop, as `run` would next."""
        now = await self._clock.read()  # before the notes, as there
        await self._join(loop_id, (await activity.noted(self._tables)).get(loop_id, []), now)

    async def _join(self, loop_id: str, spans: list[Span], now: float) -> int:
        loop = await self._loops.by_id(loop_id)
        return await self._joiner.run(loop.rules(), spans, now, time.monotonic() + _JOINING_ONE)
