"""What is counted of features: how often, how many values, whether they vary; and that no value is kept."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from shared.health import distinct, features
from shared.health.features import Counting, Feature, Features
from shared.ranking.features import example, sanitise_action, sanitise_context


def _count(*examples: dict[str, Any]) -> Features:
    counting = Counting()
    for one in examples:
        counting.add(orjson.dumps(one))
    return counting.counted()


def _example(context: list[Any], *actions: list[Any]) -> dict[str, Any]:
    given = [orjson.dumps({"id": f"a{n}", "features": given}) for n, given in enumerate(actions)]
    built = example(sanitise_context(orjson.dumps(context)), [sanitise_action(raw, n) for n, raw in enumerate(given)])
    decoded: dict[str, Any] = orjson.loads(built)
    return decoded


def test_features_are_named_by_the_path_that_the_caller_gave_them() -> None:
    counted = _count(
        _example(
            [{"user": {"age": 3, "tags": [{"name": "x"}, {"name": "y"}]}}, {"hour": "nine"}],
            [{"j": "a caller may call it that"}, {"i": {"id": 5}}, {"vector": [1, 2.5]}],
        )
    )

    assert set(counted.named) == {
        "context.user.age",
        "context.user.tags.name",
        "context.hour",
        "action:id",
        "action.j",
        "action.i.id",
        "action.vector",
    }
    assert counted.places == {"context": 1, "action": 1}
    assert (counted.named["context.user.tags.name"].seen, counted.named["context.user.tags.name"].texts) == (1, 2)


def test_slots_are_counted_too() -> None:
    slot = {"_id": "top", "_tag": "seed=1", "_inc": [0], "sj": [{"size": "large"}]}

    counted = _count({**_example([], [{"x": 1}]), "_slots": [slot, {**slot, "_id": "low"}]})

    assert counted.places["slot"] == 2
    assert counted.named["slot.size"].seen == 2


def test_it_is_told_how_often_a_feature_comes_and_whether_it_varies() -> None:
    counted = _count(
        _example([{"same": "x", "sometimes": 1, "none": 0, "varies": "a"}], [{"f": 1}], [{"f": 2}]),
        _example([{"same": "x", "none": 0, "varies": "b", "large": 1_700_000_000_000}], [{"f": 1}], [{"f": 2}]),
    ).named

    assert (counted["context.same"].seen, counted["context.same"].texts) == (2, 2)
    assert counted["context.same"].value is not None
    assert counted["context.sometimes"].seen == 1
    assert counted["context.none"].empty == 2
    assert counted["context.varies"].value is None
    assert distinct.estimate(counted["context.varies"].distinct) == 2
    assert counted["context.large"].large == 1
    assert (counted["action.f"].seen, counted["action.f"].value) == (4, None)
    assert counted["action:id"].texts == 4


def test_runs_add_up_to_the_whole() -> None:
    examples = [_example([{"id": f"user-{n}", "n": n}], [{"f": n % 3}]) for n in range(100)]

    assert features.merge(_count(*examples[:30]), _count(*examples[30:])) == features.merge(
        _count(*examples), Features()
    )


def test_a_value_that_differs_between_runs_varies() -> None:
    one, other = Feature(seen=2, value=7), Feature(seen=3, value=8)

    merged = features.merge(Features({}, {"context.x": one}, {}), Features({}, {"context.x": other}, {}))

    assert merged.named["context.x"] == Feature(seen=5, value=None)


def test_what_is_kept_is_bounded_and_the_commonest_stay() -> None:
    counted = _count(*[_example([{f"name-{n}": 1, "always": n}], [{"f": 1}]) for n in range(500)])

    assert len(counted.named) == features.MOST
    assert "context.always" in counted.named
    assert distinct.estimate(counted.names["context"]) == pytest.approx(501, rel=0.4)


def test_no_value_is_kept() -> None:
    secrets = [f"secret-{n}" for n in range(200)]

    counted = _count(*[_example([{"who": secret, "one": "secret-x"}], [{"f": secret}]) for secret in secrets])

    assert b"secret" not in msgspec.json.encode(counted)
    assert b"who" in msgspec.json.encode(counted)


def test_what_is_no_example_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        Counting().add(b'{"_multi":1}')
