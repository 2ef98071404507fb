"""Turns the scores of an evaluation's policies into its results, and results into what is stored and back.

Totals and estimates are in the evaluation's own record, as lists need no more; bins, which are many, in a blob beside
it: `loops/<id>/evaluations/<job>.bins`, immutable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec
import numpy as np

from shared.contract.evaluations import PolicySource
from shared.evaluation import estimators, scores
from shared.evaluation.bins import Bins, Sums
from shared.evaluation.estimators import Estimates
from shared.evaluation.plan import Entrant
from shared.evaluation.resources import Evaluation
from shared.evaluation.scores import Scores
from shared.log.records import APPRENTICE
from shared.storage import Blobs, Conflict, StorageError

ALL = -1
"""In place of a slot's number: all slots together. Single-slot results have no others."""
OTHERS = "(other slots)"
"""In place of the id of slots that are too many or too rare to be told apart."""


class Slot(msgspec.Struct, frozen=True):
    """What a policy would have earned in a slot.

    Attributes:
        number: of the slot, from 0 on, or `ALL`.
        total: over all bins.
        whole: by the whole log.
        judged: by that part of it by which no policy was chosen; the same where none was.
    """

    number: int
    total: Sums
    whole: Estimates
    judged: Estimates


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a policy would have earned.

    Attributes:
        name, source, arguments: see `Entrant`.
        slots: all together, then one by one.
    """

    name: str
    source: PolicySource
    slots: list[Slot]
    arguments: str | None = None


class Results(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of an evaluation.

    Attributes:
        outcomes: of each policy, in the order of the plan.
        judged_from: when the part of the log begins by which nothing was chosen, in seconds since the epoch; None
            where all of it is.
        slots: the ids of the slots by their numbers, as far as they are known; see `Plan.slots`.
        importance: features that matter by how much, the first the most; each as its namespace and name.
    """

    outcomes: list[Outcome]
    judged_from: float | None = None
    slots: list[str] = []
    importance: list[list[str]] = []

    def slot_id(self, number: int) -> str:
        """The id of a slot; `OTHERS` for those that have no number of their own, and nothing for all of them."""
        if number == ALL:
            return ""
        return self.slots[number] if number < len(self.slots) else OTHERS

    def outcome(self, name: str) -> Outcome | None:
        """That of a policy, or None where there is none of this name."""
        return next((one for one in self.outcomes if one.name == name), None)


Binned = dict[str, dict[str, Bins]]
"""Bins by policy, and by the number of the slot as text."""


class Sheet:
    """Gathers what a policy would have earned, shard by shard of the log.

    Args:
        multi_slot: whether it is told by slot, too.
    """

    def __init__(self, multi_slot: bool) -> None:
        self._multi_slot = multi_slot
        self._bins: dict[int, list[Bins]] = {}
        self._whole: dict[int, estimators.Sums] = {}
        self._judged: dict[int, estimators.Sums] = {}

    def add(self, shard: Scores, judged: bool) -> None:
        """Add the scores of a shard; `judged` says whether no policy was chosen by them."""
        for number in [ALL, *(np.unique(shard.slots).tolist() if self._multi_slot else [])]:
            of = shard if number == ALL else shard.where(shard.slots == number)
            sums = estimators.gather(of)
            self._bins.setdefault(number, []).append(Bins.of(of))
            for held in (self._whole, self._judged) if judged else (self._whole,):
                held[number] = held[number] + sums if number in held else sums

    def finish(self, entrant: Entrant, reward_range: tuple[float, float]) -> tuple[Outcome, dict[str, Bins]]:
        """What came of it in all, and the bins by slot."""
        bins = {number: Bins.merged(self._bins[number]) for number in sorted(self._bins)}
        slots = [
            Slot(
                number,
                held.total(),
                estimators.judge(self._whole[number], reward_range),
                estimators.judge(self._judged.get(number, _NOTHING), reward_range),
            )
            for number, held in bins.items()
        ]
        outcome = Outcome(entrant.name, entrant.source, slots, entrant.arguments)
        return outcome, {str(number): held for number, held in bins.items()}


_NOTHING = estimators.gather(scores.of_rows(()))


def optimal(outcomes: Iterable[Outcome]) -> str | None:
    """The name of the policy that earned the most, by SNIPS and what nothing was chosen by; None where none is known.

    Only policies that can be applied are asked: what decided, and those of which there are enough events to believe it.
    """
    told = [
        one
        for one in outcomes
        if one.arguments is not None and (one.source is PolicySource.ONLINE or one.slots[0].judged.trusted)
    ]
    best = max(told, key=lambda one: one.slots[0].judged.snips.value, default=None)
    return None if best is None or not best.slots[0].judged.events else best.name


def verdict(results: Results, best: str | None, mode: str) -> str:
    """What came of it, in words for people.

    Args:
        results: what came of it.
        best: the name of the policy that earned the most, or None where none is known.
        mode: of the events; see `Plan.mode`.
    """
    outcome = results.outcome(best) if best is not None else None
    if outcome is None:
        return "There is no event among these for learning: nothing can be said."
    judged, by = (
        outcome.slots[0].judged,
        "the part of the log that nothing was chosen by, " if results.judged_from else "",
    )
    online = next((one for one in results.outcomes if one.source is PolicySource.ONLINE), outcome)
    said = f"By {by}{judged.events} events, {outcome.name} earns {judged.snips.value:.4g} an event"
    if outcome is not online:
        said += f", where what decided earned {online.slots[0].judged.snips.value:.4g}"
    if mode == APPRENTICE:
        said += ", where an event earns 1 for the baseline's action and 0 for any other, as Apprentice mode learns it"
    return f"{said}. {judged.says}"


def of(evaluation: Evaluation) -> Results | None:
    """The results of an evaluation, or None while there are none.

    Raises:
        StorageError: they are damaged, or of a later release.
    """
    try:
        return msgspec.json.decode(evaluation.content, type=Results | None)
    except msgspec.MsgspecError as e:
        raise StorageError(f"the results of evaluation {evaluation.job_id} cannot be read: {e}") from e


async def keep_bins(blobs: Blobs, loop_id: str, job_id: str, binned: Binned) -> None:
    """Store the bins of an evaluation, unless they stand already."""
    with suppress(Conflict):
        await blobs.put(_path(loop_id, job_id), msgspec.msgpack.encode(binned))


async def read_bins(blobs: Blobs, loop_id: str, job_id: str) -> Mapping[str, Mapping[str, Bins]]:
    """The bins of an evaluation; none where it has none.

    Raises:
        StorageError: they are damaged, or storage does not answer.
    """
    blob = await blobs.get(_path(loop_id, job_id))
    try:
        return {} if blob is None else msgspec.msgpack.decode(blob.data, type=Binned)
    except msgspec.MsgspecError as e:
        raise StorageError(f"{_path(loop_id, job_id)} is damaged: {e}") from e


async def delete_bins(blobs: Blobs, loop_id: str, job_id: str) -> None:
    """Delete the bins of an evaluation, if there are any."""
    await blobs.delete(_path(loop_id, job_id))


def _path(loop_id: str, job_id: str) -> str:
    return f"loops/{loop_id}/evaluations/{job_id}.bins"
