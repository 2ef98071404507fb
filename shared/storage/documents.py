"""Turns the JSON blobs that Rankloop keeps for itself into records; a neighbour of another release may have written."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from shared.storage import StorageError

FORMAT = 1
"""Of every such blob; instances of two releases run side by side while one replaces the other."""


T = TypeVar("T")


class _Formatted(msgspec.Struct):
    """Any such record: its format alone, which says whether the rest can be understood."""

    format: int = FORMAT


def decode(data: bytes, kind: type[T], what: str) -> T:
    """The record in a blob.

    Args:
        data: the blob.
        kind: a msgspec struct.
        what: names the blob in errors.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    try:
        found = msgspec.json.decode(data, type=_Formatted).format
        if found != FORMAT:
            raise StorageError(f"{what} is of format {found}; this release reads {FORMAT}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise StorageError(f"{what} is damaged: {e}") from e
