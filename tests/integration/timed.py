"""Turns the tables of an Azurite into ones whose clock is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from shared.storage import Row, Tables


class Timed(Protocol):
    """What has a time: seconds since the epoch."""

    @property
    def now(self) -> float: ...


class TimedTables:
    """Tables that tell a world's time of each write in place of their own."""

    def __init__(self, world: Timed, tables: Tables) -> None:
        self._world = world
        self._tables = tables

    async def put(self, table: str, row: Row) -> float:
        await self._tables.put(table, row)
        return self._world.now

    async def replace(self, table: str, row: Row, etag: str) -> None:
        await self._tables.replace(table, row, etag)

    def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        return self._tables.query(table, partitions, select)

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        await self._tables.delete(table, partition, row, etag)

    async def names(self, prefix: str) -> list[str]:
        return await self._tables.names(prefix)

    async def drop(self, table: str) -> None:
        await self._tables.drop(table)
