"""Turns the windows of a part of an hour into its Parquet files and the table of its events.

Files lie by table and hour, `loops/<id>/parquet/<table>/year=/month=/day=/hour=/<from>-<to>.parquet`, or
`<from>-<to>.<generation>.parquet` after an erasure: so a folder is a partitioned table as others read it. A name tells
what it holds, and what was written first stands.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from shared.log import index, joined, late, merged, parquet, schema
from shared.log.buckets import EARLY, Waits
from shared.log.erasure import Erased
from shared.log.index import Table
from shared.log.joined import Window
from shared.log.late import Fates
from shared.log.records import decode_observed, digest_of, readable
from shared.storage import Blobs, Conflict

HOUR = 3600
EVENTS, OBSERVATIONS = TABLES = ("events", "observations")
MAX_BYTES = 32 * 1024 * 1024
"""Of the windows of a part, compressed. Its Parquet, the rows of its index and its observations are held in memory, and
one window's lines."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is written at once: a part of an hour, and of each kind the windows in it."""

    span: Window
    windows: dict[str, list[Window]]


def folder(loop_id: str, table: str) -> str:
    """The folder of a loop's Parquet files of a table, one of `TABLES`."""
    return f"loops/{loop_id}/parquet/{table}/"


def file_path(loop_id: str, table: str, span: Window) -> str:
    """The Parquet file of a part."""
    generation = f".{span.generation}" if span.generation else ""
    hour = joined.hour_path(span.start)
    return f"{folder(loop_id, table)}{hour}{span.start:010d}-{span.end:010d}{generation}.parquet"


async def following(blobs: Blobs, loop_id: str, start: int, end: int, generation: int) -> Part | None:
    """The first part in [start, end) that holds anything."""
    if start >= end:
        return None
    async for hour in joined.hours(blobs, loop_id, start, end):
        first, last = max(start, hour), min(end, hour + HOUR)
        sizes = await joined.sizes(blobs, loop_id, first, last)
        total: dict[int, int] = defaultdict(int)  # bytes by when their windows begin
        for kind in (joined.DSJSON, joined.OBSERVATIONS):
            for window, size in sizes[kind].items():
                total[window.start] += size
        if total:
            held = accumulate(total[window] for window in sorted(total))
            fitting = [start for start, size in zip(sorted(total), held, strict=True) if size <= MAX_BYTES]
            last = min([start for start in sorted(total)[1:] if start not in fitting], default=last)
            kept = {kind: [window for window in found if window.start < last] for kind, found in sizes.items()}
            return Part(Window(first, last, generation), kept)
    return None


async def write(
    blobs: Blobs, loop_id: str, part: Part, waits: Waits, erased: Erased, since: int
) -> tuple[list[int], int]:
    """Write what there is of a part, unless it stands already.

    Returns:
        How many rewards came to each fate, by `late.FATES`, and how many lines could not be decoded.

    Raises:
        Replaced: an erasure passes meanwhile.
    """
    own = await merged.gather(blobs, loop_id, part.windows, erased)
    await merged.write(blobs, loop_id, part.span, own)
    observed, rewards, unread = await _observations(blobs, loop_id, part, own, waits, erased, since)
    rows, damaged = await _events(blobs, loop_id, part, erased)
    for table, data in ((OBSERVATIONS, observed), (EVENTS, rows)):
        if data:
            with suppress(Conflict):  # an earlier try took effect
                await blobs.put(file_path(loop_id, table, part.span), data)
    return rewards, unread + damaged


async def _events(blobs: Blobs, loop_id: str, part: Part, erased: Erased) -> tuple[bytes, int]:
    """The events' file of a part, and how many lines could not be decoded."""
    sink, damaged = parquet.Sink(schema.events()), 0
    for window in part.windows[joined.DSJSON]:
        lines = await joined.read(blobs, loop_id, window, erased)
        rows = await asyncio.to_thread(parquet.events, lines)
        await asyncio.to_thread(sink.add, rows)
        damaged += len(lines) - rows.num_rows
    return await asyncio.to_thread(sink.finish), damaged


async def _observations(
    blobs: Blobs, loop_id: str, part: Part, own: Table, waits: Waits, erased: Erased, since: int
) -> tuple[bytes, list[int], int]:
    """The observations' file of a part, its rewards by fate, and how many lines could not be decoded."""
    tables, damaged = [], 0
    digests, times, rewards = [np.empty(0, np.uint64)], [np.empty(0)], [np.empty(0, bool)]
    for window in part.windows[joined.OBSERVATIONS]:
        lines = erased.observation_lines(await joined.read_whole(blobs, loop_id, window, joined.OBSERVATIONS))
        found = list(readable(decode_observed, lines))
        damaged += len(lines) - len(found)
        rows, origin = await asyncio.to_thread(parquet.observations, found)
        tables.append(rows)
        digests.append(np.array([int.from_bytes(digest_of(o.e)) for o in found], np.uint64)[origin])
        times.append(np.array([o.t for o in found], float)[origin])
        rewards.append(np.array([o.k == "r" for o in found], bool)[origin])
    wanted = (np.concatenate(digests), np.concatenate(times))
    fates = await _fates(blobs, loop_id, part.span, own, *wanted, waits, erased, since)
    sink, first = parquet.Sink(schema.observations()), 0
    for rows in tables:
        last = first + rows.num_rows
        await asyncio.to_thread(sink.add, parquet.with_fates(rows, fates.part(first, last)))
        first = last
    counted = np.bincount(fates.code[np.concatenate(rewards)], minlength=len(late.FATES))
    return await asyncio.to_thread(sink.finish), [int(n) for n in counted], damaged


async def _fates(
    blobs: Blobs,
    loop_id: str,
    span: Window,
    own: Table,
    digests: NDArray[np.uint64],
    times: NDArray[np.float64],
    waits: Waits,
    erased: Erased,
    since: int,
) -> Fates:
    """What became of the observations that arrived in a part; the newest tables first, until each has its event.

    Of an event that is erased nothing is told, whether or not the erasure has come to its table yet.
    """
    ranked = np.full(len(times), np.nan)
    coming = await joined.sizes(blobs, loop_id, span.end, span.end + EARLY)
    near = await asyncio.to_thread(index.merge, [own, await merged.gather(blobs, loop_id, coming, erased)])
    ranked[:] = await asyncio.to_thread(late.newest, near, digests, times, since)
    horizon = span.start - max(wait for _, wait in waits.steps) - late.HORIZON
    held = await merged.stored(blobs, loop_id) if np.isnan(ranked).any() else {}
    for other in reversed(merged.counting(held)):
        missing = np.isnan(ranked)
        if missing.any() and other.start < span.start and other.end > horizon:
            path = merged.path(loop_id, other)
            table = await index.select(blobs, path, held[other], np.unique(digests[missing]))
            table = await asyncio.to_thread(index.left, table, erased)
            ranked[missing] = late.newest(table, digests[missing], times[missing], since)
    return late.fates(times, ranked, waits)


async def files(blobs: Blobs, loop_id: str, start: int, end: int) -> list[tuple[str, Window]]:
    """What stands of the parts in a span of an hour: its Parquet files and tables, of every generation."""
    names = list(await blobs.names(merged.folder(loop_id)))
    for table in TABLES:
        names += await blobs.names(folder(loop_id, table) + joined.hour_path(start))
    found = [(name, parsed[0]) for name in names if (parsed := joined.parse(name))]
    return [(name, span) for name, span in found if start <= span.start and span.end <= end]


async def delete_older(blobs: Blobs, loop_id: str, start: int, end: int, generation: int) -> None:
    """Delete what stands of the parts in a span of an hour that is older than a generation."""
    for name, span in await files(blobs, loop_id, start, end):
        if span.generation < generation:
            await blobs.delete(name)
