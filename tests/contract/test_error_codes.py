"""Every error code, raised over HTTP: its status, header, description, and the one shape of its body (contract 4)."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from shared.contract.errors import STATUS, ApiError
from shared.contract.evaluations import Status
from shared.contract.versions import Version
from shared.edge import openapi
from shared.edge.routes import RANKLOOP, find
from shared.evaluation import resources
from shared.evaluation.resources import Evaluation, FeatureImportance
from shared.learning.model import ModelError
from shared.learning.signed import Signer, generate_key, pack
from shared.loops.loops import Loops
from shared.ranking import ranker
from shared.storage.azure import AzureStorage
from tests.contract.conftest import KEY, SEEDS, Deployment
from tests.contract.loops import Loop, make_loop
from tests.contract.swagger import Got, Sent
from tests.unit.edge.inmemory import InMemory

CODES = SEEDS / "contract" / "error_codes.json"
NEWEST = "?api-version=2022-09-01-preview"
TOO_LARGE = b" " * (4 * 1024 * 1024 + 1)
ACTIONS = [{"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour")]
DATES = {"name": "x", "startTime": "2026-01-01", "endTime": "2026-01-02"}
POLICY = {"name": "x", "arguments": "--cb_explore_adf"}


def send(loop: Loop, method: str, path: str, body: Any = None, version: str = "v1.1-preview.3") -> Got:
    """Call an operation of a loop; with an empty version, one whose path stands alone."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    whole = f"personalizer/{version}/{path}" if version else path
    got = loop.send(Sent(method, f"/{whole}", raw, {}))
    assert got.status < 400 or got.headers["x-ms-error-code"] in described(method, whole)
    return got


def described(method: str, path: str) -> list[str]:
    """The codes that the API's description has for an operation, or that of a path that names none."""
    place, _, query = path.partition("?")
    try:
        found = find(method, place, dict(parse_qsl(query)))
    except ApiError as e:
        return [e.code]
    return openapi.codes(found.route, None if found.route in RANKLOOP else found.version)


def settings(changed: dict[str, Any], version: str = "v1.1-preview.3") -> Callable[[Loop], Got]:
    """PUT a loop's settings with some changed."""
    path = "personalizer/configurations/service" + NEWEST if version == "" else "configurations/service"

    def call(loop: Loop) -> Got:
        return send(loop, "PUT", path, {**json.loads(send(loop, "GET", path, None, version).body), **changed}, version)

    return call


def calls(method: str, path: str, body: Any = None, version: str = "v1.1-preview.3") -> Callable[[Loop], Got]:
    return lambda loop: send(loop, method, path, body, version)


def as_owner(method: str, path: str, body: Any = None) -> Callable[[Loop], Got]:
    """The same with the deployment key, of an operation on loops."""
    return lambda loop: send(loop._replace(key=KEY), method, f"rankloop/v1/{path}", body, "")


def evaluates(body: Any) -> Callable[[Loop], Got]:
    return calls("POST", "evaluations", body)


TRIGGERS: dict[str, Callable[[Loop], Got]] = {
    "ApprenticeModeNeverTurnedOn": calls("GET", "rankloop/v1/apprentice", None, ""),
    "BadRequest": calls("POST", "rank", b"{"),
    "DuplicateCustomPolicyNames": evaluates({**DATES, "policies": [POLICY, POLICY]}),
    "InvalidContainer": settings({"logMirrorEnabled": True}),
    "InvalidContract": calls("PUT", f"personalizer/featureImportances/x{NEWEST}", {}, ""),
    "InvalidDateTimesInEvaluationContract": evaluates({**DATES, "endTime": "2025-01-01", "policies": []}),
    "InvalidEvaluationContract": evaluates({}),
    "InvalidEventIdToActivate": calls("POST", f"events/{'x' * 257}/activate"),
    "InvalidLearningModeServiceConfiguration": settings({"learningMode": "Apprentice", "defaultReward": 0.5}),
    "InvalidLogRetentionDays": settings({"logRetentionDays": 0}),
    "InvalidModelImportFormat": calls("PUT", "model", b"a model"),
    "InvalidModelImportSignature": lambda loop: send(loop, "PUT", "model", pack(b"model", Signer(generate_key()))),
    "InvalidModelRetrainDays": settings({"modelRetrainDays": -1}, ""),
    "InvalidMultiSlotApiAccess": calls("POST", "multislot/events/x/activate"),
    "InvalidPolicyConfiguration": calls(
        "PUT", "configurations/policy", {**POLICY, "arguments": "--cb_explore_adf -f x"}
    ),
    "InvalidPolicyContract": calls("PUT", "configurations/policy", {"name": "x"}),
    "InvalidRankRequest": calls("POST", "rank", {"actions": []}),
    "InvalidRequest": as_owner("POST", "loops", {"name": "No Such Name"}),
    "InvalidRewardRequest": calls("POST", "events/x/reward", {"value": 1e39}),
    "InvalidRewardWaitTime": settings({"rewardWaitTime": "PT1S"}),
    "InvalidSasUri": settings({"logMirrorEnabled": True}, ""),
    "InvalidServiceConfiguration": settings({"defaultReward": 2.0}),
    "MaximumEvaluationCustomPoliciesExceeded": evaluates(
        {**DATES, "policies": [{**POLICY, "name": str(n)} for n in range(11)]}
    ),
    "NoLogsExistInDateRange": evaluates({**DATES, "policies": []}),
    "PayloadSizeExceeded": calls("POST", "rank", TOO_LARGE),
    "Unauthorized": lambda loop: send(loop._replace(key="wrong"), "GET", "model/properties"),
    "Forbidden": calls("GET", "rankloop/v1/loops", None, ""),
    "InvalidApiAccess": calls("POST", "logs/interactions", b"x"),
    "ProblemTypeIncompatibleWithAutoOptimization": calls(
        "PUT", "configurations/policy", {**POLICY, "arguments": "--ccb_explore_adf"}
    ),
    "EvaluationNotFound": calls("GET", "evaluations/x"),
    "FeatureImportanceNotFound": calls("DELETE", f"personalizer/featureImportances/x{NEWEST}", None, ""),
    "FrontEndNotFound": as_owner("DELETE", "loops/nowhere"),
    "ResourceNotFound": calls("GET", "nowhere"),
    "LoopAlreadyExists": as_owner("POST", "loops", {"name": "default"}),
}
"""What raises a code at a loop that has seen nothing."""
HELD: dict[str, Callable[[Loop], Got]] = {
    "EvaluationAlreadyExists": calls("PUT", f"personalizer/evaluations/held{NEWEST}", {**DATES, "policies": []}, ""),
    "FeatureImportanceAlreadyExists": calls("PUT", f"personalizer/featureImportances/held{NEWEST}", DATES, ""),
    "IncompatibleEvaluationVersion": calls(
        "GET", f"personalizer/evaluations/held{NEWEST}&startTime=2026-01-01&endTime=2026-01-02", None, ""
    ),
    "LearningSettingsNotFound": calls(
        "POST", "configurations/applyFromEvaluation", {"evaluationId": "held", "policyName": "x"}
    ),
}
"""What raises a code at a loop that holds jobs, which no call to this release can make."""
FAULTS = ("InternalServerError", "ModelRankingError", "OperationNotAllowed")
"""What takes a fault of ours, or of storage."""
BEYOND = ("TooManyRequests",)
"""What takes a limit that would hold for the other calls here as well."""
LARGE = ("LogsSizeExceedAllowedLimit",)
"""What takes gigabytes of log; tests/unit/edge/test_evaluations.py has it."""
NO_STORED_FAULT = "storage that fails is a 503 OperationNotAllowed here, and a fault of ours InternalServerError"
NO_MULTI_STEP = "of multi-step decisions, which were never public"
NOT_RAISED = {
    "EvaluationModelNotFound": "a policy is applied by learning it from the log, so no model of it is needed",
    "EvaluationsGetListFailed": NO_STORED_FAULT,
    "InferenceModelUpdateFailed": NO_STORED_FAULT,
    "InvalidEpisode": NO_MULTI_STEP,
    "InvalidEpisodeDepth": NO_MULTI_STEP,
    "InvalidExportLogsRequest": "of an export that no published version has",
    "InvalidModelMetadata": "of staged models, which no published version has",
    "InvalidMultiStepApiAccess": NO_MULTI_STEP,
    "InvalidSingleTenantEventHubRewardWaitTime": "the back end's name for InvalidRewardWaitTime",
    "LogsPropertiesNotFound": "the service was recorded to answer 200 with no dates",
    "MissingAppId": "of a header between the original's gateway and its back end",
    "ModelDownloadFailed": NO_STORED_FAULT,
    "ModelFileAccessDenied": "of a customer's key vault, which nothing here asks",
    "ModelMetadataUpdateFailed": NO_STORED_FAULT,
    "ModelPublishFailed": NO_STORED_FAULT,
    "ModelResetFailed": NO_STORED_FAULT,
    "RankNullResponse": NO_STORED_FAULT,
    "RequestTimeout": "a call that waits too long for storage is a 503 OperationNotAllowed",
    "UpdateConfigurationFailed": NO_STORED_FAULT,
}
"""Codes of the original that nothing here raises, and why."""
OURS = {"Forbidden", "LoopAlreadyExists", "TooManyRequests", "Unauthorized"}
"""Codes that the original has not, or has in its gateway alone."""


@pytest.fixture(scope="module")
def loop(served: Deployment) -> Loop:
    return make_loop(served)


@pytest.fixture(scope="module")
def holding(served: Deployment) -> Loop:
    """A loop with an evaluation and a feature importance, both called `held`."""
    made = make_loop(served)
    asyncio.run(_hold(served.storage, made.call("GET", "configurations/policy")["name"]))
    return made


async def _hold(storage: str, loop_id: str) -> None:
    common: dict[str, Any] = {
        "id": "held", "name": "x", "start": 0.0, "end": 1.0, "created": 2.0, "status": Status.RUNNING,
        "api_version": Version.V1_0,
    }  # fmt: skip
    async with AzureStorage(storage) as opened:
        await resources.put(opened.blobs, loop_id, Evaluation(job_id="held", **common))
        await resources.put(opened.blobs, loop_id, FeatureImportance(**common))


def check(code: str, status: int, headers: Any, body: bytes) -> None:
    """Hold a refusal to its code, and to the contract's shape."""
    assert (status, headers["x-ms-error-code"]) == (STATUS[code], code), body
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    told = json.loads(body)
    assert list(told) == ["error"]
    error = told["error"]
    assert error["code"] == code
    assert {"code", "message"} <= set(error) <= {"code", "message", "target"}
    assert all(isinstance(value, str) and value for value in error.values()), error


def test_every_code_is_raised_here() -> None:
    assert sorted([*TRIGGERS, *HELD, *FAULTS, *BEYOND, *LARGE]) == sorted(STATUS)


@pytest.mark.skipif(not CODES.exists(), reason=f"no published error codes ({CODES.name}) in {SEEDS.name}/contract")
def test_codes_are_the_originals_with_their_statuses() -> None:
    published = json.loads(CODES.read_text())
    statuses = {entry["code"]: entry["http"] for entry in published["codes"]}
    every = set(statuses) | set(published["codes_only_in_swagger"])

    assert every - set(STATUS) == set(NOT_RAISED)
    assert set(STATUS) - every == OURS
    assert {code: STATUS[code] for code in statuses if code in STATUS} == {
        code: status for code, status in statuses.items() if code in STATUS
    }
    assert {STATUS[code] for code in set(published["codes_only_in_swagger"]) & set(STATUS)} == {400}


@pytest.mark.parametrize("code", TRIGGERS)
def test_a_code_is_raised(loop: Loop, code: str) -> None:
    got = TRIGGERS[code](loop)

    check(code, got.status, got.headers, got.body)


@pytest.mark.parametrize("code", HELD)
def test_a_code_on_jobs_is_raised(holding: Loop, code: str) -> None:
    got = HELD[code](holding)

    check(code, got.status, got.headers, got.body)


async def test_a_model_that_cannot_rank_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise ModelError("inside information")

    served = InMemory(monkeypatch)
    monkeypatch.setattr(ranker, "decide", refuses)

    got = await served("POST", "personalizer/v1.0/rank", {"actions": ACTIONS})

    check("ModelRankingError", got.status_code, got.headers, got.get_body())
    assert b"inside" not in got.get_body()


async def test_a_call_beyond_the_loops_rate_is_told_with_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    served = InMemory(monkeypatch)
    await served("PUT", "rankloop/v1/limits", {"callsPerSecond": 0.01})

    await served("POST", "personalizer/v1.0/rank", {"actions": ACTIONS})
    got = await served("POST", "personalizer/v1.0/rank", {"actions": ACTIONS})

    check("TooManyRequests", got.status_code, got.headers, got.get_body())
    assert 95 <= int(got.headers["Retry-After"]) <= 100


async def test_a_fault_is_told_without_the_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: object) -> None:
        raise ZeroDivisionError("inside information")

    served = InMemory(monkeypatch)
    monkeypatch.setattr(Loops, "named", breaks)

    got = await served("POST", "personalizer/v1.0/rank", {"actions": ACTIONS})

    check("InternalServerError", got.status_code, got.headers, got.get_body())
    assert b"inside" not in got.get_body()


async def test_storage_that_fails_is_told_with_when_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    served = InMemory(monkeypatch)
    served.blobs.down = True

    got = await served("GET", "personalizer/v1.0/model/properties")

    check("OperationNotAllowed", got.status_code, got.headers, got.get_body())
    assert got.headers["Retry-After"] == "1"
