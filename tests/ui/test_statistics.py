"""The page's statistics: what its scripts make of sums is what evaluations make of the events themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.evaluation.estimators import LEAST, Z, estimate
from shared.evaluation.intervals import moments, ratio
from shared.evaluation.scores import Scores
from tests.ui.conftest import OpenPage

NEAR = 1e-9
RUN = """async ([name, values]) => {
  const parts = await import("/page/parts.js");
  return parts[name](...values);
}"""


def close(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= NEAR * max(1.0, abs(wanted))


@pytest.mark.parametrize("seed", range(3))
def test_an_average_and_its_interval_are_those_of_evaluations(open_page: OpenPage, seed: int) -> None:
    page = open_page()
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, 2, 500), random.normal(-3.0, 2.0, 40), random.uniform(0, 1e4, 5000))
    for rewards in (np.array(one, np.float64) for one in drawn):
        sums = [len(rewards), rewards.sum(), (rewards**2).sum()]

        found = page.evaluate(RUN, ["meanOf", [float(one) for one in sums]])

        wanted = ratio(moments(rewards, np.ones_like(rewards)))
        assert wanted is not None and wanted.error
        assert close(found["value"], wanted.value)
        assert close(found["low"], wanted.value - Z * wanted.error)
        assert close(found["high"], wanted.value + Z * wanted.error)


@pytest.mark.parametrize("seed", range(3))
def test_the_baselines_estimate_and_its_interval_are_those_of_evaluations(open_page: OpenPage, seed: int) -> None:
    random = np.random.default_rng(seed)
    events = 3000
    logged = random.uniform(0.05, 0.9, events)
    first = random.uniform(size=events) < logged
    rewards = np.array(random.integers(-1, 2, events), np.float64)
    zeros = np.zeros(events)
    slots = np.zeros(events, np.int16)
    times = np.arange(events, dtype=np.float64)
    scores = Scores(times, slots, slots, logged, first.astype(np.float64), rewards, zeros, zeros)

    found = open_page().evaluate(RUN, ["baselineOf", [sums_of(logged, first, rewards)]])

    wanted = estimate(scores, (-1.0, 1.0))
    assert wanted.effective > LEAST
    assert all(close(found[name], getattr(wanted.snips, name)) for name in ("value", "low", "high"))
    assert close(found["effective"], wanted.effective)


def sums_of(logged: Any, first: Any, rewards: Any) -> dict[str, float]:
    """What the API's metrics tell of some decisions about the baseline."""
    weights = np.where(first, 1.0 / logged, 0.0)
    return {
        "events": len(rewards),
        "baseline": float((weights * rewards).sum()),
        "baselineWeights": float(weights.sum()),
        "baselineSquares": float(((weights * rewards) ** 2).sum()),
        "baselineWeightSquares": float((weights**2).sum()),
        "baselineCross": float((weights**2 * rewards).sum()),
    }


def test_what_nobody_can_say_has_no_interval(open_page: OpenPage) -> None:
    page = open_page()
    none = {"value": None, "low": None, "high": None}

    def told(name: str, *values: Any) -> dict[str, Any]:
        found: dict[str, Any] = page.evaluate(RUN, [name, list(values)])
        return {key: found[key] for key in none}

    assert told("meanOf", 0, 0, 0) == none
    assert told("meanOf", 27, 9, 9) == {**none, "value": 9 / 27}  # too few
    assert told("meanOf", 100, 100, 100) == {**none, "value": 1}  # all alike
    logged = np.full(100, 0.5)
    few = sums_of(logged, np.arange(100) < 50, np.arange(100) % 2)
    assert told("baselineOf", few) == {**none, "value": 0.5}
    assert told("baselineOf", sums_of(logged, np.zeros(100, bool), np.ones(100))) == none


def test_sums_reach_back_over_as_many_steps_as_are_asked_for(open_page: OpenPage) -> None:
    page = open_page()
    series = {"events": [1, 0, 2, 5, 3], "rewards": [0.5, 0, -1, 2, 0.25]}

    run = "async ([series, steps]) => (await import('/page/parts.js')).behind(series, steps ?? Infinity)"
    window = page.evaluate(run, [series, 2])
    whole = page.evaluate(run, [series, None])

    assert [one["events"] for one in window] == [1, 1, 2, 7, 8]
    assert [one["rewards"] for one in window] == [0.5, 0.5, -1, 1, 2.25]
    assert [one["events"] for one in whole] == [1, 1, 3, 8, 11]
    assert page.evaluate(run, [{"events": []}, 3]) == []
