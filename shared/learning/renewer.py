"""Turns the plan of a new model into the model, piece by piece, and the model into the version that serves next.

Until it stands the old one serves (docs/adr/0023). A small plan is one piece, learned at once. Pieces of a larger one
are sent out; the train timer sees that none is lost, and does what nobody takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import msgspec

from shared import jobs
from shared.child import Apart
from shared.contract.evaluations import Status
from shared.learning import pointer as pointers
from shared.learning import registry, renewal
from shared.learning.aim import Aim, aim, nothing
from shared.learning.lesson import Job, Lesson
from shared.learning.model import ModelError, merge
from shared.learning.piecework import Piece, Pieces, Send, in_child, nowhere
from shared.learning.registry import Version
from shared.learning.renewal import Renewal
from shared.storage import Blobs, Conflict, StorageError, Unavailable

log = logging.getLogger("rankloop.train")

AGAIN = 900.0
"""Seconds after which pieces that do not stand are sent again: a message may be lost, though hardly ever is."""
VAIN = 3
"""Times that pieces are sent again without one that came to an end, before the job has failed."""


_LEARNS_ON = "The model that serves learns on: the log has more events of other modes than of this one, or none."


class Made(NamedTuple):
    """A model that is to serve.

    Attributes:
        base: the version from whose bytes it began, if any.
        model: its bytes.
        learned_from, through: the span of the log that it learned.
        lesson: what it learned of it.
        shards: the spans that were learned apart; none where it was one run.
        generation: of the log.
    """

    base: Version | None
    model: bytes
    learned_from: int
    through: int
    lesson: Lesson
    shards: list[tuple[int, int]]
    generation: int


class Look(NamedTuple):
    """What a look at the plan says.

    Attributes:
        job: what to learn from here on, going on from the model that serves; None where that has to wait.
        again: when to look again, in seconds since the epoch; None once the log has grown.
        published: whether another model serves now.
    """

    job: Job | None = None
    again: float | None = None
    published: bool = False


Publish = Callable[[Job, Version, str | None, Made, float], Awaitable[None]]


class Renewer:
    """New models over one storage account.

    Args:
        blobs: hold the log and the models.
        publish: makes a model serve in place of a version under an ETag; raises Conflict where that serves no more.
        send: gives a piece to others.
        apart: does the task of a piece in a process of its own.
    """

    def __init__(self, blobs: Blobs, publish: Publish, send: Send = nowhere, apart: Apart = in_child) -> None:
        self._blobs = blobs
        self._publish = publish
        self._send = send
        self._pieces = Pieces(blobs, apart)

    async def look(self, aim: Aim, etag: str | None, now: float) -> Look:
        """Bring a new model on its way, or what there was of one to an end.

        Args:
            aim: what is to be learned.
            etag: of the pointer to the version that it is learned in place of, or on top of.
            now: seconds since the epoch.

        Raises:
            Conflict: another run was quicker.
        """
        job, current, renews = aim
        held, state = await renewal.load(self._blobs, job.loop_id)
        wanted = held is not None and held.is_for(job) and held.replaces(current)
        if held is not None and not (wanted and (renews or held.over)):
            if held.lineage:
                state = await self._drop(job, held, state, now)
            held = None
        if not renews:
            return Look(job)
        if held is None:
            await renewal.clear(self._blobs, job.loop_id)
            held = await renewal.plan(self._blobs, job, current, now)
            state = await renewal.save(self._blobs, job.loop_id, held, state)
            await jobs.create(self._blobs, job.loop_id, held.record())
            log.info("loop %s gets a new model: %s", job.loop_id, held.cause)
        if held.over:
            return Look(self._going_on(job, current))
        return await self._advance(job, held, state, current, etag, now)

    async def _drop(self, job: Job, held: Renewal, state: str | None, now: float) -> str:
        """Put a plan out of force that other settings or another model have come before; returns the new ETag."""

        def dropped(record: jobs.Record) -> jobs.Record:
            return record.end(Status.CANCELED, now, outcome="Other settings or another model came before it was done.")

        await jobs.change(self._blobs, job.loop_id, held.job, dropped)
        await renewal.clear(self._blobs, job.loop_id, held.job)
        nothing = msgspec.structs.replace(held, over=True, lineage="")
        return await renewal.save(self._blobs, job.loop_id, nothing, state)

    def _going_on(self, job: Job, current: Version) -> Job:
        """What the model that serves learns on with, where none replaces it: it keeps its own options."""
        if current.lineage == job.lineage:
            return job
        return replace(
            job,
            arguments=current.arguments,
            resuming=current.resuming,
            lineage=current.lineage,
            multi_slot=current.multi_slot,
        )

    async def _advance(
        self, job: Job, held: Renewal, state: str | None, current: Version, etag: str | None, now: float
    ) -> Look:
        record = await jobs.get(self._blobs, job.loop_id, held.job)
        if record is None:  # the run that planned it died before it said so
            await jobs.create(self._blobs, job.loop_id, record := held.record())
        if record.status in (Status.CANCELED, Status.FAILED):
            await self._over(job, held)
            return Look(self._going_on(job, current))
        stand = await renewal.standing(self._blobs, job.loop_id, held)
        missing = [n for n in range(len(held.ends)) if n not in stand]
        if not missing:
            return await self._finish(job, held, current, etag, now)
        if len(held.ends) == 1:
            await self._pieces.do(job, held, 0, now, apart=False)
            return await self._finish(job, held, current, etag, now)
        if held.sent and now < held.sent + AGAIN:
            return Look(again=now)
        vain = 0 if len(stand) > held.stood or not held.sent else held.vain + 1
        if vain > VAIN:
            await self._end(
                job, held, now, Status.FAILED, f"Pieces were sent {VAIN + 1} times, and none came to an end."
            )
            return Look(again=now)
        sending = msgspec.structs.replace(held, sent=now, stood=len(stand), vain=vain)
        await renewal.save(self._blobs, job.loop_id, sending, state)
        try:
            for number in missing if held.merged else missing[:1]:
                await self._send(Piece(loop=job.loop_id, job=held.job, number=number))
        except Unavailable:
            await self._pieces.do(job, held, missing[0], now)  # nobody else may: one at a time, as there is time
            await self._unsend(job, now)
        return Look(again=now)

    async def _unsend(self, job: Job, now: float) -> None:
        """Let the next look send again at once."""
        held, state = await renewal.load(self._blobs, job.loop_id)
        if held is not None and held.sent == now:
            await renewal.save(self._blobs, job.loop_id, msgspec.structs.replace(held, sent=0.0), state)

    async def take(self, job: Job, piece: Piece, now: float) -> None:
        """Do a piece that was sent; who does the last one makes the model serve.

        Args:
            job: what the loop is to be trained on.
            piece: which; one of a plan that is no more in force is passed over.
            now: seconds since the epoch.

        Raises:
            Exception: it was not done, and is to be tried again.
        """
        held, _ = await renewal.load(self._blobs, job.loop_id)
        if held is None or held.over or held.job != piece.job:
            return
        pointer, _ = await pointers.read(self._blobs, job.loop_id)
        wanted, current, _ = aim(job, pointer.head if pointer else nothing(job))
        if not held.replaces(current):
            return
        if not held.is_for(wanted):  # the change is not known here yet, or is over and the plan about to be
            raise StorageError(f"job {held.job} is for other settings of its loop than those known here")
        record = await jobs.get(self._blobs, job.loop_id, held.job)
        if record is None or not record.running or piece.number >= len(held.ends):
            return
        stand = await renewal.standing(self._blobs, job.loop_id, held)
        if piece.number not in stand:
            if not held.merged and len(stand) != piece.number:
                return  # it goes on from one that does not stand yet, by whose end it is sent
            await self._pieces.do(wanted, held, piece.number, now)
            stand = await renewal.standing(self._blobs, job.loop_id, held)
        if len(stand) == len(held.ends):
            pointer, etag = await pointers.read(self._blobs, job.loop_id)
            wanted, current, renews = aim(job, pointer.head if pointer else nothing(job))
            if renews and held.is_for(wanted) and held.replaces(current):
                await self._finish(wanted, held, current, etag, now)
        elif not held.merged:
            await self._send(Piece(loop=job.loop_id, job=held.job, number=len(stand)))

    async def _finish(self, job: Job, held: Renewal, current: Version, etag: str | None, now: float) -> Look:
        """Make the model of all pieces serve, where it knows enough."""
        numbers = range(len(held.ends)) if held.merged else range(len(held.ends))[-1:]
        found = [await renewal.read(self._blobs, job.loop_id, held, number) for number in numbers]
        learned = [one for one in found if one is not None]
        if len(learned) < len(found):
            return Look(again=now)  # a rival has published, and cleared up
        lesson = renewal.total(learned)
        if current.lineage != job.lineage and not lesson.events:
            return await self._wait(job, held, current, now)
        if lesson.events == 0 or (current.lineage == job.lineage and lesson.events < lesson.foreign):
            await self._end(job, held, now, Status.SUCCEEDED, None, _LEARNS_ON)
            return Look(self._going_on(job, current))
        try:
            models = [one.model for one in learned]
            model = await asyncio.to_thread(merge, models) if held.merged else models[0]
        except ModelError as e:
            await self._end(job, held, now, Status.FAILED, f"The pieces cannot be merged: {e}")
            return Look(self._going_on(job, current))
        name = registry.version_name(held.through, model)

        def succeeded(record: jobs.Record) -> jobs.Record:
            counted = msgspec.structs.replace(
                record, done=len(held.ends), events=lesson.events, estimated=lesson.events
            )
            return counted.end(Status.SUCCEEDED, now, version=name, error=None)

        # First, so that a job that was canceled brings no model, and one that has brought it cannot be canceled.
        record = await jobs.change(self._blobs, job.loop_id, held.job, succeeded)
        if record is not None and record.version == name:
            base = held.base and await registry.recorded(self._blobs, job.loop_id, held.base)
            shards = held.spans if held.merged else []
            made = Made(base or None, model, held.start, held.through, lesson, shards, held.generation)
            await self._publish(job, current, etag, made, now)
            await self._over(job, held)
            return Look(published=True)
        await self._over(job, held)
        return Look(self._going_on(job, current))

    async def _wait(self, job: Job, held: Renewal, current: Version, now: float) -> Look:
        """Wait until the log holds something for a model that is to replace one of no use for it; plan anew then."""
        if job.watermark <= held.through:
            return Look()
        _, state = await renewal.load(self._blobs, job.loop_id)
        later = replace(job, since=max(job.since, held.through))  # there was nothing to learn before
        anew = await renewal.plan(self._blobs, later, current, now)
        anew = msgspec.structs.replace(anew, job=held.job, created=held.created)
        await renewal.save(self._blobs, job.loop_id, anew, state)

        def longer(record: jobs.Record) -> jobs.Record:
            return msgspec.structs.replace(record, pieces=len(anew.ends), done=0)

        await jobs.change(self._blobs, job.loop_id, held.job, longer)
        return Look(again=now if anew.ends else None, published=bool(anew.ends))

    async def _end(
        self, job: Job, held: Renewal, now: float, status: Status, error: str | None, outcome: str | None = None
    ) -> None:
        """Bring a plan to an end without a model of its own."""

        def ended(record: jobs.Record) -> jobs.Record:
            return record.end(status, now, error=error, outcome=outcome)

        await jobs.change(self._blobs, job.loop_id, held.job, ended)
        await self._over(job, held)

    async def _over(self, job: Job, held: Renewal) -> None:
        """Take away what the pieces of a plan have become, and note that nothing more is to be done for it."""
        await renewal.clear(self._blobs, job.loop_id, held.job)
        while True:
            found, state = await renewal.load(self._blobs, job.loop_id)
            if found is None or found.job != held.job or found.over:
                return
            with suppress(Conflict):  # only what is sent may have changed
                await renewal.save(self._blobs, job.loop_id, msgspec.structs.replace(found, over=True), state)
