"""Turns a queue's name and the settings of its storage account into messages, as the Functions host takes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient

POISON = "-poison"
# Who listens waits and asks again anyway.
_OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 2, "read_timeout": 10}


class NoConnection(Exception):
    """The settings do not tell where the queue is; the text says what is missing."""


class QueueError(Exception):
    """The queue did not answer, or did not do what was asked."""


@dataclass(slots=True)
class Message:
    """A message that was received; its receipt changes whenever it is hidden again."""

    id: str
    text: str
    receipt: str
    count: int
    inserted: datetime | None
    expires: datetime | None
    visible: datetime | None


class Queue:
    """A queue, and the one beside it for its poison if it has one; neither has to exist. All may raise `QueueError`."""

    def __init__(
        self, queue: QueueClient, poison: QueueClient | None, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Take the two clients, and what else is to be closed with them."""
        self.name = queue.queue_name
        self.has_poison = poison is not None
        self._queue = queue
        self._poison = poison
        self._close = close

    async def receive(self, count: int, lease: int) -> list[Message]:
        """Up to `count` messages, which nobody else sees for `lease` seconds; none where there is no queue."""
        async with _translated(missing_is_fine=True):
            found = self._queue.receive_messages(messages_per_page=count, visibility_timeout=lease)
            async for page in found.by_page():
                return [
                    Message(m.id, m.content or "", m.pop_receipt or "", m.dequeue_count or 0, m.inserted_on,
                            m.expires_on, m.next_visible_on)
                    async for m in page
                ]  # fmt: skip
        return []

    async def hide(self, message: Message, seconds: int) -> None:
        """Have nobody see the message for so many seconds from now; with 0 it is given back at once."""
        async with _translated():
            held = await self._queue.update_message(message.id, message.receipt, visibility_timeout=seconds)
            message.receipt = held.pop_receipt or message.receipt

    async def delete(self, message: Message) -> None:
        """Delete a message that is done; it is none of ours where somebody else was given it meanwhile."""
        async with _translated():
            await self._queue.delete_message(message.id, message.receipt)

    async def poison(self, message: Message) -> None:
        """Move the message, as it is, to the queue for poison, which is made where it is missing."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        if self._poison is None:
            raise QueueError(f"what is poison in {self.name} has nowhere to go")
        async with _translated():
            try:
                await self._poison.send_message(message.text, time_to_live=-1)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):  # somebody else may be quicker
                    await self._poison.create_queue()
                await self._poison.send_message(message.text, time_to_live=-1)
        await self.delete(message)

    async def close(self) -> None:
        """Close the connections."""
        for client in (self._queue, self._poison):
            if client is not None:
                await client.close()
        if self._close is not None:
            await self._close()


def open_queue(name: str, setting: str, environ: Mapping[str, str]) -> Queue:
    """Open a queue of the account that app settings name, with `AzureWebJobs` before their name or without.

    `<setting>` holds a connection string. An account's name in `<setting>__accountName`, or its address in
    `<setting>__queueServiceUri`, is reached by the identity of whoever has logged in. Raises `NoConnection`.
    """
    from azure.storage.queue.aio import QueueClient  # an app without queues need not wait for it

    names = [name, *([] if name.endswith(POISON) else [name + POISON])]
    for prefix in (f"AzureWebJobs{setting}", setting):
        if text := environ.get(prefix, "").strip():
            try:
                return Queue(*_both(QueueClient.from_connection_string(text, each, **_OPTIONS) for each in names))
            except ValueError as error:
                raise NoConnection(f"{prefix} is no connection string with a queue endpoint: {error}") from error
        if url := service_of(prefix, "queue", environ):
            from azure.identity.aio import DefaultAzureCredential

            credential = DefaultAzureCredential(managed_identity_client_id=environ.get(f"{prefix}__clientId"))
            clients = (QueueClient(url, each, credential=credential, **_OPTIONS) for each in names)
            return Queue(*_both(clients), credential.close)
    raise NoConnection(f"there is no app setting {setting}, nor {setting}__accountName")


def service_of(prefix: str, service: str, environ: Mapping[str, str]) -> str:
    """The address of a service that is reached by identity, as app settings with this prefix tell it; or nothing."""
    if url := environ.get(f"{prefix}__{service}ServiceUri"):
        return url
    account = environ.get(f"{prefix}__accountName")
    return f"https://{account}.{service}.core.windows.net" if account else ""


def _both(clients: Any) -> tuple[QueueClient, QueueClient | None]:
    queue, *poison = clients
    return queue, poison[0] if poison else None


@asynccontextmanager
async def _translated(*, missing_is_fine: bool = False) -> AsyncIterator[None]:
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    try:
        yield
    except ResourceNotFoundError as error:
        if not missing_is_fine:
            raise QueueError(str(error.message)) from error
    except (AzureError, OSError) as error:
        raise QueueError(str(error)) from error
