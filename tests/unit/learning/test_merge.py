"""Which policies VW merges and loses nothing, and that no other one is said to be merged."""

from __future__ import annotations

import random

import orjson
import pytest

from shared.learning.model import Learner, ModelError, ServingModel, merge
from shared.loops import policy
from tests.unit.ranking.trained import SINGLE, SLOTS, example, joined_line, trained_model

BASE = "--cb_explore_adf --power_t 0 -l 0.1 -q ::"
MERGED = [
    "--epsilon 0.2 --cb_type mtr",
    "--epsilon 0.2 --cb_type ips --first_only",
    "--epsilon 0.2 --cb_type dm --noconstant --keep F --keep j",
    "--softmax --lambda 10",
    "--epsilon 0.2 --cubic :Fj --ignore_linear i --interactions FFj",
    "--epsilon 0.2 --cb_min_cost -1 --cb_max_cost 1 --ignore i",
]
FORGETFUL = ["--squarecb", "--first 10", "--synthcover", "--cover 3", "--epsilon 0.2 --l1 0.0001", "--marginal i"]


def scores(model: bytes) -> list[list[float]]:
    serving, chance = ServingModel(model, ""), random.Random(4)
    found = []
    for _ in range(20):
        made = serving.score(orjson.dumps(example(chance.randrange(4), [chance.randrange(5) for _ in range(5)])))
        found.append([*made.distribution, *map(float, made.order)])
    serving.close()
    return found


def learned(arguments: str, first: int = 0, last: int = 600) -> bytes:
    chance, learner = random.Random(7), Learner(arguments, None)
    for line in [joined_line(chance) for _ in range(last)][first:]:
        learner.learn(line)
    model = learner.save()
    learner.close()
    return model


@pytest.mark.parametrize("more", MERGED)
def test_what_is_said_to_merge_is_itself_when_it_is_merged_with_itself(more: str) -> None:
    arguments = f"{BASE} {more}"
    model = learned(arguments)

    assert policy.read(arguments).merges
    both = merge([model, model])
    assert scores(both) == [pytest.approx(row, abs=1e-5) for row in scores(model)]
    apart = [learned(arguments, 0, 300), learned(arguments, 300, 600)]
    assert merge(apart) == merge(apart), "repeatable bit for bit"


@pytest.mark.parametrize("more", FORGETFUL)
def test_what_vw_forgets_in_merging_is_not_said_to_merge(more: str) -> None:
    arguments = f"{BASE} {more}"
    model = learned(arguments)

    assert not policy.read(arguments).merges
    assert scores(merge([model, model])) != [pytest.approx(row, abs=1e-5) for row in scores(model)]


@pytest.mark.parametrize("arguments", [SLOTS, f"{SINGLE} -b 20", f"{SINGLE} --bag 3", SINGLE.replace("mtr", "dr")])
def test_nor_is_what_cannot_be_told(arguments: str) -> None:
    assert not policy.read(arguments).merges


def test_the_default_policy_merges() -> None:
    assert policy.read(SINGLE).merges


@pytest.mark.parametrize("arguments", ["", f"{SINGLE} -b 16", SINGLE.replace("::", "Fj")])
def test_models_that_are_too_different_are_refused(arguments: str) -> None:
    other = trained_model(3, arguments) if arguments else b"no model"
    with pytest.raises(ModelError):
        merge([trained_model(5), other])


def test_one_model_is_nothing_to_merge() -> None:
    with pytest.raises(ModelError, match="two"):
        merge([trained_model(5)])
