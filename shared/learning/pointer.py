"""Turns what the trainer has made and what an operator wants into the version that serves: the moves of one pointer.

`loops/<id>/models/current.json` holds the serving version as ever, so that instances of an earlier release serve the
same, and beside it the course: whether it is pinned, and what learning goes on from. Every move is a pure function and
a compare-and-swap (docs/adr/0025).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import msgspec

from shared.learning import registry
from shared.learning.registry import Version
from shared.storage import Blobs, Conflict, documents

_replace = msgspec.structs.replace


class Course(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What the pointer holds beside the serving version, in one document: it has no name of a member of `Version`.

    Attributes:
        pinned: whether the serving version stays until an operator says otherwise.
        head: what learning goes on from, where that is not the serving version: its bytes, behind the bucket of its
            `trained_through`, which is later than in its record where windows are passed over. Without a `sha256` there
            is nothing to go on from, and learning begins anew behind that bucket.
        ready: the newest version that was not held back, where that is not the serving one; unpinning makes it serve.
        again: versions that an operator made serve or pinned, by name, each with the time until which it served, or
            since when it does, in seconds since the epoch. They have ranked later than the record of the version that
            follows them tells.
        held_back: the version that was held back last, until one is made that is not.
    """

    pinned: bool = False
    head: Version | None = None
    ready: Version | None = None
    again: dict[str, float] = {}
    held_back: Version | None = None


@dataclass(frozen=True, slots=True)
class Pointer:
    """The serving version of a loop, and its course."""

    serving: Version
    course: Course = field(default_factory=Course)

    @property
    def head(self) -> Version:
        """What learning goes on from."""
        return self.course.head or self.serving

    @property
    def needed(self) -> frozenset[str]:
        """The versions whose bytes and records must stay, whatever their age."""
        named = [version for version in (self.serving, self.course.head, self.course.ready) if version is not None]
        origins = {version.origin for version in named if version.origin is not None}
        return frozenset(version.version for version in named) | frozenset(self.course.again) | origins

    def trained(self, version: Version, since: float) -> Pointer:
        """Where it points once the trainer has made a version that may serve.

        Args:
            version: the new one.
            since: the log holds nothing older any more, in seconds since the epoch.
        """
        course = self.course
        if course.pinned:
            return self._at(self.serving, True, version, version, _since(course.again, since))
        return self._at(version, False, None, None, _since(self._ended(version.created), since))

    def held_back(self, version: Version, head: Version) -> Pointer:
        """The same, when the version may not serve.

        Args:
            version: the new one.
            head: what learning goes on from: the same, or where it is ruined a sound one before it; see `behind`.
        """
        return self._at(self.serving, self.course.pinned, head, self.course.ready, self.course.again, version)

    def rolled_back(self, version: Version, now: float) -> Pointer:
        """Where it points once an operator has made a version serve, pinned; learning goes on as it would have."""
        ready = self.course.ready or self.serving
        again = self._ended(now) | {version.version: now}
        return self._at(version, True, self.head, None if ready.blank else ready, again, self.course.held_back)

    def pinned(self, now: float) -> Pointer:
        """Where it points once the serving version is pinned."""
        if self.course.pinned:
            return self
        again = self.course.again | {self.serving.version: now}
        return self._at(self.serving, True, self.course.head, self.course.ready, again, self.course.held_back)

    def unpinned(self, now: float) -> Pointer:
        """Where it points once the newest version that was not held back serves."""
        if not self.course.pinned:
            return self
        serving = self.course.ready or self.serving
        return self._at(serving, False, self.head, None, self._ended(now), self.course.held_back)

    def unpinned_here(self, through: int, now: float) -> Pointer:
        """Where it points once learning goes on from the pinned version, with what is joined behind a bucket."""
        if not self.course.pinned:
            return self
        head = _replace(self.serving, trained_through=max(through, self.serving.trained_through), created=now)
        return self._at(self.serving, False, head, None, self._ended(now))

    def succeeded(self, version: Version, now: float) -> Pointer:
        """Where it points once a model from outside, or none, has taken the place of all that was learned.

        An imported model takes the pin over; where nothing is left there is nothing to pin.
        """
        pinned = self.course.pinned and not version.blank
        again = self._ended(now) | ({version.version: now} if pinned else {})
        return self._at(version, pinned, None, None, again)

    def wanting(self, name: str) -> Pointer:
        """Where it points once an import that was left out is to be learned after all: it was sent again."""
        head = self.course.head and _with(self.course.head, name)
        return Pointer(_with(self.serving, name), msgspec.structs.replace(self.course, head=head))

    def _ended(self, now: float) -> dict[str, float]:
        """What an operator has made serve, the serving version, if it is one of these, until now."""
        mine = self.course.pinned or self.serving.version in self.course.again
        return self.course.again | ({self.serving.version: now} if mine else {})

    @staticmethod
    def _at(
        serving: Version,
        pinned: bool,
        head: Version | None,
        ready: Version | None,
        again: dict[str, float],
        held: Version | None = None,
    ) -> Pointer:
        """A pointer that names no version twice."""
        if head is not None and (head.version, head.trained_through) == (serving.version, serving.trained_through):
            head = None
        if ready is not None and ready.version == serving.version:
            ready = None
        return Pointer(serving, Course(pinned, head, ready, again, held))


def _with(version: Version, name: str) -> Version:
    return _replace(version, left_out=version.left_out and tuple(one for one in version.left_out if one != name))


def _since(again: dict[str, float], since: float) -> dict[str, float]:
    return {name: until for name, until in again.items() if until >= since}


def nothing(version: Version) -> Pointer:
    """Where the pointer of a loop stands that has no version that may serve, before a version."""
    none = Version("", "", "", version.trained_through, 0, 0.0, version.created, version.created, blank=True)
    return Pointer(none)


def behind(base: Version | None, version: Version) -> Version:
    """What learning goes on from behind a version that was held back.

    Args:
        base: whose bytes: those of the version itself, of a sound one before it, or None, where learning begins anew.
        version: what it had learned is passed over where it is not gone on from.
    """
    # What is not gone on from leaves out the imports that it alone had learned, too: they may be what ruined it.
    learned = base.shaping.imports if base is not None and base.shaping is not None else ()
    shaping, left_out = version.shaping, version.left_out
    if shaping is not None and (out := set(shaping.imports) - set(learned)):
        kept = tuple(name for name in shaping.imports if name not in out)
        shaping, left_out = _replace(shaping, imports=kept), tuple(sorted(out.union(left_out or ())))
    if base is None:
        return _replace(version, version="", sha256="", held=None, shaping=shaping, left_out=left_out)
    return _replace(
        base,
        trained_through=version.trained_through,
        created=version.created,
        lineage=version.lineage,
        shaping=shaping,
        left_out=left_out,
    )


async def read(blobs: Blobs, loop_id: str) -> tuple[Pointer | None, str | None]:
    """The pointer and its ETag; (None, None) before the first version.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    blob = await blobs.get(registry.pointer_path(loop_id))
    if blob is None:
        return None, None
    course = documents.decode(blob.data, Course, "the model pointer")
    return Pointer(registry.decode_pointer(blob.data), course), blob.etag


async def move(blobs: Blobs, loop_id: str, pointer: Pointer, etag: str | None) -> None:
    """Write the pointer.

    Raises:
        Conflict: it has moved since `etag`.
    """
    held = {**msgspec.to_builtins(pointer.course), **msgspec.to_builtins(pointer.serving)}
    await blobs.put(registry.pointer_path(loop_id), msgspec.json.encode(held), etag)


async def change(blobs: Blobs, loop_id: str, change: Callable[[Pointer], Pointer]) -> Pointer | None:
    """Move the pointer, whatever it is by then; returns what it has become, or None where there is no version yet."""
    while True:
        before, etag = await read(blobs, loop_id)
        if before is None:
            return None
        after = change(before)
        try:
            if after != before:
                await move(blobs, loop_id, after, etag)
        except Conflict:
            continue  # a trainer has published meanwhile
        return after


async def install(
    blobs: Blobs,
    loop_id: str,
    model: bytes,
    arguments: str,
    lineage: str,
    trained_through: int,
    now: float,
    imports: Collection[str] | None = None,
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
        imports: of the loop: they are not learned on top of it, later ones are. None for none, and no later one either
            before learning has gone on from it.
    """
    version = Version(
        version=registry.version_name(trained_through, model),
        sha256=hashlib.sha256(model).hexdigest(),
        arguments=arguments,
        lineage=lineage,
        trained_through=trained_through,
        events=0,
        reward=0.0,
        created=now,
        first_created=now,
        imported=True,
        left_out=None if imports is None else tuple(sorted(imports)),
    )
    return await _succeed(blobs, loop_id, version, model)


async def reset(
    blobs: Blobs, loop_id: str, trained_through: int, now: float, imports: Collection[str] | None = None
) -> None:
    """Make a loop forget its model; what is joined after `trained_through` is learned anew.

    Args:
        blobs: hold the loop's models.
        loop_id: the loop.
        trained_through: a bucket.
        now: seconds since the epoch.
        imports: as for `install`.
    """
    left_out = None if imports is None else tuple(sorted(imports))
    name = f"{trained_through:010d}-blank"
    nothing = Version(name, "", "", trained_through, 0, 0.0, now, now, blank=True, left_out=left_out)
    await _succeed(blobs, loop_id, nothing)


async def _succeed(blobs: Blobs, loop_id: str, version: Version, model: bytes = b"") -> Version:
    """Store a version and move the pointer to it, whatever it points at by then; returns it with its parent."""
    while True:
        before, etag = await read(blobs, loop_id)
        head = None if before is None else before.head
        parent = None if head is None else head.parent if head.blank else head.version
        succeeding = _replace(version, parent=parent)
        if before is not None:
            await registry.note_before(blobs, loop_id, before.serving)
        if version.blank:
            await registry.note(blobs, loop_id, succeeding)
        else:
            await registry.store(blobs, loop_id, succeeding, model)
        after = Pointer(succeeding) if before is None else before.succeeded(succeeding, version.created)
        try:
            await move(blobs, loop_id, after, etag)
        except Conflict:
            continue  # a trainer has published meanwhile
        return succeeding
