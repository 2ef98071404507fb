"""Turns a piece of a plan into what is kept of it, and tells its job how far that is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from shared import jobs
from shared.child import Apart, apart
from shared.learning import registry, renewal
from shared.learning.lesson import Job, Lesson
from shared.learning.model import ModelError
from shared.learning.pieces import Learned, gather, learn_task
from shared.learning.renewal import Renewal
from shared.storage import Blobs, StorageError, Unavailable
from shared.work import Piece as Work

in_child: Final = apart(learn_task)
"""Does a task in a process of its own, of lower priority."""


class Piece(Work, frozen=True, tag="retrain"):
    """A piece of a new model's making, as it is sent.

    Attributes:
        loop: the loop's id.
        job: the job's.
        number: of the piece in the plan.
    """

    loop: str
    job: str
    number: int


Send = Callable[[Piece], Awaitable[None]]


async def nowhere(piece: Piece) -> None:
    """Send a piece where there is nobody else."""
    raise Unavailable(f"piece {piece.number} of job {piece.job} is sent to nobody")


class Pieces:
    """The pieces of plans over one storage account.

    Args:
        blobs: hold the log, and get what comes of the pieces.
        apart: does the task of a piece, see `pieces.learn_task`.
    """

    def __init__(self, blobs: Blobs, apart: Apart) -> None:
        self._blobs = blobs
        self._apart = apart

    async def do(self, job: Job, held: Renewal, number: int, now: float, apart: bool = True) -> None:
        """Do a piece of a plan, and note where that fails for another reason than storage that does not answer.

        Args:
            job: what the loop is to be trained on.
            held: the plan.
            number: of the piece.
            now: seconds since the epoch.
            apart: whether it is computed in a process of its own.

        Raises:
            Exception: it was not done.
        """
        async with jobs.piece(self._blobs, job.loop_id, held.job, str(number + 1), now, (ModelError,)):
            await self._do(job, held, number, apart)

    async def _do(self, job: Job, held: Renewal, number: int, apart: bool) -> None:
        """Learn a piece and keep what comes of it."""
        base, before = None, Lesson()
        if not held.merged and number:
            previous = await renewal.read(self._blobs, job.loop_id, held, number - 1)
            if previous is None:
                raise StorageError(f"piece {number} of job {held.job} is gone")
            base, before = previous.model, previous.lesson
        elif held.base is not None:
            version = await registry.recorded(self._blobs, job.loop_id, held.base)
            if version is None:
                raise StorageError(f"the record of model {held.base} is gone")
            base = await registry.load(self._blobs, job.loop_id, version)
        events = before.events
        imported = held.imported[number] if number < len(held.imported) else []
        task = await gather(self._blobs, job, imported, held.spans[number], base, before)
        done = await (self._apart(task) if apart else asyncio.to_thread(learn_task, task))
        lesson = msgspec.msgpack.decode(done, type=Learned).lesson
        new = await renewal.keep(self._blobs, job.loop_id, held, number, done)
        stand = await renewal.standing(self._blobs, job.loop_id, held)

        def further(record: jobs.Record) -> jobs.Record:
            learned = record.events + (lesson.events - events if new else 0)
            estimated = held.estimated(stand, learned)
            return msgspec.structs.replace(record, done=len(stand), events=learned, estimated=estimated)

        await jobs.change(self._blobs, job.loop_id, held.job, further)
