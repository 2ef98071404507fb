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
    if sparse:
        del actions[1]["j"]
    return Situation(context, actions)


CONTEXT = [
    Feature("FromUrl", "a", False),
    Feature("FromUrl", "n", False),
    Feature("o", "p", False),
    Feature("arr", "arr", False),
    Feature("list", "k", False),
]
ACTION = [Feature("i", "id", True), Feature("j", "col", True), Feature("deep", "z", True)]


def read(situation: Situation) -> Counter[tuple[str, str, object]]:
    """What VW reads of a situation, by place, namespace and name; an array as a whole."""
    found: Counter[tuple[str, str, object]] = Counter()
    parts: list[tuple[str, Any]] = [("context", {"FromUrl": situation.context})]
    parts += [(f"action {n}", action) for n, action in enumerate(situation.actions)]
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

    assert set(found) == {*CONTEXT, *ACTION}
    assert found[0] == Feature("FromUrl", "a", False)
    assert found[-1].namespace in {"FromUrl", "o", "arr", "list"}, "those of every other context come last"


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("feature", [*CONTEXT, *ACTION])
def test_one_feature_is_permuted_and_no_other(feature: Feature, sparse: bool) -> None:
    situations = [situation(n, sparse) for n in range(20)]
    before = deepcopy(situations)

    found = list(permuted(situations, feature, np.random.default_rng(1)))

    assert situations == before
    assert [without(read(one), feature) for one in found] == [without(read(one), feature) for one in situations]
    assert values(found, feature) == values(situations, feature)
    assert [read(one) for one in found] != [read(one) for one in situations]
    if feature.of_action:
        assert [one.context for one in found] == [one.context for one in situations]
        for one, other in zip(found, situations, strict=True):
            assert values([one], feature) == values([other], feature), "within each decision"
    else:
        assert [one.actions for one in found] == [one.actions for one in situations]


def test_nothing_is_permuted_that_has_but_one_value() -> None:
    situations = [situation(3)] * 4

    for feature in CONTEXT:
        assert list(map(read, permuted(situations, feature, np.random.default_rng(1)))) == list(map(read, situations))
