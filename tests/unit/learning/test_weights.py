"""The weights of a model file, and whether they are finite."""

from __future__ import annotations

import math
import random

import pytest

from shared.learning.model import Learner, ModelError
from shared.learning.weights import is_finite, weights
from shared.loops import policy
from tests.unit.learning.test_trainer import OTHER, slot_lines
from tests.unit.ranking.trained import SINGLE, SLOTS, joined_line

POLICIES = [
    SINGLE,
    OTHER,
    f"{SINGLE} --bag 3",
    f"{SINGLE} --interactions inf --cover 3",
    f"{SINGLE} -b 8",
    "--cb_explore_adf --cb_type dr -b 20 -q ::",
    "--cb_explore_adf --squarecb --marginal i",
    SLOTS,
]


def learner(arguments: str, seed: int = 1) -> Learner:
    made = Learner(policy.read(arguments).training, None)
    r = random.Random(seed)
    lines = slot_lines(seed, 50) if arguments == SLOTS else [joined_line(r) for _ in range(50)]
    for line in lines:
        made.learn(line)
    return made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("arguments", POLICIES)
def test_one_weight_that_is_not_finite_is_found_wherever_it_stands(arguments: str, value: float) -> None:
    made = learner(arguments)
    sound = made.save()
    places = sorted(weights(sound))

    assert is_finite(sound)
    for place in (places[0], places[len(places) // 2], places[-1]):
        before = made._workspace.get_weight(place, 0)
        made._workspace.set_weight(place, 0, value)
        assert not is_finite(made.save()), place
        made._workspace.set_weight(place, 0, before)
    assert is_finite(made.save())
    made.close()


def test_what_only_looks_like_no_number_is_no_weight() -> None:
    """A word of the header is looked at again in VW's own account."""
    seen = set()
    for shift in range(4):
        made = Learner(f"{policy.read(SINGLE).training} --id \u00e9\x7f{'x' * shift}", None)
        data = made.save()
        seen.add((len(data) - 2 - data.index(b"\xa9\x7f")) % 4)
        assert is_finite(data)
        made.close()
    assert 0 in seen, "one of them stands where a word of the weights would"


def test_weights_are_those_that_vw_has() -> None:
    made = learner(OTHER)
    found = weights(made.save())

    table = {place: made._workspace.get_weight(place, 0) for place in range(2**18)}
    assert {place: weight for place, weight in table.items() if weight} == pytest.approx(found, rel=1e-5)
    assert found
    made.close()


def test_what_vw_does_not_take_has_no_weights() -> None:
    with pytest.raises(ModelError):
        weights(b"no model")
