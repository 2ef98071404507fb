"""Turns calls for blobs into calls of Azure Blob storage."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobPrefix, BlobServiceClient

from shared.storage import Blob, Conflict
from shared.storage.azure.errors import translated

CONTAINER = "rankloop"


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
        with translated():
            try:
                download = await self._container.download_blob(path, **condition)
                data = await download.readall()
            except ResourceNotFoundError:
                return None
            except HttpResponseError as e:
                if e.status_code == 304:  # the SDK has no one class for "not modified"
                    return None
                raise
        return _blob(data, download.properties)

    async def get_range(self, path: str, start: int, length: int) -> Blob | None:
        """See `Blobs.get_range`."""
        blob = self._container.get_blob_client(path)
        with translated(), suppress(ResourceNotFoundError):
            while True:
                try:
                    download = await blob.download_blob(start, length)
                    return _blob(await download.readall(), download.properties)
                except HttpResponseError as e:
                    if e.status_code != 416:
                        raise
                # Past the end of a state that the refusal does not name; it may have grown meanwhile.
                properties = await blob.get_blob_properties()
                if properties.size <= start:
                    return _blob(b"", properties)
        return None

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """See `Blobs.put`."""
        condition: dict[str, Any] = {"overwrite": False}
        if etag is not None:
            condition = {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}
        blob = self._container.get_blob_client(path)
        with translated():
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
        with translated():
            try:
                return [name async for name in self._container.list_blob_names(name_starts_with=prefix)]
            except ResourceNotFoundError:
                return []

    async def sizes(self, prefix: str) -> dict[str, int]:
        """See `Blobs.sizes`."""
        with translated():
            try:
                found = self._container.list_blobs(name_starts_with=prefix)
                return {str(item.name): int(item.size) async for item in found}
            except ResourceNotFoundError:
                return {}

    async def folders(self, prefix: str) -> list[str]:
        """See `Blobs.folders`."""
        with translated():
            try:
                found = [item async for item in self._container.walk_blobs(name_starts_with=prefix)]
            except ResourceNotFoundError:
                return []
        return [str(item.name) for item in found if isinstance(item, BlobPrefix)]

    async def delete(self, path: str) -> None:
        """See `Blobs.delete`."""
        with translated():
            try:
                await self._container.delete_blob(path)
            except ResourceNotFoundError:
                return


def _blob(data: bytes, properties: BlobProperties) -> Blob:
    return Blob(bytes(data), str(properties.etag), dict(properties.metadata or {}))
