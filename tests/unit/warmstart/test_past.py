"""A decision of the past becomes a line that VW learns, and the same line as this loop would have written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.learning.lesson import takes
from shared.learning.model import Learner
from shared.log import entry
from shared.log.join import Rules
from shared.log.records import APPRENTICE, ONLINE
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.ranking.action_cache import ActionCache
from shared.warmstart.past import Choice, Past, Slot, line

RULES = Rules(600.0, -0.25, "sum", (-1.0, 1.0))
SINGLE = policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])
MULTI = policy.read(DEFAULT_ARGUMENTS[Problem.MULTI_SLOT])
PAST = Past(
    "e/1",
    1_700_000_000.5,
    [{"hour": 9}],
    [("tea", [{"hot": True}]), ("ice", [{"hot": False}]), ("milk", [{}])],
    Choice([1], [0.6], [0.5, 0.25]),
)
SLOTS = replace(
    PAST,
    choice=None,
    slots=[
        Slot("top", [{"size": 2}], None, 0, Choice([2, 0, 1], [0.8, 0.1, 0.1], [1.0])),
        Slot("side", [], [0, 2], 1, Choice([0], [1.0], [])),
        Slot("back", [], [2], 2, Choice([], [], [])),
    ],
)


def lined(past: Past, held: policy.Policy = SINGLE, rules: Rules = RULES, **more: Any) -> bytes:
    return line(past, rules, held, ActionCache(), **more)


def test_the_line() -> None:
    assert orjson.loads(lined(PAST)) == {
        "_label_cost": -0.75,
        "_label_probability": 0.6,
        "_label_Action": 2,
        "_labelIndex": 1,
        "_original_label_cost": -0.75,
        "o": [{"v": v, "EventId": "e/1", "ActionTaken": False} for v in (0.25, 0.5)],
        "Timestamp": "2023-11-14T22:13:20.500000Z",
        "Version": "1",
        "EventId": "e/1",
        "a": [2, 1, 3],
        "p": [0.6, 0.2, 0.2],
        "c": {
            "FromUrl": [{"hour": 9}],
            "_multi": [
                {"_tag": "tea", "i": {"constant": 1, "id": "tea"}, "j": [{"hot": True}]},
                {"_tag": "ice", "i": {"constant": 1, "id": "ice"}, "j": [{"hot": False}]},
                {"_tag": "milk", "i": {"constant": 1, "id": "milk"}, "j": [{}]},
            ],
        },
        "VWState": {"m": "N/A"},
    }


def test_it_is_learned_and_read_as_any_other() -> None:
    text = lined(PAST)
    learner = Learner(SINGLE.training, None)
    learner.learn(text)

    assert takes(text, ONLINE, multi_slot=False)
    assert learner.loss != 0.0
    assert entry.asked(entry.of_line(text)).ids == ["tea", "ice", "milk"]
    learner.close()


def test_slots_are_learned() -> None:
    text = lined(SLOTS, MULTI)
    learner = Learner(MULTI.training, None)
    learner.learn(text)
    held = entry.of_line(text)

    assert takes(text, ONLINE, multi_slot=True)
    assert held.outcomes is not None
    assert [(o.id, o.actions, o.cost) for o in held.outcomes] == [
        ("top", [2, 0, 1], -1.0),
        ("side", [0], 0.25),
        ("back", [], None),
    ]
    assert held.baselines == [0, 1, 2]
    assert orjson.loads(text)["c"]["_slots"][1] == {"_id": "side", "_tag": "seed=e/1side", "_inc": [0, 2], "sj": []}
    learner.close()


def test_the_mode_stays_with_the_line() -> None:
    text = lined(replace(PAST, mode=APPRENTICE, choice=Choice([0], [0.6], [0.5])))

    assert not takes(text, ONLINE, multi_slot=False)
    assert orjson.loads(text)["_label_cost"] == -1.0
    assert orjson.loads(text)["_original_label_cost"] == -0.5


def test_an_id_that_the_example_cannot_hold_stands_beside_it() -> None:
    text = lined(replace(PAST, actions=[("a\0b", [{}]), ("c", [{}])]))

    assert entry.asked(entry.of_line(text)).ids == ["a\0b", "c"]


@pytest.mark.parametrize("known", [[0.6, 0.3, 0.1], [0.6], [0.6, 0.4], [0.6, 0.6, 0.6]])
def test_what_is_not_known_of_the_others_is_shared_out(known: list[float]) -> None:
    held = entry.of_line(lined(replace(PAST, choice=Choice([1, 0, 2], known, []))))

    assert held.probabilities == (known if known == [0.6, 0.3, 0.1] else [0.6, 0.2, 0.2])


def test_a_single_action() -> None:
    held = entry.of_line(lined(replace(PAST, actions=[("tea", [{}])], choice=Choice([0], [0.5], []))))

    assert held.probabilities == [0.5]
    assert held.cost == 0.25


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"event_id": ""}, "eventId must have 1 to 256 characters"),
        ({"time": 1e18}, "no time|time is none that a calendar has"),
        ({"actions": []}, "0 actions; 1 to 50"),
        ({"actions": [(str(n), [{}]) for n in range(51)]}, "51 actions; 1 to 50"),
        ({"actions": [("a", [{}]), ("a", [{}])]}, "distinct"),
        ({"actions": [("a", [])]}, "at least one object"),
        ({"actions": [("", [{}])]}, "1 to 256 characters"),
        ({"actions": [("a", [{"x": ["text"]}])]}, "feature arrays hold numbers"),
        ({"context": [{"x": 10**40}]}, "written as JSON"),
        ({"context": [{"x": 1e300}]}, "at most 1e"),
        ({"context": [3]}, "must be an object of features"),
        ({"choice": Choice([3], [0.5], [])}, "not among its actions"),
        ({"choice": Choice([-1], [0.5], [])}, "not among its actions"),
        ({"choice": Choice([], [0.5], [])}, "not among its actions"),
        ({"choice": Choice([0, 0], [0.5], [])}, "not among its actions"),
        ({"choice": Choice([0], [], [])}, "probability"),
        ({"choice": Choice([0], [0.0], [])}, "probability"),
        ({"choice": Choice([0], [1.5], [])}, "probability"),
        ({"choice": Choice([0], [float("nan")], [])}, "probability"),
        ({"choice": Choice([0], [0.5], [float("inf")])}, "reward must be a finite number"),
        ({"choice": None}, "policy is single-slot, and the decision is a multi-slot one"),
    ],
)
def test_what_cannot_be_learned_from(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ApiError, match=problem):
        lined(replace(PAST, **changes))


@pytest.mark.parametrize(
    ("slots", "problem"),
    [
        ([], "0 slots for 3 actions"),
        ([SLOTS.slots[0]] * 4, "4 slots for 3 actions"),
        ([SLOTS.slots[0]] * 2, "two of its slots have the same id"),
        ([replace(SLOTS.slots[0], id="")], "the id of a slot"),
        ([replace(SLOTS.slots[0], baseline=3)], "baseline of slot 'top'"),
        ([replace(SLOTS.slots[0], allowed=[3])], "slot 'top' admits what is none"),
        ([replace(SLOTS.slots[0], allowed=[0])], "not among its actions"),
        ([SLOTS.slots[0], replace(SLOTS.slots[1], choice=Choice([2], [1.0], []))], "not among its actions"),
    ],
)
def test_slots_that_cannot_be_learned_from(slots: list[Slot], problem: str) -> None:
    with pytest.raises(ApiError, match=problem):
        lined(replace(SLOTS, slots=slots), MULTI)


def test_a_single_decision_is_none_for_slots() -> None:
    with pytest.raises(ApiError, match="policy is multi-slot, and the decision is a single-slot one"):
        lined(PAST, MULTI)


def test_more_actions_where_the_loop_has_them() -> None:
    many = replace(PAST, actions=[(str(n), [{}]) for n in range(51)])

    assert len(entry.asked(entry.of_line(lined(many, most_actions=60))).ids) == 51


def test_what_would_take_too_long_to_learn_is_refused() -> None:
    wide = [{f"f{n}": 1 for n in range(900)}]

    with pytest.raises(ApiError, match="units of work"):
        lined(replace(PAST, context=wide, actions=[(str(n), wide) for n in range(50)]))
