"""What decisions come to, by minute, hour and action."""

from __future__ import annotations

import random
from typing import Any

import pytest

from shared.log.join import Rules, decode_events, join
from shared.log.minutes import (
    MEASURES,
    OTHERS,
    Exploration,
    Part,
    added,
    days_of,
    of_event,
    of_slot,
    told_apart,
)
from shared.log.records import APPRENTICE, LOGGING_ONLY, Arm, RankedSlot, decode_observed
from tests.journalled import T0, Obs, Rank, Record, Slot, SlotRank

RULES = Rules(600.0, 0.25, "sum", (-1.0, 1.0))


def part(*records: Record, end: int = T0 + 600) -> Part:
    ranked = [record.line() for record in records if isinstance(record, Rank)]
    observed = [decode_observed(record.line()) for record in records if isinstance(record, Obs)]
    return join(decode_events(ranked), observed, [], RULES).minutes.part(end)


def sums(found: Part, minute: int = T0) -> dict[str, float]:
    """What is not zero in a minute."""
    at = found.minutes.index(minute)
    return {name: values[at] for name, values in found.sums.items() if values[at]}


def test_an_event_counts_in_its_minute_with_what_it_earned() -> None:
    found = part(
        Rank("e", T0 + 59.9, chosen=1, p=0.1, best=0.8, explored=True),
        Rank("f", T0 + 60, chosen=2, best=0.5),
        Obs("e", T0 + 300, 0.5),
        Obs("e", T0 + 301, 2.0),  # beyond what learning sees
    )

    assert found.minutes == [T0, T0 + 60]
    assert sums(found) == pytest.approx(
        {"events": 1, "rewarded": 1, "rewards": 2.5, "squares": 6.25, "explored": 1, "explorationAsked": 0.2}
    )
    assert sums(found, T0 + 60) == {"events": 1, "rewards": 0.25, "squares": 0.0625, "explorationAsked": 0.5}
    assert found.actions == {T0 // 3600 * 3600: {"a1": (1, 2.5, 6.25), "a2": (1, 0.25, 0.0625)}}
    assert found.end == T0 + 600


def test_the_baseline_is_weighed_by_the_probability_of_its_draws() -> None:
    found = part(
        *(Rank(f"e{n}", T0 + n, chosen=n % 2, p=0.25) for n in range(4)),
        Rank("unlikely", T0 + 5, chosen=0, p=1e-9),
        *(Obs(f"e{n}", T0 + 10, 0.5) for n in range(4)),
        Obs("unlikely", T0 + 10, 0.0),
    )

    told = sums(found)
    assert told["baselineWeights"] == 4 + 4 + 1000  # a probability is never below a thousandth
    assert told["baseline"] == pytest.approx(2 * 4 * 0.5)
    assert told["baselineSquares"] == pytest.approx(2 * (4 * 0.5) ** 2)
    assert told["baselineWeightSquares"] == pytest.approx(2 * 16 + 1e6)
    assert told["baselineCross"] == pytest.approx(2 * 16 * 0.5)


def test_where_the_answer_is_the_baseline_for_certain_it_has_the_weight_of_one() -> None:
    found = part(
        Rank("imitated", T0, chosen=0, p=0.2, mode=APPRENTICE, best=0.8),
        Rank("not", T0 + 1, chosen=2, p=0.2, mode=APPRENTICE, best=0.8, explored=True),
        Rank("logged", T0 + 2, chosen=0, p=1.0, mode=LOGGING_ONLY, best=1.0),
        *(Obs(name, T0 + 10, 0.5) for name in ("imitated", "not", "logged")),
    )

    told = sums(found)
    assert told == pytest.approx(
        {
            "events": 3, "rewarded": 3, "rewards": 1.5, "squares": 0.75, "explored": 1, "explorationAsked": 0.4,
            "baseline": 1.5, "baselineWeights": 3, "baselineSquares": 0.75, "baselineWeightSquares": 3,
            "baselineCross": 1.5, "apprentice": 2, "apprenticeRewards": 1.0, "imitated": 1, "imitatedRewards": 0.5,
        }
    )  # fmt: skip
    assert found.actions == {T0 // 3600 * 3600: {"a0": (3, 1.5, 0.75)}}  # which is what people saw


def test_what_is_held_back_or_not_active_or_repeated_is_no_event() -> None:
    found = part(
        Rank("held", T0, arm=Arm(True, 1.0), p=1.0, best=1.0),
        Rank("model", T0, arm=Arm(False, 1.0), chosen=1),
        Rank("inactive", T0 + 1, deferred=True),
        Rank("active", T0 + 2, deferred=True, chosen=1),
        Rank("active", T0 + 3, deferred=True),
        Obs("held", T0 + 4, 0.5),
        Obs("active", T0 + 5, kind="a"),
    )

    assert sums(found) == {
        "events": 2, "rewards": 0.5, "squares": 0.125, "held": 1, "heldRewards": 0.5, "heldSquares": 0.25,
        "inactiveEvents": 1, "repeatedEvents": 1,
    }  # fmt: skip
    assert found.actions == {}


def test_each_slot_is_a_decision() -> None:
    slots = (
        Slot("top", (1, 0, 2), 1, 0.2, shown=("a1",)),
        Slot("side", (2, 0), 0, 0.6, shown=("a2",)),
        Slot("none", (), 0, shown=("",)),
    )
    found = part(SlotRank("e", T0, slots=slots), Obs("e", T0 + 1, slots=(("top", 0.5), ("other", 1.0))))

    assert sums(found) == pytest.approx(
        {
            "events": 2, "rewarded": 1, "rewards": 0.75, "squares": 0.3125, "emptySlots": 1,
            "explored": 1, "explorationAsked": 0.6 + 0.4,
            "baseline": 2.5, "baselineWeights": 5, "baselineSquares": 6.25, "baselineWeightSquares": 25,
            "baselineCross": 12.5,
        }
    )  # fmt: skip
    assert found.actions == {T0 // 3600 * 3600: {"a1": (1, 0.5, 0.25), "a2": (1, 0.25, 0.0625)}}


def test_lines_of_an_earlier_release_tell_of_no_exploration_and_no_action() -> None:
    (event,) = decode_events([Rank("e", T0, p=0.5).line()])
    assert of_event(event) == Exploration(0.0, False)

    found = part(SlotRank("e", T0), Rank("f", T0, chosen=1))
    assert found.actions == {}
    assert sums(found)["events"] == 3


@pytest.mark.parametrize(
    ("actions", "probabilities", "expected"),
    [
        ([3, 1], [0.75, 0.25], Exploration(0.25, False)),
        ([3, 1], [0.25, 0.75], Exploration(0.25, True)),
        ([1, 3], [0.5, 0.5], Exploration(0.5, False)),
        ([3, 1], [0.5, 0.5], Exploration(0.5, True)),  # the first among equals is taken for the best
        ([3], [1.0], Exploration(0.0, False)),
    ],
)
def test_the_exploration_of_a_slot(actions: list[int], probabilities: list[float], expected: Exploration) -> None:
    assert of_slot(RankedSlot("s", actions, probabilities, 0)) == expected


def test_however_the_windows_are_cut_the_sums_are_the_same() -> None:
    chance = random.Random(1)
    ranks = [
        Rank(f"e{n:03}", T0 + n * 7 + chance.random(), chosen=chance.randrange(3), p=0.5, best=0.5) for n in range(99)
    ]
    rewards = [Obs(rank.id, rank.t + 5, chance.choice([0.0, 0.5, 1.0])) for rank in ranks]
    whole = part(*ranks, *rewards)

    cut: Part | None = None
    for first in range(0, 99, 10):
        cut = added(cut, part(*ranks[first : first + 10], *rewards[first : first + 10], end=T0 + first))

    assert cut is not None
    assert cut.end == T0 + 90
    assert cut.minutes == whole.minutes
    assert cut.actions == whole.actions
    assert cut.sums.keys() == whole.sums.keys() <= set(MEASURES)
    for name, values in whole.sums.items():
        assert cut.sums[name] == pytest.approx(values)


def test_sums_of_a_later_release_are_kept() -> None:
    later = Part(1, [T0], {"ofLater": [2.0]})

    assert added(later, part(Rank("e", T0 + 60))).sums["ofLater"] == [2.0, 0.0]


def test_of_very_many_actions_those_with_the_most_events_are_told_apart() -> None:
    of: dict[str, Any] = {f"a{n}": (n, n * 0.5, 1.0) for n in range(10)}

    few = told_apart(of, 3)
    again = told_apart({**few, "new": (20, 1.0, 1.0)}, 3)

    assert few == {"a9": (9, 4.5, 1.0), "a8": (8, 4.0, 1.0), "a7": (7, 3.5, 1.0), OTHERS: (21, 10.5, 7.0)}
    assert again == {"new": (20, 1.0, 1.0), "a9": few["a9"], "a8": few["a8"], OTHERS: (28, 14.0, 8.0)}
    assert told_apart(few, 3) == few


def test_the_days_of_a_part() -> None:
    midnight = T0 // 86_400 * 86_400 + 86_400

    assert days_of(part(Rank("e", midnight - 1), Rank("f", midnight))) == [midnight - 86_400, midnight]
