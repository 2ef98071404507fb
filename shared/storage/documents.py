"""Turns the JSON blobs that Rankloop keeps for itself into records; a neighbour of another release may have written."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

from shared.storage import StorageError

FORMAT = 1
"""Of every such blob; instances of two releases run side by side while one replaces the other."""


class Document(Protocol):
    """A record that carries its format."""

    @property
    def format(self) -> int:
        """The format it was written in."""
        ...


T = TypeVar("T", bound=Document)


def decode(data: bytes, kind: type[T], what: str) -> T:
    """The record in a blob.

    Args:
        data: the blob.
        kind: a msgspec struct with a member `format`.
        what: names the blob in errors.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    try:
        document = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise StorageError(f"{what} is damaged: {e}") from e
    if document.format != FORMAT:
        raise StorageError(f"{what} is of format {document.format}; this release reads {FORMAT}")
    return document
