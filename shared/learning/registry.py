"""Turns trained models into immutable versions behind one pointer, and the pointer into the model that serves.

`loops/<id>/models/<version>/model.vw` never changes; `loops/<id>/models/current.json` says which one serves, and is
moved by compare-and-swap. A version is named by what it learned and by its bytes, so two trainers that did the same
work made the same version.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec

from shared.storage import Blobs, Conflict, StorageError, documents

_FIRST_LINEAGE = "--cb_explore_adf --power_t 0 --learning_rate 0.001 --cb_type mtr --quadratic ::"
"""The lineage of versions that do not name theirs: they are from before policies could be changed."""


class Version(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A model version, as the pointer names it.

    Attributes:
        version: its name.
        sha256: of its bytes. VW loads a truncated model without a word, so this is checked first.
        arguments: what VW was started with when it was new.
        lineage: what goes on from it; see `trainer.Job`.
        blank: whether there is no model: the loop's was deleted, and learning begins anew behind `trained_through`.
        trained_through: every window of the joined log before this bucket is learned.
        events: how many events it has learned in all.
        reward: what the model would have earned on its own events as it went, by IPS: the mean progressive reward.
            None in multi-slot, whose losses VW does not sum that way.
        created: seconds since the epoch.
        first_created: when the loop's first version was made.
        parent: the version it went on from, if any.
        format: of this record.
    """

    version: str
    sha256: str
    arguments: str
    trained_through: int
    events: int
    reward: float | None
    created: float
    first_created: float
    lineage: str = _FIRST_LINEAGE
    blank: bool = False
    parent: str | None = None
    format: int = 1


def pointer_path(loop_id: str) -> str:
    """The blob that names the loop's serving version."""
    return f"loops/{loop_id}/models/current.json"


def model_path(loop_id: str, version: str) -> str:
    """The blob of a version's bytes."""
    return f"loops/{loop_id}/models/{version}/model.vw"


def version_name(trained_through: int, model: bytes) -> str:
    """The name of a version: sortable by time, and its bytes' own."""
    return f"{trained_through:010d}-{hashlib.sha256(model).hexdigest()[:16]}"


def decode_pointer(data: bytes) -> Version:
    """The pointer's record.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    return documents.decode(data, Version, "the model pointer")


async def current(blobs: Blobs, loop_id: str) -> tuple[Version | None, str | None]:
    """The serving version and the pointer's ETag; (None, None) before the first."""
    blob = await blobs.get(pointer_path(loop_id))
    return (None, None) if blob is None else (decode_pointer(blob.data), blob.etag)


async def load(blobs: Blobs, loop_id: str, version: Version) -> bytes:
    """The model of a version.

    Raises:
        StorageError: it is gone or damaged.
    """
    blob = await blobs.get(model_path(loop_id, version.version))
    if blob is None:
        raise StorageError(f"model {version.version} is gone")
    if hashlib.sha256(blob.data).hexdigest() != version.sha256:
        raise StorageError(f"model {version.version} is damaged: its hash is not the one it was published with")
    return blob.data


async def store(blobs: Blobs, loop_id: str, version: Version, model: bytes) -> None:
    """Write a version's bytes; they may stand there already, from a run that died before it moved the pointer."""
    try:
        await blobs.put(model_path(loop_id, version.version), model)
    except Conflict:
        await load(blobs, loop_id, version)


async def point(blobs: Blobs, loop_id: str, version: Version, etag: str | None) -> None:
    """Make a version serve.

    Raises:
        Conflict: the pointer has moved since `etag`.
    """
    await blobs.put(pointer_path(loop_id), msgspec.json.encode(version), etag)


async def install(
    blobs: Blobs, loop_id: str, model: bytes, arguments: str, lineage: str, trained_through: int, now: float
) -> Version:
    """Make a model from outside serve, whatever served before; learning goes on from it.

    Args:
        blobs: hold the loop's models.
        loop_id: the loop.
        model: the file, checked.
        arguments: as in `Version`, as the next two.
        lineage: as there.
        trained_through: a bucket.
        now: seconds since the epoch.
    """
    version = Version(
        version=version_name(trained_through, model),
        sha256=hashlib.sha256(model).hexdigest(),
        arguments=arguments,
        lineage=lineage,
        trained_through=trained_through,
        events=0,
        reward=0.0,
        created=now,
        first_created=now,
    )
    await store(blobs, loop_id, version, model)
    await _succeed(blobs, loop_id, version)
    return version


async def reset(blobs: Blobs, loop_id: str, trained_through: int, now: float) -> None:
    """Make a loop forget its model; what is joined after `trained_through` is learned anew."""
    nothing = Version("", "", "", trained_through, 0, 0.0, now, now, blank=True)
    await _succeed(blobs, loop_id, nothing)


async def _succeed(blobs: Blobs, loop_id: str, version: Version) -> None:
    """Move the pointer to a version, whatever it points at by then."""
    while True:
        before, etag = await current(blobs, loop_id)
        parent = None if before is None else before.parent if before.blank else before.version
        try:
            return await point(blobs, loop_id, msgspec.structs.replace(version, parent=parent), etag)
        except Conflict:
            continue  # a trainer has published meanwhile


def properties(version: Version | None) -> dict[str, str]:
    """The ModelProperties of the API (contract 1.4): the year 1 stands for a model that was never made."""
    if version is None or version.blank:
        return dict.fromkeys(("creationTime", "lastModifiedTime"), "0001-01-01T00:00:00+00:00")
    times = {"creationTime": version.first_created, "lastModifiedTime": version.created}
    return {name: datetime.fromtimestamp(time, UTC).isoformat() for name, time in times.items()}
