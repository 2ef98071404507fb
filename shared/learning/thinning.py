"""Turns the versions of a loop into those whose bytes are kept: all for two days, then the first of each hour.

The others are rebuilt when they are asked for (`shared.learning.rebuild`), so nothing is deleted that cannot be: what
came from outside, what VW does not learn repeatably, what the log no longer gives. Records stay until the log holds
nothing that their versions ranked. Every step is safe to repeat, and to be cut off anywhere (docs/adr/0020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from shared.counters import Counters
from shared.learning import pointer as pointers
from shared.learning import registry
from shared.learning.pointer import Pointer
from shared.learning.rebuild import MAX_LINES
from shared.learning.registry import MODEL, RECORD, Version
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.storage import Blobs, Conflict, documents

DAY, _HOUR = 86_400, 3600
YOUNG = 2 * DAY
"""Seconds for which every version is kept."""
_LINGERS = 600.0
"""Seconds for which an instance may go on ranking with a version that was succeeded, at most: storage may be down."""


class _Progress(msgspec.Struct):
    """How far a loop's versions are thinned.

    Attributes:
        through: those trained through an earlier bucket are.
        since: what the log held before this bucket was deleted when records were last.
        format: of this record.
    """

    through: int = 0
    since: int = 0
    format: int = documents.FORMAT


def progress_path(loop_id: str) -> str:
    """The blob that says how far a loop's versions are thinned."""
    return f"{registry.models_path(loop_id)}thinned.json"


@dataclass(slots=True)
class Thinned:
    """What was done: versions that lost their bytes, and versions that are forgotten."""

    thinned: int = 0
    forgotten: int = 0


async def thin(blobs: Blobs, counters: Counters, loop_id: str, resumes: Callable[[str], bool], now: float) -> None:
    """Thin the versions of a loop, by the state of its log; counts models.thinned and models.forgotten."""
    log, _ = await checkpoints.load(blobs, loop_id)
    done = await Thinner(blobs, loop_id, log, resumes, now).run()
    counters.add("models.thinned", done.thinned)
    counters.add("models.forgotten", done.forgotten)


class Thinner:
    """The versions of one loop, to be thinned.

    Args:
        blobs: hold them.
        loop_id: the loop.
        log: the state of its log, with `since` as retention has left it.
        resumes: whether VW goes on bit for bit from a model of these arguments.
        now: the storage's time.
    """

    def __init__(self, blobs: Blobs, loop_id: str, log: Checkpoint, resumes: Callable[[str], bool], now: float) -> None:
        self._blobs = blobs
        self._loop_id = loop_id
        self._log = log
        self._resumes = resumes
        self._now = now
        self._listed: dict[str, set[str]] = {}
        self._records: dict[str, Version | None] = {}
        self._done = Thinned()

    async def run(self) -> Thinned:
        """Thin them, and forget those of which the log holds nothing any more."""
        path = progress_path(self._loop_id)
        blob = await self._blobs.get(path)
        held = documents.decode(blob.data, _Progress, path) if blob else _Progress()
        pointer, _ = await pointers.read(self._blobs, self._loop_id)
        if pointer is None:
            return self._done
        since = await self._forget(pointer) if self._log.since > held.since else held.since
        reached = _Progress(await self._thin(pointer, held.through), since)
        if reached != held:
            with suppress(Conflict):  # another sweep has done the same
                await self._blobs.put(path, msgspec.json.encode(reached), blob.etag if blob else None)
        return self._done

    async def _thin(self, pointer: Pointer, start: int) -> int:
        """Delete the bytes of versions from a bucket on; returns the bucket to go on from the next time."""
        self._listed = await registry.listed(self._blobs, self._loop_id, max(0, start - DAY), int(self._now) + 1)
        versions: list[Version] = []
        for name in sorted(self._listed):
            version = await self._record(name) if registry.through(name) >= start else None
            if version is not None:
                versions.append(version)
                if version.created > self._now - YOUNG and version.held is None:
                    break  # this one and those behind it are kept; it tells how long the one before it served
        versions.sort(key=lambda version: (version.trained_through, version.created))
        for version, ended in zip(versions, _ends(versions), strict=True):
            if version.created > self._now - YOUNG or version.version in pointer.needed or ended is None:
                continue
            if MODEL not in self._listed[version.version]:
                continue
            way, kept = await self._way(version)
            spare = kept and expendable(way, kept, ended + _LINGERS, self._log, self._resumes)
            if spare and await self._drop(version.version, MODEL):
                self._listed[version.version].remove(MODEL)
                self._done.thinned += 1
        return versions[-1].trained_through if versions else start

    async def _way(self, version: Version) -> tuple[list[Version], Version | None]:
        """The versions that it takes to rebuild one, itself first, and the kept one that they go on from, if any."""
        way = [version]
        while (base := way[-1].base) in self._listed:
            before = await self._record(base)
            if before is None or MODEL in self._listed[base]:
                return way, before
            way.append(before)
        return way, None

    async def _forget(self, pointer: Pointer) -> int:
        """Delete the versions that ranked nothing that the log still holds; returns up to where that is done."""
        since, young = self._log.since, self._now - YOUNG
        self._listed = await registry.listed(self._blobs, self._loop_id, 0, since)
        passed: list[str] = []
        for name in sorted(self._listed):
            version = await self._record(name)
            if version is not None and version.held is None:
                if version.created + _LINGERS >= since:
                    break
                if version.created > young:
                    return 0  # it is too soon for those before it; another sweep looks again
                older = [before for before in passed if registry.through(before) < version.trained_through]
                for before in older:
                    # The record last: without it nobody would find the rest.
                    self._done.forgotten += await self._drop(before, MODEL, RECORD)
                passed = passed[len(older) :]
            if name not in pointer.needed:
                passed.append(name)
        return since

    async def _drop(self, name: str, *parts: str) -> bool:
        """Delete parts of a version, unless an operator has made it serve meanwhile; he checks them after that."""
        pointer, _ = await pointers.read(self._blobs, self._loop_id)
        if pointer is not None and name in pointer.needed:
            return False
        for part in parts:
            await self._blobs.delete(f"{registry.models_path(self._loop_id)}{name}/{part}")
        return True

    async def _record(self, name: str) -> Version | None:
        if name not in self._records:
            has = RECORD in self._listed[name]
            self._records[name] = await registry.recorded(self._blobs, self._loop_id, name) if has else None
        return self._records[name]


def _ends(versions: Sequence[Version]) -> list[float | None]:
    """When each version had served at the latest: when the next one was made that was not held back; None if none is.

    Those that an operator made serve after that are kept by the pointer's `needed`.
    """
    found: list[float | None] = []
    following: float | None = None
    for version in reversed(versions):
        found.append(following)
        if version.held is None:
            following = version.created
    return found[::-1]


def expendable(
    way: Sequence[Version], kept: Version, until: float, log: Checkpoint, resumes: Callable[[str], bool]
) -> bool:
    """Whether a version's bytes can be deleted, since they can be had again for as long as they are of use.

    Args:
        way: the version, and before it those that must be made again for it.
        kept: the version whose bytes those go on from.
        until: when it had ranked its last event.
        log: the state of the log.
        resumes: as in `Thinner`.
    """
    version = way[0]
    begins = min(-1 if step.learned_from is None else step.learned_from for step in way)
    return (
        version.created // _HOUR == kept.created // _HOUR
        and all(step.generation == log.generation for step in way)
        and sum(step.lines for step in way) <= MAX_LINES
        and begins >= log.since
        # The log goes by days: what made the version must not go before the last event that it ranked.
        and begins // DAY == until // DAY
        and resumes(version.arguments)
        and not any(step.shards or step.learned_imports for step in way)
    )
