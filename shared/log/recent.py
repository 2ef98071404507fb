"""Turns the end of a loop's log into the latest events, rewards and activations, by a bounded number of reads.

What is pending stands in the journal, whose keys alone are read first, from its end backwards and farther each time;
then the rows of the last buckets that are enough. Where nothing or too little is pending, the last windows of the
joined log have the rest, whether their rows still stand or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from shared.log import activity, erasure, joined, rows
from shared.log import checkpoint as checkpoints
from shared.log import entry as entries
from shared.log.buckets import BUCKET, bucket_of
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased
from shared.log.history import Ranking
from shared.log.joined import DSJSON, OBSERVATIONS
from shared.log.reader import Reader
from shared.log.records import Observed, decode_observed, decode_ranked, readable
from shared.storage import Blobs, Row, Tables

STEPS = (15, 60, 600, 3600, 86_400)
"""Seconds from the end of the journal that are looked at, one after the other, until enough is found."""
MOST_BYTES = 16 * 1024 * 1024
"""Of lines that are read, about; of a bucket that holds more, some are told that are not the very last."""
WINDOWS = 10
"""Of the joined log that are read at most, the last ones: with thin traffic each of them holds little."""
_KEYS = ("PartitionKey", "RowKey", "n", "s")
_STREAMS = ("rank", "obs")
_HOUR = 3600


Latest = Ranking | Observed
"""An event, or a reward or activation."""
_Place = tuple[str, str, str]
"""Of a row: stream, partition and row key."""


def time_of(one: Latest) -> float:
    """When it was, in seconds since the epoch."""
    return one.t if isinstance(one, Observed) else one.time


async def latest(tables: Tables, blobs: Blobs, loop_id: str, most: int, now: float) -> list[Latest]:
    """The latest of a loop's log, the newest first.

    Args:
        tables: hold the journal.
        blobs: hold the joined log, and what the journal's rows could not.
        loop_id: the loop.
        most: how many.
        now: the storage's time.
    """
    checkpoint, _ = await checkpoints.load(blobs, loop_id)
    erased = await erasure.load(blobs, checkpoint.erasures)
    spans = (await activity.noted(tables)).get(loop_id, [])
    found: list[Latest] = []
    if spans:
        start = max(checkpoint.watermark, min(span.start for span in spans))
        end = min(bucket_of(now) + 2 * BUCKET, max(span.end for span in spans))
        found = await _pending(tables, blobs, loop_id, sorted({span.shard for span in spans}), start, end, most, erased)
    if len(found) < most:
        found += await _joined(blobs, loop_id, checkpoint, most, erased)
    return sorted(found, key=time_of, reverse=True)[:most]


async def _pending(
    tables: Tables,
    blobs: Blobs,
    loop_id: str,
    shards: Sequence[int],
    start: int,
    end: int,
    most: int,
    erased: Erased,
) -> list[Latest]:
    """The latest of the journal in [start, end)."""
    reader, looked, keys, lines = Reader(tables), end, list[tuple[str, Row]](), 0
    for step in STEPS:
        first = max(start, end - step)
        for stream in _STREAMS:
            async for row in reader.read(loop_id, stream, first, looked, shards, _KEYS):
                keys.append((stream, row))
                lines += int(row["n"])
        looked = first
        if lines >= most or first == start:
            break
    wanted, oldest = _last_of(keys, most)
    found: list[Latest] = []
    for stream in _STREAMS if wanted else ():
        async for row in reader.read(loop_id, stream, oldest, end, shards):
            if _place(stream, row) in wanted:
                told = await rows.lines(row, blobs)
                found += await asyncio.to_thread(_ranked if stream == "rank" else _observed, told, erased)
    return found


def _last_of(keys: Iterable[tuple[str, Row]], most: int) -> tuple[set[_Place], int]:
    """The rows of the last buckets that hold so many lines, or all rows; and the first of those buckets."""
    wanted, oldest, lines, size = set[_Place](), 0, 0, 0
    for stream, row in sorted(keys, key=lambda key: (rows.bucket_of(key[1]), str(key[1]["RowKey"])), reverse=True):
        enough = lines >= most and rows.bucket_of(row) < oldest
        if enough or size >= MOST_BYTES:
            break
        wanted.add(_place(stream, row))
        oldest, lines, size = rows.bucket_of(row), lines + int(row["n"]), size + int(row["s"])
    return wanted, oldest


def _place(stream: str, row: Row) -> _Place:
    return stream, str(row["PartitionKey"]), str(row["RowKey"])


async def _joined(blobs: Blobs, loop_id: str, checkpoint: Checkpoint, most: int, erased: Erased) -> list[Latest]:
    """The latest of the last windows with events or observations, of the hour that was joined last."""
    end = checkpoint.watermark
    start = max(checkpoint.since, end - _HOUR)
    held = await joined.sizes(blobs, loop_id, start, end) if start < end else {}
    events, observations = held.get(DSJSON, {}), held.get(OBSERVATIONS, {})
    found: list[Latest] = []
    for window in sorted({*events, *observations}, reverse=True)[:WINDOWS]:
        if window in events:
            lines = erased.joined((await joined.read_whole(blobs, loop_id, window, DSJSON))[-most:], window.start)
            found += [Ranking(entry, entry.time, window, line) for line in lines for entry in [entries.of_line(line)]]
        if window in observations:
            lines = await joined.read_whole(blobs, loop_id, window, OBSERVATIONS)
            found += _observed(lines, erased)[-most:]
        if len(found) >= most:
            break
    return found


def _ranked(lines: Iterable[bytes], erased: Erased) -> list[Latest]:
    events = erased.events(list(readable(decode_ranked, lines)))
    return [Ranking(entries.of_ranked(event), event.t) for event in events]


def _observed(lines: Iterable[bytes], erased: Erased) -> list[Latest]:
    return [*sorted(erased.observations(readable(decode_observed, lines)), key=lambda o: o.t)]
