"""Rank, reward and activate calls, single and multi-slot, into answers and journal lines."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from shared.log.records import Observed, decode_observed, decode_ranked
from tests.unit.edge.inmemory import InMemory, error, refusal

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}], "eventId": "e1"}
SLOTS = [{"id": "top", "baselineAction": "a"}, {"id": "side", "baselineAction": "b", "features": [{"size": 1}]}]
RANK_SLOTS = {**RANK, "slots": SLOTS}
REWARDS = {"reward": [{"slotId": "top", "value": 1.0}, {"slotId": "side", "value": -0.5}]}
ROOT = "personalizer/v1.1-preview.3"
Logged = list[tuple[str, str, bytes]]


@pytest.fixture
def logged(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> Logged:
    """What was put into the journal: stream, loop's id and line."""
    seen: Logged = []
    append = served.app.journal.append

    def noted(stream: str, loop_id: str, waits: Any, text: bytes, time: float, mark: bytes = b"") -> Any:
        seen.append((stream, loop_id, text))
        return append(stream, loop_id, waits, text, time, mark)

    monkeypatch.setattr(served.app.journal, "append", noted)
    return seen


def observations(logged: Logged) -> list[Observed]:
    return [decode_observed(text) for stream, _, text in logged if stream == "obs"]


async def test_a_rank_is_answered(served: InMemory) -> None:
    response = await served("POST", "personalizer/v1.0/rank", RANK)

    assert response.status_code == 201
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["csp-billing-usage"] == "CognitiveServices.Personalizer.Transaction=1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "x-rankloop-log" not in response.headers
    told = orjson.loads(response.get_body())
    assert list(told) == ["ranking", "eventId", "rewardActionId"]
    assert told["eventId"] == "e1"
    assert served.app.counters["http.201"] == 1
    assert served.app.counters["journal.lines"] == 1


async def test_a_multi_slot_rank_is_answered(served: InMemory, logged: Logged) -> None:
    await served.use_slots()

    response = await served("POST", f"{ROOT}/multislot/rank", RANK_SLOTS)

    told = orjson.loads(response.get_body())
    assert response.status_code == 201
    assert response.headers["csp-billing-usage"] == "CognitiveServices.Personalizer.Transaction=1"
    assert list(told) == ["slots", "eventId"]
    assert [slot["id"] for slot in told["slots"]] == ["top", "side"]
    assert {slot["rewardActionId"] for slot in told["slots"]} == {"a", "b"}
    ((stream, _, line),) = logged
    assert stream == "rank"
    assert [slot.id for slot in decode_ranked(line).s or ()] == ["top", "side"]


@pytest.mark.parametrize("slots", [False, True])
async def test_a_rank_that_is_not_durable_yet_says_so(monkeypatch: pytest.MonkeyPatch, slots: bool) -> None:
    served = InMemory(monkeypatch, log_deadline=0.01)
    if slots:
        await served.use_slots()
    path = f"{ROOT}/multislot/rank" if slots else f"{ROOT}/rank"
    body = RANK_SLOTS if slots else RANK
    assert (await served("POST", path, body)).headers.get("x-rankloop-log") is None
    served.tables.down = True

    response = await served("POST", path, body)

    assert response.status_code == 201
    assert response.headers["x-rankloop-log"] == "pending"
    served.tables.down = False
    await served.app.drain()


@pytest.mark.parametrize(
    ("segment", "event_id"),
    [
        ("e1", "e1"),
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("été", "été"),
        ("never ranked", "never ranked"),
    ],
)
async def test_rewards_and_activations_are_logged(
    served: InMemory, logged: Logged, segment: str, event_id: str
) -> None:
    rewarded = await served("POST", f"personalizer/v1.0/events/{segment}/reward", {"value": 0.5})
    activated = await served("POST", f"personalizer/v1.0/events/{segment}/activate", x_ms_client_request_id="r1")

    for response in (rewarded, activated):
        assert (response.status_code, response.get_body()) == (204, b"")
    assert [(o.e, o.k, o.v, o.s, o.q) for o in observations(logged)] == [
        (event_id, "r", 0.5, None, None),
        (event_id, "a", 0.0, None, "r1"),
    ]


async def test_rewards_and_activations_of_slots_are_logged(served: InMemory, logged: Logged) -> None:
    await served.use_slots()
    bodies: list[tuple[str, Any]] = [("reward", REWARDS), ("reward", {"reward": []}), ("activate", b"")]
    for kind, body in bodies:
        response = await served("POST", f"{ROOT}/multislot/events/a%2Fb/{kind}", body, x_ms_client_request_id="r1")
        assert (response.status_code, response.get_body()) == (204, b"")

    assert [(o.e, o.k, o.s, o.q) for o in observations(logged)] == [
        ("a/b", "r", [("top", 1.0), ("side", -0.5)], "r1"),
        ("a/b", "r", [], "r1"),
        ("a/b", "a", None, "r1"),
    ]


async def test_a_loops_events_are_its_own(served: InMemory, logged: Logged) -> None:
    await served.make_loop("news")
    for loop in ("", "loops/news/"):
        await served("POST", f"{loop}{ROOT}/rank", RANK)
        await served("POST", f"{loop}{ROOT}/events/e1/reward", {"value": 1})
        await served("POST", f"{loop}{ROOT}/events/e1/activate")

    ids = await served.app.loops.ids()
    assert [(stream, loop_id) for stream, loop_id, _ in logged] == [
        (stream, ids[name]) for name in ("default", "news") for stream in ("rank", "obs", "obs")
    ]


@pytest.mark.parametrize(
    ("path", "body", "code", "target"),
    [
        ("rank", b"{", "BadRequest", None),
        ("rank", {"actions": []}, "InvalidRankRequest", "actions"),
        ("rank", {"actions": [{"id": "a", "features": [{"\ud800": 1}]}]}, "BadRequest", None),
        ("events/e1/reward", {"value": "x"}, "BadRequest", "value"),
        ("events/e1/reward", {"value": 1e39}, "InvalidRewardRequest", "value"),
        ("events//reward", {"value": 1}, "InvalidRewardRequest", "eventId"),
        (f"events/{'x' * 257}/reward", {"value": 1}, "InvalidRewardRequest", "eventId"),
        ("events/\ud800/reward", {"value": 1}, "InvalidRewardRequest", "eventId"),
        ("events//activate", b"", "InvalidEventIdToActivate", "eventId"),
        (f"events/{'x' * 257}/activate", b"", "InvalidEventIdToActivate", "eventId"),
    ],
)
async def test_refusals_are_400_in_the_contracts_shape(
    served: InMemory, path: str, body: Any, code: str, target: str | None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await served("POST", f"personalizer/v1.0/{path}", raw)

    found = error(response)
    assert (response.status_code, found["code"], found.get("target")) == (400, code, target)
    assert served.app.counters[f"refused.{code}"] == 1
    assert served.app.counters["journal.lines"] == 0


@pytest.mark.parametrize(
    ("path", "body", "code", "target"),
    [
        ("rank", {**RANK, "slots": []}, "InvalidRankRequest", "slots"),
        ("rank", RANK, "BadRequest", "slots"),
        ("events/e1/reward", {"value": 1}, "BadRequest", "reward"),
        ("events/e1/reward", {"reward": [{"slotId": "top", "value": 1e39}]}, "InvalidRewardRequest", "reward[0].value"),
        ("events//reward", REWARDS, "InvalidRewardRequest", "eventId"),
        ("events//activate", b"", "InvalidEventIdToActivate", "eventId"),
        (f"events/{'x' * 257}/activate", b"", "InvalidEventIdToActivate", "eventId"),
    ],
)
async def test_refusals_of_slots_are_400_in_the_contracts_shape(
    served: InMemory, path: str, body: Any, code: str, target: str | None
) -> None:
    await served.use_slots()

    response = await served("POST", f"{ROOT}/multislot/{path}", body)

    found = error(response)
    assert (response.status_code, found["code"], found.get("target")) == (400, code, target)
    assert served.app.counters["journal.lines"] == 0


@pytest.mark.parametrize(
    ("path", "body"), [("rank", RANK_SLOTS), ("events/e1/reward", REWARDS), ("events/e1/activate", b"")]
)
async def test_a_loop_for_one_decision_takes_no_multi_slot_call(
    served: InMemory, logged: Logged, path: str, body: Any
) -> None:
    response = await served("POST", f"{ROOT}/multislot/{path}", body)

    assert (response.status_code, error(response)["code"]) == (400, "InvalidMultiSlotApiAccess")
    assert "--ccb_explore_adf" in error(response)["message"]
    assert logged == []


async def test_a_loop_for_slots_takes_no_single_rank_but_rewards_and_activations_of_before(
    served: InMemory, logged: Logged
) -> None:
    await served.use_slots()

    assert await refusal(served("POST", f"{ROOT}/rank", RANK)) == (403, "InvalidApiAccess")
    assert (await served("POST", f"{ROOT}/events/e1/reward", {"value": 1})).status_code == 204
    assert (await served("POST", f"{ROOT}/events/e1/activate")).status_code == 204
    assert len(observations(logged)) == 2


@pytest.mark.parametrize("kind", ["reward", "activate"])
async def test_an_observation_that_is_not_durable_in_time_is_to_be_repeated(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    served = InMemory(monkeypatch, reward_deadline=0.01)
    await served("GET", "personalizer/v1.0/configurations/service")
    served.tables.down = True

    response = await served("POST", f"personalizer/v1.0/events/e1/{kind}", {"value": 1})

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    served.tables.down = False
    await served.app.drain()
