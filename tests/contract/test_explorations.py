"""Explorations through a policy's PUT, real timers and real storage: drawn, logged as they were drawn, learned."""

import json
from typing import Any

import pytest

from tests.contract.conftest import Deployment, wait_until
from tests.contract.loops import make_loop
from tests.contract.swagger import Sent
from tests.contract.test_end_to_end import joined_lines

ACTIONS: list[dict[str, Any]] = [
    {"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour", "salty", "bitter")
]


@pytest.mark.parametrize("more", ["--squarecb --gamma_scale 1000", "--cover 3 --epsilon 0.1", "--regcb"])
async def test_an_exploration_is_put_drawn_logged_and_learned(served: Deployment, more: str) -> None:
    loop = make_loop(served)
    loop.configure(rewardWaitTime="PT5S", modelExportFrequency="PT5S")
    arguments = f"--cb_explore_adf --cb_type mtr -q :: {more}"
    assert loop.call("PUT", "configurations/policy", {"name": "p", "arguments": arguments})["arguments"] == arguments
    answers: dict[str, Any] = {}

    def rank(event_id: str, actions: list[dict[str, Any]]) -> str:
        answers[event_id] = loop.call("POST", "rank", {"actions": actions, "eventId": event_id})
        chosen = str(answers[event_id]["rewardActionId"])
        loop.call("POST", f"events/{event_id}/reward", {"value": float(chosen == "sour")})
        return chosen

    def health() -> Any:
        return json.loads(loop.send(Sent("GET", "/rankloop/v1/health", None, {})).body)

    def explores() -> bool:
        shown = loop.call("POST", "rank", {"actions": ACTIONS, "eventId": "probe", "deferActivation": True})["ranking"]
        return len({entry["probability"] for entry in shown}) > 1

    for n in range(80):
        rank(f"first-{n}", ACTIONS)
    wait_until(lambda: health()["modelEvents"] == 80)
    wait_until(explores)
    later = [rank(f"later-{n}", ACTIONS) for n in range(40)]
    granted = served.kept.call("PUT", f"/loops/{loop.name}/rankloop/v1/limits", {"mostActions": 1000})
    assert granted.json["mostActions"] == 1000
    many = [*ACTIONS, *({"id": f"a{n}", "features": [{"taste": f"t{n}"}]} for n in range(996))]
    probe = Sent("POST", "/personalizer/v1.0/rank", json.dumps({"actions": many, "deferActivation": True}).encode(), {})
    wait_until(lambda: loop.send(probe).status == 201)
    rank("many", many)
    wait_until(lambda: health()["modelEvents"] == 121)

    assert later.count("sour") >= 20  # 10 is uniform
    logged = {line["EventId"]: line for line in await joined_lines(served.storage, health()["loopId"])}
    for event_id, answer in answers.items():
        line, ranking = logged[event_id], answer["ranking"]
        asked = many if event_id == "many" else ACTIONS
        assert [asked[n - 1]["id"] for n in line["a"]] == [entry["id"] for entry in ranking]
        assert line["p"] == [entry["probability"] for entry in ranking]
        assert sum(line["p"]) == pytest.approx(1, abs=1e-5)
        assert line["p"][0] > 0
    for event_id in ("first-0", "later-39", "many"):
        story = json.loads(loop.send(Sent("GET", f"/rankloop/v1/events/{event_id}", None, {})).body)
        assert story["events"][0]["replay"]["same"] is True, story["events"][0]["replay"]
