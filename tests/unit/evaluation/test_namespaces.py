"""Which namespaces the features of examples are in, as VW reads them (contract 6)."""

from __future__ import annotations

from typing import Any

import orjson

from shared.evaluation.namespaces import USUAL, Namespaces, of_lines


def line(context: list[Any], *actions: Any, slots: Any = None) -> bytes:
    made = [{"_tag": f"a{n}", "i": {"constant": 1, "id": f"a{n}"}, "j": own} for n, own in enumerate(actions)]
    more = {} if slots is None else {"_slots": slots}
    return orjson.dumps({"a": [1], "c": {"FromUrl": context, "_multi": made, **more}})


def test_members_are_in_the_namespace_of_the_nearest_object_around_them() -> None:
    nested = line([{"user": {"name": "x", "home": {"city": "y"}}, "_hidden": {"a": 1}}], [{"brand": {"z": 1}}])

    assert of_lines([nested]) == Namespaces({"h": 1, "u": 1}, {"b": 1, "i": 2})


def test_features_are_counted_where_there_are_the_most() -> None:
    one = line([{"hour": 3, "day": "x"}], [{"size": "big"}], [{"size": "big"}, {"hue": "red"}])
    other = line([{"hour": 3}, {"user": {"a": 1, "b": 2}}], [{"size": "small"}])

    assert of_lines([one, other]) == of_lines([other, one]) == Namespaces({"F": 2, "u": 2}, {"i": 4, "j": 3})


def test_arrays_are_namespaces_of_their_own_and_slots_are_of_the_situation() -> None:
    slots = [{"_id": "top", "_inc": [0], "sj": [{"b": 1}]}, {"_id": "end", "sj": [{"b": 1}]}]

    assert of_lines([line([{"latlong": [1.0, 2.0]}], slots=slots)]) == Namespaces({"l": 2, "s": 2}, USUAL.action)


def test_without_events_they_are_the_usual_ones() -> None:
    assert of_lines([]) == of_lines([line([{}])]) == USUAL
