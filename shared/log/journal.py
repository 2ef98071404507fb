"""Appends lines to the journal: what waits in this process becomes one row, at most two rows a stream in flight.

While two rows are on their way, the next one fills; besides, a row may linger for company (measured: docs/adr/0002).
A line belongs to the bucket it arrived in. A row is tried again under the same key until its bucket closes, and never
moved to a later one: so a row stands exactly once, and what misses its bucket is counted and known not to be in it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass, field

from shared.clock import WORST, StorageClock
from shared.counters import Counters
from shared.log import activity
from shared.log.activity import Span
from shared.log.buckets import Waits, bucket_of, day_of
from shared.log.line import Line
from shared.log.records import MARK_BYTES
from shared.log.rows import CAPACITY, CHUNK, RowKey, compress, overflow_path, pack, partition_key, shard_of, table_name
from shared.storage import Blobs, Conflict, Row, StorageError, Tables

log = logging.getLogger("rankloop.journal")

IN_FLIGHT = 2
WRITES = 64
"""Rows of all streams that are written at a time: each takes a connection, and who is busy must wait its turn."""
MAX_BYTES = 96 * 1024 * 1024
"""What may wait for storage, over all streams."""
REMEMBERED = 20_000
"""Spans that are known to be noted; as many loops can be busy before one is noted again and again."""
MAX_LINES = CHUNK // MARK_BYTES
MAX_ROW_BYTES = 4 * 1024 * 1024
"""Lines of a row before compression; keeps one row's compression below about 10 ms."""


class Full(StorageError):
    """The buffer of lines that wait for storage is full."""


@dataclass(slots=True)
class _Stream:
    """One loop's rank events or observations, while there are any.

    Attributes:
        waiting: lines that no row has taken yet.
        bytes: what those take, and those on their way.
        filling: whether a row waits to take them.
        rows: how many there are, the filling one included.
        in_flight: lets two rows be written at a time.
    """

    name: str
    loop_id: str
    waits: Waits
    waiting: deque[Line] = field(default_factory=deque)
    bytes: int = 0
    filling: bool = False
    rows: int = 0
    in_flight: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row, and what is to be stored before it: its frame where that is too large for it, and the note of its span."""

    key: RowKey
    frame: bytes
    row: Row
    span: Span


class Journal:
    """The journal of one process; one loop's lines never share a row or a table with another's.

    Args:
        tables, blobs: where rows go, and frames too large for one.
        clock: the storage's time.
        counters: gets journal.rows, journal.lines, journal.retries, journal.lost, journal.full.
        shards: over how many partitions the writers of a loop spread.
        linger: seconds that a row waits for company before it is written.
        max_bytes: how much may wait over all streams. A stream may hold as much as is left free, so that none takes
            what the others need.
    """

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        clock: StorageClock,
        counters: Counters,
        shards: int = 4,
        linger: float = 0.0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._clock = clock
        self._counters = counters
        self._linger = linger
        self._max_bytes = max_bytes
        self._bytes = 0
        self._writes = asyncio.Semaphore(WRITES)
        self._writer = uuid.uuid4().hex
        self._shard = shard_of(self._writer, shards)
        self._sequence = 0
        self._stamped = 0.0
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._noted: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        """The time a line arriving now is stamped with: the storage's, in whole microseconds.

        It is never before that of the line before, though a better sample sets the clock back by a little: who calls
        twice reads the log in the order of the calls. A clock that was more than `WORST` ahead is followed at once.
        """
        time = round(self._clock.now(), 6)
        if 0 < self._stamped - time <= WORST:
            time = round(self._stamped + 1e-6, 6)
        self._stamped = time
        return time

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
        held = self._streams.get((stream, loop_id)) or _Stream(stream, loop_id, waits)
        held.waits = waits
        line = Line(text, bucket_of(time), mark, asyncio.get_running_loop().create_future())
        if held.bytes + line.cost > self._max_bytes - self._bytes:
            self._counters.add("journal.full")
            raise Full(f"{self._bytes} bytes wait for storage, {held.bytes} of them {stream} lines of the loop")
        self._streams[stream, loop_id] = held
        held.waiting.append(line)
        held.bytes += line.cost
        self._bytes += line.cost
        self._fill(held, self._linger)
        return line

    @property
    def waiting(self) -> int:
        """Bytes that wait for storage, over all loops."""
        return self._bytes

    async def drain(self) -> None:
        """Wait until every line is durable or has missed its bucket."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _fill(self, stream: _Stream, linger: float) -> None:
        """Have a row take what waits, unless one is about to."""
        if stream.waiting and not stream.filling:
            stream.filling = True
            stream.rows += 1
            task = asyncio.ensure_future(self._row(stream, linger))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _row(self, stream: _Stream, linger: float) -> None:
        batch: list[Line] = []
        durable = False
        try:
            await asyncio.sleep(linger)  # at least once round the event loop, for callers that are ready
            async with stream.in_flight:
                durable = await self._write(stream, batch)
        except Exception:  # whatever it is, it must not hold up the lines behind these
            self._counters.add("journal.lost", len(batch))
            log.exception("%d %s lines could not be written", len(batch), stream.name)
        finally:
            for line in batch:
                self._settle(stream, line, durable)
            stream.rows -= 1
            if not stream.rows:
                del self._streams[stream.name, stream.loop_id]

    def _settle(self, stream: _Stream, line: Line, durable: bool) -> None:
        stream.bytes -= line.cost
        self._bytes -= line.cost
        line.done.set_result(durable)

    def _take(self, stream: _Stream, batch: list[Line]) -> None:
        """Move the next row's lines into a batch: one bucket's, as many as fit."""
        size = 0
        while stream.waiting and len(batch) < MAX_LINES:
            line = stream.waiting[0]
            if batch and (line.bucket != batch[0].bucket or size + len(line.text) > MAX_ROW_BYTES):
                break
            stream.waiting.popleft()
            if line.abandoned:
                self._settle(stream, line, False)
                continue
            batch.append(line)
            size += len(line.text)
        stream.filling = False
        self._fill(stream, 0.0)  # what is left has waited already

    async def _write(self, stream: _Stream, batch: list[Line]) -> bool:
        """Write one row of what waits, put into the batch; whether it stood before its bucket closed."""
        row: _Row | None = None
        pause = 0.05
        while True:
            try:
                # First come, first served, and no stream asks for more than two: so all have their turn.
                async with self._writes:
                    if row is None:
                        self._take(stream, batch)
                        if not batch:
                            return False
                        row = self._pack(stream, batch)
                    began = time.monotonic()
                    started, written = await self._put(row)
                    self._counters.measure("journal.write", time.monotonic() - began)
            except StorageError as e:
                bucket = batch[0].bucket
                self._counters.add("journal.retries")
                if self._clock.now() + pause >= stream.waits.closes(bucket):
                    log.error("%d %s lines missed bucket %d and are not in the log: %s",
                              len(batch), stream.name, bucket, e)  # fmt: skip
                    break
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
                pause = min(2 * pause, 2.0)
                continue
            self._clock.sample(started, written)
            closes = stream.waits.closes(batch[0].bucket)  # read again: the settings may have changed meanwhile
            if written < closes:
                self._counters.add("journal.rows")
                self._counters.add("journal.lines", len(batch))
                self._counters.measure("journal.batch", len(batch))
                return True
            log.error("%d %s lines stood %.1f s too late for bucket %d and are not in the log",
                      len(batch), stream.name, written - closes, batch[0].bucket)  # fmt: skip
            break
        self._counters.add("journal.lost", len(batch))
        return False

    def _pack(self, stream: _Stream, batch: list[Line]) -> _Row:
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
        return _Row(key, frame, row, activity.span_of(stream.loop_id, self._shard, bucket, stream.waits))

    async def _put(self, row: _Row) -> tuple[float, float]:
        """Store a row; when it was sent by the local clock, and when it was written by the storage's."""
        started = self._clock.local()
        if len(row.frame) > CAPACITY:
            await self._put_overflow(row.key, row.frame)
        if row.span.row_key not in self._noted:
            await activity.note_rows(self._tables, row.span)
            self._remember(row.span.row_key)
            started = self._clock.local()
        return started, await self._tables.put(row.key.table, row.row)

    async def _put_overflow(self, key: RowKey, frame: bytes) -> None:
        try:
            await self._blobs.put(overflow_path(key), frame)
        except Conflict:
            return  # an earlier try took effect: the name is this row's alone

    def _remember(self, row_key: str) -> None:
        if len(self._noted) >= REMEMBERED:
            del self._noted[next(iter(self._noted))]
        self._noted[row_key] = None
