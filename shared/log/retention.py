"""Turns a loop's retention, or the wish to delete its log, into the time before which nothing is kept.

That time is `since` of the join's checkpoint (docs/adr/0016). What lies before it is invisible once the checkpoint has
moved; its blobs are deleted then, and by each later run again, since a join that was late or killed may have written
one meanwhile. So every step is safe to repeat, and to be cut off anywhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec

from shared.log import activity, answers, joined, merged, parts, rows, series, slices
from shared.log import checkpoint as checkpoints
from shared.log.buckets import BUCKET, bucket_of, day_of
from shared.log.checkpoint import Checkpoint
from shared.storage import Blobs, Tables

HOUR, DAY = 3600, 86_400
_OPEN = 600
"""Seconds after which surely no bucket is open any more: the longest grace, and what may lie before an event."""
MOST = 50_000
"""Blobs of the log that one run deletes: a minute's work or so. The next run goes on."""
_AT_ONCE = 16
_WINDOW = re.compile(r"/(\d{10})-\d{10}\.[^/]+$")
_FOLDER = re.compile(r"/year=(\d{4})/month=(\d\d)/day=(\d\d)/$")


async def properties(blobs: Blobs, loop_id: str) -> dict[str, dict[str, str]]:
    """The LogsProperties of the API (contract 1.4): the days of the first and the last joined event, or nothing."""
    since = (await checkpoints.load(blobs, loop_id))[0].since
    first = await _day_with_events(blobs, loop_id, since)
    last = await _day_with_events(blobs, loop_id, since, newest=True)
    if first is None or last is None:  # one alone is None where retention has deleted the last day meanwhile
        return {}
    return {"dateRange": {"from": _midnight(first), "to": _midnight(last)}}


async def clear(blobs: Blobs, loop_id: str, now: float) -> int:
    """Delete a loop's joined log, and see that nothing of what is pending is ever joined.

    Args:
        blobs: hold the log.
        loop_id: the loop.
        now: the storage's time.

    Returns:
        The time from which events count again: the end of the bucket that is open now.
    """
    until = bucket_of(now) + BUCKET

    def move(held: Checkpoint) -> Checkpoint:
        watermark = max(held.watermark, until)
        return msgspec.structs.replace(
            held, watermark=watermark, since=watermark, cleared=watermark, plan=None, slice=None, ahead=None
        )

    since = (await checkpoints.change(blobs, loop_id, move)).since
    await slices.drop(blobs, loop_id, since)
    await _prune(blobs, loop_id, since)
    await series.clear(blobs, loop_id)
    return since


async def expire(tables: Tables, blobs: Blobs, loop_id: str, days: int, pending: bool, now: float) -> int:
    """Delete what a loop keeps no longer: days of its log, and the journal that no join reads any more.

    Args:
        tables: hold the journal.
        blobs: hold the log.
        loop_id: the loop.
        days: how long its log is kept; whole days that are over for longer go, or whole hours where it is a day at
            most (contract 5.8). -1 is for ever.
        pending: whether the loop has journal rows that are not joined, as was noted before this is called.
        now: the storage's time.

    Returns:
        How many blobs of the joined log were deleted.
    """
    step = HOUR if days <= 1 else DAY
    kept_from = 0 if days == -1 else int((now - days * DAY) // step * step)

    def move(held: Checkpoint) -> Checkpoint:
        # Never beyond what is joined: the join counts on windows that `since` does not cut in two.
        return msgspec.structs.replace(held, since=max(held.since, min(kept_from, held.watermark)))

    checkpoint = await checkpoints.change(blobs, loop_id, move)
    if checkpoint.erasures:
        await activity.note_erasure(tables, loop_id)  # in case who asked for one died before it did
    # The join drops them as it goes; this is for a loop that has fallen silent, or whose log was cleared.
    passed = int(checkpoint.watermark if pending else now)
    await drop_journal(tables, blobs, loop_id, day_of(max(0, passed - DAY)))
    # What is noted since then may be of buckets that were still open: a slice that ends in them is not over.
    await slices.drop(blobs, loop_id, max(checkpoint.watermark, passed - _OPEN))
    await series.expire(blobs, loop_id, max(now - series.KEPT, checkpoint.cleared))
    return await _prune(blobs, loop_id, checkpoint.since)


async def drop_journal(tables: Tables, blobs: Blobs, loop_id: str, before: str = "~") -> int:
    """Drop a loop's tables of days before one: calls, and the journal with the blobs of what its rows could not hold.

    Args:
        tables: hold the journal.
        blobs: hold what its rows could not.
        loop_id: the loop.
        before: a day as table names spell it. Azure refuses to make a table of a dropped one's name for a while, so
            today's may go only with the loop.

    Returns:
        How many tables and blobs there were.
    """
    dropped = 0
    for stream in ("rank", "obs", answers.STREAM):
        every, end = rows.table_name(stream, loop_id, ""), rows.table_name(stream, loop_id, before)
        old = [table for table in await tables.names(every) if table < end]
        for table in old:
            await tables.drop(table)
        dropped += len(old)
        if stream != answers.STREAM:
            # Not only those of tables that still stand: an earlier run may have been cut off here.
            overflow = [path for path in await blobs.names(f"journal/{every}") if path < f"journal/{end}"]
            await _delete(blobs, overflow)
            dropped += len(overflow)
    return dropped


async def erase(tables: Tables, blobs: Blobs, loop_id: str) -> int:
    """Delete everything that a loop has stored, once it is no loop any more, but `MOST` of its blobs a run.

    Returns:
        How many notes, tables and blobs were deleted: at 0, nothing is left.
    """
    noted = await activity.forget_loop(tables, loop_id)
    dropped = await drop_journal(tables, blobs, loop_id)
    paths = (await blobs.names(f"loops/{loop_id}/"))[:MOST]
    await _delete(blobs, paths)
    return noted + dropped + len(paths)


async def _prune(blobs: Blobs, loop_id: str, since: int) -> int:
    """Delete the blobs of windows and of hours that begin before a time, the oldest first; returns how many."""
    deleted = 0
    for root in (joined.log_path(loop_id), *(parts.folder(loop_id, table) for table in parts.TABLES)):
        async for day, folder in _days(blobs, root):
            if day >= since or deleted >= MOST:
                break
            old = [path for path in await blobs.names(folder) if _begins(path, day) < since]
            await _delete(blobs, old[: MOST - deleted])
            deleted += len(old[: MOST - deleted])
    tables = [merged.path(loop_id, span) for span in await merged.stored(blobs, loop_id) if span.start < since]
    await _delete(blobs, tables)
    return deleted + len(tables)


async def _day_with_events(blobs: Blobs, loop_id: str, since: int, newest: bool = False) -> int | None:
    """The first or the last day with a joined window that begins at `since` or later."""
    async for day, folder in _days(blobs, joined.log_path(loop_id), newest):
        if day + DAY <= since:
            continue
        if any(".dsjson." in path and _begins(path, day) >= since for path in await blobs.names(folder)):
            return day
    return None


async def _days(blobs: Blobs, root: str, newest: bool = False) -> AsyncIterator[tuple[int, str]]:
    """The days below a folder with theirs, in order or the newest first, listed as far as they are asked for."""
    for year in sorted(await blobs.folders(root), reverse=newest):
        for month in sorted(await blobs.folders(year), reverse=newest):
            for folder in sorted(await blobs.folders(month), reverse=newest):
                if match := _FOLDER.search(folder):
                    day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
                    yield int(day.timestamp()), folder


def _begins(path: str, day: int) -> int:
    """When the window of a day's blob begins; the end of the day, where the name does not tell."""
    match = _WINDOW.search(path)
    return int(match[1]) if match else day + DAY - 1


def _midnight(day: int) -> str:
    return datetime.fromtimestamp(day, UTC).isoformat()


async def _delete(blobs: Blobs, paths: Sequence[str]) -> None:
    for n in range(0, len(paths), _AT_ONCE):
        await asyncio.gather(*(blobs.delete(path) for path in paths[n : n + _AT_ONCE]))
