"""What callers see of an evaluation from the moment they ask for it: progress, results in every shape, its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from bench.news import lines
from shared.evaluation import plan
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops.loops import DEFAULT
from tests.unit.edge.inmemory import InMemory, error
from tests.unit.edge.test_openapi import check
from tests.unit.evaluation.course import at_once

T0 = 1_700_002_800
"""2023-11-14T23:00:00Z."""
COUNTS = (120, 200, 80)
ASKED: dict[str, Any] = {
    "name": "an hour",
    "startTime": "2023-11-14T23:00:00Z",
    "endTime": "2023-11-15T00:00:00Z",
    "policies": [{"name": "mine", "arguments": "--cb_explore_adf --epsilon 0.1 --cb_type mtr -l 0.1 -q Fj"}],
}
NEW = "api-version=2022-09-01-preview"
OLD = "personalizer/v1.1-preview.3/evaluations"
SPAN = f"{NEW}&startTime=2023-11-14T00:00:00Z&endTime=2023-11-16T00:00:00Z"


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InMemory]:
    made = InMemory(monkeypatch)
    made.now = T0 + 7200.0
    made.app.evaluator._scorings._apart = at_once
    loop = await made.app.loops.named(DEFAULT)
    for n, count in enumerate(COUNTS):
        window = Window(T0 + 900 * n, T0 + 900 * n + 300)
        await joined.write(made.blobs, loop.id, window, joined.DSJSON, lines(count, n, window.start))
    await checkpoints.save(made.blobs, loop.id, Checkpoint(watermark=T0 + 3600), None)
    yield made
    assert [name for name in made.app.counters.snapshot() if name.endswith(".failed")] == []


async def run(served: InMemory) -> None:
    """Have the train timer do what is to be done, as there is no queue."""
    for _ in range(40):
        await served.app.train_due()
        served.now = (served.now or 0) + 61
    loop = await served.app.loops.named(DEFAULT)
    assert await served.blobs.names(f"loops/{loop.id}/evaluating/") == []


async def test_v1_shows_bins_and_totals(served: InMemory) -> None:
    made = await check(served, "create_evaluation_v1_1_preview_3", OLD, ASKED, 201)
    (job,) = (await served.json("GET", "rankloop/v1/jobs"))["value"]
    assert (job["id"], job["kind"], job["status"]) == (made["jobId"], "evaluate", "Running")
    await run(served)

    shown = await check(served, "get_evaluation_v1_1_preview_3", f"{OLD}/{made['id']}")

    assert (shown["status"], shown["evaluationType"]) == ("completed", "Manual")
    assert [(one["name"], one["policySource"]) for one in shown["policyResults"]] == [
        ("online", "Online"),
        ("baseline1", "Baseline"),
        ("BaselineRand", "Random"),
        ("mine", "Custom"),
    ]
    online = shown["policyResults"][0]
    counts = [one["ipsEstimatorDenominator"] for one in online["summary"]]
    assert counts == [120, 0, 0, 200, 0, 0, 80], "every bin, also those that hold nothing"
    assert [one["timeStamp"][11:16] for one in online["summary"]][:4] == ["23:00", "23:05", "23:10", "23:15"]
    total = online["totalSummary"]
    assert total["timeStamp"] == "2023-11-15T00:00:00Z"
    assert total["ipsEstimatorDenominator"] == 400
    assert total["ipsEstimatorNumerator"] == sum(one["ipsEstimatorNumerator"] for one in online["summary"])
    assert total["averageReward"] == total["ipsEstimatorNumerator"] / 400
    assert 0 < total["confidenceInterval"] < 0.1
    (listed,) = await check(served, "list_evaluations_v1_1_preview_3", OLD)
    assert [set(one) for one in listed["policyResults"]] == [set(online) - {"summary"}] * 4
    first = await check(served, "create_evaluation_v1_0", "personalizer/v1.0/evaluations", ASKED, 201)
    await run(served)
    old = await check(served, "get_evaluation_v1_0", f"personalizer/v1.0/evaluations/{first['id']}")
    assert "policySource" not in old["policyResults"][0]
    assert "averageReward" not in old["policyResults"][0]["totalSummary"]
    assert old["policyResults"][0]["summary"][0]["ipsEstimatorDenominator"] == 120


async def test_2022_shows_expanding_and_rolling_windows(served: InMemory) -> None:
    response = await served("PUT", f"personalizer/evaluations/day?{NEW}", {**ASKED, "enablePolicyOptimization": True})
    assert (response.status_code, response.get_body()) == (200, b"")
    running = await check(served, "get_evaluation_2022_09_01_preview", f"personalizer/evaluations/day?{SPAN}")
    assert (running["status"], running["content"]["value"]) == ("Running", [])
    await run(served)

    shown = await check(served, "get_evaluation_2022_09_01_preview", f"personalizer/evaluations/day?{SPAN}")

    assert (shown["status"], shown["content"]["intervalInMinutes"]) == ("Succeeded", 5)
    of = {one["name"]: one for one in shown["content"]["value"]}
    assert {one["policySource"] for one in of.values()} == {
        "Online",
        "Baseline",
        "Random",
        "Custom",
        "OfflineExperimentation",
    }
    assert shown["optimalPolicy"] in of
    online = of["online"]
    assert online["slotId"] == ""
    points = online["timeseries"]["data"]
    assert [one["timeStamp"] for one in points] == [f"2023-11-14T23:{minute}:00Z" for minute in ("00", "15", "30")]
    assert {name: points[-1][name] for name in online["summary"]} == online["summary"]
    low, high = online["summary"]["confidenceInterval"]
    assert low < high
    assert online["summary"]["expectedReward"] == pytest.approx((low + high) / 2)
    rolling = await check(
        served,
        "get_evaluation_2022_09_01_preview",
        f"personalizer/evaluations/day?{SPAN}&intervalInMinutes=60&window=Rolling",
    )
    (point,) = rolling["content"]["value"][0]["timeseries"]["data"]
    assert point == {**online["summary"], "timeStamp": "2023-11-14T23:00:00Z"}
    part = f"{NEW}&startTime=2023-11-14T23:15:00Z&endTime=2023-11-14T23:30:00Z"
    within = await check(served, "get_evaluation_2022_09_01_preview", f"personalizer/evaluations/day?{part}")
    (one,) = within["content"]["value"][0]["timeseries"]["data"]
    assert one["timeStamp"] == "2023-11-14T23:15:00Z"


async def test_all_that_is_known_is_told(served: InMemory) -> None:
    await served("PUT", f"personalizer/evaluations/a%2Fb?{NEW}", {**ASKED, "enablePolicyOptimization": True})
    path = f"rankloop/v1/evaluations/{quote('a/b', safe='')}"
    running = await check(served, "get_report", path)
    assert (running["status"], running["policies"]) == ("Running", [])
    assert not {"optimalPolicy", "description", "judgedFrom"} & set(running)
    await run(served)

    told = await check(served, "get_report", path)

    assert (told["id"], told["status"], told["evaluationType"]) == ("a/b", "Succeeded", "Manual")
    assert "2023-11-14T23:15:00Z" < told["judgedFrom"] < "2023-11-14T23:30:00Z"
    of = {one["name"]: one for one in told["policies"]}
    (slot,) = of["online"]["slots"]
    assert slot["whole"]["events"] == 400
    assert slot["judged"]["events"] == pytest.approx(400 * (1 - plan.SEARCHED), abs=15)
    assert not of["baseline1"]["slots"][0]["judged"]["trusted"]
    assert "more events are needed" in of["baseline1"]["slots"][0]["judged"]["says"]
    for one in of.values():
        for name in ("snips", "ips", "dr", "conservative"):
            estimate = one["slots"][0]["whole"][name]
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
    assert ("arguments" in of["mine"], "arguments" in of["BaselineRand"]) == (True, False)
    assert told["optimalPolicy"] in told["description"]
    assert error(await served("GET", "rankloop/v1/evaluations/none"))["code"] == "EvaluationNotFound"


async def test_a_found_policy_can_be_applied_as_it_is(served: InMemory) -> None:
    made = await served.json("POST", OLD, {**ASKED, "enableOfflineExperimentation": True})
    await run(served)
    shown = await served.json("GET", f"{OLD}/{made['id']}")
    found = next(one for one in shown["policyResults"] if one["policySource"] == "OfflineExperimentation")
    apply = "personalizer/v1.1-preview.3/configurations/applyFromEvaluation"

    response = await served("POST", apply, {"evaluationId": made["id"], "policyName": found["name"]})

    assert (response.status_code, response.get_body()) == (204, b"")
    held = await served.json("GET", "personalizer/v1.1-preview.3/configurations/policy")
    assert held["arguments"] == found["arguments"]
    for name in ("baseline1", "BaselineRand", "nobody"):
        refused = await served("POST", apply, {"evaluationId": made["id"], "policyName": name})
        assert error(refused)["code"] == "LearningSettingsNotFound"
    again = await served("POST", apply, {"evaluationId": made["id"], "policyName": "online"})
    assert again.status_code == 204, "back to what decided when it was evaluated"


async def test_an_evaluation_is_canceled_by_its_job(served: InMemory) -> None:
    made = await served.json("POST", OLD, ASKED)

    canceled = await check(served, "cancel_job", f"rankloop/v1/jobs/{made['jobId']}")

    assert (canceled["kind"], canceled["status"]) == ("evaluate", "Canceled")
    shown = await check(served, "get_evaluation_v1_1_preview_3", f"{OLD}/{made['id']}")
    assert (shown["status"], shown["policyResults"]) == ("failed", []), "v1 has no word for it"
    report = await check(served, "get_report", f"rankloop/v1/evaluations/{made['id']}")
    assert (report["status"], report["description"]) == ("Canceled", "It was canceled by a call.")
    await run(served)


async def test_an_evaluation_that_runs_can_be_deleted(served: InMemory) -> None:
    made = await served.json("POST", OLD, ASKED)
    await served.app.train_due()

    assert (await served("DELETE", f"{OLD}/{made['id']}")).status_code == 204

    assert (await served.json("GET", f"rankloop/v1/jobs/{made['jobId']}"))["status"] == "Canceled"
    assert error(await served("GET", f"{OLD}/{made['id']}"))["code"] == "EvaluationNotFound"
    await run(served)
    assert await served.json("GET", OLD) == []
