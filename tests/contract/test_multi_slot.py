"""A multi-slot loop, two instances and real timers: what is drawn, rewarded, joined and learned, slot by slot."""

import json
from typing import Any

from tests.contract.conftest import Deployment, wait_until
from tests.contract.loops import Loop, make_loop
from tests.contract.swagger import Sent
from tests.contract.test_end_to_end import joined_lines

ACTIONS: list[dict[str, Any]] = [{"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour", "salty")]
SLOTS: list[dict[str, Any]] = [
    {"id": "hero", "features": [{"size": "large"}], "excludedActions": ["salty"], "baselineAction": "sweet"},
    {"id": "side", "features": [{"size": "small"}], "baselineAction": "sour"},
    # Allows one action only, which the hero often takes: it ends up without any then.
    {"id": "foot", "excludedActions": ["sweet", "salty"], "baselineAction": "sour"},
]
VERSIONS = ("personalizer/v1.1-preview.1", "personalizer/v1.1-preview.3")


def call(loop: Loop, path: str, body: object = None, version: int = 0) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    got = loop.send(Sent("POST", f"/{VERSIONS[version]}/{path}", data, {}))
    return got.status, json.loads(got.body) if got.body else got.headers["x-ms-error-code"]


def rank(loop: Loop, event_id: str, slots: list[dict[str, Any]], defer: bool = False) -> dict[str, str | None]:
    """Which action each slot got."""
    body = {"contextFeatures": [{"guest": "someone"}], "actions": ACTIONS, "slots": slots, "eventId": event_id}
    status, answer = call(loop, "multislot/rank", {**body, "deferActivation": defer})
    assert status == 201, answer
    assert list(answer) == ["slots", "eventId"]
    assert answer["eventId"] == event_id
    assert [slot["id"] for slot in answer["slots"]] == [slot["id"] for slot in slots]
    return {slot["id"]: slot.get("rewardActionId") for slot in answer["slots"]}


def reward(loop: Loop, event_id: str, version: int = 0, **slots: float) -> None:
    body = {"reward": [{"slotId": name, "value": value} for name, value in slots.items()]}
    status, answer = call(loop, f"multislot/events/{event_id}/reward", body, version)
    assert status == 204, answer


async def test_slots_are_drawn_rewarded_joined_and_learned_one_by_one(fresh: Deployment) -> None:
    loop = make_loop(fresh)
    other = loop._replace(endpoint=loop.endpoint.replace(fresh.kept.endpoint, fresh.decoded.endpoint))
    assert call(loop, "multislot/rank", {"actions": ACTIONS, "slots": SLOTS[:1]})[0] == 400  # not multi-slot yet
    loop.use_slots()
    # The median of one or two rewards is their mean.
    loop.configure(rewardWaitTime="PT10S", modelExportFrequency="PT5S", defaultReward=-0.25, rewardAggregation="median")
    wait_until(lambda: call(other, "multislot/rank", {"actions": [], "slots": []})[1]["error"]["target"] == "actions")
    assert call(loop, "rank", {"actions": ACTIONS})[1]["error"]["code"] == "InvalidApiAccess"

    shown: dict[str, dict[str, str | None]] = {}
    paid: dict[str, dict[str, float]] = {}
    for n in range(40):
        event_id, by = f"event/{n}", (loop, other)[n % 2]
        shown[event_id] = got = rank(by, event_id, SLOTS[:2])
        assert rank(other, event_id, SLOTS[:2]) == got  # a client's retry draws the same
        # In one call, or slot by slot through both instances and versions; what other events' slots got is ignored.
        if n % 3:
            reward(loop, event_id, hero=float(got["hero"] == "sour"), side=0.5, nowhere=1.0)
        else:
            reward(other, event_id.replace("/", "%2F"), 1, hero=float(got["hero"] == "sour"))
            reward(loop, event_id, side=0.25)
            reward(other, event_id, 1, side=0.75)
        paid[event_id] = {"hero": float(got["hero"] == "sour"), "side": 0.5}
    shown["unpaid"], paid["unpaid"] = rank(loop, "unpaid", SLOTS[:2]), {"hero": -0.25, "side": -0.25}
    shown["half"], paid["half"] = rank(loop, "half", SLOTS[:2]), {"hero": -0.25, "side": 1.0}
    reward(loop, "half", side=1.0)
    for event_id in ("slept", "woken"):
        shown[event_id], paid[event_id] = rank(loop, event_id, SLOTS[:2], True), {"hero": 1.0, "side": -0.25}
        reward(loop, event_id, hero=1.0)
    assert call(other, "multislot/events/woken/activate")[0] == 204
    narrow = [SLOTS[0], SLOTS[2]]
    for n in range(12):
        event_id = f"narrow-{n}"
        shown[event_id] = got = rank(by, event_id, narrow)
        paid[event_id] = {"hero": -0.25, "foot": -0.25}
        assert (got["foot"] is None) == (got["hero"] == "sour")
    empty = sum(slots.get("foot", "") is None for slots in shown.values())
    assert 0 < empty < 12

    def health() -> Any:
        sent = loop.send(Sent("GET", "/rankloop/v1/health", None, {}))
        return json.loads(sent.body)

    wait_until(lambda: health()["joinedEvents"] == len(shown) and health()["modelEvents"] == len(shown) - 1)
    assert health()["emptySlots"] == empty
    assert health()["inactiveEvents"] == 1
    lines = await joined_lines(fresh.storage, health()["loopId"])
    assert {line["EventId"] for line in lines} == set(shown)
    for line in lines:
        outcomes = {outcome["_id"]: outcome for outcome in line["_outcomes"]}
        event_id = line["EventId"]
        assert {name: _action(outcome) for name, outcome in outcomes.items()} == shown[event_id]
        assert line.get("_skipLearn", False) == (event_id == "slept")
        for name, outcome in outcomes.items():
            if outcome["_a"]:
                assert -outcome["_original_label_cost"] == paid[event_id][name], (event_id, name)
            else:
                assert "_label_cost" not in outcome
    assert call(loop, "multislot/events/event/reward", {"reward": [{"slotId": "", "value": 1}]})[0] == 400

    wait_until(lambda: bool(loop.call("GET", "model/properties")["creationTime"][:4] != "0001"))
    assert loop.call("GET", "model?signed=true")
    assert rank(other, "afterwards", SLOTS[:2])["hero"] in ("sweet", "sour")


def _action(outcome: dict[str, Any]) -> str | None:
    return str(ACTIONS[outcome["_a"][0]]["id"]) if outcome["_a"] else None
