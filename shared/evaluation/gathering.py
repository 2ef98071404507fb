"""Turns the pieces of an evaluation that stand into what its policies would have earned, a piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared.evaluation import estimators, pieces, scores
from shared.evaluation.estimators import Estimates
from shared.evaluation.plan import Entrant, Piece, State
from shared.evaluation.results import Binned, Results, Sheet
from shared.evaluation.scores import Scores
from shared.storage import Blobs

_Field = Sequence[tuple[int, Entrant]]


async def standing(blobs: Blobs, loop_id: str, state: State) -> dict[str, Estimates]:
    """What each policy that is still searched among would have earned up to the end of the round, by name.

    Raises:
        StorageError: a piece is gone or damaged, or storage does not answer.
    """
    plan, field = state.plan, state.field()
    sums: dict[str, estimators.Sums] = {}
    for group, names in _by_group(field).items():
        for shard in range(plan.rounds[len(state.fields)]):
            scored = await pieces.read(blobs, loop_id, plan, Piece(group, shard))
            for name in names:
                found = await asyncio.to_thread(_sums, scored.scores[name])
                sums[name] = sums[name] + found if name in sums else found
    return {one.name: estimators.judge(sums[one.name], plan.rules.reward_range) for _, one in field}


async def outcomes(blobs: Blobs, loop_id: str, state: State) -> tuple[Results, Binned]:
    """What came of the policies that have come to the end.

    Raises:
        StorageError: as `standing`.
    """
    plan, finalists = state.plan, state.finalists()
    sheets = {one.name: Sheet(plan.multi_slot) for _, one in finalists}
    begins: float | None = None
    for group, names in _by_group(finalists).items():
        for shard in range(len(plan.ends)):
            scored = await pieces.read(blobs, loop_id, plan, Piece(group, shard))
            for name in names:
                columns = await asyncio.to_thread(_added, sheets[name], scored.scores[name], shard >= plan.judged)
                if begins is None and 0 < plan.judged <= shard and columns.decisions:
                    begins = float(columns.times[0])
    done = {one.name: sheets[one.name].finish(one, plan.rules.reward_range) for _, one in finalists}
    found = Results([outcome for outcome, _ in done.values()], begins, plan.slots)
    return found, {name: bins for name, (_, bins) in done.items()}


def _by_group(field: _Field) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for group, one in field:
        found.setdefault(group, []).append(one.name)
    return found


def _sums(packed: bytes) -> estimators.Sums:
    return estimators.gather(scores.unpack(packed))


def _added(sheet: Sheet, packed: bytes, judged: bool) -> Scores:
    columns = scores.unpack(packed)
    sheet.add(columns, judged)
    return columns
