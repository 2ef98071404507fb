"""Turns calls for rows into calls of Azure Table storage."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from azure.core import MatchConditions
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared.storage import Conflict, Row
from shared.storage.azure import options
from shared.storage.azure.calls import Calls
from shared.storage.azure.errors import translated

_ETAG_TIME = re.compile(r"datetime'([^']+)'")


class AzureTables:
    """`Tables` on Azure Table storage."""

    def __init__(self, service: TableServiceClient, calls: Calls) -> None:
        self._service = service
        self._calls = calls
        self._clients: dict[str, TableClient] = {}

    def _client(self, table: str) -> TableClient:
        if table not in self._clients:
            if len(self._clients) > 200:  # day tables of the past
                self._clients.clear()
            self._clients[table] = self._service.get_table_client(table)
        return self._clients[table]

    async def put(self, table: str, row: Row) -> float:
        """See `Tables.put`."""

        async def upsert() -> Mapping[str, Any]:
            try:
                return await self._client(table).upsert_entity(row, mode=UpdateMode.REPLACE)
            except ResourceNotFoundError:
                await self._service.create_table_if_not_exists(table)
                return await self._client(table).upsert_entity(row, mode=UpdateMode.REPLACE)

        with translated():
            return _server_time(await self._calls.answer(upsert, options.ROW))

    async def replace(self, table: str, row: Row, etag: str) -> None:
        """See `Tables.replace`."""

        async def update() -> None:
            await self._client(table).update_entity(
                row, mode=UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )

        with translated():
            try:
                await self._calls.answer(update, options.ROW)
            except ResourceNotFoundError as e:
                raise Conflict(f"{table}: the row is gone") from e

    async def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        """See `Tables.query`."""
        rows = self._client(table).query_entities(
            "PartitionKey ge @low and PartitionKey lt @high",
            parameters={"low": partitions[0], "high": partitions[1]},
            select=None if select is None else list(select),
        )
        pages = rows.by_page()  # after an error it gives the same page again
        with translated():
            try:
                while (page := await self._calls.answer(lambda: anext(pages, None), options.LIST)) is not None:
                    async for entity in page:
                        yield dict(entity), str(entity.metadata["etag"])
            except ResourceNotFoundError:
                return  # no such table: nothing was ever written

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        """See `Tables.delete`."""
        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with translated(), suppress(ResourceNotFoundError):
            await self._calls.answer(
                lambda: self._client(table).delete_entity(partition, row, **condition), options.ROW
            )

    async def names(self, prefix: str) -> list[str]:
        """See `Tables.names`."""

        async def listed() -> list[str]:
            found = self._service.query_tables(
                "TableName ge @low and TableName lt @high", parameters={"low": prefix, "high": prefix + "~"}
            )
            return [table.name async for table in found]

        with translated():
            return await self._calls.answer(listed, options.LIST)

    async def drop(self, table: str) -> None:
        """See `Tables.drop`."""
        with translated():
            await self._calls.answer(lambda: self._service.delete_table(table), options.ROW)


def _server_time(answer: Mapping[str, Any]) -> float:
    """The storage's clock as an answer tells it: a table's ETag holds it to 0.1 us, `Date` to the second."""
    match = _ETAG_TIME.search(unquote(str(answer.get("etag", ""))))
    if match:
        return datetime.fromisoformat(match[1][:26].rstrip("Z") + "+00:00").timestamp()
    date = answer["date"]
    return (date if isinstance(date, datetime) else parsedate_to_datetime(str(date))).timestamp()
