"""Results of policies: gathered by shard and slot, stored, and read again."""

from __future__ import annotations

import msgspec
import pytest

from shared.contract.evaluations import PolicySource
from shared.evaluation import estimators, results, scores
from shared.evaluation.bins import Bins
from shared.evaluation.plan import Entrant
from shared.evaluation.results import ALL, Results, Sheet
from shared.evaluation.scores import Scores
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.unit.evaluation.course import LOOP, Course

T0 = 1_700_002_800.0
RANGE = (-1.0, 1.0)
MINE = Entrant("mine", PolicySource.CUSTOM, "--cb_explore_adf")


def slotted(count: int, start: float = T0, slots: int = 2) -> Scores:
    """Events of so many slots, of which the first one earns."""
    return scores.of_rows(
        [
            (start + n, slot, slot, 0.5, 0.25 * (1 + slot), float(slot == 0), 0.1, 0.1)
            for n in range(count)
            for slot in range(slots)
        ]
    )


def test_slots_are_told_together_and_one_by_one() -> None:
    sheet = Sheet(True)
    sheet.add(slotted(100), False)
    sheet.add(slotted(50, T0 + 300), True)

    outcome, bins = sheet.finish(MINE, RANGE)

    assert [slot.number for slot in outcome.slots] == [ALL, 0, 1]
    together, first, second = outcome.slots
    assert (together.total.events, first.total.events, second.total.events) == (300, 150, 150)
    assert (first.total.mean, second.total.mean) == (0.5, 0.0)
    assert (together.whole.events, together.judged.events) == (150, 50)
    wanted = estimators.estimate(slotted(150, slots=1), RANGE)
    assert first.whole.snips == pytest.approx(wanted.snips)
    assert first.whole.dr == pytest.approx(wanted.dr)
    assert first.judged == estimators.estimate(slotted(50, slots=1), RANGE)
    assert bins == {
        "-1": Bins.of(scores.join([slotted(100), slotted(50, T0 + 300)])),
        "0": Bins.of(scores.join([slotted(100, slots=1), slotted(50, T0 + 300, slots=1)])),
        "1": bins["1"],
    }


def test_a_slot_is_told_apart_in_events_that_have_no_other() -> None:
    sheet = Sheet(True)
    sheet.add(slotted(100), True)
    sheet.add(slotted(50, T0 + 300, slots=1), True)

    outcome, _ = sheet.finish(MINE, RANGE)

    assert [(slot.number, slot.total.events) for slot in outcome.slots] == [(ALL, 250), (0, 150), (1, 100)]


def test_without_slots_there_is_one_result() -> None:
    sheet = Sheet(False)
    sheet.add(slotted(10, slots=1), False)
    sheet.add(slotted(0), True)

    outcome, bins = sheet.finish(MINE, RANGE)

    assert [slot.number for slot in outcome.slots] == [ALL]
    assert outcome.slots[0].judged.events == 0
    assert list(bins) == ["-1"]
    assert (outcome.name, outcome.source, outcome.arguments) == ("mine", PolicySource.CUSTOM, "--cb_explore_adf")


def test_a_log_of_nothing_has_results_of_nothing() -> None:
    sheet = Sheet(False)
    sheet.add(scores.of_rows([]), True)

    outcome, _ = sheet.finish(MINE, RANGE)

    assert outcome.slots[0].total.events == outcome.slots[0].whole.events == 0
    assert results.optimal([outcome]) is None


def test_slots_have_the_ids_that_are_known() -> None:
    found = Results([], slots=["hero", "side"])

    assert [found.slot_id(number) for number in (ALL, 0, 1, 2)] == ["", "hero", "side", results.OTHERS]


async def test_bins_are_kept_once() -> None:
    blobs, held = MemoryBlobs(), {"mine": {"-1": Bins.of(slotted(3))}}
    assert await results.read_bins(blobs, LOOP, "j") == {}
    await results.keep_bins(blobs, LOOP, "j", held)
    await results.keep_bins(blobs, LOOP, "j", {})

    assert await results.read_bins(blobs, LOOP, "j") == held
    await results.delete_bins(blobs, LOOP, "j")
    assert await results.read_bins(blobs, LOOP, "j") == {}


async def test_what_is_damaged_is_said_to_be() -> None:
    blobs = MemoryBlobs()
    await blobs.put(f"loops/{LOOP}/evaluations/j.bins", b"\xc1")
    with pytest.raises(StorageError, match="damaged"):
        await results.read_bins(blobs, LOOP, "j")
    evaluation = Course().evaluation(content=msgspec.Raw(b"[]"))
    with pytest.raises(StorageError, match="cannot be read"):
        results.of(evaluation)


def test_results_are_read_as_they_were_written() -> None:
    sheet = Sheet(True)
    sheet.add(slotted(30), True)
    found = Results([sheet.finish(MINE, RANGE)[0]], 5.0, ["hero"], [["FromUrl", "x"]])

    assert results.of(Course().evaluation(content=msgspec.Raw(msgspec.json.encode(found)))) == found
    assert found.outcome("mine") is found.outcomes[0]
    assert found.outcome("other") is None
    assert results.of(Course().evaluation()) is None
