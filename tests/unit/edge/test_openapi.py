"""The API's description: it holds all operations and no other, and describes what is really taken and answered."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from shared.contract.decoding import decode
from shared.contract.errors import STATUS, ApiError
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import ALL, BEFORE_2022, Version
from shared.edge import openapi
from shared.edge.descriptions import AREAS, DESCRIPTIONS, HEADERS
from shared.edge.job_descriptions import JOBS
from shared.edge.log_descriptions import LOGS
from shared.edge.metric_descriptions import METRICS
from shared.edge.operating_descriptions import OPERATING
from shared.edge.probes import PROBES
from shared.edge.routes import PERSONALIZER, RANKLOOP, Route
from shared.edge.trial_descriptions import TRIALS
from shared.edge.version_descriptions import VERSIONS
from shared.evaluation import resources
from shared.evaluation.resources import Evaluation, FeatureImportance
from shared.learning import pointer
from shared.log import subject
from shared.loops import loops
from shared.ranking.features import sanitise_action
from shared.ranking.walk import MAX_KEY, MAX_NUMBER, MAX_STRING
from shared.readiness import Readiness
from tests.unit.edge.inmemory import InMemory
from tests.unit.ranking.trained import SINGLE, trained_model

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = openapi.document()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
QUERY = "?api-version=2022-09-01-preview"
RANK: dict[str, Any] = {
    "actions": [{"id": "a", "features": [{"x": 1}]}, {"id": "b", "features": [{"x": 2}]}],
    "eventId": "e1",
}
NAMES = """
rank reward activate rank_slots reward_slots activate_slots
get_service_configuration put_service_configuration get_policy put_policy delete_policy apply_from_evaluation
list_evaluations get_evaluation put_evaluation delete_evaluation get_report
list_feature_importances get_feature_importance put_feature_importance delete_feature_importance
delete_logs get_log_properties post_interactions post_observations
get_model head_model put_model delete_model get_model_properties
get_access get_health get_status join train get_features get_event get_explanation get_importance_report
get_limits put_limits get_holdback put_holdback get_apprentice
get_metrics get_action_metrics list_recent
list_loops create_loop delete_loop replace_key
erase_event erase_subject list_erasures get_erasure
list_jobs get_job cancel_job
create_import list_imports get_import delete_import
health_live health_ready
list_versions get_version get_difference get_version_model roll_back pin unpin
"""
# The second one is left without an action where the first one takes b.
SLOTS = [{"id": "s1", "baselineAction": "a"}, {"id": "s2", "baselineAction": "b", "excludedActions": ["a"]}]


def suffix(version: Version) -> str:
    """What operationIds of a version end with."""
    return "_" + version.value.replace(".", "_").replace("-", "_")


def closed(schema: Any) -> Any:
    """A schema that takes no member but those that it names."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(part) for name, part in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made["additionalProperties"] = False
    return made


STRICT = {"components": closed(DOCUMENT["components"])}


def problems(schema: dict[str, Any], value: Any, whole: dict[str, Any] = STRICT) -> list[str]:
    """What of a value a schema does not allow."""
    return [error.message for error in Draft202012Validator({**whole, **schema}).iter_errors(value)]


def answers(name: str, status: int) -> dict[str, Any]:
    """The schema of an operation's answer."""
    shown = OPERATIONS[name][2]["responses"][str(status)]
    if "$ref" in shown:
        shown = DOCUMENT["components"]["responses"][shown["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = shown["content"]["application/json"]["schema"]
    return schema


def test_it_is_an_openapi_document() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_operation_is_in_it_and_no_other() -> None:
    personalizer = {
        (route.method, f"/personalizer/{'' if version is Version.V2022 else f'{version.value}/'}{route.path}")
        for route in PERSONALIZER
        for version in route.versions
    }
    own = {(route.method, f"/rankloop/v1/{route.path}") for route in RANKLOOP}
    own |= {("GET", f"/{path}") for path in PROBES}

    assert {(method, path) for method, path, _ in OPERATIONS.values()} == personalizer | own
    assert len(OPERATIONS) == len(personalizer) + len(own) == 160
    assert set(openapi.EVERY) == {route.operation for route in (*PERSONALIZER, *RANKLOOP)}
    parts = (DESCRIPTIONS, LOGS, JOBS, METRICS, OPERATING, TRIALS, VERSIONS)
    assert len(openapi.EVERY) == sum(map(len, parts))


def test_operations_keep_the_names_that_generated_clients_call_them_by() -> None:
    newest = {name.removesuffix("_2022_09_01_preview") for name in OPERATIONS if "_v1_" not in name}

    assert newest == set(NAMES.split())
    assert {"rank_v1_0", "create_evaluation_v1_1_preview_3", "put_model_v1_1_preview_3"} <= set(OPERATIONS)


def test_descriptions_name_what_there_is() -> None:
    for told in openapi.EVERY.values():
        assert set(told.codes) <= set(STATUS)
        assert not set(told.codes) & set(openapi.ANY_CALL)
        assert set(told.headers) <= set(HEADERS)
        assert told.area in AREAS
        assert told.summary[0].isupper() and not told.summary.endswith(".")


def test_uploads_of_local_inference_alone_are_always_refused() -> None:
    refused = {name for name, (_, _, operation) in OPERATIONS.items() if min(operation["responses"]) >= "3"}

    versions = {version for route in PERSONALIZER if route.path == "logs/interactions" for version in route.versions}
    assert refused == {
        f"post_{log}{suffix(version)}" for log in ("interactions", "observations") for version in versions
    }


def test_every_code_is_of_some_operation() -> None:
    every = [(route, version) for route in PERSONALIZER for version in route.versions]
    own: list[tuple[Route, Version | None]] = [(route, None) for route in RANKLOOP]

    assert {code for route, version in [*every, *own] for code in openapi.codes(route, version)} == set(STATUS)


def test_a_code_is_told_only_where_the_version_has_it() -> None:
    def told(name: str) -> list[str]:
        header = OPERATIONS[name][2]["responses"]["400"]["headers"]["x-ms-error-code"]
        codes: list[str] = header["schema"]["enum"]
        return codes

    assert "InvalidContainer" in told("put_service_configuration_v1_0")
    assert "InvalidSasUri" not in told("put_service_configuration_v1_0")
    assert "InvalidSasUri" in told("put_service_configuration_2022_09_01_preview")
    assert "InvalidContainer" not in told("put_service_configuration_2022_09_01_preview")


def test_it_says_nothing_of_the_inside() -> None:
    text = json.dumps(DOCUMENT)

    for inside in ("contract 1", "contract 2", "contract 3", "contract 4", "contract 5", "adr/", "Attributes:", "Raw"):
        assert inside not in text, inside


def test_each_example_is_a_body_that_its_operation_reads() -> None:
    seen = 0
    for version in ALL:
        for route in (route for route in PERSONALIZER if version in route.versions and route.body not in (None, bytes)):
            kind = route.body[version] if isinstance(route.body, dict) else route.body
            _, _, operation = OPERATIONS[openapi.operation_id(route, version)]
            content = operation["requestBody"]["content"]["application/json"]
            decode(json.dumps(content["example"]).encode(), kind)
            assert problems(content["schema"], content["example"]) == []
            seen += 1
    assert seen == 38


def test_unknown_members_are_described_as_taken() -> None:
    whole = {"components": DOCUMENT["components"]}
    for name in ("RankRequest", "RewardRequest", "PolicyContract", "ServiceConfigurationV10"):
        assert problems({"$ref": f"#/components/schemas/{name}"}, {"later": 1}, whole) == problems(
            {"$ref": f"#/components/schemas/{name}"}, {}, whole
        )


@pytest.mark.parametrize(
    "action",
    [
        {"id": "a", "features": [{"x": 1}]},
        {"id": "", "features": [{"x": 1}]},
        {"id": "a" * 256, "features": [{"x": 1}]},
        {"id": "a" * 257, "features": [{"x": 1}]},
        {"id": 1, "features": [{"x": 1}]},
        {"id": "a"},
        {"id": "a", "features": []},
        {"id": "a", "features": [1]},
        {"id": "a", "features": {}},
        {"id": "a", "features": [{}]},
        {"id": "a", "features": [{"": 1}]},
        {"id": "a", "features": [{"k" * MAX_KEY: 1}]},
        {"id": "a", "features": [{"k" * (MAX_KEY + 1): 1}]},
        {"id": "a", "features": [{"x": "v" * MAX_STRING}]},
        {"id": "a", "features": [{"x": "v" * (MAX_STRING + 1)}]},
        {"id": "a", "features": [{"x": MAX_NUMBER}]},
        {"id": "a", "features": [{"x": -MAX_NUMBER * 1.01}]},
        {"id": "a", "features": [{"x": 2**40}]},
        {"id": "a", "features": [{"x": None, "y": True}]},
        {"id": "a", "features": [{"x": [1, 2.5, None]}]},
        {"id": "a", "features": [{"x": [1, True]}]},
        {"id": "a", "features": [{"x": ["a"]}]},
        {"id": "a", "features": [{"x": [[1]]}]},
        {"id": "a", "features": [{"x": [{"y": 1}, {"z": {"w": "v"}}]}]},
        {"id": "a", "features": [{"x": [{"y": 1}, 1]}]},
        {"id": "a", "features": [{"x": {"y": ["a"]}}]},
    ],
    ids=lambda action: json.dumps(action)[:48],
)
def test_an_action_is_described_as_it_is_taken(action: dict[str, Any]) -> None:
    whole = {"components": DOCUMENT["components"]}
    try:
        sanitise_action(json.dumps(action).encode(), 0, plain=True)
        taken = True
    except ApiError:
        taken = False

    assert (problems({"$ref": "#/components/schemas/RankableAction"}, action, whole) == []) is taken


def test_limits_are_those_of_the_checks() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    rewarded = OPERATIONS["reward_v1_0"][2]["parameters"]

    (named,) = [p["schema"] for p in OPERATIONS["rank_v1_0"][2]["parameters"] if p["in"] == "header"]
    assert named["maxLength"] == subject.MAX_SUBJECT
    assert schemas["LoopRequest"]["properties"]["name"]["pattern"] == f"^{loops._NAME.pattern}$"
    # However long it is: what is longer than a row's field is kept as a digest.
    assert [p["schema"] for p in rewarded if p["in"] == "header"] == [{"type": "string"}]
    assert schemas["Error"]["properties"]["code"]["enum"] == sorted(STATUS)


async def check(served: InMemory, name: str, path: str, body: Any = b"", status: int = 200) -> Any:
    """Call an operation, and hold its answer to the description, each member of it."""
    response = await served(OPERATIONS[name][0], path, body)
    assert response.status_code == status, response.get_body()
    value = json.loads(response.get_body())
    assert problems(answers(name, status), value) == []
    for header, shown in OPERATIONS[name][2]["responses"][str(status)].get("headers", {}).items():
        assert header in response.headers or not shown.get("required")
    return value


async def test_decisions_are_as_described(served: InMemory) -> None:
    await check(served, "rank_v1_0", "personalizer/v1.0/rank", RANK, 201)
    await check(served, "rank_v1_0", "personalizer/v1.0/rank", {**RANK, "excludedActions": ["a"]}, 201)
    await check(served, "rank_2022_09_01_preview", f"personalizer/rank{QUERY}", {"actions": RANK["actions"]}, 201)


async def test_slots_are_as_described(served: InMemory) -> None:
    root = "personalizer/v1.1-preview.3"
    settings = await check(served, "get_service_configuration_v1_1_preview_3", f"{root}/configurations/service")
    settings["isAutoOptimizationEnabled"] = False
    await check(served, "put_service_configuration_v1_1_preview_3", f"{root}/configurations/service", settings)
    policy = {"name": "x", "arguments": "--ccb_explore_adf --epsilon 0.2"}
    await check(served, "put_policy_v1_1_preview_3", f"{root}/configurations/policy", policy)
    decided = [
        await check(
            served,
            "rank_slots_v1_1_preview_3",
            f"{root}/multislot/rank",
            {"actions": RANK["actions"], "slots": SLOTS, "eventId": f"e{n}"},
            201,
        )
        for n in range(64)
    ]
    assert {len(slot) for slot in (answer["slots"][1] for answer in decided)} == {1, 2}
    for n in range(8):
        told = await check(served, "get_event", f"rankloop/v1/events/e{n}")
        assert told["events"][0]["replay"]["answer"] == decided[n]


@pytest.mark.parametrize("version", ALL)
async def test_configurations_models_and_logs_are_as_described(served: InMemory, version: Version) -> None:
    new = version is Version.V2022
    root, query = ("personalizer", QUERY) if new else (f"personalizer/{version.value}", "")
    service = f"{root}/configurations/service{query}"

    settings = await check(served, f"get_service_configuration{suffix(version)}", service)
    assert await check(served, f"put_service_configuration{suffix(version)}", service, settings) == settings
    for name, method in (("get_policy", "GET"), ("delete_policy", "DELETE")):
        assert OPERATIONS[name + suffix(version)][0] == method
        await check(served, name + suffix(version), f"{root}/configurations/policy{query}")
    await check(served, f"get_model_properties{suffix(version)}", f"{root}/model/properties{query}")
    loop = await served.app.loops.named("default")
    await pointer.install(served.blobs, loop.id, b"model", "", "", 5, 1_700_000_060.5)
    made = await check(served, f"get_model_properties{suffix(version)}", f"{root}/model/properties{query}")
    assert made["creationTime"] > "2023"
    assert await check(served, f"get_log_properties{suffix(version)}", f"{root}/logs/properties{query}") == {}
    day = {"from": "2023-11-14T00:00:00+00:00", "to": "2023-11-15T00:00:00+00:00"}
    assert problems(answers(f"get_log_properties{suffix(version)}", 200), {"dateRange": day}) == []


async def test_rankloops_own_answers_are_as_described(served: InMemory) -> None:
    await check(served, "get_health", "rankloop/v1/health")
    await check(served, "get_features", "rankloop/v1/features")
    made = await check(served, "create_loop", "rankloop/v1/loops", {"name": "news"}, 201)
    listed = await check(served, "list_loops", "rankloop/v1/loops")
    await check(served, "replace_key", "loops/news/rankloop/v1/keys/key1")

    asked = await check(served, "erase_event", "rankloop/v1/events/e", status=202)
    await check(served, "erase_subject", "rankloop/v1/subjects/ann", status=202)
    await check(served, "get_erasure", f"rankloop/v1/erasures/{asked['id']}")
    assert len((await check(served, "list_erasures", "rankloop/v1/erasures"))["value"]) == 2
    assert len(made["keys"]) == 2
    assert [loop["name"] for loop in listed["value"]] == ["default", "news"]
    await check(served, "get_status", "rankloop/v1/status")
    for probe in PROBES:
        await check(served, probe.replace("/", "_"), probe)
    served.blobs.down = True
    assert (await check(served, "get_status", "rankloop/v1/status"))["storageAnswers"] is False
    served.app.readiness = Readiness(served.app.loops, served.app.clock)
    refused = await served("GET", "health/ready")
    assert problems(answers("health_ready", refused.status_code), json.loads(refused.get_body())) == []
    told = await check(served, "get_health", "rankloop/v1/health")
    assert told["joinedThrough"] is None


async def test_stories_are_as_described(served: InMemory) -> None:
    await check(served, "rank_v1_0", "personalizer/v1.0/rank", {**RANK, "excludedActions": ["a"]}, 201)
    await served("POST", "personalizer/v1.0/events/e1/reward", {"value": 1.0})
    told = await check(served, "get_event", "rankloop/v1/events/e1")
    assert [len(told["events"]), len(told["events"][0]["observations"])] == [1, 1]


async def test_numbers_over_time_are_as_described(served: InMemory) -> None:
    await check(served, "rank_v1_0", "personalizer/v1.0/rank", RANK, 201)
    await served("POST", "personalizer/v1.0/events/e1/reward", {"value": 0.5})
    await served("POST", "personalizer/v1.0/events/e1/activate")

    told = await check(served, "list_recent", "rankloop/v1/events?limit=3")
    assert [one["kind"] for one in told["events"]] == ["activate", "reward", "rank"]
    numbers = await check(served, "get_metrics", "rankloop/v1/metrics")
    assert numbers["count"] == len(numbers["series"]["events"]) in (120, 121)
    actions = await check(served, "get_action_metrics", "rankloop/v1/metrics/actions")
    assert actions["actions"] == []

    await served.use_slots()
    body = {"actions": RANK["actions"], "slots": SLOTS, "eventId": "s"}
    await check(served, "rank_slots_v1_1_preview_3", "personalizer/v1.1-preview.3/multislot/rank", body, 201)
    reward = {"reward": [{"slotId": "s1", "value": 1.0}]}
    await served("POST", "personalizer/v1.1-preview.3/multislot/events/s/reward", reward)
    told = await check(served, "list_recent", "rankloop/v1/events?limit=2")
    assert [[slot["id"] for slot in one["slots"]] for one in told["events"]] == [["s1"], ["s1", "s2"]]


async def test_explanations_are_as_described(served: InMemory) -> None:
    await check(served, "rank_v1_0", "personalizer/v1.0/rank", {**RANK, "eventId": "before"}, 201)
    settings = await served.json("GET", f"personalizer/configurations/service{QUERY}")
    asked = {**settings, "isInferenceExplainabilityEnabled": True}
    await served.json("PUT", f"personalizer/configurations/service{QUERY}", asked)
    untrained = await check(served, "rank_v1_0", "personalizer/v1.0/rank", {**RANK, "eventId": "untrained"}, 201)
    loop = await served.app.loops.named("default")
    await pointer.install(served.blobs, loop.id, trained_model(100), SINGLE, "", 5, 1.0)
    await served.app.models.renew(loop.id)
    trained = await check(served, "rank_v1_0", "personalizer/v1.0/rank", {**RANK, "eventId": "trained"}, 201)
    told = [
        await check(served, "get_explanation", f"rankloop/v1/events/{name}/explanation")
        for name in ("before", "trained")
    ]

    assert untrained["inferenceExplanation"] == []
    assert [one["id"] for one in trained["inferenceExplanation"]] == [trained["rewardActionId"]]
    assert ["actions" in one["events"][0] for one in told] == [False, True]


async def test_jobs_are_as_described(served: InMemory) -> None:
    loop = await served.app.loops.named("default")
    times: dict[str, Any] = {"start": 1.7e9, "end": 1.7e9 + 3600, "created": 1.7e9 + 7200.25, "name": "mine"}
    for n, status in enumerate(Status):
        job = Evaluation(
            id=f"e{n}",
            job_id=f"e{n}",
            status=status,
            api_version=Version.V1_0,
            evaluation_type=EvaluationType.AUTO if n else EvaluationType.MANUAL,
            description="as it went" if n else None,
            optimal_policy="best" if n else None,
            **times,
        )
        await resources.put(served.blobs, loop.id, job)
    importance = FeatureImportance(id="i", status=Status.FAILED, api_version=Version.V2022, description="x", **times)
    await resources.put(served.blobs, loop.id, importance)

    for n in range(len(Status)):
        await check(served, "get_evaluation_v1_0", f"personalizer/v1.0/evaluations/e{n}")
    newest = "_2022_09_01_preview"
    page = await check(served, f"list_evaluations{newest}", f"personalizer/evaluations{QUERY}&top=9&maxpagesize=2")
    assert len(page["value"]) == 2
    assert page["nextLink"]
    await check(served, f"list_feature_importances{newest}", f"personalizer/featureImportances{QUERY}")
    await check(served, f"get_feature_importance{newest}", f"personalizer/featureImportances/i{QUERY}")
    for version in BEFORE_2022:
        listed = await check(served, f"list_evaluations{suffix(version)}", f"personalizer/{version.value}/evaluations")
        assert len(listed) == len(Status)


async def test_a_refusal_is_as_described(served: InMemory) -> None:
    response = await served("POST", "personalizer/v1.0/rank", {"actions": []})

    assert problems(answers("rank_v1_0", 400), json.loads(response.get_body())) == []
    assert problems(answers("rank_v1_0", 400), {"error": {"code": "Unheard", "message": ""}}) != []


async def test_it_is_served_to_anybody_and_sent_once(served: InMemory) -> None:
    first = await served("GET", "openapi.json", ocp_apim_subscription_key="wrong")
    etag = first.headers["ETag"]

    assert (first.status_code, first.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert first.headers["cache-control"] == "no-cache"
    assert json.loads(first.get_body()) == DOCUMENT
    for held in (etag, f'"other", W/{etag}', "*"):
        again = await served("GET", "OpenAPI.json", if_none_match=held)
        assert (again.status_code, again.get_body(), again.headers["ETag"]) == (304, b"", etag)
    assert (await served("GET", "openapi.json", if_none_match='"other"')).status_code == 200
    assert (await served("HEAD", "openapi.json")).status_code == 200
    assert (await served("PUT", "openapi.json")).status_code == 404


def test_a_cold_start_does_not_load_it() -> None:
    code = "import sys, function_app; print([n for n in sys.modules if 'openapi' in n or n == 'shared.edge.schemas'])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "[]"
