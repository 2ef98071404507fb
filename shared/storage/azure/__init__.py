"""Turns an Azure storage account, or an Azurite, into tables, blobs and queues; the SDKs are known here alone."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

from azure.core.credentials_async import AsyncTokenCredential
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from shared.storage import address
from shared.storage.azure import options
from shared.storage.azure.blobs import CONTAINER, AzureBlobs
from shared.storage.azure.calls import Calls, Count
from shared.storage.azure.container import open_container
from shared.storage.azure.queues import AzureQueues
from shared.storage.azure.tables import AzureTables

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueServiceClient

_SDKS = logging.getLogger("azure")
"""The logger of which all of the SDKs are children."""

__all__ = ["CONTAINER", "AzureStorage", "open_container"]


class AzureStorage:
    """The services of one account, opened on first use and closed with `aclose`.

    Args:
        setting: a connection string, or the account, for access by the app's own identity; see `address.without_key`.
        count: gets the counters of `calls.Calls`, and storage.lost_answers and storage.torn.
    """

    def __init__(self, setting: str, count: Count = lambda _: None) -> None:
        if _SDKS.level == logging.NOTSET:
            # They tell of each request and each response at INFO, which the Functions host passes on.
            _SDKS.setLevel(logging.WARNING)
        self._setting = setting
        self._credential: AsyncTokenCredential | None = None
        self._addresses = address.without_key(setting)
        if self._addresses is None:
            tables = TableServiceClient.from_connection_string(setting, **options.TABLES)
            blobs = BlobServiceClient.from_connection_string(setting, **options.BLOBS)
        else:
            from azure.identity.aio import DefaultAzureCredential  # 170 ms of a cold start, so only where it is used

            self._credential = credential = DefaultAzureCredential()
            tables = TableServiceClient(self._addresses["table"], credential=credential, **options.TABLES)
            blobs = BlobServiceClient(self._addresses["blob"], credential=credential, **options.BLOBS)
        self._services = (tables, blobs)
        calls = Calls(count)
        self.tables = AzureTables(tables, calls)
        self.blobs = AzureBlobs(blobs, calls)
        self.queues = AzureQueues(self._open_queues, calls)

    def _open_queues(self) -> QueueServiceClient:
        from azure.storage.queue.aio import QueueServiceClient  # see `AzureQueues`

        if self._addresses is None:
            return QueueServiceClient.from_connection_string(self._setting, **options.QUEUES)
        return QueueServiceClient(self._addresses["queue"], credential=self._credential, **options.QUEUES)

    async def aclose(self) -> None:
        """Close the connections."""
        for service in self._services:
            await service.close()
        await self.queues.aclose()
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
