"""Turns calls for blobs into calls of Azure Blob storage."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import suppress
from typing import Any, TypeVar

from azure.core import MatchConditions
from azure.core.async_paging import AsyncItemPaged
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError, ServiceResponseError
from azure.storage.blob import BlobProperties
from azure.storage.blob.aio import BlobClient, BlobPrefix, BlobServiceClient

from shared.storage import Blob, Conflict
from shared.storage.azure import options
from shared.storage.azure.calls import Calls
from shared.storage.azure.errors import is_broken_precondition, translated

T = TypeVar("T")

CONTAINER = "rankloop"
_WRITE = "write"
"""The metadata that names one write, so that it is known again."""
_QUICKLY_HASHED = 1024 * 1024
"""Bytes that are hashed in 2 ms or so; more are hashed beside the event loop."""


class AzureBlobs:
    """`Blobs` in one container of Azure Blob storage."""

    def __init__(self, service: BlobServiceClient, calls: Calls) -> None:
        self._container = service.get_container_client(CONTAINER)
        self._calls = calls

    async def get(self, path: str) -> Blob | None:
        """See `Blobs.get`."""
        return await self._get(path, options.BLOB)

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        """See `Blobs.get_changed`."""
        if etag is None:
            return await self._get(path, options.DOCUMENT)
        return await self._get(path, options.DOCUMENT, etag=etag, match_condition=MatchConditions.IfModified)

    async def _get(self, path: str, seconds: float, **condition: Any) -> Blob | None:
        async def whole() -> Blob:
            download = await self._container.download_blob(path, **condition, **options.READ)
            data, properties = await download.readall(), download.properties
            if not await _as_written(data, properties):
                self._calls.count("storage.torn")
                raise ServiceResponseError(f"{path}: the bytes that were read were never written like this")
            return _blob(data, properties)

        with translated(), suppress(ResourceNotFoundError):
            try:
                return await self._calls.answer(whole, seconds)
            except HttpResponseError as e:
                if e.status_code != 304:  # the SDK has no one class for "not modified"
                    raise
        return None

    async def get_range(self, path: str, start: int, length: int) -> Blob | None:
        """See `Blobs.get_range`."""
        blob = self._container.get_blob_client(path)
        with translated(), suppress(ResourceNotFoundError):
            return await self._calls.answer(lambda: _part(blob, start, length), options.BLOB)
        return None

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """See `Blobs.put`."""
        condition: dict[str, Any] = {"overwrite": False}
        if etag is not None:
            condition = {"overwrite": True, "etag": etag, "match_condition": MatchConditions.IfNotModified}
        blob = self._container.get_blob_client(path)
        signed = {**(metadata or {}), _WRITE: uuid.uuid4().hex}

        async def upload() -> dict[str, Any]:
            try:
                return await blob.upload_blob(data, metadata=signed, **condition)
            except ResourceNotFoundError as e:
                if getattr(e, "error_code", None) != "ContainerNotFound":
                    raise Conflict(f"{path}: the blob is gone") from e
                await self._create_container()
                return await blob.upload_blob(data, metadata=signed, **condition)

        with translated():
            try:
                return str((await self._calls.answer(upload, options.BLOB))["etag"])
            except HttpResponseError as e:
                # What is in the way may be this very write: of an earlier try, which took effect though its answer was
                # lost. Not only `calls` tries again; aiohttp does, too, on a connection that was in use before.
                held = await self._properties(blob) if is_broken_precondition(e) else None
                if held is None or held.metadata.get(_WRITE) != signed[_WRITE]:
                    raise
        self._calls.count("storage.lost_answers")
        return str(held.etag)

    async def _properties(self, blob: BlobClient) -> BlobProperties | None:
        with suppress(ResourceNotFoundError):
            return await self._calls.answer(lambda: blob.get_blob_properties(**options.READ), options.DOCUMENT)
        return None

    async def _create_container(self) -> None:
        with suppress(ResourceExistsError):
            await self._container.create_container()

    async def names(self, prefix: str) -> list[str]:
        """See `Blobs.names`."""
        return await self._listed(self._container.list_blob_names(name_starts_with=prefix, **options.READ))

    async def sizes(self, prefix: str) -> dict[str, int]:
        """See `Blobs.sizes`."""
        found = await self._listed(self._container.list_blobs(name_starts_with=prefix, **options.READ))
        return {str(item.name): int(item.size) for item in found}

    async def folders(self, prefix: str) -> list[str]:
        """See `Blobs.folders`."""
        found = await self._listed(self._container.walk_blobs(name_starts_with=prefix, **options.READ))
        return [str(item.name) for item in found if isinstance(item, BlobPrefix)]

    async def _listed(self, found: AsyncItemPaged[T]) -> list[T]:
        """What is listed, however many pages it takes; nothing where not even the container is there."""
        pages = found.by_page()  # after an error it gives the same page again
        listed = list[T]()
        with translated(), suppress(ResourceNotFoundError):
            while (page := await self._calls.answer(lambda: anext(pages, None), options.LIST)) is not None:
                listed += [item async for item in page]
        return listed

    async def delete(self, path: str) -> None:
        """See `Blobs.delete`."""
        with translated(), suppress(ResourceNotFoundError):
            await self._calls.answer(lambda: self._container.delete_blob(path), options.BLOB)


async def _part(blob: BlobClient, start: int, length: int) -> Blob:
    while True:
        try:
            download = await blob.download_blob(start, length, **options.READ)
            return _blob(await download.readall(), download.properties)
        except HttpResponseError as e:
            if e.status_code != 416:
                raise
        # Past the end of a state that the refusal does not name; it may have grown meanwhile.
        properties = await blob.get_blob_properties(**options.READ)
        if properties.size <= start:
            return _blob(b"", properties)


async def _as_written(data: bytes, properties: BlobProperties) -> bool:
    """Whether a whole blob's bytes are those that storage took the MD5 of when they were written.

    Neither a length nor an ETag tells of a read that was torn by a write in between.
    """
    written = properties.content_settings.content_md5
    if written is None:
        return True
    if len(data) > _QUICKLY_HASHED:
        return await asyncio.to_thread(_md5, data) == written
    return _md5(data) == written


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _blob(data: bytes, properties: BlobProperties) -> Blob:
    metadata = {name: value for name, value in (properties.metadata or {}).items() if name != _WRITE}
    return Blob(bytes(data), str(properties.etag), metadata)
