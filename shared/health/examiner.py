"""Turns what was joined since a loop was last examined into what is known of it, a bounded time at once.

A run that is killed anywhere is repeated by the next one, since the mark moves with the counts in one blob.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable

import msgspec

from shared.counters import Counters
from shared.guard import Guarded
from shared.health import examined, tally
from shared.health.examined import DAY, Examined, Standing, Totals
from shared.health.findings import findings
from shared.learning import pointer as pointers
from shared.log import checkpoint as checkpoints
from shared.log import hours, joined
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased
from shared.storage import Blobs, Conflict

EVERY = 300.0
"""Seconds from one examination of a loop to the next."""
YOUNG, WHILE_YOUNG = 10_000, 20.0
"""Events that a loop has joined before it is examined that seldom, and the seconds until then: whoever has just begun
is told soon what is wrong."""
_SPARING = 4
"""Of any other loop every so manieth line is examined: an event costs about what joining it does."""
_LOOPS = 1000
"""Loops of which it is remembered when they are due."""


class Examiner:
    """The examinations of all loops.

    Args:
        blobs: hold the joined logs, and what was examined of them.
        counters: gets examine.events, examine.rivals.
        guarded: lets one loop fail without the others.
    """

    def __init__(self, blobs: Blobs, counters: Counters, guarded: Guarded | None = None) -> None:
        self._blobs = blobs
        self._counters = counters
        self._guarded = (guarded or Guarded(counters)).run
        self._due: dict[str, float] = {}
        self._last = ""

    async def run_all(self, loop_ids: Iterable[str], now: float, patience: float) -> dict[str, float]:
        """Examine what some loops have joined, as far as the time goes; returns when to look again at which, as `run`.

        Args:
            loop_ids: the loops.
            now: seconds since the epoch.
            patience: seconds after which no other window is begun; a later run goes on.
        """
        again, until = dict.fromkeys(loop_ids, now), time.monotonic() + patience
        # Each run goes on behind the loop at which the one before stopped. What is begun gets on by a window at least,
        # so that none waits for ever.
        for loop_id in sorted(again, key=lambda loop_id: (loop_id <= self._last, loop_id)):
            self._last = loop_id
            left = await self._guarded("examine", f"loop {loop_id}", self.run(loop_id, now, until))
            if left is not None:
                again[loop_id] = left
            if time.monotonic() > until:
                break
        return again

    async def run(self, loop_id: str, now: float, until: float) -> float:
        """Examine what a loop has joined since the last time, unless that was just now.

        Args:
            loop_id: the loop.
            now: seconds since the epoch.
            until: by the monotonic clock, begin no other window after it than the first; a later run goes on.

        Returns:
            When to look again, in seconds since the epoch; never, which is infinity, where all is examined.
        """
        if now < (due := self._due.get(loop_id, 0.0)):
            return due
        held, etag = await examined.load(self._blobs, loop_id)
        checkpoint, _ = await checkpoints.load(self._blobs, loop_id)
        again = _left(held, checkpoint)
        if _due(held) <= now:
            written, _ = await hours.load(self._blobs, loop_id)
            pointer, _ = await pointers.read(self._blobs, loop_id)
            found = await self._examine(loop_id, held.less(checkpoint.since, checkpoint.generation), checkpoint, until)
            if not held.at and found.latest.lines < checkpoint.events:  # what was counted is of more than was examined
                found = msgspec.structs.replace(found, totals=_totals(checkpoint, written))
            trained = pointer.head.trained_through if pointer else 0  # whatever serves: it may be pinned
            found = msgspec.structs.replace(
                found.with_totals(_totals(checkpoint, written)),
                at=now,
                standing=_standing(held.standing, trained, checkpoint, now),
            )
            # That the model stands still is told as `model.late`, and here nobody knows when its next one is due.
            amiss = findings(msgspec.structs.replace(found, standing=None), trained, now, 0.0)
            self._counters.worst("health.findings", sum(one.severity != "info" for one in amiss))
            try:
                await examined.save(self._blobs, loop_id, found, etag)
                held, again = found, _left(found, checkpoint)
            except Conflict:
                self._counters.add("examine.rivals")
                again = now  # whoever has moved it may have examined less, or an erasure has made it void
        if len(self._due) >= _LOOPS:
            self._due.clear()
        self._due[loop_id] = _due(held)
        return again

    async def _examine(self, loop_id: str, held: Examined, checkpoint: Checkpoint, until: float) -> Examined:
        """Go through the windows behind the mark, no farther back than a day."""
        start = max(held.through, checkpoint.watermark - DAY, checkpoint.since)
        erased = Erased(checkpoint.erasures)
        sparing = 1 if held.totals.joined < YOUNG else _SPARING
        for n, window in enumerate(await joined.windows(self._blobs, loop_id, start, checkpoint.watermark)):
            if n and time.monotonic() > until:
                return held
            lines, count = await joined.read_beginning(self._blobs, loop_id, window, tally.MOST_BYTES, erased)
            found = await asyncio.to_thread(tally.of_lines, lines, count, window.start, window.end, sparing)
            held = held.with_window(found)
            self._counters.add("examine.events", found.events)
        return msgspec.structs.replace(held, through=max(held.through, checkpoint.watermark))


def _due(held: Examined) -> float:
    return held.at + (WHILE_YOUNG if held.totals.joined < YOUNG else EVERY)


def _left(held: Examined, checkpoint: Checkpoint) -> float:
    """When to examine the rest of what is joined; never where there is none, whoever has examined it."""
    done = held.generation == checkpoint.generation and held.through >= checkpoint.watermark
    return math.inf if done else _due(held)


def _totals(checkpoint: Checkpoint, written: hours.Progress) -> Totals:
    return Totals(checkpoint.events, checkpoint.retries, checkpoint.rewarded, written.late, written.unknown)


def _standing(before: Standing | None, trained: int, checkpoint: Checkpoint, now: float) -> Standing | None:
    """Since when learning has not moved, though there is more to learn; None while there is nothing."""
    if trained >= checkpoint.watermark or not checkpoint.events:
        return None
    return before if before is not None and before.trained_through == trained else Standing(trained, now)
