"""Turns the windows' indexes into few large tables, and an event's digest into its rows in all of them.

A table stands for each part of an hour, and for each day that is over: `loops/<id>/index/<from>-<to>.index`, or
`<from>-<to>.<generation>.index` after an erasure. So an event is looked up by one short read a day. Tables of a part
are deleted when the day after theirs is merged, so that a reader who has seen them listed still finds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import accumulate, groupby

from shared.log import index, joined
from shared.log.erasure import Erased
from shared.log.index import Replaced, Table
from shared.log.joined import Window
from shared.storage import Blobs, Conflict

DAY = 86_400
MOST = 50_000_000
"""Bytes of a day's table, two million rows, of which merging holds about four times as much. The tables of a day with
more stay as they are: twenty-four short reads in place of one."""
MAX_BARE = 8 * 1024 * 1024
"""Bytes of windows without an index, compressed, whose lines one look reads: about a second of a core."""
_AT_ONCE = 16
_TRIES = 3
"""How often a look-up lists the tables, where erasures replace them meanwhile."""
_LINES = (joined.DSJSON, joined.OBSERVATIONS)


def folder(loop_id: str) -> str:
    """The folder of a loop's tables."""
    return f"loops/{loop_id}/index/"


def path(loop_id: str, span: Window) -> str:
    """The blob of the table of a part or a day."""
    generation = f".{span.generation}" if span.generation else ""
    return f"{folder(loop_id)}{span.start:010d}-{span.end:010d}{generation}.index"


async def stored(blobs: Blobs, loop_id: str) -> dict[Window, int]:
    """All tables with their sizes in bytes, those that count no more as well."""
    found = {joined.parse(name): size for name, size in (await blobs.sizes(folder(loop_id))).items()}
    return {name[0]: size for name, size in found.items() if name is not None}


def counting(spans: Iterable[Window]) -> list[Window]:
    """Those tables that count, in order of time: the largest, and of each the highest generation."""
    found: list[Window] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end, -span.generation)):
        if not found or span.end > found[-1].end:
            found.append(span)
    return found


async def gather(blobs: Blobs, loop_id: str, windows: Mapping[str, Iterable[Window]], erased: Erased) -> Table:
    """The rows of some windows as one table: by their indexes, or where they have none by their lines.

    Args:
        blobs: hold them.
        loop_id: the loop.
        windows: what is stored of them, by kind; see `joined.sizes`.
        erased: what is left out: a window may still hold what an erasure in force has not come to.

    Raises:
        Replaced: an index is gone: an erasure has replaced its window meanwhile.
        StorageError: the lines of a window without an index are gone or damaged.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def read(window: Window) -> Table:
        async with places:
            path = joined.window_path(loop_id, window, joined.INDEX)
            if (blob := await blobs.get(path)) is None:
                raise Replaced(f"{path} is gone")
            return index.decode(blob.data)

    tables = await asyncio.gather(*map(read, windows[joined.INDEX]))
    for window in unindexed(windows):  # one after the other: lines take far more memory than their rows
        tables.append(await _rows(blobs, loop_id, window))
    return await asyncio.to_thread(lambda: index.left(index.merge(tables), erased))


def unindexed(windows: Mapping[str, Iterable[Window]]) -> list[dict[str, Window]]:
    """The windows that the first release wrote, which knew no index: what holds the lines of each by kind, in order."""
    indexed = {(window.start, window.end) for window in windows[joined.INDEX]}
    found: dict[tuple[int, int], dict[str, Window]] = {}
    for kind in _LINES:
        for window in windows[kind]:
            if (window.start, window.end) not in indexed:
                found.setdefault((window.start, window.end), {})[kind] = window
    return [found[span] for span in sorted(found)]


async def _rows(blobs: Blobs, loop_id: str, window: Mapping[str, Window]) -> Table:
    """The rows of a window without an index, by its lines."""
    lines = [await joined.read_whole(blobs, loop_id, window[k], k) if k in window else [] for k in _LINES]
    return await asyncio.to_thread(index.of_lines, *lines)


async def write(blobs: Blobs, loop_id: str, span: Window, table: Table) -> None:
    """Write a table, unless it has no rows or stands already."""
    if len(table):
        with suppress(Conflict):  # an earlier try took effect
            await blobs.put(path(loop_id, span), table.tobytes())


async def days(blobs: Blobs, loop_id: str) -> list[Window]:
    """The tables of days, those that count no more as well."""
    return sorted(span for span in await stored(blobs, loop_id) if _is_day(span))


async def merge_days(blobs: Blobs, loop_id: str, through: int, generation: int, erased: Erased) -> None:
    """Merge the tables of each day that is over, and delete those that were merged a day ago.

    Args:
        blobs: hold them.
        loop_id: the loop.
        through: every part before it has its table.
        generation: of the tables to be written.
        erased: what is in force by the checkpoint of that generation.

    Raises:
        Replaced: an erasure passes meanwhile. Where it does after the windows were read, its confirming pass writes
            the day anew.
    """
    held = await stored(blobs, loop_id)
    count = counting(held)
    for _, group in groupby(count, key=lambda span: span.start // DAY):
        parts = list(group)
        end = parts[0].start // DAY * DAY + DAY
        if len(parts) > 1 and end <= through and sum(held[span] for span in parts) <= MOST:
            await write_day(blobs, loop_id, Window(parts[0].start, end, generation), erased)
    merged = [span for span in count if _is_day(span) and span.end + DAY <= through]
    for span in held:
        if any(day.start <= span.start and span.end <= day.end and span != day for day in merged):
            await blobs.delete(path(loop_id, span))


async def write_day(blobs: Blobs, loop_id: str, span: Window, erased: Erased) -> None:
    """Write the table of a day from its windows; see `write`."""
    windows = await joined.sizes(blobs, loop_id, span.start, span.end)
    await write(blobs, loop_id, span, await gather(blobs, loop_id, windows, erased))


def _is_day(span: Window) -> bool:
    """Whether a table is of a day: it reaches from the day's first part to midnight, and a part lies in one hour."""
    return span.end // DAY * DAY == span.end and span.end - span.start > 3600


async def look_up(blobs: Blobs, loop_id: str, digest: bytes, since: int, watermark: int) -> tuple[Table, int]:
    """The rows of an event in the whole log, in order of time: when it was ranked, and when it was observed.

    Windows that have neither an index nor a table of their hour yet are searched by their lines, the newest first.

    Args:
        blobs: hold the log.
        loop_id: the loop.
        digest: of the event, see `records.digest_of`.
        since: of the join's checkpoint: what lies before it is deleted.
        watermark: of the join's checkpoint: what lies behind it is not joined yet.

    Returns:
        The rows, and how many windows were too much to search; `parts.write` gives them a table.

    Raises:
        Replaced: erasures replace tables faster than they are read.
        StorageError: the lines of a window without an index are gone or damaged.
    """
    for _ in range(_TRIES - 1):
        with suppress(Replaced):
            return await _look_up(blobs, loop_id, digest, since, watermark)
    return await _look_up(blobs, loop_id, digest, since, watermark)


async def _look_up(blobs: Blobs, loop_id: str, digest: bytes, since: int, watermark: int) -> tuple[Table, int]:
    held = await stored(blobs, loop_id)
    tables = [(path(loop_id, span), held[span]) for span in counting(held) if span.end > since]
    reach = max([since, *(span.end for span in held)])
    windows = await joined.sizes(blobs, loop_id, reach, watermark)
    indexes = windows[joined.INDEX].items()
    tables += [(joined.window_path(loop_id, window, joined.INDEX), size) for window, size in indexes]
    places = asyncio.Semaphore(_AT_ONCE)

    async def find(name: str, size: int) -> Table:
        async with places:
            return await index.find(blobs, name, size, digest)

    found = await asyncio.gather(*(find(*table) for table in reversed(tables)))
    bare = unindexed(windows)[::-1]
    read = list(accumulate(sum(windows[kind][window] for kind, window in kinds.items()) for kinds in bare))
    few = sum(size <= MAX_BARE for size in read)
    for kinds in bare[:few]:
        found.append(index.rows_of(await _rows(blobs, loop_id, kinds), digest))
    rows = index.merge(found)
    return rows[rows["time"] >= since], len(bare) - few
