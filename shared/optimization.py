"""Turns a loop whose auto-optimization is due into an evaluation that looks for a better policy (contract 5.9)."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from shared.contract import instants
from shared.contract.evaluations import DateRange, EvaluationType, Status
from shared.contract.versions import Version
from shared.evaluation import field, optimizing, pieces, resources
from shared.evaluation.evaluator import Evaluator
from shared.evaluation.field import Sample
from shared.evaluation.resources import Evaluation
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.erasure import Erased
from shared.log.joined import Window
from shared.log.records import APPRENTICE
from shared.loops.settings import Loop
from shared.storage import Blobs, Conflict, Tables, documents


class _Ran(msgspec.Struct, omit_defaults=True):
    """When a loop's last run was due, in seconds since the epoch: `loops/<id>/optimizing.json`."""

    ran: float = 0.0
    format: int = documents.FORMAT


class Optimization:
    """Auto-optimization over one storage account.

    Args:
        tables, blobs: hold what there is of loops.
        evaluator: makes the evaluations.
    """

    def __init__(self, tables: Tables, blobs: Blobs, evaluator: Evaluator) -> None:
        self._tables = tables
        self._blobs = blobs
        self._evaluator = evaluator

    async def run(self, loop: Loop, now: float) -> None:
        """Begin a run where one is due and there is a log; past runs that are too many go.

        Evaluations that a call has begun, and died before it could wake the train timer, are told to that as well.

        Args:
            loop: as it is now.
            now: seconds since the epoch.
        """
        if await pieces.unfinished(self._blobs, loop.id):
            await activity.note_joined(self._tables, loop.id)
        configuration = loop.configuration
        start, frequency = configuration.auto_optimization_start, configuration.auto_optimization_frequency
        if loop.multi_slot or not configuration.is_auto_optimization_enabled or now < start:
            return
        if configuration.learning_mode == APPRENTICE:
            return  # its labels say who imitates the baseline best, not who earns the most
        path = f"loops/{loop.id}/optimizing.json"
        blob = await self._blobs.get(path)
        ran = documents.decode(blob.data, _Ran, path).ran if blob else 0.0
        due = optimizing.due(start, frequency, ran, now)
        if due is None:
            return
        checkpoint, _ = await checkpoints.load(self._blobs, loop.id)
        held = await field.sizes(self._blobs, loop.id, DateRange(0.0, checkpoint.watermark), checkpoint.since)
        looked_at = optimizing.span(held, int(now))
        if not looked_at:
            return  # as soon as there is something
        seen = await field.sample(self._blobs, loop, looked_at, Erased(checkpoint.erasures))
        await self._begin(loop, looked_at, seen, due, now)
        await self._blobs.put(path, msgspec.json.encode(_Ran(due)), blob.etag if blob else None)

    async def _begin(self, loop: Loop, looked_at: dict[Window, int], seen: Sample, due: float, now: float) -> None:
        day = instants.spell(int(due))
        evaluation_id = f"auto-{day}"  # the same in whatever instance
        evaluation = Evaluation(
            id=evaluation_id,
            name=f"Auto-optimization of {day}",
            start=float(next(iter(looked_at)).start),
            end=float(next(reversed(looked_at)).end),
            created=now,
            status=Status.RUNNING,
            api_version=Version.V2022,  # which older ones can read, too
            job_id=field.job_id(loop.id, evaluation_id, now),
            evaluation_type=EvaluationType.AUTO,
            optimize=True,
        )
        with suppress(Conflict):  # an instance that died before it could say so has begun it
            await self._evaluator.begin(loop.id, evaluation, field.plan(loop, evaluation, looked_at, seen), now)
        await activity.note_joined(self._tables, loop.id)  # wakes the train timer, which sees that it goes on
        runs = await resources.newest_first(self._blobs, loop.id, Evaluation)
        for past in [one for one in runs if one.evaluation_type is EvaluationType.AUTO][optimizing.KEPT :]:
            await self._evaluator.delete(loop.id, past, now)
