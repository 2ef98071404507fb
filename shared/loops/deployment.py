"""Turns the one blob that every instance polls into the loops of the deployment, and edits it under rivals' hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from shared.storage import Blobs, Conflict, StorageError, documents

DEPLOYMENT = "deployment.json"


class Deployment(msgspec.Struct):
    """The loops by name, the state (ETag) of each one's settings, and loops that are gone, by when they went."""

    loops: dict[str, str]
    settings: dict[str, str] = {}
    deleted: dict[str, float] = {}
    format: int = documents.FORMAT


def decode(data: bytes) -> Deployment:
    """The record in the blob.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    return documents.decode(data, Deployment, DEPLOYMENT)


async def edit(blobs: Blobs, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the blob, whatever others do to it meanwhile.

    Args:
        blobs: hold it.
        change: changes the decoded JSON in place; called again when somebody else was quicker.

    Raises:
        StorageError: it is gone, damaged or of a later release, or storage does not answer.
    """
    while True:
        blob = await blobs.get(DEPLOYMENT)
        if blob is None:
            raise StorageError(f"{DEPLOYMENT} is gone")
        decode(blob.data)
        held = orjson.loads(blob.data)  # with what a later release has added to it
        change(held)
        try:
            await blobs.put(DEPLOYMENT, orjson.dumps(held), blob.etag)
            return
        except Conflict:
            continue  # another change came first: make ours on top
