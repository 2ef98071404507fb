"""Why a past event was decided so, by the version that decided it; or why that cannot be told."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import orjson
import pytest

from shared.contract.stories import ToldExpectation
from shared.counters import Counters
from shared.learning.rebuild import Gone, Rebuilder
from shared.log import entry as entries
from shared.log.entry import Entry
from shared.log.erasure import NOTHING
from shared.loops.holdback import Holdback
from shared.ranking import hindsight
from shared.ranking.model_cache import Held
from shared.storage.memory import MemoryBlobs
from tests.unit.ranking.test_replay import BODY, ODD, SLOTS, decided, logged, loop, published
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import QUICK_SLOTS, SINGLE


async def explained(blobs: MemoryBlobs, entry: Entry) -> list[ToldExpectation]:
    return await hindsight.explain(Rebuilder(blobs, Counters()), ID, entry, 0, NOTHING)


@pytest.mark.parametrize("excluded", [[], [ODD[0], ODD[3]]])
@pytest.mark.parametrize("mode", ["Online", "Apprentice"])
async def test_every_action_is_explained_by_the_version_that_decided(mode: str, excluded: list[str]) -> None:
    blobs, held = await published(SINGLE, 0.2)
    decision = decided({**BODY, "excludedActions": excluded}, held, loop(mode=mode))
    ranking = {one["id"]: one["probability"] for one in orjson.loads(decision.body)["ranking"]}

    for entry in logged(decision):
        told = await explained(blobs, entry)

        assert {one.id: one.probability for one in told} == {
            name: share for name, share in ranking.items() if name not in excluded
        }
        assert told[0].id == entries.asked(entry).ids[entry.order[0] - 1]
        # As likely as the model thinks well of it: the best one has all but its part of the exploration.
        assert max(told, key=lambda one: one.score) == max(told, key=lambda one: one.probability)
        for one in told:
            assert one.score == pytest.approx(sum(feature.score for feature in one.features))
            assert "FromUrl.time^j.topic" in [feature.name for feature in one.features]


async def test_little_is_told_of_what_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, held = await published(SINGLE, 0.2)
    _, entry = logged(decided(BODY, held, loop()))
    whole = await explained(blobs, entry)
    monkeypatch.setattr(hindsight, "ACTIONS", 2)
    monkeypatch.setattr(hindsight, "SHOWN", 3)

    some = await explained(blobs, entry)

    assert [(one.id, one.score, one.features) for one in some] == [
        (one.id, one.score, one.features[:3]) for one in whole[:2]
    ]


async def test_what_cannot_be_explained_is_told() -> None:
    blobs, held = await published(SINGLE, 0.2)
    slots_blobs, slots_held = await published(QUICK_SLOTS, 0.2)
    softmax_blobs, softmax_held = await published(f"{SINGLE} --softmax", 0.2)
    half = replace(loop(), holdback=Holdback(0.5, 1.0))
    kept = next(
        entry
        for n in range(20)
        if (entry := logged(decided({**BODY, "eventId": f"e{n}"}, held, half), subject=None)[1]).holdback
    )
    cases = [
        (blobs, kept, "No model was asked"),
        (blobs, logged(decided(BODY, held, loop(mode="LoggingOnly")))[1], "No model was asked"),
        (blobs, logged(decided(BODY, Held(), loop()))[1], "had no model yet"),
        (slots_blobs, logged(decided({**BODY, "slots": SLOTS}, slots_held, loop(QUICK_SLOTS)))[1], "several slots"),
        (softmax_blobs, logged(decided(BODY, softmax_held, loop(f"{SINGLE} --softmax")))[1], "sum of features"),
        (MemoryBlobs(), logged(decided(BODY, held, loop()))[1], "no record of model version"),
        (blobs, msgspec.structs.replace(logged(decided(BODY, held, loop()))[1], epsilon=None), "did not write down"),
    ]

    for storage, entry, why in cases:
        with pytest.raises(Gone, match=why):
            await explained(storage, entry)
