"""Turns hours of traffic into minutes of work: an event loop whose clock jumps to what is due, and storage that counts.

Storage answers after a fixed time of that clock, and counts what Azure would bill: a write, a read, a page of a query.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from shared.storage import Blob, Row
from shared.storage.memory import MemoryBlobs

EPOCH = 1_700_000_000.0
PAGE_ROWS = 1000
PAGE_BYTES = 4 * 2**20
"""What a page of a query's answer holds at most."""


class _Jumping(selectors.DefaultSelector):
    """Waits for no timer: moves the clock to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a clock that jumps; the process's clocks are that clock from now on, and threads are none."""
    jumping = _Jumping()
    loop = asyncio.SelectorEventLoop(jumping)
    loop.time = lambda: jumping.now  # type: ignore[method-assign]
    time.monotonic = lambda: jumping.now
    time.time = lambda: EPOCH + jumping.now

    async def inline(work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    setattr(asyncio, "to_thread", inline)  # noqa: B010 - its type is that of any function
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


class CountedTables:
    """`Tables` in sorted lists; `requests` counts by what for."""

    def __init__(self, latency: float, requests: Counter[str]) -> None:
        self._latency = latency
        self._requests = requests
        self._keys: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._rows: defaultdict[str, dict[tuple[str, str], Row]] = defaultdict(dict)

    async def _bill(self, what: str, table: str) -> None:
        self._requests[f"{what} {table.rstrip('0123456789abcdef') or table}"] += 1
        await asyncio.sleep(self._latency)

    async def put(self, table: str, row: Row) -> float:
        """See `Tables.put`."""
        written = time.time()
        await self._bill("write", table)
        key = (str(row["PartitionKey"]), str(row["RowKey"]))
        if key not in self._rows[table]:
            insort(self._keys[table], key)
        self._rows[table][key] = dict(row)
        return written

    async def replace(self, table: str, row: Row, etag: str) -> None:
        """See `Tables.replace`; nobody else writes here."""
        await self.put(table, row)

    async def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        """See `Tables.query`."""
        await self._bill("read", table)
        keys = self._keys[table]
        rows, size = 0, 0
        for key in keys[bisect_left(keys, (partitions[0], "")) : bisect_left(keys, (partitions[1], ""))]:
            row = {k: v for k, v in self._rows[table][key].items() if select is None or k in select}
            rows, size = rows + 1, size + sum(len(v) if isinstance(v, bytes) else 8 for v in row.values()) * 4 // 3
            if rows > PAGE_ROWS or size > PAGE_BYTES:
                rows, size = 1, 0
                await self._bill("read", table)
            yield row, ""

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        """See `Tables.delete`."""
        await self._bill("delete", table)
        if self._rows[table].pop((partition, row), None) is not None:
            self._keys[table].remove((partition, row))

    async def names(self, prefix: str) -> list[str]:
        """See `Tables.names`."""
        await self._bill("list", "tables")
        return sorted(name for name in self._rows if name.startswith(prefix))

    async def drop(self, table: str) -> None:
        """See `Tables.drop`."""
        await self._bill("drop", table)
        self._rows.pop(table, None)
        self._keys.pop(table, None)


class CountedBlobs(MemoryBlobs):
    """`Blobs` that count by the file's name."""

    def __init__(self, latency: float, requests: Counter[str]) -> None:
        super().__init__()
        self._latency = latency
        self._requests = requests

    async def _bill(self, what: str, path: str) -> None:
        name = path.rpartition("/")[2]
        self._requests[f"{what} {name.partition('.')[2] if name[:1].isdigit() else name}"] += 1
        await asyncio.sleep(self._latency)

    async def get(self, path: str) -> Blob | None:
        """See `Blobs.get`."""
        await self._bill("read", path)
        return await super().get(path)

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        """See `Blobs.get_changed`."""
        await self._bill("look at", path)
        return await super().get_changed(path, etag)

    async def get_range(self, path: str, start: int, length: int) -> Blob | None:
        """See `Blobs.get_range`."""
        await self._bill("read", path)
        return await super().get_range(path, start, length)

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """See `Blobs.put`."""
        await self._bill("write", path)
        return await super().put(path, data, etag, metadata)

    async def names(self, prefix: str) -> list[str]:
        """See `Blobs.names`."""
        found = await super().names(prefix)
        for _ in range(math.ceil(len(found) / 5000) or 1):
            await self._bill("list", "blobs")
        return found

    async def sizes(self, prefix: str) -> dict[str, int]:
        """See `Blobs.sizes`."""
        await self._bill("list", "blobs")
        return await super().sizes(prefix)

    async def folders(self, prefix: str) -> list[str]:
        """See `Blobs.folders`."""
        await self._bill("list", "blobs")
        return await super().folders(prefix)

    async def delete(self, path: str) -> None:
        """See `Blobs.delete`."""
        await self._bill("delete", path)
        await super().delete(path)
