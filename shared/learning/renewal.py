"""Turns a change of what shapes a loop's model into the plan of a new one, and the plan's pieces into bytes and counts.

`loops/<id>/renewal.json` is the plan in force, moved by compare-and-swap; `loops/<id>/pieces/<job>/<end>.<n>` what its
pieces have become, immutable (docs/adr/0024). Nothing here decides; see `shared.learning.renewer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import msgspec

from shared import jobs
from shared.jobs import Record
from shared.learning import registry
from shared.learning.lesson import Job, Lesson
from shared.learning.pieces import PIECE_BYTES, Learned, cut
from shared.learning.registry import Version
from shared.learning.shaping import Shaping, cause
from shared.log import imports, joined
from shared.log.joined import DSJSON
from shared.storage import Blobs, Conflict, documents

KIND = "retrain"


class Renewal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The plan of a new model.

    Attributes:
        job: the id of its job.
        lineage, mode, shaping: what it is made for; see `Job`. No lineage where that is out of date.
        cause: why it is made, in words.
        created: when it was planned first, in seconds since the epoch.
        base: the imported version from whose bytes it begins, or None for nothing.
        start, through: the buckets of the log that are learned: from the first one to before the last.
        imported: the parts of imports that each of the first pieces learns, by name and number.
        ends: where each piece of the log ends, in order; of those that hold none of it, where it begins.
        sizes: compressed bytes of what each piece learns.
        merged: whether pieces are learned apart, to be merged; else each goes on from the one before.
        generation: of the log; see `Checkpoint`.
        sent: when pieces were last given to others, in seconds since the epoch; 0 for never.
        stood: how many pieces stood then.
        vain: how many times they were given to others since one of them came to an end.
        over: whether nothing more is to be done for it: the model serves, or was given up.
        format: of this record.
    """

    job: str
    lineage: str
    mode: str
    shaping: Shaping | None
    cause: str
    created: float
    base: str | None = None
    start: int = 0
    through: int = 0
    imported: list[list[tuple[str, int]]] = []
    ends: list[int] = []
    sizes: list[int] = []
    merged: bool = False
    generation: int = 0
    sent: float = 0.0
    stood: int = 0
    vain: int = 0
    over: bool = False
    format: int = documents.FORMAT

    def replaces(self, current: Version) -> bool:
        """Whether it may take a version's place: not where the loop's was deleted or replaced from outside since."""
        return not (current.blank or current.imported) or current.created <= self.created

    def is_for(self, job: Job) -> bool:
        """Whether it is for what a loop is to be trained on now."""
        return (self.lineage, self.mode, self.shaping) == (job.lineage, job.mode, job.shaping)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The pieces' spans of the log."""
        return list(pairwise([self.start, *self.ends]))

    def record(self) -> Record:
        """Its job, as it begins."""
        return Record(id=self.job, kind=KIND, cause=self.cause, created=self.created, pieces=len(self.ends))

    def estimated(self, standing: Sequence[int], events: int) -> int | None:
        """How many events it will learn in all, by those of the pieces that stand; None while none does."""
        seen = sum(self.sizes[n] for n in standing)
        return round(events * sum(self.sizes) / seen) if seen else None


def _path(loop_id: str) -> str:
    return f"loops/{loop_id}/renewal.json"


def _folder(loop_id: str) -> str:
    return f"loops/{loop_id}/pieces/"


async def load(blobs: Blobs, loop_id: str) -> tuple[Renewal | None, str | None]:
    """The plan in force and its ETag; (None, None) where there was none yet."""
    blob = await blobs.get(_path(loop_id))
    return (None, None) if blob is None else (documents.decode(blob.data, Renewal, _path(loop_id)), blob.etag)


async def save(blobs: Blobs, loop_id: str, plan: Renewal, etag: str | None) -> str:
    """Put a plan in force in place of the one that `etag` names; returns the new ETag.

    Raises:
        Conflict: somebody else was quicker.
    """
    return await blobs.put(_path(loop_id), msgspec.json.encode(plan), etag)


async def plan(blobs: Blobs, job: Job, current: Version, now: float) -> Renewal:
    """The plan of the model that is to replace one.

    Args:
        blobs: hold the log.
        job: what the loop is to be trained on.
        current: the version that serves.
        now: seconds since the epoch.
    """
    why = cause(current.shaping, job.shaping, current.lineage, job.lineage)
    base = await _origin(blobs, job, current)
    begins = job.watermark - job.retrain_days * 86_400 if job.retrain_days else 0
    behind = base or (current if current.blank else None)
    start = max(0, begins, job.since, behind.trained_through if behind else 0)
    windows = (await joined.sizes(blobs, job.loop_id, start, job.watermark))[DSJSON]
    first = next(iter(windows)).start if windows else start
    imported = imports.batches(await imports.sizes(blobs, job.loop_id, job.imports), PIECE_BYTES)
    pieces = cut(windows, job.watermark, PIECE_BYTES)
    if imported and pieces and imported[-1][1] + pieces[0][1] <= PIECE_BYTES:
        pieces[0] = (pieces[0][0], imported[-1][1] + pieces[0][1])  # one piece of both
        pieces = [*((first, size) for _, size in imported[:-1]), *pieces]
    else:
        pieces = [*((first, size) for _, size in imported), *pieces]
    return Renewal(
        job=jobs.new_id(now, f"{KIND} {job.loop_id} {current.version} {job.watermark} {why}"),
        lineage=job.lineage,
        mode=job.mode,
        shaping=job.shaping,
        cause=why,
        created=now,
        base=base.version if base else None,
        start=first,
        through=job.watermark,
        imported=[parts for parts, _ in imported],
        ends=[end for end, _ in pieces],
        sizes=[size for _, size in pieces],
        merged=job.merges and base is None and len(pieces) > 1,
        generation=job.generation,
    )


async def _origin(blobs: Blobs, job: Job, current: Version) -> Version | None:
    """The imported version that a new model begins from: VW can go on from it, and no log holds what it knows."""
    name = current.version if current.imported else current.origin
    if name is None or current.lineage != job.lineage:
        return None
    version = current if current.imported else await registry.recorded(blobs, job.loop_id, name)
    stored = version and await blobs.get(registry.model_path(job.loop_id, name))
    return version if stored else None


async def standing(blobs: Blobs, loop_id: str, renewal: Renewal) -> list[int]:
    """The numbers of the pieces that stand."""
    prefix = f"{_folder(loop_id)}{renewal.job}/{renewal.through:010d}."
    return sorted(int(path.removeprefix(prefix)) for path in await blobs.names(prefix))


async def keep(blobs: Blobs, loop_id: str, renewal: Renewal, number: int, learned: bytes) -> bool:
    """Store what came of a piece; returns whether it did not stand already."""
    with suppress(Conflict):  # done twice: the first one counts
        await blobs.put(_piece(loop_id, renewal, number), learned)
        return True
    return False


async def read(blobs: Blobs, loop_id: str, renewal: Renewal, number: int) -> Learned | None:
    """What came of a piece, or None where it does not stand."""
    path = _piece(loop_id, renewal, number)
    blob = await blobs.get(path)
    return None if blob is None else msgspec.msgpack.decode(blob.data, type=Learned)


def _piece(loop_id: str, renewal: Renewal, number: int) -> str:
    return f"{_folder(loop_id)}{renewal.job}/{renewal.through:010d}.{number}"


async def clear(blobs: Blobs, loop_id: str, job_id: str = "") -> None:
    """Delete what the pieces of a job have become, or those of any."""
    for path in await blobs.names(_folder(loop_id) + job_id):
        await blobs.delete(path)


def total(learned: Sequence[Learned]) -> Lesson:
    """The lesson of models that have learned apart."""
    lesson = Lesson()
    for one in learned:
        lesson.add(one.lesson)
    return lesson
