"""One feature is permuted, and no other; each keeps the values that it has."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from shared.evaluation.permuted import Feature, Situation, features, permuted
from shared.learning import named


def situation(n: int, sparse: bool = False) -> Situation:
    context: list[Any] = [{"a": f"x{n}", "n": n}, {"o": {"p": n + 0.5}, "arr": [n, 1], "list": [{"k": n}, {"k": -n}]}]
    if sparse and n % 2:
        context = [{"a": f"x{n}"}]
    actions = [
        {"_tag": f"t{k}", "i": {"constant": 1, "id": f"t{k}"}, "j": [{"col": f"c{n}-{k}", "deep": {"z": 10 * n + k}}]}
        for k in range(3)
    ]
    slots = [
        {"_id": f"s{k}", "_inc": [0, k], "sj": [{"size": f"{n}-{k}", "frame": {"w": n + 2 * k + 1}}]} for k in range(2)
    ]
    if sparse:
        del actions[1]["j"]
        slots[0]["sj"] = []
    return Situation(context, actions, slots)


CONTEXT = [
    Feature("FromUrl", "a", "context"),
    Feature("FromUrl", "n", "context"),
    Feature("o", "p", "context"),
    Feature("arr", "arr", "context"),
    Feature("list", "k", "context"),
]
SLOT = [Feature("sj", "size", "slot"), Feature("frame", "w", "slot")]
ACTION = [Feature("i", "id", "action"), Feature("j", "col", "action"), Feature("deep", "z", "action")]


def read(situation: Situation) -> Counter[tuple[str, str, object]]:
    """What VW reads of a situation, by place, namespace and name; an array as a whole."""
    found: Counter[tuple[str, str, object]] = Counter()
    parts: list[tuple[str, Any]] = [("context", {"FromUrl": situation.context})]
    parts += [(f"action {n}", action) for n, action in enumerate(situation.actions)]
    parts += [(f"slot {n}", slot) for n, slot in enumerate(situation.slots)]
    for place, part in parts:
        for namespace, name, hashed, value in named.features(part):
            found[place, f"{namespace}.{name}", (hashed, value)] += 1
    return found


def without(found: Counter[tuple[str, str, object]], feature: Feature) -> Counter[tuple[str, str, object]]:
    own = f"{feature.namespace}.{feature.name}"
    arrays = f"{feature.namespace}.["
    return Counter({key: n for key, n in found.items() if key[1] != own and not key[1].startswith(arrays)})


def values(situations: list[Situation], feature: Feature) -> Counter[tuple[str, object]]:
    every = Counter[tuple[str, object]]()
    for one in situations:
        for key, n in (read(one) - without(read(one), feature)).items():
            every[key[1], key[2]] += n
    return every


def test_features_are_told_by_namespace_and_name_the_commonest_first() -> None:
    found = features([situation(n, sparse=True) for n in range(7)])

    assert set(found) == {*CONTEXT, *ACTION, *SLOT}
    assert found[0] == Feature("FromUrl", "a", "context")
    assert found[-1].namespace in {"FromUrl", "o", "arr", "list"}, "those of every other context come last"


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("feature", [*CONTEXT, *ACTION, *SLOT])
def test_one_feature_is_permuted_and_no_other(feature: Feature, sparse: bool) -> None:
    situations = [situation(n, sparse) for n in range(20)]
    before = deepcopy(situations)

    found = list(permuted(situations, feature, np.random.default_rng(1)))

    assert situations == before
    assert [without(read(one), feature) for one in found] == [without(read(one), feature) for one in situations]
    assert values(found, feature) == values(situations, feature)
    assert [read(one) for one in found] != [read(one) for one in situations]
    assert [one.context for one in found] == [one.context for one in situations] or feature.part == "context"
    assert [one.actions for one in found] == [one.actions for one in situations] or feature.part == "action"
    assert [one.slots for one in found] == [one.slots for one in situations] or feature.part == "slot"
    if feature.part == "action":
        for one, other in zip(found, situations, strict=True):
            assert values([one], feature) == values([other], feature), "within each decision"


def test_a_slot_keeps_its_id_and_what_it_admits() -> None:
    situations = [situation(n) for n in range(9)]

    found = list(permuted(situations, SLOT[0], np.random.default_rng(1)))

    for one, other in zip(found, situations, strict=True):
        for mine, theirs in zip(one.slots, other.slots, strict=True):
            assert (mine["_id"], mine["_inc"]) == (theirs["_id"], theirs["_inc"])


def test_nothing_is_permuted_that_has_but_one_value() -> None:
    alike = situation(3)
    situations = [alike._replace(slots=[alike.slots[0]] * 2)] * 4

    for feature in CONTEXT + SLOT:
        assert list(map(read, permuted(situations, feature, np.random.default_rng(1)))) == list(map(read, situations))
