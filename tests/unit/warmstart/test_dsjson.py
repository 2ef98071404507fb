"""Lines of foreign dsjson logs become decisions; what cannot be one is refused in words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.log.records import APPRENTICE
from shared.warmstart.dsjson import read
from shared.warmstart.past import Choice, Past, Slot

EXAMPLE = {
    "FromUrl": [{"hour": 9}, {"user": {"age": 30}}],
    "_multi": [
        {"_tag": "tea", "i": {"constant": 1, "id": "tea"}, "j": [{"hot": True}]},
        {"_tag": "ice", "i": {"constant": 1, "id": "ice"}, "j": [{"hot": False}]},
    ],
}
LINE: dict[str, Any] = {
    "_label_cost": -0.5,
    "_label_probability": 0.8,
    "_label_Action": 2,
    "_labelIndex": 1,
    "_original_label_cost": -0.5,
    "o": [{"v": 0.5, "EventId": "e1", "ActionTaken": False}],
    "Timestamp": "2022-10-25T23:14:43.1234567Z",
    "Version": "1",
    "EventId": "e1",
    "a": [2, 1],
    "c": EXAMPLE,
    "p": [0.8, 0.2],
    "VWState": {"m": "N/A"},
}
SLOTTED: dict[str, Any] = {
    "Timestamp": "2022-10-25T23:14:43Z",
    "EventId": "e2",
    "c": {**EXAMPLE, "_slots": [{"_id": "top", "sj": [{"size": 2}]}, {"_id": "side", "_inc": [0], "wide": {"w": 1}}]},
    "_ba": [1, 0],
    "_outcomes": [
        {"_id": "top", "_label_cost": -1.0, "_a": [1, 0], "_p": [0.9, 0.1], "_o": [{"v": 1.0, "Index": "top"}]},
        {"_id": "side", "_label_cost": 0.0, "_a": [0], "_p": [1.0], "_o": []},
    ],
}


def of(line: dict[str, Any], **changes: Any) -> Past:
    past = read(orjson.dumps({**line, **changes}), "none-1", 1000.0)
    assert past is not None
    return past


def without(name: str) -> dict[str, Any]:
    return {member: value for member, value in LINE.items() if member != name}


def choice_of(line: dict[str, Any], **changes: Any) -> Choice:
    choice = of(line, **changes).choice
    assert choice is not None
    return choice


def test_a_line_of_personalizers_log() -> None:
    assert of(LINE) == Past(
        "e1",
        1666739683.123456,
        [{"hour": 9}, {"user": {"age": 30}}],
        [("tea", [{"hot": True}]), ("ice", [{"hot": False}])],
        Choice([1, 0], [0.8, 0.2], [0.5]),
    )


def test_a_line_of_vws_own_layout() -> None:
    context = {"User": {"age": 3}, "_multi": [{"Action": {"x": 1}}, {"id": 5, "Action": {"x": 2}}]}
    line = {"_label_cost": 1, "_label_probability": 0.5, "_label_Action": 1, "a": [1, 2], "p": [0.5, 0.5], "c": context}

    assert of(line) == Past(
        "none-1",
        1000.0,
        [{"User": {"age": 3}}],
        [("0", [{"Action": {"x": 1}}]), ("1", [{"id": 5, "Action": {"x": 2}}])],
        Choice([0, 1], [0.5, 0.5], [-1.0]),
    )


def test_features_beside_the_usual_ones_are_kept() -> None:
    example = {"FromUrl": {"hour": 9}, "more": {"x": 1}, "_multi": [{"i": {"id": "a", "price": 2}, "k": {"y": 1}}]}

    past = of(LINE, c=example, a=[1], _labelIndex=0, p=[1.0])

    assert past.context == [{"hour": 9}, {"more": {"x": 1}}]
    assert past.actions == [("a", [{"k": {"y": 1}, "i": {"price": 2}}])]


def test_an_action_without_features_has_an_empty_object_of_them() -> None:
    assert of(LINE, c={"_multi": [{"_tag": "a"}, {}]}).actions == [("a", [{}]), ("1", [{}])]


@pytest.mark.parametrize(
    ("line", "order", "known"),
    [
        (LINE, [1, 0], [0.8, 0.2]),
        (without("_labelIndex"), [1, 0], [0.8, 0.2]),
        ({**without("_labelIndex"), "_label_Action": None}, [1, 0], [0.8, 0.2]),
        ({**LINE, "_labelIndex": 0}, [0, 1], [0.8]),
        (without("_label_probability"), [1, 0], [0.8, 0.2]),
        ({**without("_label_probability"), "pdrop": 0.5}, [1, 0], [0.4, 0.2]),
        ({**LINE, "pdrop": 0.5}, [1, 0], [0.8, 0.2]),
        ({**without("_label_probability"), "p": []}, [1, 0], []),
    ],
)
def test_the_choice_and_what_it_was_drawn_with(line: dict[str, Any], order: list[int], known: list[float]) -> None:
    choice = choice_of(line)

    assert choice.order == order
    assert choice.probabilities == known


@pytest.mark.parametrize(
    ("changes", "rewards"),
    [
        ({"o": [{"v": 1.0}, {"v": 2}]}, [1.0, 2.0]),
        ({"o": []}, []),
        ({"o": [{"EventId": "e1", "ActionTaken": True}]}, []),
        ({"o": None}, [0.5]),
        ({"o": [{"v": {"odd": 1}}]}, [0.5]),
        ({"o": None, "_label_cost": -1.0}, [0.5]),
        ({"o": None, "_original_label_cost": None, "_label_cost": -1.0}, [1.0]),
        ({"o": None, "mode": APPRENTICE, "_label_cost": -1.0}, [0.5]),
    ],
)
def test_what_came_of_it(changes: dict[str, Any], rewards: list[float]) -> None:
    assert choice_of(LINE, **changes).rewards == rewards


def test_slots() -> None:
    past = of(SLOTTED)

    assert past.choice is None
    assert past.slots == [
        Slot("top", [{"size": 2}], None, 1, Choice([1, 0], [0.9, 0.1], [1.0])),
        Slot("side", [{"wide": {"w": 1}}], [0], 0, Choice([0], [1.0], [])),
    ]


def test_slots_of_vws_own_layout() -> None:
    outcomes = [{"_label_cost": -1.0, "_a": 1, "_p": 0.9}, {"_a": [], "_p": []}]

    past = of({"c": {**EXAMPLE, "_slots": [{}, {}]}, "_outcomes": outcomes})

    assert past.slots == [
        Slot("0", [], None, 0, Choice([1], [0.9], [1.0])),
        Slot("1", [], None, 1, Choice([], [], [])),
    ]


@pytest.mark.parametrize("changes", [{"_skipLearn": True}, {"holdback": True}, {"pdrop": 1.0}])
def test_what_is_not_to_be_learned(changes: dict[str, Any]) -> None:
    assert read(orjson.dumps({**LINE, **changes}), "none-1", 0.0) is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "no line of a dsjson log"),
        (b"[" * 100_000, "no line of a dsjson log"),
        (b'{"c":{"_multi":[]},"a":["x"]}', "Expected `int`, got `str`"),
        (orjson.dumps({**LINE, "mode": "Sideways"}), "its mode must be one of"),
        (orjson.dumps({**LINE, "Timestamp": "yesterday"}), "Timestamp: 'yesterday' is no date-time"),
        (orjson.dumps({**LINE, "c": {"_multi": {}}}), "c._multi must be an array"),
        (orjson.dumps({**LINE, "c": {"_multi": [1]}}), r"c._multi\[0\] must be an object"),
        (orjson.dumps({"c": EXAMPLE, "_label_cost": 1}), "must name the action that was chosen"),
        (orjson.dumps({"c": EXAMPLE, "a": [1], "p": [1.0]}), "must tell what came of it"),
        (orjson.dumps({**LINE, "o": None, "mode": APPRENTICE, "_original_label_cost": None}), "what came of it"),
        (orjson.dumps({**SLOTTED, "c": EXAMPLE}), "c._slots must be an array"),
        (orjson.dumps({**SLOTTED, "_outcomes": []}), "2 slots and 0 outcomes"),
        (orjson.dumps({**SLOTTED, "c": {**EXAMPLE, "_slots": [{}, {"_inc": ["a"]}]}}), r"_slots\[1\]._inc"),
    ],
)
def test_what_is_no_decision(line: bytes, problem: str) -> None:
    with pytest.raises(ApiError, match=problem) as refused:
        read(line, "none-1", 0.0)

    assert refused.value.code == "InvalidRequest"
