"""Turns the wish that an event or a subject be gone into an erasure in force, and its end into a record that it was.

An erasure is written down in the join's checkpoint (docs/adr/0018): from then on no reader sees what it names, and
whatever a join or an erasure in flight still writes counts no more. `shared.log.eraser` takes it from storage. The
record that is kept names neither the event nor the subject.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Literal

import msgspec

from shared.contract.errors import ApiError
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erasure
from shared.storage import Blobs, Conflict, documents

MOST = 500
"""Erasures of a loop that may be in force at a time: every join reads them."""
_AT_ONCE = 16
"""Records that are read at the same time."""
SHOWN = 1000
"""Records that are listed: the newest."""
_AGAIN = 60
"""Seconds after which an erasure that finds no room may be asked for again."""
_ID = re.compile(r"\d{13}-[0-9a-f]{16}")


class Removed(msgspec.Struct, frozen=True):
    """What an erasure has removed so far.

    Attributes:
        events, observations: distinct ones, wherever they stood.
        windows, rows: windows of the joined log, and rows of the journal and mail of long waits, that were rewritten or
            deleted.
        hours: hours of the log that held any of it: their Parquet and indexes were written anew.
    """

    events: int = 0
    observations: int = 0
    windows: int = 0
    rows: int = 0
    hours: int = 0


class Record(msgspec.Struct, frozen=True):
    """That an erasure was asked for, and what became of it.

    Attributes:
        id: its own.
        kind: whether it named an event or a subject.
        at: what arrived before this time is erased, in seconds since the epoch.
        done: since when nothing of it is stored and nobody can bring it back, or None while it is in force.
        removed: what it has removed.
        format: of this record.
    """

    id: str
    kind: Literal["event", "subject"]
    at: float
    done: float | None = None
    removed: Removed = Removed()
    format: int = documents.FORMAT


class Tally(msgspec.Struct):
    """What an erasure in force has removed: marks of events (of a subject's: once found) and of observations."""

    events: set[bytes] = set()
    observations: set[bytes] = set()
    windows: int = 0
    rows: int = 0
    hours: set[int] = set()

    def removed(self) -> Removed:
        """The same in numbers."""
        return Removed(len(self.events), len(self.observations), self.windows, self.rows, len(self.hours))


class Pass(msgspec.Struct):
    """A way through all that a loop stores, in work.

    Attributes:
        ids: of the erasures that it is for.
        unknown: those of `ids` that name a subject whose events it is to find.
        cursor: what it has done; see `scan.Scan.places`.
        touched: those of `ids` of which it has found something.
        hour: the last hour that it has written anew or renewed.
    """

    ids: list[str]
    unknown: set[str] = set()
    cursor: str = ""
    touched: set[str] = set()
    hour: int = -1


class Progress(msgspec.Struct):
    """How far the erasures in force are.

    Attributes:
        passing: the pass in work, or None.
        due: by erasure of which all was removed, when the pass may begin that sees whether it has stayed so.
        tallies: by erasure.
        hours: of the log, by when they begin, that held anything of erasures in force; and the generation in which they
            were written anew since, 0 before.
        format: of this record.
    """

    passing: Pass | None = None
    due: dict[str, float] = {}
    tallies: dict[str, Tally] = {}
    hours: dict[int, int] = {}
    format: int = documents.FORMAT


def folder(loop_id: str) -> str:
    """Where a loop's records lie, and what is found of its subjects."""
    return f"loops/{loop_id}/erasures/"


def progress_path(loop_id: str) -> str:
    """The blob of how far a loop's erasures are."""
    return f"loops/{loop_id}/erasing.json"


async def ask(
    blobs: Blobs, loop_id: str, kind: Literal["event", "subject"], key: str, at: float, entropy: bytes
) -> Record:
    """Write an erasure down: when this returns it is in force.

    Args:
        blobs: hold the checkpoint.
        loop_id: the loop.
        kind: see `Erasure`.
        key: the same.
        at: the same.
        entropy: eight random bytes, for its id.

    Raises:
        ApiError: OperationNotAllowed when as many as can be are in force.
    """
    erasure_id = f"{int(at * 1000):013d}-{entropy.hex()}"

    def add(held: Checkpoint) -> Checkpoint:
        if len(held.erasures) >= MOST:
            message = f"{MOST} erasures are in force in this loop, and no more can be; repeat the call later."
            raise ApiError("OperationNotAllowed", message, retry_after=_AGAIN)
        began = checkpoints.next_generation(held)
        erasure = Erasure(kind, key, at, erasure_id, began.generation)
        return msgspec.structs.replace(began, erasures=[*held.erasures, erasure])

    await checkpoints.change(blobs, loop_id, add)
    return Record(erasure_id, kind, at)


async def find(blobs: Blobs, loop_id: str, erasure_id: str) -> Record | None:
    """The record of an erasure, or None where there is none; the id may be any text."""
    if not _ID.fullmatch(erasure_id):
        return None
    checkpoint, _ = await checkpoints.load(blobs, loop_id)
    for record in await _in_force(blobs, loop_id, checkpoint):
        if record.id == erasure_id:
            return record
    return await _read(blobs, loop_id, erasure_id)


async def newest(blobs: Blobs, loop_id: str) -> list[Record]:
    """The newest records, those of erasures in force among them, the newest first."""
    checkpoint, _ = await checkpoints.load(blobs, loop_id)
    known = {record.id: record for record in await _in_force(blobs, loop_id, checkpoint)}
    names = [path.rpartition("/")[2].removesuffix(".json") for path in await blobs.names(folder(loop_id))]
    ids = sorted({*known, *filter(_ID.fullmatch, names)}, reverse=True)[:SHOWN]
    done = [erasure_id for erasure_id in ids if erasure_id not in known]
    for start in range(0, len(done), _AT_ONCE):
        some = done[start : start + _AT_ONCE]
        read = await asyncio.gather(*(_read(blobs, loop_id, erasure_id) for erasure_id in some))
        known.update({record.id: record for record in read if record is not None})
    return [known[erasure_id] for erasure_id in ids if erasure_id in known]


async def close(blobs: Blobs, loop_id: str, record: Record) -> None:
    """Keep the record of an erasure that is done, and put it out of force."""
    with suppress(Conflict):  # an earlier try took effect
        await blobs.put(_path(loop_id, record.id), msgspec.json.encode(record))

    def leave(held: Checkpoint) -> Checkpoint:
        return msgspec.structs.replace(held, erasures=[e for e in held.erasures if e.id != record.id])

    await checkpoints.change(blobs, loop_id, leave)


async def commit(blobs: Blobs, loop_id: str, found: Mapping[str, Collection[bytes]]) -> None:
    """Put the marks of all events of some subjects, by erasure, into the checkpoint, whose generation moves on."""
    paths: dict[str, str] = {}
    for erasure_id, marks in found.items():
        data = b"".join(sorted(marks))
        # Named by what it holds: whoever reads the same checkpoint hides the same.
        paths[erasure_id] = f"{folder(loop_id)}{erasure_id}.{hashlib.sha256(data).hexdigest()}.marks" if data else ""
        if data:
            with suppress(Conflict):  # an earlier try took effect
                await blobs.put(paths[erasure_id], data)

    def know(held: Checkpoint) -> Checkpoint:
        if all(paths.get(e.id, e.found) == e.found for e in held.erasures):
            return held
        began = checkpoints.next_generation(held)
        return msgspec.structs.replace(began, erasures=[_known(e, paths, began.generation) for e in held.erasures])

    await checkpoints.change(blobs, loop_id, know)


def _known(erasure: Erasure, paths: Mapping[str, str], generation: int) -> Erasure:
    found = paths.get(erasure.id, erasure.found)
    if found == erasure.found:
        return erasure
    return msgspec.structs.replace(erasure, found=found, generation=generation)


async def tidy(blobs: Blobs, loop_id: str) -> None:
    """Delete what was found for erasures that are done.

    Not at once: a join that has the checkpoint of a moment ago may be about to read it.
    """
    found = [path for path in await blobs.names(folder(loop_id)) if path.endswith(".marks")]
    if not found:
        return
    checkpoint, _ = await checkpoints.load(blobs, loop_id)
    needed = {erasure.id for erasure in checkpoint.erasures}
    for path in found:
        # It was there before the checkpoint was read, and no erasure is ever in force again.
        if path.removeprefix(folder(loop_id)).partition(".")[0] not in needed:
            await blobs.delete(path)


async def progress(blobs: Blobs, loop_id: str) -> tuple[Progress, str | None]:
    """How far a loop's erasures are, and its ETag."""
    blob = await blobs.get(progress_path(loop_id))
    if blob is None:
        return Progress(), None
    return documents.decode(blob.data, Progress, progress_path(loop_id)), blob.etag


async def save(blobs: Blobs, loop_id: str, held: Progress, etag: str | None) -> str:
    """Keep how far a loop's erasures are.

    Raises:
        Conflict: somebody else has come further.
    """
    return await blobs.put(progress_path(loop_id), msgspec.json.encode(held), etag)


async def _in_force(blobs: Blobs, loop_id: str, checkpoint: Checkpoint) -> list[Record]:
    if not checkpoint.erasures:
        return []
    tallies = (await progress(blobs, loop_id))[0].tallies
    return [Record(e.id, e.kind, e.at, None, tallies.get(e.id, Tally()).removed()) for e in checkpoint.erasures]


def _path(loop_id: str, erasure_id: str) -> str:
    return f"{folder(loop_id)}{erasure_id}.json"


async def _read(blobs: Blobs, loop_id: str, erasure_id: str) -> Record | None:
    blob = await blobs.get(_path(loop_id, erasure_id))
    return None if blob is None else documents.decode(blob.data, Record, _path(loop_id, erasure_id))
