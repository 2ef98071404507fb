"""Turns long work on a loop into a record of why it is done and how far it is, that may be looked at and canceled.

One blob each, `loops/<id>/jobs/<job>.json`, moved by compare-and-swap. Whatever does the work keeps its own state
elsewhere, and looks here whether it is still wanted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from shared.child import ChildError
from shared.contract.evaluations import Status
from shared.storage import Blobs, Conflict, StorageError, Unavailable, documents

KEPT = 200
"""Records of a loop that are kept: the newest, and older ones of jobs that have not ended."""
MOST = 1000
"""Records that are kept in any case: a job may never end."""
_TOLD = 2000
"""Characters of what went wrong that are kept."""
ID = re.compile(r"\d{13}-[0-9a-f]{16}", re.ASCII)
FAILURES = 3
"""Failures of a job's pieces, other than storage that does not answer, before it has failed."""
UNFINISHED = (Status.RUNNING, Status.NOT_SUBMITTED)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job.

    Attributes:
        id: its own; sortable by when it was made.
        kind: what is done, such as `retrain`.
        cause: why, in words for people.
        created: when it was made, in seconds since the epoch, as the next two.
        status: how far it is.
        started: when its first piece was begun.
        ended: when it came to an end, whichever.
        pieces: how many pieces it is cut into.
        done: those that are done.
        events: what was learned or looked at so far.
        estimated: how many events it will be in all, as far as that is known.
        version: the model version that came of it.
        outcome: what came of it, in words, where that is not plain.
        error: what went wrong at last, though it may be tried again.
        failures: how many times something has.
        format: of this record.
    """

    id: str
    kind: str
    cause: str
    created: float
    status: Status = Status.RUNNING
    started: float | None = None
    ended: float | None = None
    pieces: int = 1
    done: int = 0
    events: int = 0
    estimated: int | None = None
    version: str | None = None
    outcome: str | None = None
    error: str | None = None
    failures: int = 0
    format: int = documents.FORMAT

    @property
    def running(self) -> bool:
        """Whether it has not come to an end."""
        return self.status in UNFINISHED

    def end(self, status: Status, now: float, **members: str | None) -> Record:
        """The same at its end."""
        return msgspec.structs.replace(self, status=status, ended=now, **members)


def new_id(now: float, what: str) -> str:
    """An id for a job that is made now: the same for the same text, which says what it is about."""
    return f"{int(now * 1000):013d}-{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def folder(loop_id: str) -> str:
    """The folder of a loop's records."""
    return f"loops/{loop_id}/jobs/"


def _path(loop_id: str, job_id: str) -> str:
    return f"{folder(loop_id)}{job_id}.json"


async def create(blobs: Blobs, loop_id: str, record: Record) -> None:
    """Store a new record, unless it stands already; the oldest ones go where there are many.

    Without its record a job could neither come to an end nor be canceled.
    """
    with suppress(Conflict):
        await blobs.put(_path(loop_id, record.id), msgspec.json.encode(record))
        for n, job_id in enumerate((await newest(blobs, loop_id))[KEPT:], KEPT):
            if n >= MOST or await _ended(blobs, loop_id, job_id):
                await blobs.delete(_path(loop_id, job_id))


async def newest(blobs: Blobs, loop_id: str) -> list[str]:
    """The ids of a loop's jobs, the newest first."""
    names = [path.removeprefix(folder(loop_id)).removesuffix(".json") for path in await blobs.names(folder(loop_id))]
    return sorted(filter(ID.fullmatch, names), reverse=True)


async def get(blobs: Blobs, loop_id: str, job_id: str) -> Record | None:
    """The record of a job; `job_id` may be any text.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    return (await _read(blobs, loop_id, job_id))[0] if ID.fullmatch(job_id) else None


async def change(blobs: Blobs, loop_id: str, job_id: str, changed: Callable[[Record], Record]) -> Record | None:
    """Change a record, whoever else does; returns what it is then, or None where there is none.

    Args:
        blobs: hold it.
        loop_id: the loop.
        job_id: of the job, a valid one.
        changed: gives the new one for the one that is held, perhaps more than once; what has ended stays as it is.
    """
    while True:
        held, etag = await _read(blobs, loop_id, job_id)
        if held is None or not held.running or (wanted := changed(held)) == held:
            return held
        with suppress(Conflict):  # somebody else was quicker: change what they have left
            await blobs.put(_path(loop_id, job_id), msgspec.json.encode(wanted), etag)
            return wanted


async def begin(blobs: Blobs, loop_id: str, job_id: str, now: float) -> None:
    """Note that a job's first piece is begun, unless that is noted."""

    def begun(record: Record) -> Record:
        return record if record.started else msgspec.structs.replace(record, started=now)

    await change(blobs, loop_id, job_id, begun)


async def fail(blobs: Blobs, loop_id: str, job_id: str, why: str, now: float) -> Record | None:
    """Note that a job's piece has failed, and what went wrong; after so many failures the job has. Returns the job."""

    def failed(record: Record) -> Record:
        worse = msgspec.structs.replace(record, error=why[:_TOLD], failures=record.failures + 1)
        return worse if worse.failures < FAILURES else worse.end(Status.FAILED, now)

    return await change(blobs, loop_id, job_id, failed)


@asynccontextmanager
async def piece(
    blobs: Blobs, loop_id: str, job_id: str, name: str, now: float, faults: tuple[type[Exception], ...] = ()
) -> AsyncIterator[None]:
    """Around the doing of a job's piece: note that the job is begun, and where the piece fails, why it has.

    Storage that does not answer, or in which somebody else was quicker, is no failure of a piece.

    Args:
        blobs: hold the job's record.
        loop_id: the loop.
        job_id: of the job.
        name: of the piece, for people.
        now: seconds since the epoch.
        faults: what is a failure besides a process that dies, time that runs out and storage that is damaged.
    """
    failures: tuple[type[Exception], ...] = (StorageError, ChildError, TimeoutError, *faults)
    await begin(blobs, loop_id, job_id, now)
    try:
        yield
    except (Unavailable, Conflict):
        raise
    except failures as e:
        await fail(blobs, loop_id, job_id, f"Piece {name}: {e or type(e).__name__}", now)
        raise


async def _ended(blobs: Blobs, loop_id: str, job_id: str) -> bool:
    """Whether a job is under way no more, or nobody can tell."""
    try:
        held, _ = await _read(blobs, loop_id, job_id)
    except Unavailable:
        raise
    except StorageError:  # damaged, or of a later release
        return True
    return held is None or not held.running


async def _read(blobs: Blobs, loop_id: str, job_id: str) -> tuple[Record | None, str | None]:
    blob = await blobs.get(_path(loop_id, job_id))
    if blob is None:
        return None, None
    return documents.decode(blob.data, Record, _path(loop_id, job_id)), blob.etag
