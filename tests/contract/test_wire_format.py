"""Answers as the service was recorded to write them: floats, dates, durations, nulls, members and their order.

Contract 1.5. The text of an answer is looked at, since a JSON reader would hide most of it.
"""

import json
import re
from typing import Any

import pytest

from shared.contract.versions import ALL, Version
from tests.contract.conftest import Deployment
from tests.contract.loops import Loop, make_loop
from tests.contract.swagger import Got, Sent

ACTIONS = [{"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour", "salty")]
SLOTS = [{"id": "top", "baselineAction": "sweet"}, {"id": "side", "baselineAction": "sour"}]
UNKNOWN = {"positionFeatures": None, "later": {"than": ["this"]}}
DATES = {"name": "x", "startTime": "2026-01-01", "endTime": "2026-01-02T00:00:00.000Z", "policies": []}


def text(loop: Loop, method: str, path: str, body: Any = None, version: Version = Version.V1_1_P3) -> str:
    """The body of an answer as it is written; the call must succeed."""
    got = send(loop, method, path, body, version)
    assert got.status < 300, got
    return got.body.decode()


def send(loop: Loop, method: str, path: str, body: Any = None, version: Version = Version.V1_1_P3) -> Got:
    place = f"{path}?api-version={version.value}" if version is Version.V2022 else f"{version.value}/{path}"
    return loop.send(Sent(method, f"/personalizer/{place}", None if body is None else json.dumps(body).encode(), {}))


def nulls(value: Any) -> bool:
    """Whether there is a null anywhere."""
    if isinstance(value, dict):
        return any(map(nulls, value.values()))
    return any(map(nulls, value)) if isinstance(value, list) else value is None


@pytest.fixture(scope="module")
def loop(served: Deployment) -> Loop:
    """A loop whose settings stay as they were."""
    return make_loop(served)


@pytest.mark.parametrize("version", ALL)
def test_no_answer_holds_a_null_or_a_space_between_members(loop: Loop, version: Version) -> None:
    paths = ["configurations/service", "configurations/policy", "evaluations", "logs/properties", "model/properties"]
    if version is Version.V2022:
        paths.append("featureImportances")
    answers = [text(loop, "GET", path, None, version) for path in paths]
    answers.append(text(loop, "POST", "rank", {"actions": ACTIONS}, version))
    answers.append(send(loop, "POST", "rank", {"actions": []}, version).body.decode())

    for answer in answers:
        assert not nulls(json.loads(answer)), answer
        assert answer == json.dumps(json.loads(answer), separators=(",", ":"), ensure_ascii=False)


def test_floats_keep_their_point_and_have_32_bits(served: Deployment) -> None:
    loop = make_loop(served)
    held = json.loads(text(loop, "GET", "configurations/service"))

    assert '"defaultReward":0.0,' in text(loop, "GET", "configurations/service")
    changed = text(loop, "PUT", "configurations/service", {**held, "defaultReward": 1, "explorationPercentage": 1 / 3})
    assert '"defaultReward":1.0,' in changed
    assert '"explorationPercentage":0.33333334,' in changed
    three = text(loop, "POST", "rank", {"actions": ACTIONS})
    assert re.findall(r'"probability":([^}]+)}', three) == ["0.33333334"] * 3
    one = text(loop, "POST", "rank", {"actions": ACTIONS, "excludedActions": ["sweet", "salty"]})
    assert re.findall(r'"probability":([^}]+)}', one) == ["0.0", "1.0", "0.0"]


def test_members_stand_in_their_order(served: Deployment) -> None:
    loop = make_loop(served)

    ranked = text(loop, "POST", "rank", {"actions": ACTIONS, "eventId": "e"})
    assert re.fullmatch(r'{"ranking":\[{"id":"\w+","probability":.*}\],"eventId":"e","rewardActionId":"\w+"}', ranked)
    loop.use_slots()
    placed = text(loop, "POST", "multislot/rank", {"actions": ACTIONS, "slots": SLOTS, "eventId": "e"})
    slot = r'{"id":"%s","rewardActionId":"\w+"}'
    assert re.fullmatch(r'{"slots":\[' + slot % "top" + "," + slot % "side" + r'\],"eventId":"e"}', placed)


def test_an_event_id_is_made_where_none_is_given(loop: Loop) -> None:
    made = [
        json.loads(text(loop, "POST", "rank", {"actions": ACTIONS, **none}))["eventId"]
        for none in ({}, {"eventId": None, "excludedActions": None, "deferActivation": None, "contextFeatures": None})
    ]

    assert made[0] != made[1]
    assert all(re.fullmatch(r"[0-9a-f]{32}-[0-9A-Za-z]{5}", event_id) for event_id in made)
    assert made[0][-5:] == made[1][-5:]


@pytest.mark.parametrize("version", ALL[1:])
def test_dates_and_durations_are_spelled_as_recorded(served: Deployment, version: Version) -> None:
    loop = make_loop(served)
    fresh = json.loads(text(loop, "GET", "configurations/service", None, version))

    assert fresh["lastConfigurationEditDate"] == "0001-01-01T00:00:00"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", fresh["autoOptimizationStartDate"])
    assert {name: fresh[name] for name in ("rewardWaitTime", "modelExportFrequency", "autoOptimizationFrequency")} == {
        "rewardWaitTime": "PT10M", "modelExportFrequency": "PT5M", "autoOptimizationFrequency": "P28D",
    }  # fmt: skip
    given = {"rewardWaitTime": "04:00:00", "modelExportFrequency": "PT15S", "autoOptimizationFrequency": "7.00:00:00"}
    start = {"autoOptimizationStartDate": "2030-01-31T01:00:00+01:00"}
    changed = json.loads(text(loop, "PUT", "configurations/service", {**fresh, **given, **start}, version))
    assert {name: changed[name] for name in [*given, *start]} == {
        "rewardWaitTime": "PT4H", "modelExportFrequency": "PT15S", "autoOptimizationFrequency": "P7D",
        "autoOptimizationStartDate": "2030-01-31T00:00:00Z",
    }  # fmt: skip
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d", changed["lastConfigurationEditDate"])


def test_a_loop_without_log_and_model_answers_nothing_and_the_year_1(loop: Loop) -> None:
    assert text(loop, "GET", "logs/properties") == "{}"
    never = "0001-01-01T00:00:00+00:00"
    assert text(loop, "GET", "model/properties") == f'{{"creationTime":"{never}","lastModifiedTime":"{never}"}}'


@pytest.mark.parametrize("version", ALL)
def test_a_date_of_an_evaluation_needs_no_time(loop: Loop, version: Version) -> None:
    method, path = ("PUT", "evaluations/x") if version is Version.V2022 else ("POST", "evaluations")

    assert send(loop, method, path, DATES, version).headers["x-ms-error-code"] == "NoLogsExistInDateRange"


@pytest.mark.parametrize("version", ALL)
def test_unknown_members_are_passed_over(served: Deployment, version: Version) -> None:
    loop = make_loop(served)
    settings = json.loads(text(loop, "GET", "configurations/service", None, version))
    policy = json.loads(text(loop, "GET", "configurations/policy", None, version))
    actions = [{**action, **UNKNOWN} for action in ACTIONS]

    text(loop, "POST", "rank", {"actions": actions, "eventId": "e", **UNKNOWN}, version)
    text(loop, "POST", "events/e/reward", {"value": 1, **UNKNOWN}, version)
    assert json.loads(text(loop, "PUT", "configurations/service", {**settings, **UNKNOWN}, version)) == settings
    assert json.loads(text(loop, "PUT", "configurations/policy", {**policy, **UNKNOWN}, version)) == policy
    # The flag of the other versions.
    wrong = "enableOfflineExperimentation" if version is Version.V2022 else "enablePolicyOptimization"
    method, path = ("PUT", "evaluations/x") if version is Version.V2022 else ("POST", "evaluations")
    refused = send(loop, method, path, {**DATES, wrong: "not even a boolean", **UNKNOWN}, version)
    assert refused.headers["x-ms-error-code"] == "NoLogsExistInDateRange"


def test_unknown_members_of_slots_are_passed_over(served: Deployment) -> None:
    loop = make_loop(served)
    loop.use_slots()
    slots = [{**slot, **UNKNOWN} for slot in SLOTS]

    placed = text(loop, "POST", "multislot/rank", {"actions": ACTIONS, "slots": slots, "eventId": "e", **UNKNOWN})
    rewards = [{"slotId": "top", "value": 1, **UNKNOWN}]
    assert len(json.loads(placed)["slots"]) == 2
    assert text(loop, "POST", "multislot/events/e/reward", {"reward": rewards, **UNKNOWN}) == ""


def test_members_are_known_in_any_case(served: Deployment) -> None:
    loop = make_loop(served)
    held = json.loads(text(loop, "GET", "configurations/service", None, Version.V2022))
    given = {name[0].upper() + name[1:]: value for name, value in held.items()}

    changed = text(loop, "PUT", "configurations/service", {**given, "IsInferenceExplainabilityEnabled": True}, ALL[-1])
    assert json.loads(changed) == {**held, "isInferenceExplainabilityEnabled": True}
    ranked = text(loop, "POST", "rank", {"Actions": ACTIONS, "EVENTID": "e", "excludedactions": ["sweet", "sour"]})
    assert json.loads(ranked)["eventId"] == "e"
    assert json.loads(ranked)["rewardActionId"] == "salty"


@pytest.mark.parametrize("version", ALL)
def test_what_answers_nothing_sends_no_body(loop: Loop, version: Version) -> None:
    for path, body in (("events/e/reward", {"value": 0.5}), ("events/e/activate", None)):
        got = send(loop, "POST", path, body, version)
        assert (got.status, got.body, got.headers["Content-Length"] or "0") == (204, b"", "0")
