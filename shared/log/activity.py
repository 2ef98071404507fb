"""Notes which spans of time hold journal rows, so that a timer learns from one read what there is to do.

A writer notes a span before it acknowledges the span's first row; the join takes the note away when it has passed
the span. The train timer is told in the same way that a loop's joined log has grown, that erasures of it are in force,
and when to sweep. Notes are only ever added twice or taken away late, which costs a look and nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.log.buckets import BUCKET, LONG, Waits, grace, least_window, slice_length
from shared.storage import Conflict, Row, Tables

TABLE = "activity"
_JOIN = "join"
_TRAIN = "train"
_SWEEP = "sweep"
_ERASE = "sweep-erasures"
"""Between the others of the train timer, so that it reads all of them at once."""
_DAYS = 2 * 86_400.0
"""Seconds of wait above which a note stands for a day: all notes of a wait are read at once."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of buckets of one loop and shard that holds rows.

    Attributes:
        start, end: the first bucket, and the one after the last.
        shard: the shard with rows.
        loop_id: the loop.
        due: when the join can do something about it: take the first bucket or, where the wait is long and the
            span's observations are not routed yet, route them. By the storage's clock.
    """

    start: int
    end: int
    shard: int
    loop_id: str
    due: float

    @property
    def row_key(self) -> str:
        """The note's row key."""
        return f"{self.start:010d}_{self.end - self.start:04d}_{self.shard:02d}_{self.loop_id}"


def span_of(loop_id: str, shard: int, bucket: int, waits: Waits) -> Span:
    """The span a bucket's rows are noted under: a minute, an hour where the loop waits for hours, or a day for days."""
    wait = waits.at(bucket)
    length = 60 if wait < 3600 else 3600 if wait <= _DAYS else 86_400
    start = bucket // length * length
    due = start + slice_length(wait) + BUCKET + grace(wait) if wait > LONG else joins(start, wait)
    return Span(start, start + length, shard, loop_id, due)


def joins(start: int, wait: float) -> float:
    """When the join can take a bucket with a wait, by the storage's clock."""
    return start + BUCKET + wait + BUCKET + grace(wait)


def overdue(spans: Iterable[Span], waits: Waits, watermark: int, now: float) -> float:
    """For how long the oldest events are waiting that the join could have taken, in seconds.

    Args:
        spans: of one loop, as noted.
        waits: its reward waits.
        watermark: every bucket before it is joined.
        now: by the storage's clock.
    """
    ahead = [max(watermark, span.start) for span in spans if span.end > watermark]
    if not ahead:
        return 0.0
    # It takes so much at once, and so waits for as much: that is no delay.
    wait = waits.at(first := min(ahead))
    return max(0.0, now - joins(first, wait) - least_window(wait))


async def note_rows(tables: Tables, span: Span) -> None:
    """Note that the span holds rows, or is about to."""
    await tables.put(TABLE, {"PartitionKey": _JOIN, "RowKey": span.row_key, "due": float(span.due)})


async def routed(tables: Tables, span: Span, wait: float) -> Span:
    """Note that a span's observations are routed, and nothing is to be done about it until its wait has passed."""
    later = replace(span, due=max(span.due, joins(span.start, wait)))
    if later != span:
        await note_rows(tables, later)
    return later


async def noted(tables: Tables) -> dict[str, list[Span]]:
    """The noted spans by loop, in order of time: one read."""
    found: dict[str, list[Span]] = defaultdict(list)
    async for row, _ in tables.query(TABLE, (_JOIN, _JOIN + "~")):
        start, length, shard, loop_id = str(row["RowKey"]).split("_")
        span = Span(int(start), int(start) + int(length), int(shard), loop_id, float(row["due"]))
        found[loop_id].append(span)
    return found


async def forget(tables: Tables, span: Span) -> None:
    """Take a note away: the join has passed the span."""
    await tables.delete(TABLE, _JOIN, span.row_key)


async def note_joined(tables: Tables, loop_id: str) -> None:
    """Note that the joined log of a loop has grown.

    The join says so after its checkpoint has moved, and again before it forgets the span, so that neither a crash
    nor a train run between the two loses the news.
    """
    await tables.put(TABLE, {"PartitionKey": _TRAIN, "RowKey": loop_id, "after": 0.0})


async def note_erasure(tables: Tables, loop_id: str, after: float = 0.0) -> None:
    """Note that erasures of a loop are in force, and that there is something to do for them from a time on."""
    await tables.put(TABLE, {"PartitionKey": _ERASE, "RowKey": loop_id, "after": after})


@dataclass(frozen=True, slots=True)
class Note:
    """A loop for which the train timer has something to do: not before `after`; `etag` is the state of the note."""

    loop_id: str
    after: float
    etag: str


@dataclass(frozen=True, slots=True)
class Notes:
    """What the train timer has to do.

    Attributes:
        untrained: loops whose joined log has grown.
        erasing: loops with erasures in force.
        sweep: when the next sweep is due, None before the first.
    """

    untrained: list[Note]
    erasing: list[Note]
    sweep: float | None


async def for_train_timer(tables: Tables) -> Notes:
    """What the train timer has to do: one read."""
    notes: dict[str, list[Note]] = {_TRAIN: [], _ERASE: [], _SWEEP: []}
    async for row, etag in tables.query(TABLE, (_SWEEP, _TRAIN + "~")):
        notes[str(row["PartitionKey"])].append(Note(str(row["RowKey"]), float(row["after"]), etag))
    return Notes(notes[_TRAIN], notes[_ERASE], notes[_SWEEP][0].after if notes[_SWEEP] else None)


async def untrained(tables: Tables) -> list[Note]:
    """The loops whose joined log has grown."""
    return (await for_train_timer(tables)).untrained


async def put_off_sweep(tables: Tables, until: float) -> None:
    """Sweep the deployment at `until`, and not before."""
    await tables.put(TABLE, {"PartitionKey": _SWEEP, "RowKey": _SWEEP, "after": until})


async def put_off(tables: Tables, note: Note, until: float) -> None:
    """Look again at `until`, which is soon: a note that the join has made meanwhile is overwritten."""
    row: Row = {"PartitionKey": _TRAIN, "RowKey": note.loop_id, "after": until}
    await tables.put(TABLE, row)


async def trained(tables: Tables, note: Note) -> None:
    """Take the note away, unless the joined log has grown again."""
    try:
        await tables.delete(TABLE, _TRAIN, note.loop_id, note.etag)
    except Conflict:
        return


async def erased(tables: Tables, note: Note, again: float | None) -> None:
    """Look again at a time, which is soon; or take the note away, unless another erasure was asked for."""
    if again is not None:
        await note_erasure(tables, note.loop_id, again)
        return
    with suppress(Conflict):
        await tables.delete(TABLE, _ERASE, note.loop_id, note.etag)


async def forget_loop(tables: Tables, loop_id: str) -> int:
    """Take away every note of a loop that is gone; returns how many there were."""
    spans = (await noted(tables)).get(loop_id, [])
    for span in spans:
        await forget(tables, span)
    found = await for_train_timer(tables)
    held = [(_TRAIN, found.untrained), (_ERASE, found.erasing)]
    partitions = [partition for partition, notes in held if loop_id in {note.loop_id for note in notes}]
    for partition in partitions:
        await tables.delete(TABLE, partition, loop_id)
    return len(spans) + len(partitions)
