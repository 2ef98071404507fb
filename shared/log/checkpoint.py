"""Turns how far a loop's join has come into one blob, moved by compare-and-swap (docs/adr/0003, docs/adr/0017)."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import msgspec

from shared.log.apprentice import Apprenticeship
from shared.log.arms import Arms
from shared.log.erasure import Erasure
from shared.log.join import Rules
from shared.log.series import Ahead
from shared.log.slices import Slice
from shared.storage import Blobs, Conflict, documents

SECOND = 2
"""The format of a record that says more than the first release knew: it would drop that, so it must refuse it."""
LATEST = 3
"""The format of one that counts what releases before this one would drop: apprentices and holdbacks."""


class Plan(msgspec.Struct, frozen=True):
    """A window in work.

    Attributes:
        start: its first bucket.
        end: the bucket after its last.
        rules: it is joined by; kept, so that whoever carries the plan out writes the same bytes.
        generation: of the blobs that it becomes.
        routed: whether its rewards are in the slices' mail, and need not be looked for in the journal.
    """

    start: int
    end: int
    rules: Rules
    generation: int = 0
    routed: bool = False


class Checkpoint(msgspec.Struct, omit_defaults=True):
    """How far a loop's join has come.

    Attributes:
        watermark: every bucket before it is in the joined log, or was given up.
        since: what is in the joined log before this time is deleted, or about to be; see `shared.log.retention`.
        cleared: what is in the joined log before this time was deleted by a caller, and its sums with it.
        plan: the window in work, or None.
        sliced: every slice before it is stored, of what has a long wait; see `shared.log.router`.
        slice: the slice in work, or None.
        generation: of what is written from now on; each erasure begins another one.
        erasures: those in force.
        shards: every shard that ever held rows of this loop.
        events, rewarded, retries, inactive, duplicates, empty_slots: totals over all windows; see `join.Joined`.
        apprentice: what came of Apprentice mode; None where it never was.
        arms: what came of the holdback; None where there never was one. So that no neighbour of an earlier release
            joins or learns events without their mark, it is there before the first is held back.
        ahead: what is joined and not in the blobs of the series yet. A neighbour of a release before this one drops it:
            those minutes are missing then.
        format: of this record as it is stored; `save` sets it and `load` takes it back, so that it makes no difference.
    """

    watermark: int = 0
    since: int = 0
    cleared: int = 0
    plan: Plan | None = None
    sliced: int = 0
    slice: Slice | None = None
    generation: int = 0
    erasures: list[Erasure] = []
    shards: list[int] = msgspec.field(default_factory=list)
    events: int = 0
    rewarded: int = 0
    retries: int = 0
    inactive: int = 0
    duplicates: int = 0
    empty_slots: int = 0
    apprentice: Apprenticeship | None = None
    arms: Arms | None = None
    ahead: Ahead | None = None
    format: int = documents.FORMAT

    @property
    def journal_state(self) -> Hashable:
        """What changes whenever rows of the journal may have been rewritten."""
        return (self.generation, tuple(self.erasures))


def path(loop_id: str) -> str:
    """The blob of a loop's checkpoint."""
    return f"loops/{loop_id}/join.json"


def next_generation(held: Checkpoint) -> Checkpoint:
    """The same for a new generation: what is in work under an older one cannot be passed any more."""
    generation = held.generation + 1
    plan = held.plan and msgspec.structs.replace(held.plan, generation=generation)
    return msgspec.structs.replace(held, generation=generation, plan=plan)


async def load(blobs: Blobs, loop_id: str) -> tuple[Checkpoint, str | None]:
    """The loop's checkpoint and its ETag; a new one, and None, where there is none yet.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    blob = await blobs.get(path(loop_id))
    if blob is None:
        return Checkpoint(), None
    held = documents.decode(blob.data, Checkpoint, path(loop_id), LATEST)
    return msgspec.structs.replace(held, format=documents.FORMAT), blob.etag


async def save(blobs: Blobs, loop_id: str, checkpoint: Checkpoint, etag: str | None) -> str:
    """Move the loop's checkpoint on from the state that `etag` names; returns the new ETag.

    Raises:
        Conflict: somebody else has moved it.
    """
    stored = msgspec.structs.replace(checkpoint, format=_format(checkpoint))
    return await blobs.put(path(loop_id), msgspec.json.encode(stored), etag)


def _format(held: Checkpoint) -> int:
    """The lowest format whose readers know all that is in use; so a neighbour works on where it can do no harm."""
    if held.apprentice is not None or held.arms is not None:
        return LATEST
    plan = held.plan
    later = (held.generation, held.erasures, held.sliced, held.slice, plan and (plan.generation or plan.routed))
    return SECOND if any(later) else documents.FORMAT


async def change(blobs: Blobs, loop_id: str, changed: Callable[[Checkpoint], Checkpoint]) -> Checkpoint:
    """Change the loop's checkpoint, whatever joins do to it meanwhile; returns what it is then.

    Args:
        blobs: hold it.
        loop_id: the loop.
        changed: gives the new one for the one that is held, perhaps more than once.
    """
    while True:
        held, etag = await load(blobs, loop_id)
        wanted = changed(held)
        if wanted == held:
            return held
        try:
            await save(blobs, loop_id, wanted, etag)
            return wanted
        except Conflict:
            continue  # a join was quicker: change what it has left
