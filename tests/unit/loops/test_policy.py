from __future__ import annotations

import orjson
import pytest

from shared.learning.model import ServingModel
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from tests.unit.ranking.trained import example, trained_model


def test_a_loop_learns_as_personalizer_did() -> None:
    arguments = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"

    assert policy.training_arguments() == arguments
    assert policy.policy_contract("f" * 32) == {"name": "f" * 32, "arguments": arguments}


@pytest.mark.parametrize("percentage", [0.0, -0.0, 1e-300, 1e-7, 0.1, 1 / 3, 0.2, 1.0])
def test_vw_takes_any_exploration_percentage(percentage: float) -> None:
    arguments = policy.serving_arguments(ServiceConfiguration(exploration_percentage=percentage))

    model = ServingModel(trained_model(300), arguments)

    best = max(model.score(orjson.dumps(example(1, [0, 1, 2, 3]))).distribution)
    assert best == pytest.approx(1 - percentage * 3 / 4, abs=1e-6)
    model.close()
