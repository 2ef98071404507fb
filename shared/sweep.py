"""Turns what loops keep no longer, and what deleted loops have left, into nothing: once an hour, a minute at a time.

A loop that has fallen silent is swept when a day of its log may have come to its end, and left alone by other sweeps:
twenty idle loops would cost more than the timers themselves.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from shared.clock import StorageClock
from shared.counters import Counters
from shared.guard import Guarded
from shared.learning import thinning
from shared.log import activity, answers, retention
from shared.log import checkpoint as checkpoints
from shared.log.hours import Hours
from shared.log.series import Series
from shared.loops import policy
from shared.loops.loops import Loops
from shared.loops.settings import Loop
from shared.storage import Blobs, Tables

_SWEEP = 3600.0
"""Seconds from one sweep of the deployment to the next."""
_LASTS = 60.0
"""Seconds after which a timer run begins no other loop of a sweep; what is left is swept a minute later."""
_GONE = 60.0
"""Seconds after which what a deleted loop stored is deleted: by then hardly any instance serves it."""
_GONE_FOR_SURE = 900.0
"""Seconds after which nobody writes for a deleted loop any more: a timer's run may take ten minutes (host.json)."""
_SILENT = 2 * retention.DAY
"""Seconds without anything joined after which a loop is silent: its hours are written, and no single one expires."""
_EVERY_LOOP = 2 * _SWEEP
"""Seconds from the beginning of a day in which silent loops are swept as well: there is a sweep in them."""


class Sweep:
    """The sweep of one deployment.

    Args:
        tables, blobs: its storage.
        counters: gets log.expired, loops.swept, sweep.failed, series.failed, hours.failed, thin.failed,
            optimize.failed.
        clock: the storage's time.
        loops: its loops.
        hours: writes closed hours.
        optimize: begins an auto-optimization of a loop where one is due, given the time.
        mirror: copies what was joined of a loop.
    """

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        counters: Counters,
        clock: StorageClock,
        loops: Loops,
        hours: Hours,
        optimize: Callable[[Loop, float], Awaitable[None]],
        mirror: Callable[[Loop], Awaitable[None]],
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._counters = counters
        self._clock = clock
        self._loops = loops
        self._hours = hours
        self._series = Series(blobs, counters)
        self._optimize = optimize
        self._mirror = mirror
        self._guarded = Guarded(counters).run
        self._erased: set[str] = set()
        self._swept = ""

    async def run(self, due: float, deleted: Mapping[str, float]) -> None:
        """Delete what deleted loops have stored and, once an hour, what the others keep no longer.

        Args:
            due: when the next sweep is, in seconds since the epoch.
            deleted: loops that are gone, by when they went.
        """
        if not deleted and due > self._clock.now():
            return
        now = await self._clock.read()  # by the storage's own word: a clock that runs ahead would delete too much
        for loop_id, gone in deleted.items():
            if now - gone > (_GONE_FOR_SURE if loop_id in self._erased else _GONE):
                await self._guarded("sweep", f"loop {loop_id}", self._erase(loop_id, now - gone))
        if due > now:
            return
        await activity.put_off_sweep(self._tables, now + _SWEEP)  # first, so that one that is cut off had its turn
        noted = await activity.noted(self._tables)
        ends = time.monotonic() + _LASTS
        # Behind the loop at which the run before stopped, so that none waits for ever.
        ids = sorted((await self._loops.ids()).values(), key=lambda loop_id: (loop_id <= self._swept, loop_id))
        for n, loop_id in enumerate(ids):
            if n and time.monotonic() > ends:
                return await activity.put_off_sweep(self._tables, now + _LASTS)
            self._swept = loop_id
            await self._guarded("sweep", f"loop {loop_id}", self._expire(loop_id, noted.get(loop_id, []), now, ends))
        self._swept = ""

    async def _expire(self, loop_id: str, pending: Sequence[activity.Span], now: float, ends: float) -> None:
        loop = await self._loops.by_id(loop_id)
        await self._loops.settle(loop)
        if now % retention.DAY >= _EVERY_LOOP and not pending:
            held, _ = await checkpoints.load(self._blobs, loop_id)
            if now - held.watermark > _SILENT:
                return await self._mirror(loop)
        folding = answers.fold(self._tables, self._blobs, self._series, loop_id, now)
        await self._guarded("series", f"loop {loop_id}", folding)
        days = loop.configuration.log_retention_days
        expired = await retention.expire(self._tables, self._blobs, loop_id, days, bool(pending), now)
        self._counters.add("log.expired", expired)
        await self._guarded("hours", f"loop {loop_id}", self._hours.run(loop.rules(), now, pending, ends))
        thinned = thinning.thin(self._blobs, self._counters, loop_id, policy.resumes, now)
        await self._guarded("thin", f"loop {loop_id}", thinned)
        await self._guarded("optimize", f"loop {loop_id}", self._optimize(loop, now))
        await self._mirror(loop)

    async def _erase(self, loop_id: str, gone_for: float) -> None:
        """Delete what a deleted loop has stored; twice, since an instance that was late may write in between."""
        found = await retention.erase(self._tables, self._blobs, loop_id)
        self._erased.add(loop_id)
        if not found and gone_for > _GONE_FOR_SURE:
            await self._loops.forget(loop_id)
            self._erased.discard(loop_id)
            self._counters.add("loops.swept")
