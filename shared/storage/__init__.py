"""What Rankloop asks of storage: protocols over tables, blobs, queues and others' containers, and its errors.

`azure` keeps them on an Azure storage account (or Azurite), `memory` in this process for unit tests and for users'
own tests. Nothing else in the product knows an Azure SDK.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

Value = str | int | float | bool | bytes
Row = dict[str, Value]
"""A table row by property name; `PartitionKey` and `RowKey` are among the properties."""


class StorageError(Exception):
    """Storage did not do what was asked."""


class Conflict(StorageError):
    """The precondition did not hold: the blob or row has changed, or exists already."""


class Unavailable(StorageError):
    """Storage did not answer, was busy, or lost the connection; whether a write took effect is unknown."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob as read: its bytes, its ETag and its metadata."""

    data: bytes
    etag: str
    metadata: dict[str, str] = field(default_factory=dict)


class Tables(Protocol):
    """Rows by partition and row key. Every method raises `Unavailable` when storage does not answer."""

    async def put(self, table: str, row: Row) -> float:
        """Insert or replace a row; repeating it does no harm. A missing table is made.

        Returns:
            The storage's own time of the write, in seconds since the epoch.
        """
        ...

    async def replace(self, table: str, row: Row, etag: str) -> None:
        """Replace a row that is in the state `etag` names.

        Raises:
            Conflict: the row has changed since, or is gone.
        """
        ...

    def query(
        self, table: str, partitions: tuple[str, str], select: Sequence[str] | None = None
    ) -> AsyncIterator[tuple[Row, str]]:
        """Rows with `partitions[0] <= PartitionKey < partitions[1]` in key order, each with its ETag.

        Args:
            table: a missing one has no rows.
            partitions: the range of partition keys.
            select: the properties wanted, or all.
        """
        ...

    async def delete(self, table: str, partition: str, row: str, etag: str | None = None) -> None:
        """Delete a row if it is there, and only in the state `etag` names.

        Raises:
            Conflict: the row has changed since.
        """
        ...

    async def names(self, prefix: str) -> list[str]:
        """The tables whose name begins so, in order."""
        ...

    async def drop(self, table: str) -> None:
        """Delete a table if it is there."""
        ...


class Blobs(Protocol):
    """Blobs by path. Every method raises `Unavailable` when storage does not answer."""

    async def get(self, path: str) -> Blob | None:
        """The blob, or None where there is none."""
        ...

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        """The blob if it is there and in another state than `etag`, else None."""
        ...

    async def get_range(self, path: str, start: int, length: int) -> Blob | None:
        """A part of the blob, all of one state, or None where there is no blob.

        Args:
            path: the blob.
            start: the first byte, from 0 on.
            length: how many bytes, one at least; fewer come where the blob ends sooner, none past its end.
        """
        ...

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """Replace the blob in the state `etag` names, or create it where `etag` is None.

        Returns:
            The new ETag.

        Raises:
            Conflict: the blob has changed since, or exists already.
        """
        ...

    async def names(self, prefix: str) -> list[str]:
        """The paths that begin so, in order."""
        ...

    async def sizes(self, prefix: str) -> dict[str, int]:
        """The paths that begin so, in order, with their blobs' sizes in bytes."""
        ...

    async def folders(self, prefix: str) -> list[str]:
        """The folders right below one, in order; it and they end with a slash."""
        ...

    async def delete(self, path: str) -> None:
        """Delete the blob if it is there."""
        ...


class Queues(Protocol):
    """Queues of messages, each of which somebody gets once or several times, in no order (ADR 0022)."""

    async def send(self, queue: str, message: bytes, delay: float = 0.0) -> None:
        """Put a message into a queue, where it stays until it is taken. A missing queue is made.

        Args:
            queue: its name.
            message: `MAX_MESSAGE` bytes at most.
            delay: seconds for which nobody sees it, 7 days at most.

        Raises:
            ValueError: the message is too long.
            Unavailable: storage does not answer; the message may be there all the same, once or several times.
        """
        ...


MAX_MESSAGE = 48 * 1024
"""Bytes of a message: storage takes 64 KiB of text, and base64 makes four characters of three bytes."""


class NoQueues:
    """`Queues` of an app that was given none."""

    async def send(self, queue: str, message: bytes, delay: float = 0.0) -> None:
        """Tell whoever sends something that it goes nowhere."""
        raise Unavailable(f"there is no queue {queue}: this app was given no queues")


class Container(Protocol):
    """Somebody else's container of blobs. Every method raises `Unavailable`, whose text never holds the secret."""

    async def put(self, name: str, data: bytes) -> None:
        """Write a blob, whatever stands there."""
        ...

    async def delete(self, name: str) -> None:
        """Delete the blob if it is there."""
        ...


OpenContainer = Callable[[str], AbstractAsyncContextManager[Container]]
"""Opens the container that a URL with a shared access signature names."""
