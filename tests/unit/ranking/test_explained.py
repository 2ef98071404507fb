"""An answer that is explained: the same answer with one member more, of the action that it names (contract 5.12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.contract.requests import rank_request
from shared.learning import registry
from shared.learning.model import ServingModel
from shared.learning.registry import Version
from shared.log.buckets import Waits
from shared.log.records import APPRENTICE, LOGGING_ONLY, ONLINE
from shared.loops import policy
from shared.loops.holdback import Holdback
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision
from shared.ranking.explained import SHOWN
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import SINGLE, trained_model

PLAIN = Loop(ID, ServiceConfiguration(), policy.read(SINGLE), Waits(((0, 600.0),)))
LOOP = replace(PLAIN, configuration=ServiceConfiguration(is_inference_explainability_enabled=True))
BODY: dict[str, Any] = {
    "contextFeatures": [{"time": "t2", "hour": 2}],
    "actions": [{"id": f'a"{n}', "features": [{"topic": f"t{n}"}]} for n in range(5)],
    "eventId": "e1",
}


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    data = trained_model(300)
    model = ServingModel(data, "--epsilon 0.2")
    version = Version(registry.version_name(5, data), "", SINGLE, 5, 300, 0.0, 0.0, 0.0)
    yield Held(version, model, PLAIN.policy, 0.2)
    model.close()


def decided(held: Held, loop: Loop = LOOP, **more: Any) -> Decision:
    raw = orjson.dumps({**BODY, **more})
    return decide(rank_request(raw), is_plain(raw), loop, held, ActionCache())


def in_mode(mode: str) -> Loop:
    return replace(LOOP, configuration=replace(LOOP.configuration, learning_mode=mode))


def test_the_rest_of_the_answer_and_the_log_stay_the_same(held: Held) -> None:
    plain, told = decided(held, PLAIN), decided(held)

    assert told.body.startswith(plain.body[:-1] + b',"inferenceExplanation":[')
    assert (told.dsjson, told.choice) == (plain.dsjson, plain.choice)


@pytest.mark.parametrize("event", [f"e{n}" for n in range(8)])
@pytest.mark.parametrize("mode", [ONLINE, APPRENTICE])
def test_the_action_that_is_answered_is_explained(held: Held, mode: str, event: str) -> None:
    answer = orjson.loads(decided(held, in_mode(mode), eventId=event, excludedActions=['a"0']).body)

    [told] = answer["inferenceExplanation"]
    assert told["id"] == answer["rewardActionId"]
    assert len(told["features"]) == SHOWN
    number = int(told["id"][-1])
    action = b'{"_tag":"","i":{"constant":1,"id":"a\\"%d"},"j":[{"topic":"t%d"}]}' % (number, number)
    assert held.model is not None
    shares = held.model.explainer.shares(b'[{"time":"t2","hour":2}]', action, SHOWN)
    assert shares is not None
    assert [(one["name"], one["score"]) for one in told["features"]] == [
        (name, pytest.approx(score, rel=1e-6)) for name, score in shares
    ]


def test_what_no_model_decided_is_not_explained(held: Held) -> None:
    held_back = replace(LOOP, holdback=Holdback(share=1.0))

    for decision in (decided(Held()), decided(held, in_mode(LOGGING_ONLY)), decided(held, held_back)):
        assert orjson.loads(decision.body)["inferenceExplanation"] == []


def test_other_explorations_are_not_explained() -> None:
    model = ServingModel(trained_model(20, f"{SINGLE} --softmax"), "")

    assert orjson.loads(decided(Held(model=model)).body)["inferenceExplanation"] == []
    model.close()
