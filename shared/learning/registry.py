"""Turns trained models into immutable versions, and the pointer to one of them into the model that serves.

`loops/<id>/models/<version>/model.vw` never changes; `loops/<id>/models/current.json` says which one serves, and is
moved by `shared.learning.pointer`. A version is named by what it learned and by its bytes, so two trainers that did the
same work made the same version. Beside its bytes stands its record, `version.json`, which says how they were made and
stays when they are thinned out (docs/adr/0020).
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from shared.learning.shaping import Shaping
from shared.log.records import ONLINE
from shared.storage import Blobs, Conflict, StorageError, documents

MODEL, RECORD = "model.vw", "version.json"
"""The blobs of a version."""
_BLOB = re.compile(r"/((\d{10})-(?:[0-9a-f]{16}|blank))/(model\.vw|version\.json)$", re.ASCII)
_NAME = re.compile(r"\d{10}-(?:[0-9a-f]{16}|blank)", re.ASCII)
_FOREVER = 10**10

_FIRST_LINEAGE = "--cb_explore_adf --power_t 0 --learning_rate 0.001 --cb_type mtr --quadratic ::"
"""The lineage of versions that do not name theirs: they are from before policies could be changed."""


class Version(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A model version, as the pointer and its own record name it.

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
        parent: the newest version before, if any; it served unless it was held back or another one was pinned.
        base: the version from whose bytes learning went on, if any; not `parent` where a model was made anew.
        learned_from: the first window it learned beyond `base`; None where that is not known: it was imported, or made
            by a release that kept no records.
        learned, skipped, refused: lines of the joined log that it learned, left out and could not learn since then.
        mode: the learning mode whose events it learned.
        multi_slot: whether they were multi-slot ones.
        resuming: what VW was told again when it loaded `base`.
        generation: of the log that it learned; see `Checkpoint`.
        imported: whether it came from outside.
        origin: the imported version that it goes back to, if any: what that knows is in no log.
        shards: the spans of the log that models learned apart, of which it was merged; none where it was one run.
        shaping: the settings that it was made with; None where that is not known, as of `learned_from`.
        left_out: imports that the loop had, and that it has not learned: a model before it was deleted or replaced by
            one from outside, or what was to learn them did not come about. None where a release did not note it.
        held: why it was held back when it was made, a sentence for people; None where nothing spoke against it.
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
    base: str | None = None
    learned_from: int | None = None
    learned: int = 0
    skipped: int = 0
    refused: int = 0
    mode: str = ONLINE
    multi_slot: bool = False
    resuming: str = ""
    generation: int = 0
    imported: bool = False
    origin: str | None = None
    shards: list[tuple[int, int]] = []
    shaping: Shaping | None = None
    left_out: tuple[str, ...] | None = None
    held: str | None = None
    format: int = 1

    @property
    def learned_imports(self) -> bool:
        """Whether it learned more than its base and the log: imports, which may be deleted."""
        new = self.base is None or self.base == self.origin  # else its base had learned them
        return new and self.shaping is not None and bool(self.shaping.imports)

    @property
    def lines(self) -> int:
        """How many lines are read to make it from its base."""
        return self.learned + self.skipped + self.refused


def pointer_path(loop_id: str) -> str:
    """The blob that names the loop's serving version."""
    return f"{models_path(loop_id)}current.json"


def models_path(loop_id: str) -> str:
    """The folder of a loop's versions."""
    return f"loops/{loop_id}/models/"


def model_path(loop_id: str, version: str) -> str:
    """The blob of a version's bytes."""
    return f"{models_path(loop_id)}{version}/{MODEL}"


def record_path(loop_id: str, version: str) -> str:
    """The blob of a version's record."""
    return f"{models_path(loop_id)}{version}/{RECORD}"


def version_name(trained_through: int, model: bytes) -> str:
    """The name of a version: sortable by time, and its bytes' own."""
    return f"{trained_through:010d}-{hashlib.sha256(model).hexdigest()[:16]}"


def through(name: str) -> int:
    """The bucket up to which the version of a name is trained."""
    return int(name.partition("-")[0])


def is_name(text: str) -> bool:
    """Whether a text from outside can be the name of a version, and so part of a path."""
    return _NAME.fullmatch(text) is not None


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
    """Write a version's bytes and record; they may stand already, from a run that died before it moved the pointer."""
    try:
        await blobs.put(model_path(loop_id, version.version), model)
    except Conflict:
        await load(blobs, loop_id, version)
    await note(blobs, loop_id, version)


async def note(blobs: Blobs, loop_id: str, version: Version) -> None:
    """Write a version's record, unless it stands already: two that made the same version agree on what counts."""
    with suppress(Conflict):
        await blobs.put(record_path(loop_id, version.version), msgspec.json.encode(version))


async def note_before(blobs: Blobs, loop_id: str, before: Version | None) -> None:
    """Write the record of the version that is about to be succeeded, where a release made it that kept none."""
    if before is not None and before.version and before.learned_from is None:
        await note(blobs, loop_id, before)


async def recorded(blobs: Blobs, loop_id: str, version: str) -> Version | None:
    """The record of a version, or None where there is none.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    path = record_path(loop_id, version)
    blob = await blobs.get(path)
    return None if blob is None else documents.decode(blob.data, Version, path)


async def listed(blobs: Blobs, loop_id: str, start: int = 0, end: int = _FOREVER) -> dict[str, set[str]]:
    """The versions trained through a bucket in [start, end), by how far they are, each with its blobs that stand."""
    ends = [f"{start:010d}", f"{min(end, _FOREVER) - 1:010d}"]
    between = os.path.commonprefix(ends)  # noqa: RUF071 - character by character is what is meant
    found: dict[str, set[str]] = {}
    for path in await blobs.names(models_path(loop_id) + between):
        match = _BLOB.search(path)
        if match and start <= int(match[2]) < end:
            found.setdefault(match[1], set()).add(match[3])
    return found


async def versions(blobs: Blobs, loop_id: str, start: int = 0, end: int = _FOREVER) -> list[Version]:
    """The records of the versions trained through a bucket in [start, end), in order, blank ones among them."""
    held = [name for name, parts in (await listed(blobs, loop_id, start, end)).items() if RECORD in parts]
    found = [version for name in held if (version := await recorded(blobs, loop_id, name)) is not None]
    return sorted(found, key=lambda version: (version.trained_through, version.created))


def properties(version: Version | None) -> dict[str, str]:
    """The ModelProperties of the API (contract 1.4): the year 1 stands for a model that was never made."""
    if version is None or version.blank:
        return dict.fromkeys(("creationTime", "lastModifiedTime"), "0001-01-01T00:00:00+00:00")
    times = {"creationTime": version.first_created, "lastModifiedTime": version.created}
    return {name: datetime.fromtimestamp(time, UTC).isoformat() for name, time in times.items()}
