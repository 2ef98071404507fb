"""Turns answered calls into counts by loop and minute, closed minutes into rows, and rows into the blobs of their days.

Each process writes what it has answered of a loop in a minute as one row of the table `calls<id><yyyymmdd>`, when the
minute is over. It does its best: what storage does not take for a quarter of an hour is given up. After that the minute
is closed for ever, and whoever folds it into its day's blob finds the same (docs/adr/0036).
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import NamedTuple

from shared.counters import Counters
from shared.log import checkpoint as checkpoints
from shared.log import rows
from shared.log.buckets import day_of, days
from shared.log.day import DAY, MinuteDay
from shared.log.minutes import MINUTE
from shared.log.series import Series
from shared.storage import Blobs, Row, StorageError, Tables

log = logging.getLogger("rankloop.answers")

STREAM = "calls"
KINDS = ("rank", "reward", "activate")
OK, REFUSED, LIMITED, FAILED = OUTCOMES = ("ok", "refused", "limited", "failed")
FORMAT = 1
"""Of the rows."""
GIVE_UP = 900
"""Seconds after a minute's beginning at which its row is tried for the last time."""
_OPEN = GIVE_UP + 300
"""Seconds after it at which the last try has surely ended."""
_SPREAD = 5.0
"""Seconds over which processes spread, that would all write when a minute ends."""


def outcome_of(status: int) -> str:
    """What an HTTP status comes to, of `OUTCOMES`."""
    if status in (429, 503):
        return LIMITED
    return OK if status < 400 else REFUSED if status < 500 else FAILED


class _Closed(NamedTuple):
    """A minute that is over: its row, where that goes, and how many calls it counts."""

    minute: int
    table: str
    row: Row
    calls: int


class Answers:
    """What this process has answered.

    Args:
        tables: get the rows.
        now: the storage's time.
        counters: gets calls.rows, calls.lost.
    """

    def __init__(self, tables: Tables, now: Callable[[], float], counters: Counters) -> None:
        self._tables = tables
        self._now = now
        self._counters = counters
        self._writer = uuid.uuid4().hex
        self._sequence = 0
        self._counts: dict[tuple[str, int], Counter[str]] = {}
        self._rows: deque[_Closed] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._drained = False

    def count(self, loop_id: str, kind: str, status: int) -> None:
        """Count an answer of a loop that there is.

        Args:
            loop_id: the loop.
            kind: of `KINDS`.
            status: of HTTP.
        """
        place = (loop_id, int(self._now()) // MINUTE * MINUTE)
        counts = self._counts.get(place)
        if counts is None:
            counts = self._counts[place] = Counter()
            self._wait()
        counts[f"{kind}_{outcome_of(status)}"] += 1

    async def drain(self) -> None:
        """Write what is counted, the minute that is not over included: nothing is counted after it."""
        self._drained = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await self._writing
        self._close(float("inf"))
        await self._write()

    def _wait(self) -> None:
        """Write when this minute is over, unless somebody is about to."""
        if self._timer is None and self._writing is None and not self._drained:
            left = MINUTE - self._now() % MINUTE + _SPREAD * random.random()  # noqa: S311 - spreads, is no secret
            self._timer = asyncio.get_running_loop().call_later(left, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._close(self._now())
        self._writing = asyncio.ensure_future(self._write())
        self._writing.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self._writing = None
        if self._counts or self._rows:
            self._wait()

    def _close(self, now: float) -> None:
        """Make the rows of the minutes that are over, each under a key of its own: so a try repeats itself alone."""
        for loop_id, minute in sorted(place for place in self._counts if place[1] + MINUTE <= now):
            self._sequence += 1
            counts, key = self._counts.pop((loop_id, minute)), f"{self._writer}_{self._sequence:010d}"
            row: Row = {"PartitionKey": _partition(minute), "RowKey": key, "format": FORMAT, **counts}
            table = rows.table_name(STREAM, loop_id, day_of(minute))
            self._rows.append(_Closed(minute, table, row, counts.total()))

    async def _write(self) -> None:
        while self._rows:
            closed = self._rows[0]
            if closed.minute + GIVE_UP <= self._now():
                self._counters.add("calls.lost", closed.calls)
            else:
                try:
                    await self._tables.put(closed.table, closed.row)
                except StorageError as e:
                    log.warning("what was answered is written down later: %s", e)
                    return
                self._counters.add("calls.rows")
            self._rows.popleft()


async def counted(tables: Tables, loop_id: str, start: int, end: int) -> AsyncIterator[tuple[int, dict[str, int]]]:
    """What was answered in the minutes of [start, end): each row's minute, and how many by kind and outcome."""
    for day, first, last in days(start, end):
        table = rows.table_name(STREAM, loop_id, day)
        async for row, _ in tables.query(table, (_partition(first), _partition(last))):
            counts = {f"{kind}.{outcome}": row.get(f"{kind}_{outcome}", 0) for kind in KINDS for outcome in OUTCOMES}
            yield int(str(row["PartitionKey"])), {name: int(n) for name, n in counts.items() if n}


async def fold(tables: Tables, blobs: Blobs, series: Series, loop_id: str, now: float) -> int:
    """Put the closed minutes of a loop's calls into the blobs of their days; returns how many rows there were.

    Where there is nothing, it costs one look at which tables there are.
    """
    folded, named = 0, rows.table_name(STREAM, loop_id, "")
    closed = int(now - _OPEN) // MINUTE * MINUTE
    for table in await tables.names(named):
        start = int(datetime.strptime(table[len(named) :], "%Y%m%d").replace(tzinfo=UTC).timestamp())
        cleared = (await checkpoints.load(blobs, loop_id))[0].cleared
        folded += await _fold_day(tables, series, loop_id, start, min(start + DAY, closed), cleared)
    return folded


async def _fold_day(tables: Tables, series: Series, loop_id: str, start: int, end: int, cleared: int) -> int:
    (held,) = await series.read(MinuteDay, loop_id, [start])
    found = [one async for one in counted(tables, loop_id, max(start, held.calls, cleared), end)]

    def add(day: MinuteDay) -> bool:
        if day.calls != held.calls:  # somebody else has
            return False
        for minute, counts in found:
            for name, n in counts.items():
                day.count(name, minute, n)
        day.calls = end
        return True

    if found:
        await series.change(loop_id, start, add)
    return len(found)


def _partition(minute: int) -> str:
    return f"{minute:010d}"
