"""The demo's facts are those of the published documents: same features, and the same judgement of every choice."""

import json
import random
from typing import Any

import pytest
from azure.cognitiveservices.personalizer.models import RankableAction

from demo.coffee import COFFEE
from demo.grocery import GROCERY
from demo.scenario import Scenario
from tests.contract.conftest import SEEDS
from tests.contract.test_seeds import NOTEBOOK, QUICKSTART, blocks


@pytest.mark.skipif(QUICKSTART is None, reason=f"no published quickstart (000_*.txt) in {SEEDS.name}/seeds")
def test_grocery_judges_as_the_quickstart_does() -> None:
    assert QUICKSTART is not None
    published: dict[str, Any] = {"random": random, "RankableAction": RankableAction}
    for block in blocks(QUICKSTART)[2:5]:  # actions, users, reward
        exec(block, published)
    users = {profile["avg_order_price"]: name for name, profile in published["user_profiles"].items()}

    assert published["actions_and_features"] == GROCERY.actions
    for visit in GROCERY.visits:
        user = users[visit.context[0]["avg_order_price"]]
        for action, reward in visit.rewards.items():
            assert published["get_reward_score"](user, action, visit.context) == reward


@pytest.mark.skipif(NOTEBOOK is None, reason=f"no published notebook (002_*.txt) in {SEEDS.name}/seeds")
def test_coffee_judges_as_the_notebook_does() -> None:
    actions = json.loads((SEEDS / "data" / "coffee.json").read_text())
    likes = json.loads((SEEDS / "data" / "users.json").read_text())

    assert {action["id"]: action["features"][0] for action in actions} == COFFEE.actions
    for visit in COFFEE.visits:
        (guest,) = visit.context
        liked = likes[guest["name"]][guest["weather"]][guest["timeofday"]]
        assert visit.rewards == {action: float(action == liked) for action in COFFEE.actions}


@pytest.mark.parametrize(
    ("scenario", "visits", "uniform", "ceiling"), [(GROCERY, 108, 0.467, 0.893), (COFFEE, 36, 0.25, 0.85)]
)
def test_what_chance_and_full_knowledge_earn(scenario: Scenario, visits: int, uniform: float, ceiling: float) -> None:
    assert len({str(visit.context) for visit in scenario.visits}) == visits
    assert scenario.uniform == pytest.approx(uniform, abs=0.001)
    assert scenario.ceiling(0.2) == pytest.approx(ceiling, abs=0.001)
    assert scenario.ceiling(1.0) == pytest.approx(scenario.uniform)
