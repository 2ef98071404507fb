"""Turns a loop's journal tables into the rows of a stretch of buckets, and keeps those that are read again soon.

Windows follow each other, and each looks at the observations of a whole wait: what the next one looks at again is kept
in memory, as compressed as it was stored. Buckets that are closed never change, so a process reads each row about once;
one that has just begun reads on its own what it has not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass, field

from shared.log import rows
from shared.log.buckets import BUCKET, days
from shared.storage import Row, Tables

BUDGET = 64 * 1024 * 1024
"""Bytes of rows that are kept, about, over all loops."""
_ROW_COST = 1000
"""Bytes that a row takes besides its lines: its objects' headers, measured."""


@dataclass(slots=True)
class _Kept:
    """The rows of one shard in the buckets [start, end)."""

    start: int
    end: int
    rows: dict[int, list[Row]] = field(default_factory=dict)
    size: int = 0


class Reader:
    """The journals of one storage account.

    Args:
        tables: hold them.
        budget: bytes of rows to keep.
    """

    def __init__(self, tables: Tables, budget: int = BUDGET) -> None:
        self._tables = tables
        self._budget = budget
        self._kept: OrderedDict[str, tuple[Hashable, dict[int, _Kept]]] = OrderedDict()
        self._size = 0

    async def read(
        self,
        loop_id: str,
        stream: str,
        start: int,
        end: int,
        shards: Sequence[int],
        select: Sequence[str] | None = None,
    ) -> AsyncIterator[Row]:
        """The rows of buckets [start, end) of a stream: one range query a shard and day, each by bucket and writer.

        Args:
            loop_id: the loop.
            stream: "rank" or "obs".
            start: the first bucket.
            end: the one after the last.
            shards: every shard that may hold rows there.
            select: the columns wanted, or all.
        """
        for shard in shards:
            for day, first, last in days(start, end):
                between = (rows.partition_key(shard, first), rows.partition_key(shard, last))
                async for row, _ in self._tables.query(rows.table_name(stream, loop_id, day), between, select):
                    yield row

    async def observations(
        self, loop_id: str, start: int, end: int, shards: Sequence[int], state: Hashable
    ) -> AsyncIterator[Row]:
        """The rows of observations in closed buckets [start, end), from memory as far as they are kept there.

        Args:
            loop_id: the loop.
            start: the first bucket.
            end: the one after the last.
            shards: every shard that may hold rows there.
            state: in which the journal is; what was read in another one is forgotten, since rows may be other ones.
        """
        held = self._of_loop(loop_id, state)
        for shard in shards:
            kept = held.get(shard)
            if kept is None or not kept.start <= start <= kept.end:
                self._size -= kept.size if kept else 0
                kept = held[shard] = _Kept(start, start)
            known = [row for bucket in sorted(kept.rows) if start <= bucket < end for row in kept.rows[bucket]]
            fresh = self.read(loop_id, "obs", kept.end, end, [shard])
            for row in known:
                yield row
            keeps = True
            bucket_rows: list[Row] = []
            async for row in fresh:
                if bucket_rows and rows.bucket_of(row) != rows.bucket_of(bucket_rows[0]):
                    keeps = keeps and self._keep(loop_id, kept, bucket_rows)
                    bucket_rows = []
                bucket_rows.append(row)
                yield row
            if keeps and self._keep(loop_id, kept, bucket_rows):
                kept.end = max(kept.end, end)

    def forget(self, loop_id: str, before: int) -> None:
        """Forget a loop's rows before a bucket: nobody looks at them again."""
        for kept in self._kept.get(loop_id, (None, {}))[1].values():
            kept.start = max(kept.start, before)
            kept.end = max(kept.end, before)
            for bucket in [bucket for bucket in kept.rows if bucket < before]:
                self._drop(kept, kept.rows.pop(bucket))

    def _of_loop(self, loop_id: str, state: Hashable) -> dict[int, _Kept]:
        if loop_id in self._kept and self._kept[loop_id][0] != state:
            self._release(loop_id)
        if loop_id not in self._kept:
            self._kept[loop_id] = (state, {})
        self._kept.move_to_end(loop_id)
        return self._kept[loop_id][1]

    def _keep(self, loop_id: str, kept: _Kept, found: list[Row]) -> bool:
        """Keep the rows of the next bucket that has any; False where there is no room for them."""
        if loop_id not in self._kept or all(kept is not other for other in self._kept[loop_id][1].values()):
            return False  # forgotten meanwhile
        if not found or (bucket := rows.bucket_of(found[0])) < kept.end:
            return True
        size = sum(map(_size, found))
        while self._size + size > self._budget and next(iter(self._kept)) != loop_id:
            self._release(next(iter(self._kept)))
        if self._size + size > self._budget:
            return False
        kept.rows[bucket], kept.end = found, bucket + BUCKET
        kept.size += size
        self._size += size
        return True

    def _release(self, loop_id: str) -> None:
        self._size -= sum(kept.size for kept in self._kept.pop(loop_id)[1].values())

    def _drop(self, kept: _Kept, gone: list[Row]) -> None:
        size = sum(map(_size, gone))
        kept.size -= size
        self._size -= size


def _size(row: Row) -> int:
    return _ROW_COST + sum(len(value) for value in row.values() if isinstance(value, bytes))
