"""The Open Bandit sample (Saito et al., NeurIPS Datasets 2021), read out of the wheel of obp, against obp and VW's own.

Its README evaluates Bernoulli-TS on the log of the uniformly random policy and finds 1.198 times what that one earned.
"""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from estimators.bandits import ips, snips
from numpy.typing import NDArray

from bench.learning.packages import OBP
from shared.evaluation.estimators import Z, estimate
from shared.evaluation.scores import Scores

ITEMS, POSITIONS = 80, 3
DRAWS, BATCH = 100_000, 5_000
RANGE = (0.0, 1.0)


class Sample(NamedTuple):
    """Decisions of the random policy: which item at which position of the page, and whether it was clicked."""

    items: NDArray[np.int64]
    positions: NDArray[np.int64]
    clicks: NDArray[np.float64]
    logged: NDArray[np.float64]

    def scores(self, distribution: NDArray[np.float64], expected: NDArray[np.float64]) -> Scores:
        """Of a policy, by its distribution over items at each position, and of rewards expected there."""
        count = len(self.items)
        return Scores(
            times=np.arange(count, dtype=np.float64),
            places=np.zeros(count, np.int16),
            slots=np.zeros(count, np.int16),
            logged=self.logged,
            targets=distribution[self.items, self.positions],
            rewards=self.clicks,
            modelled=expected[np.arange(count), self.items],
            values=(distribution[:, self.positions].T * expected).sum(axis=1),
        )


@pytest.fixture(scope="module")
def sample() -> Sample:
    rows = list(csv.DictReader(io.StringIO(OBP.read("obp/dataset/obd/random/all/all.csv").decode())))
    columns = ((int(row["item_id"]), int(row["position"]) - 1, int(row["click"])) for row in rows)
    items, positions, clicks = (np.array(column) for column in zip(*columns, strict=True))
    logged = np.array([float(row["propensity_score"]) for row in rows])
    return Sample(items, positions, clicks.astype(np.float64), logged)


@pytest.fixture(scope="module")
def thompson() -> NDArray[np.float64]:
    """How often Bernoulli-TS puts each item at each position, with its priors of production: items x positions."""
    text = OBP.read("obp/policy/conf/prior_bts.yaml").decode()
    given = text[text.index("all:") :].split("- ")[1 : 2 * ITEMS + 1]
    wins, losses = np.array([float(each.split()[0]) for each in given]).reshape(2, ITEMS)
    chance = np.random.RandomState(12345)  # the README's seed
    counts = np.zeros((ITEMS, POSITIONS))
    for _ in range(DRAWS // BATCH):
        best_first = chance.beta(wins, losses, size=(BATCH, ITEMS)).argsort(axis=1)[:, ::-1]
        for position in range(POSITIONS):
            counts[:, position] += np.bincount(best_first[:, position], minlength=ITEMS)
    return counts / DRAWS


def test_bernoulli_ts_earns_1198_times_what_random_did(sample: Sample, thompson: NDArray[np.float64]) -> None:
    found = estimate(sample.scores(thompson, np.zeros((len(sample.items), ITEMS))), RANGE)

    assert found.ips.value / sample.clicks.mean() == pytest.approx(1.198, abs=0.01)
    # 38 clicks: nothing is sure, and it says so.
    assert sample.clicks.sum() == 38
    assert not found.trusted and "the rest are rare" in found.says
    assert found.conservative.low < sample.clicks.mean() < found.conservative.high


def test_ips_and_snips_of_it_are_what_vws_estimators_say(sample: Sample, thompson: NDArray[np.float64]) -> None:
    log = sample.scores(thompson, np.zeros((len(sample.items), ITEMS)))
    theirs = ips.Estimator(), snips.Estimator()
    for logged, reward, target in zip(log.logged, log.rewards, log.targets, strict=True):
        for each in theirs:
            each.add_example(logged, reward, target)

    found = estimate(log, RANGE)
    assert [found.ips.value, found.snips.value] == pytest.approx([each.get() for each in theirs], abs=1e-9)


def test_dr_of_it_is_what_obp_makes_of_it(sample: Sample, thompson: NDArray[np.float64]) -> None:
    expected = np.random.default_rng(1).random((len(sample.items), ITEMS)) / 100
    theirs = doubly_robust()(
        None,
        reward=sample.clicks,
        action=sample.items,
        pscore=sample.logged,
        action_dist=np.broadcast_to(thompson, (len(sample.items), ITEMS, POSITIONS)),
        estimated_rewards_by_reg_model=np.repeat(expected[:, :, None], POSITIONS, axis=2),
        position=sample.positions,
    )

    found = estimate(sample.scores(thompson, expected), RANGE).dr
    assert found.value == pytest.approx(theirs.mean(), abs=1e-9)
    assert found.high - found.value == pytest.approx(Z * theirs.std(ddof=1) / np.sqrt(len(theirs)), abs=1e-9)


def doubly_robust() -> Callable[..., NDArray[np.float64]]:
    """Obp's own method, taken out of its module: the whole of that would want PyTorch, which this method does not."""
    module = ast.parse(OBP.read("obp/ope/estimators.py"))
    owner = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "DoublyRobust")
    name = "_estimate_round_rewards"
    method = next(node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name)
    torch = SimpleNamespace(Tensor=type("Tensor", (), {}))
    names: dict[str, Any] = {"np": np, "torch": torch}
    source = ast.Module([ast.ImportFrom("typing", [ast.alias("Optional"), ast.alias("Union")], 0), method], [])
    exec(compile(ast.fix_missing_locations(source), OBP.file, "exec"), names)
    found: Callable[..., NDArray[np.float64]] = names[name]
    return found
