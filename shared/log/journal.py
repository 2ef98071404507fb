"""Appends lines to the journal: what waits in this process becomes one row, at most two rows a stream in flight.

There is no lingering: while two rows are on their way, the next one fills (measured: docs/adr/0002). A line belongs to
the bucket it arrived in. A row is tried again under the same key until its bucket closes, and never moved to a later
one: so a row stands exactly once, and what misses its bucket is counted and known not to be in the log.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import deque
from dataclasses import dataclass, field

from shared.clock import StorageClock
from shared.counters import Counters
from shared.log import activity
from shared.log.buckets import Waits, bucket_of, day_of
from shared.log.records import MARK_BYTES
from shared.log.rows import CAPACITY, CHUNK, RowKey, compress, overflow_path, pack, partition_key, shard_of, table_name
from shared.storage import Blobs, Conflict, StorageError, Tables

log = logging.getLogger("rankloop.journal")

IN_FLIGHT = 2
MAX_LINES = CHUNK // MARK_BYTES
MAX_ROW_BYTES = 4 * 1024 * 1024
"""Lines of a row before compression; keeps one row's compression below about 10 ms."""
_LINE_COST = 300
"""Bytes a waiting line holds besides its text: its objects' headers, measured."""


class Full(StorageError):
    """The buffer of lines that wait for storage is full."""


@dataclass(slots=True, eq=False)
class Line:
    """A line on its way.

    Attributes:
        text: the journal line.
        bucket: the bucket it belongs to.
        mark: its mark, or nothing.
        done: resolves to True when the line is durable, to False when it missed its bucket or was given up.
        abandoned: nobody wants it any more; it need not be written if it is not on its way yet.
    """

    text: bytes
    bucket: int
    mark: bytes
    done: asyncio.Future[bool]
    abandoned: bool = False

    @property
    def cost(self) -> int:
        """Bytes it takes in the buffer."""
        return len(self.text) + _LINE_COST

    @property
    def lost(self) -> bool:
        """Whether it is known that the line is not in the log and will not be."""
        return self.done.done() and not self.done.result()

    async def durable(self, deadline: float) -> bool:
        """Whether the line is durable within so many seconds. It stays on its way if not."""
        if self.done.done():
            return self.done.result()
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def settle(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        timer = loop.call_later(deadline, settle)
        self.done.add_done_callback(settle)
        try:
            await waiter
        finally:
            timer.cancel()
            self.done.remove_done_callback(settle)
        return self.done.done() and self.done.result()


@dataclass(slots=True)
class _Stream:
    """One loop's rank events or observations: what waits, and how many rows are on their way."""

    name: str
    loop_id: str
    waits: Waits
    waiting: deque[Line] = field(default_factory=deque)
    bytes: int = 0
    writing: int = 0


class Journal:
    """The journal of one process; one loop's lines never share a row, a table or a buffer with another's.

    Args:
        tables, blobs: where rows go, and frames too large for one.
        clock: the storage's time.
        counters: gets journal.rows, journal.lines, journal.retries, journal.lost.
        shards: over how many partitions the writers of a loop spread.
        max_bytes: how much may wait for each stream of a loop.
    """

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        clock: StorageClock,
        counters: Counters,
        shards: int = 4,
        max_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._clock = clock
        self._counters = counters
        self._max_bytes = max_bytes
        self._writer = uuid.uuid4().hex
        self._shard = shard_of(self._writer, shards)
        self._sequence = 0
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._noted: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        """The time a line arriving now is stamped with: the storage's, in whole microseconds."""
        return round(self._clock.now(), 6)

    def append(self, stream: str, loop_id: str, waits: Waits, text: bytes, time: float, mark: bytes = b"") -> Line:
        """Put a line on its way.

        Args:
            stream: "rank" or "obs".
            loop_id: 32 hex digits.
            waits: the loop's reward waits, which say when a bucket closes.
            text: the line, without a newline.
            time: when it arrived, from `now`.
            mark: see `records.mark`.

        Returns:
            The line; await `durable` to know that it is safe.

        Raises:
            Full: too much waits already.
        """
        held = self._streams.get((stream, loop_id))
        if held is None:
            held = self._streams[stream, loop_id] = _Stream(stream, loop_id, waits)
        held.waits = waits
        line = Line(text, bucket_of(time), mark, asyncio.get_running_loop().create_future())
        if held.bytes + line.cost > self._max_bytes:
            self._counters.add("journal.full")
            raise Full(f"{held.bytes} bytes wait for storage")
        held.waiting.append(line)
        held.bytes += line.cost
        if held.writing < IN_FLIGHT:
            held.writing += 1
            task = asyncio.ensure_future(self._drain(held))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return line

    @property
    def waiting(self) -> int:
        """Bytes that wait for storage, over all loops."""
        return sum(stream.bytes for stream in self._streams.values())

    async def drain(self) -> None:
        """Wait until every line is durable or has missed its bucket."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self, stream: _Stream) -> None:
        try:
            await asyncio.sleep(0)  # lets every caller that is ready join the row
            while stream.waiting:
                batch = _take(stream)
                if not batch:
                    continue
                durable = False
                try:
                    durable = await self._write(stream, batch)
                except Exception:  # whatever it is, it must not hold up the lines behind these
                    self._counters.add("journal.lost", len(batch))
                    log.exception("%d %s lines could not be written", len(batch), stream.name)
                finally:
                    stream.bytes -= sum(line.cost for line in batch)
                    for line in batch:
                        line.done.set_result(durable)
        finally:
            stream.writing -= 1

    async def _write(self, stream: _Stream, batch: list[Line]) -> bool:
        """Write one row; whether it stood before its bucket closed."""
        bucket = batch[0].bucket
        self._sequence += 1
        key = RowKey(
            table_name(stream.name, stream.loop_id, day_of(bucket)),
            partition_key(self._shard, bucket),
            f"{self._writer}_{self._sequence:010d}",
        )
        frame = compress([line.text for line in batch])
        size = sum(len(line.text) for line in batch)
        row = pack(key, frame, len(batch), size, b"".join([line.mark for line in batch]))
        span = activity.span_of(stream.loop_id, self._shard, bucket, stream.waits)
        pause = 0.05
        while True:
            try:
                started = self._clock.local()
                if len(frame) > CAPACITY:
                    await self._put_overflow(key, frame)
                if span.row_key not in self._noted:
                    await activity.note_rows(self._tables, span)
                    self._remember(span.row_key)
                    started = self._clock.local()
                written = await self._tables.put(key.table, row)
            except StorageError as e:
                self._counters.add("journal.retries")
                if self._clock.now() + pause >= stream.waits.closes(bucket):
                    log.error("%d %s lines missed bucket %d and are not in the log: %s",
                              len(batch), stream.name, bucket, e)  # fmt: skip
                    break
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
                pause = min(2 * pause, 2.0)
                continue
            self._clock.sample(started, written)
            closes = stream.waits.closes(bucket)  # read again: the settings may have changed meanwhile
            if written < closes:
                self._counters.add("journal.rows")
                self._counters.add("journal.lines", len(batch))
                return True
            log.error("%d %s lines stood %.1f s too late for bucket %d and are not in the log",
                      len(batch), stream.name, written - closes, bucket)  # fmt: skip
            break
        self._counters.add("journal.lost", len(batch))
        return False

    async def _put_overflow(self, key: RowKey, frame: bytes) -> None:
        try:
            await self._blobs.put(overflow_path(key), frame)
        except Conflict:
            return  # an earlier try took effect: the name is this row's alone

    def _remember(self, row_key: str) -> None:
        if len(self._noted) > 1000:
            self._noted.clear()
        self._noted.add(row_key)


def _take(stream: _Stream) -> list[Line]:
    """The next row's lines: one bucket's, as many as fit."""
    batch: list[Line] = []
    size = 0
    while stream.waiting and len(batch) < MAX_LINES:
        line = stream.waiting[0]
        if batch and (line.bucket != batch[0].bucket or size + len(line.text) > MAX_ROW_BYTES):
            break
        stream.waiting.popleft()
        if line.abandoned:
            stream.bytes -= line.cost
            line.done.set_result(False)
            continue
        batch.append(line)
        size += len(line.text)
    return batch
