"""Turns the sums of joined windows into a blob a day, each window exactly once (docs/adr/0036).

What a window adds moves with the join's checkpoint, by the same compare-and-swap: so it is counted once, whoever joins
it. When an hour of minutes has gathered there it is frozen, put into the blobs of its days, and dropped by the next
window that is passed. A day's blob says through which window it has everything; a part that ends there or before is not
added again. So a run may be killed anywhere, and rivals may fold the same part.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from shared.counters import Counters
from shared.log.buckets import day_of
from shared.log.day import DAY, LATE, UNKNOWN, ActionDay, Damaged, MinuteDay
from shared.log.joined import Window
from shared.log.minutes import Part, added, days_of
from shared.storage import Blob, Blobs, Conflict

log = logging.getLogger("rankloop.series")

MOST_MINUTES, MOST_ACTIONS = 60, 1000
"""What the checkpoint holds before it is put into blobs: minutes, and actions' hours."""
KEPT = 400 * DAY
"""Seconds for which sums are kept: a year can be compared with the one before."""
_AT_ONCE = 16
_NAME = re.compile(r"/(\d{8})\.[a-z]+$")


class Ahead(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is joined and perhaps in no blob yet.

    Attributes:
        frozen: what is to be put into the blobs: nothing is added to it any more.
        tail: what came behind it, in no blob for sure.
    """

    frozen: Part | None = None
    tail: Part | None = None

    @property
    def parts(self) -> list[Part]:
        """Both, the earlier one first."""
        return [part for part in (self.frozen, self.tail) if part is not None]


Day = TypeVar("Day", MinuteDay, ActionDay)


def passed(ahead: Ahead | None, window: Part) -> Ahead | None:
    """What is ahead of the blobs once another window is passed, and what was frozen is in them."""
    tail = ahead.tail if ahead is not None else None
    if window.minutes:
        tail = added(tail, window)
    if tail is None:
        return None
    full = len(tail.minutes) >= MOST_MINUTES or sum(map(len, tail.actions.values())) >= MOST_ACTIONS
    return Ahead(frozen=tail) if full else Ahead(tail=tail)


def path(loop_id: str, start: int, kind: type[MinuteDay | ActionDay]) -> str:
    """The blob of the day that begins so."""
    return f"{_folder(loop_id)}{day_of(start)}.{'minutes' if kind is MinuteDay else 'actions'}"


class Series:
    """The sums of all loops.

    Args:
        blobs: hold them.
        counters: gets series.folds, series.damaged.
    """

    def __init__(self, blobs: Blobs, counters: Counters) -> None:
        self._blobs = blobs
        self._counters = counters

    async def fold(self, loop_id: str, ahead: Ahead | None, cleared: int) -> None:
        """Put what is frozen into the blobs of its days, unless it is there.

        Args:
            loop_id: the loop.
            ahead: of its checkpoint.
            cleared: the time before which everything was deleted.

        Raises:
            StorageError: storage does not answer, or holds a day of a later release.
        """
        part = ahead.frozen if ahead is not None else None
        if part is None:
            return

        def fold(day: MinuteDay | ActionDay) -> bool:
            if day.through >= part.end:
                return False
            day.less(cleared)
            day.add(part)
            day.through = part.end
            return True

        for start in days_of(part):
            await self._change(MinuteDay, loop_id, start, fold)
            await self._change(ActionDay, loop_id, start, fold)
        self._counters.add("series.folds")

    async def change(self, loop_id: str, start: int, change: Callable[[MinuteDay], bool]) -> None:
        """Change the minutes of a day, whatever others do to them meanwhile.

        Args:
            loop_id: the loop.
            start: of the day.
            change: changes it and says whether it did; called again when somebody else was quicker.
        """
        await self._change(MinuteDay, loop_id, start, change)

    async def count_rewards(self, loop_id: str, span: Window, late: int, unknown: int) -> None:
        """Count the rewards of a part of an hour that came late, or of no known event, unless they are counted."""

        def add(day: MinuteDay) -> bool:
            if day.hours >= span.end:
                return False
            day.count(LATE, span.start, late)
            day.count(UNKNOWN, span.start, unknown)
            day.hours = span.end
            return True

        if late or unknown:
            await self.change(loop_id, span.start // DAY * DAY, add)

    async def read(self, kind: type[Day], loop_id: str, starts: Sequence[int]) -> list[Day]:
        """The days that begin so, as far as they are in blobs: one read each."""
        found: list[Blob | None] = []
        for n in range(0, len(starts), _AT_ONCE):
            reads = [self._blobs.get(path(loop_id, start, kind)) for start in starts[n : n + _AT_ONCE]]
            found += await asyncio.gather(*reads)
        return await asyncio.to_thread(lambda: [self._day(kind, *day) for day in zip(starts, found, strict=True)])

    async def _change(self, kind: type[Day], loop_id: str, start: int, change: Callable[[Day], bool]) -> None:
        where = path(loop_id, start, kind)
        while True:
            blob = await self._blobs.get(where)
            day = self._day(kind, start, blob)
            if not change(day):
                return
            try:
                await self._blobs.put(where, day.encode(), blob.etag if blob else None)
                return
            except Conflict:
                continue  # somebody else was quicker: change what they have left

    def _day(self, kind: type[Day], start: int, blob: Blob | None) -> Day:
        try:
            return kind.decode(start, blob.data) if blob else kind(start)
        except Damaged as e:
            self._counters.add("series.damaged")
            log.error("a day of the series is damaged, and begins anew: %s", e)
            return kind(start)


def completed(day: Day, ahead: Ahead | None, cleared: int) -> Day:
    """A day with what is ahead of it, less what was deleted.

    Args:
        day: read after the checkpoint.
        ahead: of the checkpoint.
        cleared: likewise.
    """
    day.less(cleared)
    for part in ahead.parts if ahead is not None else ():
        if part.end > day.through:
            day.add(part)
    return day


async def expire(blobs: Blobs, loop_id: str, before: float) -> int:
    """Delete the days that end before a time; returns how many blobs there were."""
    old = [name for name in await blobs.names(_folder(loop_id)) if _ends(name) <= before]
    for name in old:
        await blobs.delete(name)
    return len(old)


async def clear(blobs: Blobs, loop_id: str) -> None:
    """Delete all days. A run that was late may write one again: readers pass over what is in it."""
    for name in await blobs.names(_folder(loop_id)):
        await blobs.delete(name)


def _folder(loop_id: str) -> str:
    return f"loops/{loop_id}/series/"


def _ends(name: str) -> float:
    match = _NAME.search(name)
    return datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).timestamp() + DAY if match else float("inf")
