"""The official Python SDK of API version 2022-09-01-preview against a served loop: every method, sync and async."""

import asyncio
import inspect
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from azure.ai import personalizer
from azure.ai.personalizer import aio
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from tests.contract.conftest import DEADLINE, Deployment
from tests.contract.loops import Loop, learned_loop, make_loop, signed_model

CALLS, MANAGES = "PersonalizerClient", "PersonalizerAdministrationClient"
Key = tuple[str, str, str]
"""A class, a method of it, and the name of one call."""

DEFAULT_POLICY = "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
BAGGED = {"name": "bagged", "arguments": "--cb_explore_adf --bag 3 --cb_type mtr -q ::"}
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC)
WEEK = {"name": "week", "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-08T00:00:00Z"}
EVALUATION = {**WEEK, "policies": [], "enablePolicyOptimization": False}
ACTIONS = [{"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour", "salty")]
SLOTS = [{"id": "top", "baselineAction": "sweet"}, {"id": "side", "baselineAction": "sour", "features": [{"size": 1}]}]
SLOT_REWARDS = {"reward": [{"slotId": "top", "value": 1.0}, {"slotId": "side", "value": 0.0}]}

REFUSED: dict[Key, tuple[type[HttpResponseError], int, str]] = {
    (MANAGES, "update_service_configuration", "out of range"): (HttpResponseError, 400, "InvalidServiceConfiguration"),
    (MANAGES, "update_policy", "no policy"): (HttpResponseError, 400, "InvalidPolicyConfiguration"),
    (CALLS, "rank", "no action"): (HttpResponseError, 400, "InvalidRankRequest"),
    (CALLS, "reward", "no float"): (HttpResponseError, 400, "InvalidRewardRequest"),
    (CALLS, "activate", "too long an id"): (HttpResponseError, 400, "InvalidEventIdToActivate"),
    (CALLS, "rank_multi_slot", "too early"): (HttpResponseError, 400, "InvalidMultiSlotApiAccess"),
    (MANAGES, "import_model", "no zip"): (HttpResponseError, 400, "InvalidModelImportFormat"),
    (MANAGES, "create_evaluation", "no log"): (HttpResponseError, 400, "NoLogsExistInDateRange"),
    (MANAGES, "create_evaluation", "no name"): (HttpResponseError, 400, "InvalidEvaluationContract"),
    (MANAGES, "get_evaluation", "unknown"): (ResourceNotFoundError, 404, "EvaluationNotFound"),
    (MANAGES, "delete_evaluation", "unknown"): (ResourceNotFoundError, 404, "EvaluationNotFound"),
    (MANAGES, "apply_from_evaluation", "unknown"): (ResourceNotFoundError, 404, "EvaluationNotFound"),
    (MANAGES, "create_feature_importance", "no log"): (HttpResponseError, 400, "NoLogsExistInDateRange"),
    (MANAGES, "create_feature_importance", "no name"): (HttpResponseError, 400, "InvalidContract"),
    (MANAGES, "get_feature_importance", "unknown"): (ResourceNotFoundError, 404, "FeatureImportanceNotFound"),
    (MANAGES, "delete_feature_importance", "unknown"): (ResourceNotFoundError, 404, "FeatureImportanceNotFound"),
    (CALLS, "rank_multi_slot", "no slot"): (HttpResponseError, 400, "InvalidRankRequest"),
    (CALLS, "reward_multi_slot", "no value"): (HttpResponseError, 400, "BadRequest"),
}
"""The calls that fail as they must: all others succeed. Each method is called with a wrong key besides."""

WITHOUT_LOG = {
    (MANAGES, f"{verb}_{job}") for verb in ("create", "get", "delete") for job in ("evaluation", "feature_importance")
} | {(MANAGES, "apply_from_evaluation")}
"""Methods that cannot succeed at a loop that has no log."""


class Player:
    """Calls the clients of one kind, sync or async, and keeps what came of it.

    Attributes:
        told: the result of each call, or its error.
    """

    def __init__(self, sdk: Any, loop: Loop) -> None:
        self.told: dict[Key, Any] = {}
        self._clients = self._open(sdk, loop.endpoint, loop.key)
        self._strangers = self._open(sdk, f"{loop.endpoint}/", "wrong")

    @staticmethod
    def _open(sdk: Any, endpoint: str, key: str) -> dict[str, Any]:
        return {name: getattr(sdk, name)(endpoint, AzureKeyCredential(key)) for name in (CALLS, MANAGES)}

    async def call(self, owner: str, method: str, case: str, *arguments: Any, **options: Any) -> Any:
        """Call a method with our key, and with a wrong one; streams are given as functions that open them."""
        for called, clients in ((case, self._clients), ("wrong key", self._strangers)):
            if (owner, method, called) in self.told:
                assert called == "wrong key"
                continue
            given = [argument() if callable(argument) else argument for argument in arguments]
            try:
                # The SDK would repeat a call that was answered with 503 for some seconds.
                result = await settled(getattr(clients[owner], method)(*given, retry_total=0, **options))
            except HttpResponseError as e:
                result, response = e, cast(Any, e.response)
                await settled(response.read())  # a stream's error would keep its connection
            self.told[owner, method, called] = result
        return self.told[owner, method, case]

    async def close(self) -> None:
        for clients in (self._clients, self._strangers):
            for owner, client in clients.items():
                self.told[owner, "close", "close"] = await settled(client.close())


async def settled(result: Any) -> Any:
    """What a method returns in the end, of whichever kind it is; of an iterator all that it yields."""
    if inspect.isawaitable(result):
        result = await result
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    return list(result) if hasattr(result, "__next__") or hasattr(result, "by_page") else result


def opened(content: bytes) -> Callable[[], io.BytesIO]:
    return lambda: io.BytesIO(content)


async def play(sdk: Any, loop: Loop, model: bytes) -> dict[Key, Any]:
    player = Player(sdk, loop)
    call = player.call

    held = await call(MANAGES, "get_service_configuration", "get")
    await call(MANAGES, "update_service_configuration", "put", {**held, "modelRetrainDays": 1})
    await call(MANAGES, "update_service_configuration", "apprentice", {**held, "learningMode": "Apprentice"})
    await call(MANAGES, "update_service_configuration", "online", {**held, "modelRetrainDays": 1})
    await call(MANAGES, "update_service_configuration", "out of range", {**held, "explorationPercentage": 2})
    policy = await call(MANAGES, "get_policy", "get")
    await call(MANAGES, "update_policy", "put", BAGGED)
    await call(MANAGES, "update_policy", "stream", opened(json.dumps(policy).encode()))
    await call(MANAGES, "update_policy", "no policy", {"name": "none", "arguments": "--no_such_option"})
    await call(MANAGES, "reset_policy", "delete")

    await call(CALLS, "rank_multi_slot", "too early", {"actions": ACTIONS, "slots": SLOTS})
    asked = {"actions": ACTIONS, "contextFeatures": [{"hunger": 1}], "excludedActions": ["sour"], "eventId": "ev/1"}
    await call(CALLS, "rank", "bare", {"actions": ACTIONS})
    await call(CALLS, "rank", "everything", {**asked, "deferActivation": True})
    await call(CALLS, "rank", "no action", {"actions": []})
    await call(CALLS, "reward", "ranked", "ev/1", {"value": 0.5})
    await call(CALLS, "reward", "no float", "ev/1", {"value": 1e39})
    await call(CALLS, "activate", "ranked", "ev/1")
    await call(CALLS, "activate", "too long an id", "x" * 257)

    await call(MANAGES, "import_model", "import", opened(model))
    await call(MANAGES, "import_model", "no zip", opened(b"no zip"))
    await call(MANAGES, "export_model", "unsigned")
    await call(MANAGES, "export_model", "signed", signed=True)
    await call(MANAGES, "get_model_properties", "get")
    await call(MANAGES, "reset_model", "delete")
    await call(MANAGES, "get_log_properties", "get")
    await call(MANAGES, "delete_logs", "delete")

    await call(MANAGES, "list_evaluations", "all")
    await call(MANAGES, "list_evaluations", "some", filter_expression="evaluationType eq 'Manual'", top=5, skip=1)
    await call(MANAGES, "create_evaluation", "no log", "week", EVALUATION)
    await call(MANAGES, "create_evaluation", "no name", "week", {**EVALUATION, "name": None})
    options = {"start_time": START, "end_time": END, "interval_in_minutes": 60, "window": "Rolling"}
    await call(MANAGES, "get_evaluation", "unknown", "no/such", **options)
    await call(MANAGES, "delete_evaluation", "unknown", "no/such")
    await call(MANAGES, "apply_from_evaluation", "unknown", {"evaluationId": "no/such", "policyName": "online"})
    await call(MANAGES, "list_feature_importances", "all")
    await call(MANAGES, "list_feature_importances", "some", top=5, skip=1)
    await call(MANAGES, "create_feature_importance", "no log", "week", WEEK)
    await call(MANAGES, "create_feature_importance", "no name", "week", {**WEEK, "name": None})
    await call(MANAGES, "get_feature_importance", "unknown", "no/such")
    await call(MANAGES, "delete_feature_importance", "unknown", "no/such")

    await call(MANAGES, "update_service_configuration", "alone", {**held, "isAutoOptimizationEnabled": False})
    several = policy["arguments"].replace("--cb_", "--ccb_", 1)
    await call(MANAGES, "update_policy", "several slots", {**policy, "arguments": several})
    slotted = {"actions": ACTIONS, "slots": SLOTS, "contextFeatures": [{"hunger": 1}], "eventId": "ev/2"}
    await call(CALLS, "rank_multi_slot", "everything", {**slotted, "deferActivation": True})
    await call(CALLS, "rank_multi_slot", "no slot", {"actions": ACTIONS, "slots": []})
    await call(CALLS, "reward_multi_slot", "ranked", "ev/2", SLOT_REWARDS)
    await call(CALLS, "reward_multi_slot", "no value", "ev/2", {"reward": [{"slotId": "top"}]})
    await call(CALLS, "activate_multi_slot", "ranked", "ev/2")

    # Of this method a path is relative to {Endpoint}/personalizer, and no status is an error.
    properties = HttpRequest("GET", "/model/properties", params={"api-version": "2022-09-01-preview"})
    for owner in (CALLS, MANAGES):
        await call(owner, "send_request", "get", properties)
    await player.close()
    return player.told


async def evaluate(sdk: Any, loop: Loop) -> list[Any]:
    """What comes of an evaluation of a loop that has a log: made, read until it is done, listed, applied, deleted."""
    player, now, name = Player(sdk, loop), datetime.now(UTC), f"{sdk.__name__}/today"
    begin, end = now - timedelta(1), now + timedelta(1)
    body = {**EVALUATION, "startTime": begin.isoformat(), "endTime": end.isoformat(), "policies": []}
    told = [await player.call(MANAGES, "create_evaluation", "log", name, body)]
    until, tries = time.monotonic() + DEADLINE, 0
    while True:
        read = await player.call(MANAGES, "get_evaluation", f"try {tries}", name, start_time=begin, end_time=end)
        if read["status"] != "Running" or time.monotonic() > until:
            break
        tries += 1
        await asyncio.sleep(0.5)
    listed = await player.call(MANAGES, "list_evaluations", "one")
    told += [read, [one for one in listed if one["id"] == name]]  # other tests ask for some, too
    reference = {"evaluationId": name, "policyName": "online"}
    told.append(await player.call(MANAGES, "apply_from_evaluation", "online", reference))
    told.append(await player.call(MANAGES, "delete_evaluation", "done", name))
    await player.close()
    return told


@pytest.fixture(scope="module")
def model(served: Deployment) -> bytes:
    return signed_model(served)


@pytest.fixture(scope="module", params=["sync", "async"])
def told(served: Deployment, model: bytes, request: pytest.FixtureRequest) -> dict[Key, Any]:
    sdk = personalizer if request.param == "sync" else aio
    return asyncio.run(play(sdk, make_loop(served), model))


def public_methods(sdk: Any) -> Iterator[tuple[str, str]]:
    for owner in sdk.__all__:
        for name, _ in inspect.getmembers(getattr(sdk, owner), callable):
            if not name.startswith("_"):
                yield owner, name


def test_no_method_is_forgotten(told: dict[Key, Any]) -> None:
    called = {key[:2] for key in told}
    strange = {key[:2] for key in told if key[2] == "wrong key"}
    closed = {(CALLS, "close"), (MANAGES, "close")}

    assert called == set(public_methods(personalizer)) == set(public_methods(aio))
    assert len(called) == 8 + 22
    assert strange == called - closed


def test_what_succeeds_and_what_is_refused(told: dict[Key, Any]) -> None:
    ours = {key: result for key, result in told.items() if key[2] != "wrong key"}
    errors = {key: result for key, result in ours.items() if isinstance(result, HttpResponseError)}
    summary = {key: (type(error), error.status_code, error.error and error.error.code) for key, error in errors.items()}

    assert summary == REFUSED
    assert {key[:2] for key in ours} - {key[:2] for key in ours.keys() - REFUSED.keys()} == WITHOUT_LOG
    assert all(error.error and error.error.message for error in errors.values())


@pytest.mark.parametrize("sdk", [personalizer, aio], ids=["sync", "async"])
def test_an_evaluation_is_made_read_applied_and_deleted(served: Deployment, sdk: Any) -> None:
    made, read, listed, applied, deleted = asyncio.run(evaluate(sdk, learned_loop(served)))

    assert (made, applied, deleted) == (None, None, None)
    assert read["status"] == "Succeeded"
    assert read["optimalPolicy"] == "online"
    assert [one["name"] for one in read["content"]["value"]] == ["online", "baseline1", "BaselineRand"]
    online = read["content"]["value"][0]
    assert len(online["timeseries"]["data"]) in (1, 2)
    assert 0 <= online["summary"]["expectedReward"] <= 1
    assert [one["status"] for one in listed] == ["Succeeded"]


def test_a_wrong_key_opens_nothing(told: dict[Key, Any]) -> None:
    for (_, method, case), result in told.items():
        if case == "wrong key" and method == "send_request":
            assert result.status_code == 401
        elif case == "wrong key":
            assert isinstance(result, ClientAuthenticationError), method


def test_settings_and_policies(told: dict[Key, Any]) -> None:
    had, put, alone = (
        told[MANAGES, name, case]
        for name, case in (
            ("get_service_configuration", "get"),
            ("update_service_configuration", "put"),
            ("update_service_configuration", "alone"),
        )
    )
    default = told[MANAGES, "get_policy", "get"]

    assert {
        "rewardWaitTime": "PT10M",
        "learningMode": "Online",
        "autoOptimizationFrequency": "P28D",
    }.items() <= had.items()
    metrics = told[MANAGES, "update_service_configuration", "online"]["latestApprenticeModeMetrics"]
    sums = {"numberOfEvents": 0, "numberOfImitatedEvents": 0, "sumOfRewards": 0.0, "sumOfImitatedRewards": 0.0}
    assert "latestApprenticeModeMetrics" not in had | put
    assert metrics["startTime"] > "2026"
    assert metrics == {
        **sums,
        "startTime": metrics["startTime"],
        "lastProcessedEventTime": "0001-01-01T00:00:00",
        "lastBatchMetrics": sums,
    }
    assert had["isAutoOptimizationEnabled"] is True
    assert put["modelRetrainDays"] == 1
    assert alone["isAutoOptimizationEnabled"] is False
    assert default["arguments"] == DEFAULT_POLICY
    assert re.fullmatch("[0-9a-f]{32}", default["name"])
    assert told[MANAGES, "update_policy", "put"] == {**BAGGED, "name": default["name"]}
    assert told[MANAGES, "update_policy", "stream"] == told[MANAGES, "reset_policy", "delete"] == default
    several = DEFAULT_POLICY.replace("--cb_", "--ccb_", 1)
    assert told[MANAGES, "update_policy", "several slots"] == {**default, "arguments": several}


def test_decisions(told: dict[Key, Any]) -> None:
    bare, full = told[CALLS, "rank", "bare"], told[CALLS, "rank", "everything"]
    several = told[CALLS, "rank_multi_slot", "everything"]
    chosen = [slot["rewardActionId"] for slot in several["slots"]]

    assert {action["id"] for action in bare["ranking"]} == {"sweet", "sour", "salty"}
    assert sum(action["probability"] for action in bare["ranking"]) == pytest.approx(1)
    assert full["eventId"] == "ev/1"
    assert full["ranking"][1] == {"id": "sour", "probability": 0.0}
    assert several["eventId"] == "ev/2"
    assert [slot["id"] for slot in several["slots"]] == ["top", "side"]
    assert len(set(chosen)) == 2
    for method in ("reward", "activate", "reward_multi_slot", "activate_multi_slot"):
        assert told[CALLS, method, "ranked"] is None


def test_models_logs_and_jobs(told: dict[Key, Any], model: bytes) -> None:
    exported = {case: b"".join(told[MANAGES, "export_model", case]) for case in ("unsigned", "signed")}

    assert exported["unsigned"]
    assert exported["signed"] == model
    assert set(told[MANAGES, "get_model_properties", "get"]) == {"creationTime", "lastModifiedTime"}
    assert set(told[MANAGES, "get_log_properties", "get"]) <= {"dateRange"}
    for method in ("import_model", "reset_model", "delete_logs"):
        assert told[MANAGES, method, "import" if method == "import_model" else "delete"] is None
    for method in ("list_evaluations", "list_feature_importances"):
        assert told[MANAGES, method, "all"] == told[MANAGES, method, "some"] == []
    for owner in (CALLS, MANAGES):
        response = told[owner, "send_request", "get"]
        assert response.status_code == 200
        assert set(response.json()) == {"creationTime", "lastModifiedTime"}
