"""Turns messages into calls of Azure Queue storage."""

from __future__ import annotations

import asyncio
import base64
import importlib
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from shared.storage import MAX_MESSAGE
from shared.storage.azure import options
from shared.storage.azure.calls import Calls
from shared.storage.azure.errors import translated

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueServiceClient

_FOR_EVER = -1
"""How long a message may lie. By default it is gone after a week, and with it a piece of work that nobody took."""


class AzureQueues:
    """`Queues` on Azure Queue storage.

    Args:
        opened: opens the service; called by the first message.
        calls: how storage is called.
    """

    def __init__(self, opened: Callable[[], QueueServiceClient], calls: Calls) -> None:
        self._opened = opened
        self._calls = calls
        self._service: QueueServiceClient | None = None

    async def send(self, queue: str, message: bytes, delay: float = 0.0) -> None:
        """See `Queues.send`."""
        if len(message) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(message)} bytes is too long")
        text = base64.b64encode(message).decode()  # as the Functions host reads it
        seconds = math.ceil(delay)
        client = (await self._opened_once()).get_queue_client(queue)

        async def put() -> None:
            try:
                await client.send_message(text, visibility_timeout=seconds, time_to_live=_FOR_EVER)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    await client.create_queue()
                await client.send_message(text, visibility_timeout=seconds, time_to_live=_FOR_EVER)

        with translated():
            await self._calls.answer(put, options.MESSAGE)

    async def _opened_once(self) -> QueueServiceClient:
        if self._service is None:
            # 0.2 s, of which neither a cold start nor calls under way are to know.
            await asyncio.to_thread(importlib.import_module, "azure.storage.queue.aio")
            self._service = self._service or self._opened()
        return self._service

    async def aclose(self) -> None:
        """Close the connections, if there are any."""
        if self._service is not None:
            await self._service.close()
