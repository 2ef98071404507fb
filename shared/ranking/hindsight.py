"""Turns an event as the log keeps it, and the model version that decided it, into why it was decided so (ADR 0033)."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.contract.stories import ToldExpectation, ToldShare
from shared.learning.model import ServingModel
from shared.learning.rebuild import Gone, Rebuilder
from shared.log import entry as entries
from shared.log.entry import Entry
from shared.log.erasure import Erased
from shared.log.records import LOGGING_ONLY
from shared.ranking.model_cache import Held
from shared.ranking.replay import by_its_model

MOST: Final = 200_000
"""Combinations of an action's features that are looked at."""
ACTIONS: Final = 50
"""Actions that are told of."""
SHOWN: Final = 100
"""Features of each that are told of."""


class _Parts(msgspec.Struct, gc=False):
    context: msgspec.Raw = msgspec.field(name="FromUrl")
    actions: list[msgspec.Raw] = msgspec.field(name="_multi")


_decode = msgspec.json.Decoder(_Parts).decode


async def explain(
    rebuilder: Rebuilder, loop_id: str, entry: Entry, since: int, erased: Erased
) -> list[ToldExpectation]:
    """What the model that decided an event expected of its actions, the drawn one first, then as they were ranked.

    See `replay.by_its_model` for arguments and errors.
    """
    if entry.outcomes is not None:
        raise Gone("It is of several slots: what a slot is given depends on those before, not on a sum of features.")
    if entry.holdback or entry.mode == LOGGING_ONLY:
        raise Gone("No model was asked: the first action was to be shown.")

    def told(held: Held) -> list[ToldExpectation]:
        if held.model is None:
            raise Gone("The loop had no model yet: all actions were equally probable.")
        return _expected(entry, held.model)

    return await by_its_model(rebuilder, loop_id, entry, since, erased, told)


def _expected(entry: Entry, model: ServingModel) -> list[ToldExpectation]:
    parts, ids = _decode(entry.example), entries.asked(entry).ids
    told = []
    for place, probability in list(zip(entry.order, entry.probabilities, strict=True))[:ACTIONS]:
        shares = model.explainer.shares(bytes(parts.context), bytes(parts.actions[place - 1]), most=MOST)
        if shares is None:
            raise Gone("Its policy does not choose by a sum of features, or there are too many of them.")
        features = [ToldShare(name, score) for name, score in shares[:SHOWN]]
        told.append(ToldExpectation(ids[place - 1], probability, sum(score for _, score in shares), features))
    return told
