"""Turns a timer's name into the right to run it, which one of several replicas has: a lease of a blob.

As the Functions host does it: whoever has the lease keeps it while it lives, and another takes over within a minute of
its end. The lease is no fence. A process that was asleep may run a timer beside its successor; the app must bear that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from localhost.config import StartError
from localhost.queue_client import service_of

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

_log = logging.getLogger("localhost.timers")
CONTAINER = "rankloop-host"
STORAGE = "AzureWebJobsStorage"
_SECONDS = 60
"""How long a lease lasts; the longest that Azure gives."""
_RENEWED = 20.0
"""Seconds after which the lease of a timer that runs on is renewed."""
_OPTIONS: dict[str, Any] = {"retry_total": 2, "connection_timeout": 2, "read_timeout": 10}


class Leases(Protocol):
    """Who may run a timer now."""

    def run(self, name: str) -> AbstractAsyncContextManager[bool]:
        """For as long as a run takes: whether it is this process's to do."""

    async def close(self) -> None:
        """Leave all timers to the others."""


class Alone:
    """The leases of a process that has no others beside it."""

    @asynccontextmanager
    async def run(self, name: str) -> AsyncIterator[bool]:
        """See `Leases.run`: always."""
        yield True

    async def close(self) -> None:
        """Nothing to do."""


class BlobLeases:
    """The leases of replicas that share a storage account."""

    def __init__(self, container: ContainerClient, close: Callable[[], Any] | None = None) -> None:
        """Take the container that the leased blobs lie in, made where it is missing; and what is closed with it."""
        self._container = container
        self._close = close
        self._held: dict[str, Any] = {}

    @asynccontextmanager
    async def run(self, name: str) -> AsyncIterator[bool]:
        """See `Leases.run`. The lease outlasts the run: a replica whose clock is behind does not repeat it."""
        if not await self._take(name):
            yield False
            return
        renewing = asyncio.ensure_future(self._renew(name))
        try:
            yield True
        finally:
            renewing.cancel()

    async def close(self) -> None:
        """Give all leases back, and close the connections."""
        from azure.core.exceptions import AzureError

        while self._held:
            _, lease = self._held.popitem()
            with suppress(AzureError, OSError):
                await lease.release()
        await self._container.close()
        if self._close is not None:
            await self._close()

    async def _take(self, name: str) -> bool:
        from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError

        try:
            if (held := self._held.pop(name, None)) is not None:
                with suppress(HttpResponseError):  # another replica has it, or has had it
                    await held.renew()
                    self._held[name] = held
                    return True
            blob = self._container.get_blob_client(f"timers/{name}")
            try:
                lease = await blob.acquire_lease(_SECONDS)
            except ResourceNotFoundError:
                await self._make(blob)
                lease = await blob.acquire_lease(_SECONDS)
        except (AzureError, OSError) as error:
            if getattr(error, "error_code", None) != "LeaseAlreadyPresent":
                _log.error("timer %s does not run, its lease cannot be had: %s", name, getattr(error, "message", error))
            return False
        self._held[name] = lease
        return True

    async def _make(self, blob: Any) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceExistsError

        with suppress(ResourceExistsError):
            await self._container.create_container()
        with suppress(HttpResponseError):  # another replica was quicker, and may have leased it
            await blob.upload_blob(b"", overwrite=False)

    async def _renew(self, name: str) -> None:
        from azure.core.exceptions import AzureError

        while True:
            await asyncio.sleep(_RENEWED)
            try:
                await self._held[name].renew()
            except (AzureError, OSError, KeyError) as error:
                _log.warning("the lease of timer %s was not renewed: %s", name, getattr(error, "message", error))


def open_leases(environ: Mapping[str, str]) -> BlobLeases:
    """Leases in the account of AzureWebJobsStorage, which the app settings name as they do for queues.

    Raises:
        StartError: they name none.
    """
    from azure.storage.blob.aio import ContainerClient

    if text := environ.get(STORAGE, "").strip():
        try:
            return BlobLeases(ContainerClient.from_connection_string(text, CONTAINER, **_OPTIONS))
        except ValueError as error:
            raise StartError(f"{STORAGE} is no connection string with a blob endpoint: {error}") from error
    if url := service_of(STORAGE, "blob", environ):
        from azure.identity.aio import DefaultAzureCredential

        credential = DefaultAzureCredential(managed_identity_client_id=environ.get(f"{STORAGE}__clientId"))
        return BlobLeases(ContainerClient(url, CONTAINER, credential=credential, **_OPTIONS), credential.close)
    raise StartError(f"--replicas needs the app setting {STORAGE}, or {STORAGE}__accountName")
