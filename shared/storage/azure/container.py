"""Turns the URL of somebody else's container into one that can be written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from shared.storage import Unavailable
from shared.storage.azure import options


class AzureContainer:
    """`Container` of any storage account."""

    def __init__(self, client: ContainerClient) -> None:
        self._client = client

    async def put(self, name: str, data: bytes) -> None:
        """See `Container.put`."""
        with _discreet():
            async with asyncio.timeout(options.FOREIGN):
                await self._client.upload_blob(name, data, overwrite=True)

    async def delete(self, name: str) -> None:
        """See `Container.delete`."""
        with _discreet(), suppress(ResourceNotFoundError):
            async with asyncio.timeout(options.FOREIGN):
                await self._client.delete_blob(name)


@asynccontextmanager
async def open_container(url: str) -> AsyncIterator[AzureContainer]:
    """See `OpenContainer`."""
    with _discreet():
        client = ContainerClient.from_container_url(url, **options.CONTAINER)
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
