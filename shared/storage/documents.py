"""Turns the JSON blobs that Rankloop keeps for itself into records; a neighbour of another release may have written."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from shared.storage import StorageError

FORMAT = 1
"""Of every such blob that an older release may rewrite and lose nothing by it; instances of two releases run side by
side while one replaces the other."""


T = TypeVar("T")


class _Formatted(msgspec.Struct):
    """Any such record: its format alone, which says whether the rest can be understood."""

    format: int = FORMAT


def decode(data: bytes, kind: type[T], what: str, latest: int = FORMAT) -> T:
    """The record in a blob.

    Args:
        data: the blob.
        kind: a msgspec struct.
        what: names the blob in errors.
        latest: the highest format of this kind of blob that this release reads; it reads all before.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    try:
        found = msgspec.json.decode(data, type=_Formatted).format
        if not FORMAT <= found <= latest:
            reads = f"{FORMAT}" if latest == FORMAT else f"{FORMAT} to {latest}"
            raise StorageError(f"{what} is of format {found}; this release reads {reads}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise StorageError(f"{what} is damaged: {e}") from e
