"""Replaying a line tells what the model made of it before it learned it, and learns just as learning does."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import fmean
from typing import Any, TypeVar

import orjson
import pytest

from shared.learning.model import Learner, ModelError, ServingModel, of_actions, of_slots
from tests.unit.ranking.trained import QUICK_SLOTS, joined_line, joined_slots

BY_EPSILON = ["--epsilon 0.2", "--first_only", "--cb_type ips --marginal i", "--cb_type dr", "--first 20"]
OTHERS = ["--squarecb", "--softmax --lambda 20", "--synthcover"]
"""Explorations whose models draw from a file as they would have without."""
T = TypeVar("T")


def replayed(learner: Learner, line: bytes, tell: Callable[[Any], T]) -> T:
    """What is told of one line."""
    [told] = learner.replay([line], tell)
    assert not isinstance(told, ModelError)
    return told


@pytest.mark.parametrize("exploration", BY_EPSILON + OTHERS)
def test_what_is_told_is_what_would_have_served_the_moment_before(exploration: str) -> None:
    r, learner = random.Random(4), Learner(f"--cb_explore_adf {exploration} -q ::", None)
    unlike = 0

    for _ in range(60):
        line = joined_line(r)
        before = ServingModel(learner.save(), "")
        told = replayed(learner, line, of_actions)
        expected = before.score(orjson.dumps(orjson.loads(line)["c"])).distribution
        assert told == pytest.approx(expected, abs=1e-6)
        unlike += max(told) > 1.5 * min(told)
        before.close()
    learner.close()
    assert unlike > 30  # so that the model had something to say


def test_of_slots_the_drawn_action_is_told_first_and_what_earlier_slots_took_is_left_out() -> None:
    r, learner = random.Random(4), Learner(QUICK_SLOTS, None)

    for _ in range(200):
        line = joined_slots(r)
        event = orjson.loads(line)
        before = ServingModel(learner.save(), "")
        told = replayed(learner, line, of_slots)
        served = before.score_slots(orjson.dumps(event["c"]))
        assert dict(told[0]) == pytest.approx(dict(served[0]), abs=1e-6)
        for slot, outcome in zip(told, event["_outcomes"], strict=True):
            assert slot[0][0] == outcome["_a"][0]
            assert sorted(action for action, _ in slot) == sorted(outcome["_a"])
            assert sum(p for _, p in slot) == pytest.approx(1.0, abs=1e-5)
        before.close()
    learner.close()
    assert max(p for _, p in told[0]) > 0.8


def test_a_model_that_only_expects_tells_costs() -> None:
    r, learner = random.Random(4), Learner("--cb_adf --rank_all --cb_type mtr -q ::", None)
    told: list[tuple[float, bool]] = []

    for n in range(1000):
        line = joined_line(r)
        example = orjson.loads(line)["c"]
        costs = replayed(learner, line, of_actions)
        pays = [action["j"][0]["topic"] == example["FromUrl"][0]["time"] for action in example["_multi"]]
        told += zip(costs, pays, strict=True) if n >= 800 else ()
    learner.close()
    assert fmean(cost for cost, pay in told if pay) == pytest.approx(-1, abs=0.1)
    assert fmean(cost for cost, pay in told if not pay) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("multi_slot", [False, True])
def test_replaying_makes_the_file_that_learning_makes(multi_slot: bool) -> None:
    r, arguments = random.Random(4), QUICK_SLOTS if multi_slot else "--cb_explore_adf --epsilon 0.2 -q ::"
    lines = [joined_slots(r) if multi_slot else joined_line(r) for _ in range(100)]
    learning, replaying = Learner(arguments, None), Learner(arguments, None)
    for line in lines:
        learning.learn(line)
        replayed(replaying, line, of_slots if multi_slot else of_actions)

    assert replaying.save() == learning.save()
    learning.close()
    replaying.close()


def test_a_refused_line_is_told_in_its_place_and_the_others_are_learned() -> None:
    r, arguments = random.Random(4), "--cb_explore_adf --epsilon 0.2 -q ::"
    lines = [joined_line(r) for _ in range(10)]
    learning, replaying = Learner(arguments, None), Learner(arguments, None)
    for line in lines:
        learning.learn(line)
    told = list(replaying.replay([*lines[:4], b"\xff", *lines[4:7], b"{}", *lines[7:]], of_actions))

    assert [n for n, one in enumerate(told) if isinstance(one, ModelError)] == [4, 8]
    assert replaying.save() == learning.save()
    learning.close()
    replaying.close()
