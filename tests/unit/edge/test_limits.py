"""Calls on a loop's limits: what its owner alone may widen, and what its settings may be then."""

from __future__ import annotations

from typing import Any

import pytest

from shared.access.rates import Rates
from shared.loops.loops import DEFAULT
from tests.unit.edge.inmemory import InMemory, error, refusal

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e1"}
LIMITS = "rankloop/v1/limits"
SERVICE = "personalizer/v1.0/configurations/service"


class Steady:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(wait: str, most: int = 50, lowest: float = -1.0, highest: float = 1.0) -> dict[str, Any]:
    return {"longestRewardWait": wait, "mostActions": most, "lowestReward": lowest, "highestReward": highest}


async def settings(served: InMemory, loop: str = "", **changed: Any) -> dict[str, Any]:
    held = {**await served.json("GET", f"{loop}{SERVICE}"), **changed}
    return held


async def test_a_wait_of_more_than_two_days_takes_the_owners_leave(served: InMemory) -> None:
    wished = await settings(served, rewardWaitTime="P60D")
    assert await served.json("GET", LIMITS) == limits("P2D")
    assert await refusal(served("PUT", SERVICE, wished)) == (400, "InvalidRewardWaitTime")

    assert await served.json("PUT", LIMITS, {"longestRewardWait": "P60D"}) == limits("P60D")

    assert (await served.json("PUT", SERVICE, wished))["rewardWaitTime"] == "P60D"
    assert await served.json("GET", LIMITS) == limits("P60D")
    longer = {**wished, "rewardWaitTime": "P60DT1S"}
    assert await refusal(served("PUT", SERVICE, longer)) == (400, "InvalidRewardWaitTime")


async def test_the_log_is_kept_for_longer_than_the_wait(served: InMemory) -> None:
    await served.json("PUT", LIMITS, {"longestRewardWait": "P60D"})
    wished = await settings(served, rewardWaitTime="P60D", logRetentionDays=60)

    assert await refusal(served("PUT", SERVICE, wished)) == (400, "InvalidLogRetentionDays")
    await served.json("PUT", SERVICE, {**wished, "logRetentionDays": 61})


async def test_the_limits_of_a_loop_are_its_own_and_its_key_changes_them_not(served: InMemory) -> None:
    key, _ = await served.make_loop("news")
    path = f"loops/news/{LIMITS}"

    refused = served("PUT", path, {"longestRewardWait": "P60D"}, ocp_apim_subscription_key=key)
    assert await refusal(refused) == (403, "Forbidden")
    await served.json("PUT", path, {"longestRewardWait": "P3D"})

    assert await served.json("GET", path, ocp_apim_subscription_key=key) == limits("P3D")
    assert await served.json("GET", LIMITS) == limits("P2D")
    wished = await settings(served, "loops/news/", rewardWaitTime="P3D")
    await served.json("PUT", f"loops/news/{SERVICE}", wished, ocp_apim_subscription_key=key)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "BadRequest"),
        ([], "BadRequest"),
        ({"longestRewardWait": 5}, "BadRequest"),
        ({"longestRewardWait": "soon"}, "BadRequest"),
        ({"longestRewardWait": "PT4S"}, "InvalidRequest"),
        ({"longestRewardWait": "P60DT1S"}, "InvalidRequest"),
        ({"longestRewardWait": "PT599S"}, "InvalidRequest"),
        ({"mostActions": "many"}, "BadRequest"),
        ({"mostActions": 0}, "InvalidRequest"),
        ({"longestRewardWait": "P60D", "mostActions": 1001}, "InvalidRequest"),
        ({"highestReward": "many"}, "BadRequest"),
        ({"highestReward": -1}, "InvalidRequest"),
        ({"mostActions": 100, "lowestReward": 1}, "InvalidRequest"),
        ({"highestReward": 1000001}, "InvalidRequest"),
    ],
)
async def test_limits_out_of_bounds_change_nothing(served: InMemory, body: Any, code: str) -> None:
    refused = error(await served("PUT", LIMITS, body))

    assert refused["code"] == code
    assert await served.json("GET", LIMITS) == limits("P2D")


async def test_what_is_left_out_keeps_its_value(served: InMemory) -> None:
    await served.json("PUT", LIMITS, {"longestRewardWait": "PT10M"})

    assert await served.json("PUT", LIMITS, {}) == limits("PT10M")
    wished = await settings(served, rewardWaitTime="PT11M")
    assert "PT10M" in error(await served("PUT", SERVICE, wished))["message"]


async def test_a_limit_below_the_wait_in_force_says_what_to_do_first(served: InMemory) -> None:
    refused = error(await served("PUT", LIMITS, {"longestRewardWait": "PT1M"}))

    assert refused["target"] == "longestRewardWait"
    assert "rewardWaitTime, which is PT10M" in refused["message"]


def asked(count: int, features: int = 10, **more: Any) -> dict[str, Any]:
    """A rank body of so many actions."""
    shown = {f"feature{n}": n / 7 for n in range(features)}
    actions = [{"id": f"a{n}", "features": [{**shown, "kind": f"k{n % 9}" * features**2}]} for n in range(count)]
    return {"contextFeatures": [shown], "actions": actions, **more}


async def test_a_call_of_more_than_fifty_actions_takes_the_owners_leave(served: InMemory) -> None:
    rank = "personalizer/v1.0/rank"
    assert "1 to 50 actions; it holds 51" in error(await served("POST", rank, asked(51)))["message"]

    assert (await served.json("PUT", LIMITS, {"mostActions": 1000}))["mostActions"] == 1000

    answer = await served.json("POST", rank, asked(1000, excludedActions=["a0", "a999"]))
    assert {entry["id"] for entry in answer["ranking"]} == {f"a{n}" for n in range(1000)}
    assert sum(entry["probability"] for entry in answer["ranking"]) == pytest.approx(1, abs=1e-6)
    assert "1 to 1000 actions; it holds 1001" in error(await served("POST", rank, asked(1001)))["message"]
    refused = error(await served("POST", rank, asked(1000, features=20)))
    assert "for each of its 1000 actions" in refused["message"]
    assert refused["message"].endswith("Send fewer features, or fewer actions a call.")


async def test_multi_slot_calls_of_more_than_fifty_actions_take_it_too(served: InMemory) -> None:
    service = await served.json("GET", "personalizer/v1.1-preview.3/configurations/service")
    service["isAutoOptimizationEnabled"] = False
    await served.json("PUT", "personalizer/v1.1-preview.3/configurations/service", service)
    slots = {"name": "slots", "arguments": "--ccb_explore_adf --epsilon 0.2 -q ::"}
    await served.json("PUT", "personalizer/v1.1-preview.3/configurations/policy", slots)
    rank, slot = "personalizer/v1.1-preview.3/multislot/rank", {"id": "top", "baselineAction": "a0"}
    assert "1 to 50 actions" in error(await served("POST", rank, asked(51, slots=[slot])))["message"]

    await served.json("PUT", LIMITS, {"mostActions": 200})

    answer = await served.json("POST", rank, asked(200, slots=[slot]))
    assert answer["slots"][0]["rewardActionId"] in {f"a{n}" for n in range(200)}
    assert "1 to 200 actions" in error(await served("POST", rank, asked(201, slots=[slot])))["message"]


async def test_new_limits_are_no_edit_of_what_is_learned(served: InMemory) -> None:
    path = "personalizer/v1.1-preview.3/configurations/service"
    before = (await served.json("GET", path))["lastConfigurationEditDate"]

    await served.json("PUT", LIMITS, {"longestRewardWait": "P60D"})

    assert (await served.json("GET", path))["lastConfigurationEditDate"] == before


async def test_a_wider_reward_range_is_an_edit_of_what_is_learned(served: InMemory) -> None:
    path = "personalizer/v1.1-preview.3/configurations/service"
    before = (await served.json("GET", path))["lastConfigurationEditDate"]

    assert await served.json("PUT", LIMITS, {"highestReward": 20}) == limits("P2D", highest=20.0)

    assert (await served.json("GET", path))["lastConfigurationEditDate"] != before
    loop = await served.app.loops.named(DEFAULT)
    assert loop.rules().at(0).reward_range == (-1.0, 20.0)
    refused = error(await served("PUT", LIMITS, {"lowestReward": 20}))
    assert (refused["target"], refused["message"]) == (
        "lowestReward",
        "lowestReward must be below highestReward; they would be 20 and 20.",
    )


async def test_a_rate_refuses_what_is_beyond_it_and_nothing_but_the_loops_calls(served: InMemory) -> None:
    await served.make_loop("news")
    clock = Steady()
    served.app.rates = Rates(clock)
    path = f"loops/news/{LIMITS}"
    told = await served.json("PUT", path, {"callsPerSecond": 0.5, "callBurst": 2})
    assert (told["callsPerSecond"], told["callBurst"]) == (0.5, 2)
    reward = "loops/news/personalizer/v1.0/events/e1/reward"

    assert (await served("POST", "loops/news/personalizer/v1.0/rank", RANK)).status_code == 201
    assert (await served("POST", reward, {"value": 1.0})).status_code == 204
    refused = await served("POST", reward, {"value": 1.0})

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert error(refused)["code"] == "TooManyRequests"
    counted = served.app.counters
    assert (counted["calls.limited"], counted["http.429"], counted["refused.TooManyRequests"]) == (1, 1, 1)
    assert await refusal(served("POST", reward, ocp_apim_subscription_key="wrong")) == (401, "Unauthorized")
    assert (await served("POST", "personalizer/v1.0/rank", RANK)).status_code == 201
    assert (await served("GET", "loops/news/rankloop/v1/health")).status_code == 200
    clock.now += 2.0
    assert (await served("POST", reward, {"value": 1.0})).status_code == 204


async def test_whoever_has_no_key_takes_nothing_of_a_loops_rate(served: InMemory) -> None:
    served.app.rates = Rates(Steady())
    await served.json("PUT", LIMITS, {"callsPerSecond": 1})

    for _ in range(5):
        await served("POST", "personalizer/v1.0/rank", RANK, ocp_apim_subscription_key="wrong")

    assert (await served("POST", "personalizer/v1.0/rank", RANK)).status_code == 201


async def test_a_rate_is_set_kept_and_taken_back(served: InMemory) -> None:
    assert await served.json("PUT", LIMITS, {"callsPerSecond": 2.5}) == {
        **limits("P2D"), "callsPerSecond": 2.5, "callBurst": 3,
    }  # fmt: skip
    assert await served.json("PUT", LIMITS, {"callBurst": 7}) == {
        **limits("P2D"), "callsPerSecond": 2.5, "callBurst": 7,
    }  # fmt: skip
    assert (await served.json("PUT", LIMITS, {"mostActions": 60}))["callBurst"] == 7
    assert await served.json("PUT", LIMITS, {"callsPerSecond": 0}) == limits("P2D", 60)


@pytest.mark.parametrize(
    "body",
    [
        {"callsPerSecond": -1},
        {"callsPerSecond": 0.001},
        {"callsPerSecond": 100001},
        {"callBurst": 5},
        {"callsPerSecond": 1, "callBurst": 0},
        {"callsPerSecond": 0, "callBurst": 1},
    ],
)
async def test_a_rate_out_of_bounds_changes_nothing(served: InMemory, body: Any) -> None:
    refused = error(await served("PUT", LIMITS, body))

    assert (refused["code"], refused["target"] in body) == ("InvalidRequest", True)
    assert await served.json("GET", LIMITS) == limits("P2D")
