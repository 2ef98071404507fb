"""Keeps tables, blobs and messages in this process: for unit tests, and for users' own tests."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

from shared.storage import MAX_MESSAGE, Blob, Conflict, Row


class MemoryTables:
    """`Tables` in a dictionary; `now` stands for the storage's clock."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._tables: dict[str, dict[tuple[str, str], tuple[Row, str]]] = {}
        self._etags = (f'"{n}"' for n in itertools.count(1))

    async def put(self, table: str, row: Row) -> float:
        """See `Tables.put`."""
        key = (str(row["PartitionKey"]), str(row["RowKey"]))
        self._tables.setdefault(table, {})[key] = (dict(row), next(self._etags))
        return self._now()

    async def replace(self, table: str, row: Row, etag: str) -> None:
        """See `Tables.replace`."""
        key = (str(row["PartitionKey"]), str(row["RowKey"]))
        if self._tables.get(table, {}).get(key, ({}, None))[1] != etag:
            raise Conflict(f"{table}: the row has changed")
        self._tables[table][key] = (dict(row), next(self._etags))

    async def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        """See `Tables.query`."""
        for (partition, _), (row, etag) in sorted(self._tables.get(table, {}).items(), key=lambda item: item[0]):
            if partitions[0] <= partition < partitions[1]:
                yield {k: v for k, v in row.items() if select is None or k in select}, etag

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        """See `Tables.delete`."""
        rows = self._tables.get(table, {})
        if etag is not None and (partition, row) in rows and rows[partition, row][1] != etag:
            raise Conflict(f"{table}: the row has changed")
        rows.pop((partition, row), None)

    async def names(self, prefix: str) -> list[str]:
        """See `Tables.names`."""
        return sorted(name for name in self._tables if name.startswith(prefix))

    async def drop(self, table: str) -> None:
        """See `Tables.drop`."""
        self._tables.pop(table, None)


class MemoryBlobs:
    """`Blobs` in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[str, Blob] = {}
        self._etags = (f'"{n}"' for n in itertools.count(1))

    async def get(self, path: str) -> Blob | None:
        """See `Blobs.get`."""
        return self._blobs.get(path)

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        """See `Blobs.get_changed`."""
        blob = self._blobs.get(path)
        return None if blob is None or blob.etag == etag else blob

    async def get_range(self, path: str, start: int, length: int) -> Blob | None:
        """See `Blobs.get_range`."""
        if length < 1:
            raise ValueError(f"{path}: a range of {length} bytes")
        blob = self._blobs.get(path)
        return None if blob is None else replace(blob, data=blob.data[start : start + length])

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """See `Blobs.put`."""
        held = self._blobs.get(path)
        if (held.etag if held else None) != etag:
            raise Conflict(f"{path}: the blob has changed, or exists already")
        self._blobs[path] = Blob(bytes(data), next(self._etags), dict(metadata or {}))
        return self._blobs[path].etag

    async def names(self, prefix: str) -> list[str]:
        """See `Blobs.names`."""
        return sorted(path for path in self._blobs if path.startswith(prefix))

    async def sizes(self, prefix: str) -> dict[str, int]:
        """See `Blobs.sizes`."""
        return {path: len(self._blobs[path].data) for path in await self.names(prefix)}

    async def folders(self, prefix: str) -> list[str]:
        """See `Blobs.folders`."""
        below = {path[len(prefix) :].partition("/") for path in self._blobs if path.startswith(prefix)}
        return sorted({f"{prefix}{name}/" for name, slash, _ in below if slash})

    async def delete(self, path: str) -> None:
        """See `Blobs.delete`."""
        self._blobs.pop(path, None)


class Sent(NamedTuple):
    """A message, and for how many seconds nobody was to see it."""

    message: bytes
    delay: float


class MemoryQueues:
    """`Queues` that keep what was sent.

    Attributes:
        sent: by queue, the oldest first.
    """

    def __init__(self) -> None:
        self.sent: defaultdict[str, list[Sent]] = defaultdict(list)

    async def send(self, queue: str, message: bytes, delay: float = 0.0) -> None:
        """See `Queues.send`."""
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(message)} bytes is too long")
        self.sent[queue].append(Sent(bytes(message), delay))


class MemoryContainer:
    """`Container` in a dictionary."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    async def put(self, name: str, data: bytes) -> None:
        """See `Container.put`."""
        self.blobs[name] = data

    async def delete(self, name: str) -> None:
        """See `Container.delete`."""
        self.blobs.pop(name, None)


class MemoryContainers:
    """Every container that a URL can name."""

    def __init__(self) -> None:
        self.by_url: defaultdict[str, MemoryContainer] = defaultdict(MemoryContainer)

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[MemoryContainer]:
        """See `OpenContainer`."""
        yield self.by_url[url]
