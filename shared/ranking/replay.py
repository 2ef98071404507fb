"""Turns an event as the log keeps it, and the model version that decided it, into the same decision once more."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from shared.contract.errors import ApiError
from shared.learning.model import ModelError, ServingModel
from shared.learning.rebuild import Gone, Rebuilder
from shared.learning.registry import Version
from shared.log import entry as entries
from shared.log.entry import Entry
from shared.log.erasure import Erased
from shared.log.join import MIN_PROBABILITY
from shared.log.records import RankedSlot
from shared.loops import policy
from shared.ranking.decision import Decision, Trial
from shared.ranking.holdback import held_back
from shared.ranking.model_cache import NO_MODEL, Held
from shared.ranking.multi_slot import resolve_slots
from shared.ranking.rank import resolve
from shared.storage import StorageError, Unavailable

_encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class _Slots(msgspec.Struct):
    s: list[RankedSlot]


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision that was taken again.

    Attributes:
        answer: the body, byte for byte as it was answered where `same`, less the explanation that it may have had.
        same: whether it is what the log holds: order, probabilities, draw, and whether it is held back.
    """

    answer: bytes
    same: bool

    @property
    def sha256(self) -> str:
        """Of the answer."""
        return hashlib.sha256(self.answer).hexdigest()


async def replay(rebuilder: Rebuilder, loop_id: str, entry: Entry, since: int, erased: Erased) -> Replay:
    """Take a decision again; see `by_its_model`, and for arguments, too."""

    def decided(held: Held) -> Replay:
        again = _compared(entry, decide_again(entry, loop_id, held))
        return replace(again, same=again.same and _trial(entry, loop_id).held == entry.holdback)

    return await by_its_model(rebuilder, loop_id, entry, since, erased, decided)


async def by_its_model(
    rebuilder: Rebuilder, loop_id: str, entry: Entry, since: int, erased: Erased, use: Callable[[Held], T]
) -> T:
    """Ask the model that decided an event, off the event loop; those that need a model take turns.

    Args:
        rebuilder: has the versions.
        loop_id: the loop.
        entry: the event.
        since: what the log held before this bucket is deleted.
        erased: what of the log must not be seen any more.
        use: asks it; it is loaded as it was then, and closed afterwards.

    Raises:
        Gone: it cannot be asked; the text says why.
        Unavailable: storage does not answer.
    """
    name = entry.scorer.version
    if name == NO_MODEL.decode():
        return await asyncio.to_thread(use, Held(exploration=entry.epsilon or 0.0))
    if entry.epsilon is None:
        raise Gone("A release ranked it that did not write down the exploration its model was loaded with.")
    try:
        async with rebuilder.turn:
            version, data = await rebuilder.model(loop_id, name, since, erased)
            return await asyncio.to_thread(_used, version, data, entry.epsilon, use)
    except Unavailable:
        raise
    except (ModelError, ApiError, StorageError) as e:
        raise Gone(f"Model version {name} cannot be used by this release: {e}.") from e


def decide_again(entry: Entry, loop_id: str, held: Held) -> Decision:
    """What a model decides of an event.

    Args:
        entry: the event.
        loop_id: the loop.
        held: the model that decided it, loaded as it was then.

    Raises:
        ModelError: VW refuses the example.
    """
    asked, trial = entries.asked(entry), _trial(entry, loop_id)
    built = bytes(entry.example)
    ids = [_encode(action_id) for action_id in asked.ids]
    if entry.outcomes is not None:
        slots = [slot.id for slot in entry.outcomes]
        return resolve_slots(
            entry.event_id,
            entry.mode,
            held,
            built,
            ids,
            slots,
            asked.seeds,
            asked.allowed,
            entry.baselines,
            trial=trial,
        )
    excluded = [index for index, _ in entry.excluded]
    for index, action_id in entry.excluded:
        ids.insert(index, _encode(action_id))
    left_out = set(excluded)  # nearly all actions may be
    rankable = [index for index in range(len(ids)) if index not in left_out]
    return resolve(entry.event_id, loop_id, entry.mode, held, built, ids, rankable, excluded, trial=trial)


def _trial(entry: Entry, loop_id: str) -> Trial:
    """Whether it is held back: by what the log holds of it, and not by what the log says of that."""
    share = entry.share or 0.0
    return Trial(held_back(entry.event_id, entry.subject, loop_id, entry.mode, share), share)


def _used(version: Version, data: bytes, epsilon: float, use: Callable[[Held], T]) -> T:
    made_with = policy.read(version.arguments)
    model = ServingModel(data, made_with.serving(epsilon))
    try:
        return use(Held(version, model, made_with, epsilon))
    finally:
        model.close()


def _compared(entry: Entry, decision: Decision) -> Replay:
    again = entries.of_line(decision.dsjson)
    if entry.outcomes is None:
        return Replay(decision.body, (again.order, again.probabilities) == (entry.order, entry.probabilities))
    drawn = msgspec.json.decode(b"{" + decision.choice + b"}", type=_Slots).s
    held = [(slot.id, slot.actions, _as_learned(slot.probabilities)) for slot in entry.outcomes]
    return Replay(decision.body, held == [(slot.id, slot.actions, _as_learned(slot.probabilities)) for slot in drawn])


def _as_learned(probabilities: list[float]) -> list[float]:
    return [max(p, MIN_PROBABILITY) if n == 0 else p for n, p in enumerate(probabilities)]
