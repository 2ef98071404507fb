"""Turns notes of a loop and messages about it into what to train and to evaluate, as the loop and its log are now."""

from __future__ import annotations

import asyncio
import math

from shared.clock import StorageClock
from shared.evaluation.evaluator import Evaluator
from shared.evaluation.importances import Importances, Weighing
from shared.evaluation.piecework import Scoring
from shared.guard import Guarded
from shared.learning.lesson import Job
from shared.learning.piecework import Piece
from shared.learning.shaping import Shaping
from shared.learning.trainer import Due, Trainer
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased
from shared.log.join import Rules
from shared.loops.loops import Loops
from shared.loops.settings import Loop
from shared.storage import Blobs, Tables

_LONG = 120.0
"""Seconds of one loop's training after which it is noted that it takes long, in case the host ends it."""
_STAND_BACK = 900.0
"""Seconds for which such a loop lets the others go first."""
_LOOK_AGAIN = 60.0
"""Seconds after which a loop whose next model is not due yet is looked at again: its settings may have changed."""


def job_of(loop: Loop, checkpoint: Checkpoint) -> Job:
    """What to train a loop on, as its settings and its log are."""
    held = loop.configuration
    rules = Rules(held.reward_wait_time, held.default_reward, held.reward_aggregation, held.reward_range)
    return Job(
        loop_id=loop.id,
        arguments=loop.learned.training,
        resuming=loop.policy.resuming,
        lineage=loop.learned.lineage,
        multi_slot=loop.multi_slot,
        mode=held.learning_mode,
        watermark=checkpoint.watermark,
        since=checkpoint.since,
        retrain_days=held.model_retrain_days,
        export_frequency=held.model_export_frequency,
        generation=checkpoint.generation,
        erased=Erased(checkpoint.erasures),
        merges=loop.policy.merges,
        shaping=Shaping(
            rules,
            held.exploration_percentage,
            held.learning_mode,
            held.model_retrain_days,
            tuple(sorted(loop.imports)),
        ),
    )


class Training:
    """Training, evaluations and feature importances of the deployment's loops.

    Args:
        tables, blobs: its storage.
        clock: the storage's time.
        loops: its loops.
        trainer, evaluator, importances: do the work.
        guarded: lets something fail without what is done besides.
    """

    def __init__(
        self,
        tables: Tables,
        blobs: Blobs,
        clock: StorageClock,
        loops: Loops,
        trainer: Trainer,
        evaluator: Evaluator,
        importances: Importances,
        guarded: Guarded,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._clock = clock
        self._loops = loops
        self._trainer = trainer
        self._evaluator = evaluator
        self._importances = importances
        self._guarded = guarded.run

    async def run(self, note: activity.Note, grown: list[Loop]) -> float:
        """Train a loop, and see that what is asked of its log goes on.

        Args:
            note: of the loop; it stays until `settle` is told what is left, so that a run that dies is repeated.
            grown: gets the loop as it was read last, whatever becomes of its training.

        Returns:
            When to look again, in seconds since the epoch; never, which is infinity, where nothing is left to be done.
        """
        standing_back, loop = asyncio.ensure_future(self._stand_back(note)), None

        async def job() -> Job:
            nonlocal loop
            loop, job = await self._job(note.loop_id)
            return job

        try:
            looking = self._evaluator.look(note.loop_id, self._clock.now())
            evaluates = await self._guarded("evaluate", f"loop {note.loop_id}", looking)  # None where that failed
            weighing = self._importances.look(note.loop_id, self._clock.now())
            weighs = await self._guarded("importance", f"loop {note.loop_id}", weighing)
            again = await self._trainer.run(Due(note.loop_id, job), self._clock.now())
        finally:
            standing_back.cancel()
            if loop is not None:
                grown.append(loop)
        if again is None and (evaluates is not False or weighs is not False):
            again = self._clock.now() + _LOOK_AGAIN
        return math.inf if again is None else again

    async def settle(self, note: activity.Note, again: float) -> None:
        """Take a loop's note away, or put it off until the loop is to be looked at again, in a minute at most."""
        if again == math.inf:
            await activity.trained(self._tables, note)
        else:
            await activity.put_off(self._tables, note, min(again, self._clock.now() + _LOOK_AGAIN))

    async def run_one(self, loop_id: str) -> None:
        """Train a loop as the timer would in its next run, whether or not it was told that there is anything new.

        The timer goes on where this ends: what is joined is yet to be examined.
        """
        await self._clock.ensure()
        await activity.note_joined(self._tables, loop_id)
        for note in await activity.untrained(self._tables):
            if note.loop_id == loop_id:
                await self.settle(note, min(await self.run(note, []), self._clock.now() + _LOOK_AGAIN))

    async def take(self, piece: Piece) -> None:
        """Do a piece of a new model's making, as the loop is now."""
        if piece.loop in await self._loops.deleted():
            return
        await self._clock.ensure()
        _, job = await self._job(piece.loop)
        await self._trainer.take(job, piece, self._clock.now())

    async def evaluate(self, piece: Scoring) -> None:
        """Do a piece of an evaluation, as the loop was when that was planned."""
        if piece.loop in await self._loops.deleted():
            return
        await self._clock.ensure()
        await self._evaluator.take(piece, self._clock.now())

    async def weigh(self, piece: Weighing) -> None:
        """Compute a feature importance, by the settings of when it was asked for."""
        if piece.loop in await self._loops.deleted():
            return
        await self._clock.ensure()
        await self._importances.take(piece, self._clock.now())

    async def _job(self, loop_id: str) -> tuple[Loop, Job]:
        """A loop, and what there is to train of it, as it and its log are now."""
        loop = await self._loops.by_id(loop_id)
        checkpoint, _ = await checkpoints.load(self._blobs, loop_id)
        return loop, job_of(loop, checkpoint)

    async def _stand_back(self, note: activity.Note) -> None:
        """Let others go first for a while where a loop's training takes so long that the host may end it."""
        await asyncio.sleep(_LONG)
        later = activity.put_off(self._tables, note, self._clock.now() + _STAND_BACK)
        await self._guarded("train", f"loop {note.loop_id}", later)
