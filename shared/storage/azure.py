"""Keeps tables and blobs on an Azure storage account, or on Azurite; the only module that knows the Azure SDKs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.blob.aio import BlobPrefix, BlobServiceClient, ContainerClient

from shared.storage import Blob, Conflict, Row, Unavailable

CONTAINER = "rankloop"
# Short, since callers above retry with knowledge of their own deadlines; idempotent verbs only are retried here.
_RETRY: dict[str, Any] = {"retry_total": 2, "connection_timeout": 1}
_TABLE_OPTIONS = {**_RETRY, "retry_backoff_factor": 0.1, "read_timeout": 2}
# Blobs move in one request each: Azurite mixes states when a blob is replaced during a ranged read.
_SINGLE_TRANSFER = 256 * 1024 * 1024
_BLOB_OPTIONS = {
    **_RETRY,
    "read_timeout": 10,
    # The blob SDK has its own names for the pauses, and waits 15 to 21 s where they are not given.
    "initial_backoff": 0.2,
    "increment_base": 0,
    "random_jitter_range": 0.1,
    "max_single_put_size": _SINGLE_TRANSFER,
    "max_single_get_size": _SINGLE_TRANSFER,
}
# A client's container may lie anywhere: it is given up sooner, and it cannot send us elsewhere.
_CONTAINER_OPTIONS = {**_BLOB_OPTIONS, "retry_total": 1, "connection_timeout": 2, "permit_redirects": False}
_BROKEN_PRECONDITION = ("ConditionNotMet", "BlobAlreadyExists", "UpdateConditionNotSatisfied")
_ETAG_TIME = re.compile(r"datetime'([^']+)'")


class AzureStorage:
    """Both services of one account, opened on first use and closed with `aclose`.

    Args:
        setting: a connection string, or the account's name for access by the app's own identity.
    """

    def __init__(self, setting: str) -> None:
        self._credential: AsyncTokenCredential | None = None
        if "=" in setting:
            tables = TableServiceClient.from_connection_string(setting, **_TABLE_OPTIONS)
            blobs = BlobServiceClient.from_connection_string(setting, **_BLOB_OPTIONS)
        else:
            from azure.identity.aio import DefaultAzureCredential  # 170 ms of a cold start, so only where it is used

            self._credential = credential = DefaultAzureCredential()
            account = f"https://{setting}.{{}}.core.windows.net"
            tables = TableServiceClient(account.format("table"), credential=credential, **_TABLE_OPTIONS)
            blobs = BlobServiceClient(account.format("blob"), credential=credential, **_BLOB_OPTIONS)
        self._services = (tables, blobs)
        self.tables = AzureTables(tables)
        self.blobs = AzureBlobs(blobs)

    async def aclose(self) -> None:
        """Close the connections."""
        for service in self._services:
            await service.close()
        if self._credential is not None:
            await self._credential.close()

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()


class AzureTables:
    """`Tables` on Azure Table storage."""

    def __init__(self, service: TableServiceClient) -> None:
        self._service = service
        self._clients: dict[str, TableClient] = {}

    def _client(self, table: str) -> TableClient:
        if table not in self._clients:
            if len(self._clients) > 200:  # day tables of the past
                self._clients.clear()
            self._clients[table] = self._service.get_table_client(table)
        return self._clients[table]

    async def put(self, table: str, row: Row) -> float:
        """See `Tables.put`.

        An upsert, since the SDK repeats only idempotent verbs when a connection breaks.
        """
        with _translated():
            try:
                answer = await self._client(table).upsert_entity(row, mode=UpdateMode.REPLACE)
            except ResourceNotFoundError:
                await self._service.create_table_if_not_exists(table)
                answer = await self._client(table).upsert_entity(row, mode=UpdateMode.REPLACE)
        return _server_time(answer)

    async def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        """See `Tables.query`."""
        rows = self._client(table).query_entities(
            "PartitionKey ge @low and PartitionKey lt @high",
            parameters={"low": partitions[0], "high": partitions[1]},
            select=None if select is None else list(select),
        )
        with _translated():
            try:
                async for entity in rows:
                    yield dict(entity), str(entity.metadata["etag"])
            except ResourceNotFoundError:
                return  # no such table: nothing was ever written

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        """See `Tables.delete`."""
        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with _translated():
            try:
                await self._client(table).delete_entity(partition, row, **condition)
            except ResourceNotFoundError:
                return

    async def names(self, prefix: str) -> list[str]:
        """See `Tables.names`."""
        query = self._service.query_tables(
            "TableName ge @low and TableName lt @high", parameters={"low": prefix, "high": prefix + "~"}
        )
        with _translated():
            return [table.name async for table in query]

    async def drop(self, table: str) -> None:
        """See `Tables.drop`."""
        with _translated():
            await self._service.delete_table(table)


class AzureBlobs:
    """`Blobs` in one container of Azure Blob storage."""

    def __init__(self, service: BlobServiceClient) -> None:
        self._container = service.get_container_client(CONTAINER)

    async def get(self, path: str) -> Blob | None:
        """See `Blobs.get`."""
        return await self.get_changed(path, None)

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        """See `Blobs.get_changed`."""
        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": etag, "match_condition": MatchConditions.IfModified}
        with _translated():
            try:
                download = await self._container.download_blob(path, **condition)
                data = await download.readall()
            except ResourceNotFoundError:
                return None
            except HttpResponseError as e:
                if e.status_code == 304:  # the SDK has no one class for "not modified"
                    return None
                raise
        properties = download.properties
        return Blob(bytes(data), str(properties.etag), dict(properties.metadata or {}))

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """See `Blobs.put`."""
        condition: dict[str, Any] = {"overwrite": False}
        if etag is not None:
            condition = {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}
        blob = self._container.get_blob_client(path)
        with _translated():
            try:
                answer = await blob.upload_blob(data, metadata=metadata, **condition)
            except ResourceNotFoundError as e:
                if getattr(e, "error_code", None) != "ContainerNotFound":
                    raise Conflict(f"{path}: the blob is gone") from e
                await self._create_container()
                answer = await blob.upload_blob(data, metadata=metadata, **condition)
        return str(answer["etag"])

    async def _create_container(self) -> None:
        try:
            await self._container.create_container()
        except ResourceExistsError:
            return

    async def names(self, prefix: str) -> list[str]:
        """See `Blobs.names`."""
        with _translated():
            try:
                return [name async for name in self._container.list_blob_names(name_starts_with=prefix)]
            except ResourceNotFoundError:
                return []

    async def folders(self, prefix: str) -> list[str]:
        """See `Blobs.folders`."""
        with _translated():
            try:
                found = [item async for item in self._container.walk_blobs(name_starts_with=prefix)]
            except ResourceNotFoundError:
                return []
        return [str(item.name) for item in found if isinstance(item, BlobPrefix)]

    async def delete(self, path: str) -> None:
        """See `Blobs.delete`."""
        with _translated():
            try:
                await self._container.delete_blob(path)
            except ResourceNotFoundError:
                return


class AzureContainer:
    """`Container` of any storage account."""

    def __init__(self, client: ContainerClient) -> None:
        self._client = client

    async def put(self, name: str, data: bytes) -> None:
        """See `Container.put`."""
        with _discreet():
            await self._client.upload_blob(name, data, overwrite=True)

    async def delete(self, name: str) -> None:
        """See `Container.delete`."""
        with _discreet(), suppress(ResourceNotFoundError):
            await self._client.delete_blob(name)


@asynccontextmanager
async def open_container(url: str) -> AsyncIterator[AzureContainer]:
    """See `OpenContainer`."""
    with _discreet():
        client = ContainerClient.from_container_url(url, **_CONTAINER_OPTIONS)
    async with client:
        yield AzureContainer(client)


@contextmanager
def _discreet() -> Iterator[None]:
    """Any error as `Unavailable`, in words of our own: theirs may quote the URL, whose signature is a secret."""
    try:
        yield
    except HttpResponseError as e:
        code = getattr(e, "error_code", None)
        raise Unavailable(f"its storage answers {e.status_code} {getattr(code, 'value', code)}") from None
    except Exception as e:
        raise Unavailable(f"its storage does not answer ({type(e).__name__})") from None


@contextmanager
def _translated() -> Iterator[None]:
    """The SDKs' errors as ours: a broken precondition is `Conflict`, all else is `Unavailable`.

    By the service's code, not by the status: a lease, an immutability policy or a container that is being deleted
    answers 409 or 412 as well, and would send callers that read again after a `Conflict` round in circles.
    """
    try:
        yield
    except AzureError as e:
        if getattr(e, "error_code", None) in _BROKEN_PRECONDITION:
            raise Conflict(e.message) from e
        raise Unavailable(str(e.message)) from e
    except (TimeoutError, OSError) as e:
        raise Unavailable(str(e)) from e


def _server_time(answer: Mapping[str, Any]) -> float:
    """The storage's clock as an answer tells it: a table's ETag holds it to 0.1 us, `Date` to the second."""
    match = _ETAG_TIME.search(unquote(str(answer.get("etag", ""))))
    if match:
        return datetime.fromisoformat(match[1][:26].rstrip("Z") + "+00:00").timestamp()
    date = answer["date"]
    return (date if isinstance(date, datetime) else parsedate_to_datetime(str(date))).timestamp()
