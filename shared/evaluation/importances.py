"""Turns feature importances that are asked for into what they find, whoever computes them and whoever is killed.

Each is one piece of work: what it looks at is bounded. The train timer sees that no message is lost, and does what
nobody takes (docs/adr/0033).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec

from shared import jobs
from shared.child import IDLE, Apart, ChildError, apart
from shared.contract.evaluations import Status
from shared.evaluation import asked, resources
from shared.evaluation.asked import Asked
from shared.evaluation.importance import Weighed, grouped, weigh
from shared.evaluation.resources import FeatureImportance
from shared.jobs import Record
from shared.storage import Blobs, Conflict, StorageError, Unavailable
from shared.work import Piece

log = logging.getLogger("rankloop.evaluation")

KIND: Final = "importance"
AGAIN: Final = 900.0
"""Seconds after which what does not stand is sent again: a message may be lost, though hardly ever is."""
VAIN: Final = 3
"""Times that it is sent again before the job has timed out."""
in_child: Final = apart(weigh, IDLE)
"""Does a task in a process of its own, in the time that nobody else wants."""


class Weighing(Piece, frozen=True, tag="importance"):
    """A feature importance, as it is sent.

    Attributes:
        loop: the loop's id.
        job: the job's.
    """

    loop: str
    job: str


Send = Callable[[Weighing], Awaitable[None]]


async def grouped_of(blobs: Blobs, loop_id: str, plan: Asked, apart: Apart) -> list[list[str]]:
    """The features that matter, as evaluations before 2022 have them; none where they cannot be weighed.

    Raises:
        Unavailable: storage does not answer.
    """
    try:
        return grouped(
            msgspec.msgpack.decode(await apart(await asked.gather(blobs, loop_id, plan)), type=Weighed).features
        )
    except Unavailable:
        raise
    except (StorageError, ChildError, TimeoutError) as e:
        log.error("loop %s: the features of an evaluation are not weighed: %s", loop_id, e or type(e).__name__)
        return []


class Importances:
    """Feature importances over one storage account.

    Args:
        blobs: hold the log, and all that is known of feature importances.
        send: gives a piece to others.
        apart: does the task of a piece, see `importance.weigh`.
    """

    def __init__(self, blobs: Blobs, send: Send, apart: Apart = in_child) -> None:
        self._blobs = blobs
        self._send = send
        self._apart = apart

    async def begin(self, loop_id: str, importance: FeatureImportance, plan: Asked, now: float) -> None:
        """Store a feature importance and what it takes, and send it, as far as it can be sent.

        Raises:
            Conflict: the loop has one of this id.
        """
        await asked.save(self._blobs, loop_id, plan, None)  # first: what is known to run can be found
        try:
            await resources.put(self._blobs, loop_id, importance)
        except Conflict:
            await asked.forget(self._blobs, loop_id, plan.job)
            raise
        await jobs.create(self._blobs, loop_id, _record(plan))
        with suppress(Conflict, Unavailable):  # somebody has looked at it already, or will
            await self._send_again(loop_id, plan.job, now)

    async def look(self, loop_id: str, now: float) -> bool:
        """See that every feature importance of a loop goes on; returns whether there was one: then look again."""
        for job_id in (held := await asked.unfinished(self._blobs, loop_id)):
            with suppress(Conflict):  # another run does the same
                await self._look(loop_id, job_id, now)
        return bool(held)

    async def _look(self, loop_id: str, job_id: str, now: float) -> None:
        plan, _ = await asked.load(self._blobs, loop_id, job_id)
        if plan is None:
            return
        importance = await resources.get(self._blobs, loop_id, FeatureImportance, plan.importance)
        if importance is None or importance.job_id != job_id:
            if now > plan.created + AGAIN:  # else it may be about to be stored
                await asked.forget(self._blobs, loop_id, job_id)
            return
        record = await jobs.get(self._blobs, loop_id, job_id)
        if record is None:  # the call that asked for it died before it said so
            await jobs.create(self._blobs, loop_id, record := _record(plan))
        if importance.status is not Status.RUNNING:
            return await asked.forget(self._blobs, loop_id, job_id)
        if not record.running and record.status is not Status.SUCCEEDED:
            return await self.settle(loop_id, record)
        try:
            await self._send_again(loop_id, job_id, now)
        except Unavailable:  # nobody else may do it
            await self.take(Weighing(loop=loop_id, job=job_id), now)

    async def _send_again(self, loop_id: str, job_id: str, now: float) -> None:
        """Send it, unless that was done a while ago.

        Raises:
            Conflict: another run does the same.
            Unavailable: it cannot be sent.
        """
        plan, etag = await asked.load(self._blobs, loop_id, job_id)
        if plan is None or (plan.sent and now < plan.sent + AGAIN):
            return
        if plan.sendings > VAIN:

            def timed_out(record: Record) -> Record:
                return record.end(Status.TIMEOUT, now, error=f"It was sent {plan.sendings} times, and never done.")

            record = await jobs.change(self._blobs, loop_id, job_id, timed_out)
            if record is not None:
                await self.settle(loop_id, record)
            return
        await self._send(Weighing(loop=loop_id, job=job_id))
        sent = msgspec.structs.replace(plan, sent=now, sendings=plan.sendings + 1)
        await asked.save(self._blobs, loop_id, sent, etag)

    async def take(self, message: Weighing, now: float) -> None:
        """Compute what was sent.

        Args:
            message: names it; one that is over is passed over.
            now: seconds since the epoch.

        Raises:
            Exception: it was not done, and is to be tried again.
        """
        loop_id, job_id = message.loop, message.job
        plan, _ = await asked.load(self._blobs, loop_id, job_id)
        record = await jobs.get(self._blobs, loop_id, job_id)
        if plan is None or record is None or not (record.running or record.status is Status.SUCCEEDED):
            return
        await jobs.begin(self._blobs, loop_id, job_id, now)
        try:
            done = await self._apart(await asked.gather(self._blobs, loop_id, plan))
        except Unavailable:
            raise
        except (StorageError, ChildError, TimeoutError) as e:
            record = await jobs.fail(self._blobs, loop_id, job_id, str(e) or type(e).__name__, now)
            if record is not None and not record.running:
                await self.settle(loop_id, record)
            raise
        await self._finish(loop_id, plan, msgspec.msgpack.decode(done, type=Weighed), now)

    async def _finish(self, loop_id: str, plan: Asked, weighed: Weighed, now: float) -> None:
        """Write what came of it."""

        def succeeded(record: Record) -> Record:
            events = weighed.learned + weighed.events
            counted = msgspec.structs.replace(record, done=1, events=events, estimated=events, error=None)
            return counted.end(Status.SUCCEEDED, now, outcome=weighed.says)

        # First, so that one that was canceled changes nothing, and one that has can be canceled no more.
        record = await jobs.change(self._blobs, loop_id, plan.job, succeeded)
        if record is not None and record.status is not Status.SUCCEEDED:
            return await self.settle(loop_id, record)

        def finished(held: FeatureImportance) -> FeatureImportance:
            content = msgspec.Raw(msgspec.json.encode(weighed))
            return msgspec.structs.replace(held, status=Status.SUCCEEDED, content=content, description=weighed.says)

        await self._change(loop_id, plan, finished)
        await asked.forget(self._blobs, loop_id, plan.job)

    async def settle(self, loop_id: str, record: Record) -> None:
        """Tell a feature importance that its job has come to an end without results."""
        plan, _ = await asked.load(self._blobs, loop_id, record.id)
        if plan is None:
            return

        def ended(held: FeatureImportance) -> FeatureImportance:
            return msgspec.structs.replace(held, status=record.status, description=record.error or record.outcome)

        await self._change(loop_id, plan, ended)
        await asked.forget(self._blobs, loop_id, record.id)

    async def delete(self, loop_id: str, importance: FeatureImportance, now: float) -> None:
        """Delete a feature importance, also while it is computed."""

        def canceled(record: Record) -> Record:
            return record.end(Status.CANCELED, now, outcome="Its feature importance was deleted.")

        if jobs.ID.fullmatch(importance.job_id):
            await jobs.change(self._blobs, loop_id, importance.job_id, canceled)
            await asked.forget(self._blobs, loop_id, importance.job_id)
        await resources.delete(self._blobs, loop_id, FeatureImportance, importance.id)

    async def _change(
        self, loop_id: str, plan: Asked, changed: Callable[[FeatureImportance], FeatureImportance]
    ) -> None:
        """Change the feature importance that was asked for, as long as it runs."""

        def of_plan(held: FeatureImportance) -> FeatureImportance:
            return changed(held) if held.job_id == plan.job and held.status is Status.RUNNING else held

        await resources.change(self._blobs, loop_id, FeatureImportance, plan.importance, of_plan)


def _record(plan: Asked) -> Record:
    """The job, as it begins."""
    return Record(id=plan.job, kind=KIND, cause=f"feature importance {plan.importance}", created=plan.created)
