"""The official JavaScript SDKs against a served loop: every operation of both, answered and refused.

A script for each SDK makes the calls and prints a line for each; what the lines must say stands here.
"""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localhost.azurite import node
from tests.contract.conftest import DEADLINE, KEY, Deployment
from tests.contract.loops import learned_loop, make_loop, signed_model

JS = Path(__file__).with_name("js")
REST = JS / "node_modules" / "@azure-rest" / "ai-personalizer" / "dist" / "index.js"

Key = tuple[str, str]
"""An operation, and the name of one call of it."""
Line = dict[str, Any]

ANSWERS_V1_0: dict[Key, tuple[int, str | None]] = {
    ("rank", "bare"): (201, None),
    ("rank", "everything"): (201, None),
    ("rank", "no action"): (400, "InvalidRankRequest"),
    ("rank", "wrong key"): (401, "Unauthorized"),
    ("events.reward", "ranked"): (204, None),
    ("events.reward", "not a float"): (400, "InvalidRewardRequest"),
    ("events.reward", "wrong key"): (401, "Unauthorized"),
    ("events.activate", "ranked"): (204, None),
    ("events.activate", "wrong key"): (401, "Unauthorized"),
}

ANSWERS_V1_1: dict[Key, tuple[int, str | None]] = {
    ("GET /configurations/service", "get"): (200, None),
    ("PUT /configurations/service", "put"): (200, None),
    ("PUT /configurations/service", "out of range"): (400, "InvalidServiceConfiguration"),
    ("GET /configurations/policy", "get"): (200, None),
    ("PUT /configurations/policy", "put"): (200, None),
    ("PUT /configurations/policy", "no policy"): (400, "InvalidPolicyConfiguration"),
    ("DELETE /configurations/policy", "delete"): (200, None),
    ("POST /multislot/rank", "too early"): (400, "InvalidMultiSlotApiAccess"),
    ("POST /rank", "rank"): (201, None),
    ("POST /rank", "no action"): (400, "InvalidRankRequest"),
    ("POST /events/{eventId}/reward", "reward"): (204, None),
    ("POST /events/{eventId}/reward", "no number"): (400, "BadRequest"),
    ("POST /events/{eventId}/activate", "activate"): (204, None),
    ("PUT /model", "import"): (204, None),
    ("PUT /model", "no zip"): (400, "InvalidModelImportFormat"),
    ("GET /model", "unsigned"): (200, None),
    ("GET /model", "signed"): (200, None),
    ("GET /model/properties", "get"): (200, None),
    ("DELETE /model", "reset"): (204, None),
    ("GET /logs/properties", "get"): (200, None),
    ("POST /logs/interactions", "upload"): (403, "InvalidApiAccess"),
    ("POST /logs/observations", "upload"): (403, "InvalidApiAccess"),
    ("DELETE /logs", "delete"): (204, None),
    ("GET /evaluations", "list"): (200, None),
    ("POST /evaluations", "no log"): (400, "NoLogsExistInDateRange"),
    ("POST /evaluations", "log"): (201, None),
    ("POST /evaluations", "no name"): (400, "InvalidEvaluationContract"),
    ("GET /evaluations/{evaluationId}", "unknown"): (404, "EvaluationNotFound"),
    ("DELETE /evaluations/{evaluationId}", "unknown"): (404, "EvaluationNotFound"),
    ("POST /configurations/applyFromEvaluation", "unknown"): (404, "EvaluationNotFound"),
    ("PUT /configurations/service", "alone"): (200, None),
    ("PUT /configurations/policy", "several slots"): (200, None),
    ("POST /multislot/rank", "rank"): (201, None),
    ("POST /multislot/rank", "no slot"): (400, "InvalidRankRequest"),
    ("POST /multislot/events/{eventId}/reward", "reward"): (204, None),
    ("POST /multislot/events/{eventId}/reward", "no reward"): (400, "BadRequest"),
    ("POST /multislot/events/{eventId}/activate", "activate"): (204, None),
}
"""In the order of the calls; each operation is called with a wrong key besides."""

UNSERVED = {
    # What was made is found by the id in its Location, which test_sdk_2022.py and test_evaluation.py follow.
    "GET /evaluations/{evaluationId}",
    "DELETE /evaluations/{evaluationId}",
    "POST /configurations/applyFromEvaluation",
    # What local inference uploads is not taken.
    "POST /logs/interactions",
    "POST /logs/observations",
}
"""Operations that cannot succeed in this release."""


def lines(script: str, **environment: str) -> list[Line]:
    """Run a script to its end, with the Node that set-up installed."""
    done = subprocess.run(
        [node(), JS / script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_key(told: list[Line]) -> dict[Key, Line]:
    found = {(line["operation"], line["name"]): line for line in told}
    assert len(found) == len(told)
    return found


def summary(calls: dict[Key, Line]) -> dict[Key, tuple[int, str | None]]:
    return {key: (line["status"], line.get("code")) for key, line in calls.items()}


def operations(answers: dict[Key, tuple[int, str | None]], low: int, high: int) -> set[str]:
    """Those that were answered with a status from `low` to below `high`."""
    return {operation for (operation, _), (status, _) in answers.items() if low <= status < high}


@pytest.fixture(scope="module", params=["default", "named"])
def v1_0(served: Deployment, request: pytest.FixtureRequest) -> list[Line]:
    """What the script told of the default loop, or of another, whose path this SDK must be given apart."""
    if request.param == "default":
        return lines("v1_0.mjs", ENDPOINT=f"{served.kept.endpoint}/", KEY=KEY)
    loop = make_loop(served)
    return lines("v1_0.mjs", ENDPOINT=served.kept.endpoint, LOOP=loop.name, KEY=loop.key)


@pytest.fixture(scope="module")
def model(served: Deployment) -> bytes:
    return signed_model(served)


@pytest.fixture(scope="module")
def v1_1(served: Deployment, model: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[Key, Line]:
    file = tmp_path_factory.mktemp("model") / "model.vw.zip"
    file.write_bytes(model)
    loop, logged = make_loop(served), learned_loop(served)
    loops = {"ENDPOINT": loop.endpoint, "KEY": loop.key, "LOGGED_ENDPOINT": logged.endpoint, "LOGGED_KEY": logged.key}
    return by_key(lines("v1_1_preview_3.mjs", MODEL=str(file), **loops))


def test_every_operation_of_the_v1_0_sdk_answers_and_refuses(v1_0: list[Line]) -> None:
    named, *calls = v1_0

    assert summary(by_key(calls)) == ANSWERS_V1_0
    assert named["operations"]
    assert operations(ANSWERS_V1_0, 200, 300) == set(named["operations"])
    assert operations(ANSWERS_V1_0, 400, 600) == set(named["operations"])


def test_the_v1_0_sdk_reads_the_answers(v1_0: list[Line]) -> None:
    calls = by_key(v1_0[1:])
    bare, full = calls["rank", "bare"]["body"], calls["rank", "everything"]["body"]

    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-zA-Z]{5}", bare["eventId"])
    assert sorted(action["id"] for action in bare["ranking"]) == ["a", "b", "c"]
    assert sum(action["probability"] for action in bare["ranking"]) == pytest.approx(1)
    assert full["eventId"] == "js/1"
    assert full["ranking"][1] == {"id": "b", "probability": 0}
    assert full["rewardActionId"] == full["ranking"][0]["id"]
    assert {line["failed"] for line in calls.values() if line["status"] >= 400} == {"RestError"}


def test_every_operation_of_the_v1_1_sdk_answers_and_refuses(v1_1: dict[Key, Line]) -> None:
    ours = {key: line for key, line in v1_1.items() if key[1] != "wrong key"}
    strange = {key: line for key, line in v1_1.items() if key[1] == "wrong key"}
    # The SDK's own list, with the one status that it takes for a success.
    known = dict(re.findall(r'^    "([A-Z]+ /\S*)": \["(\d+)"\],$', REST.read_text(), re.MULTILINE))

    assert summary(ours) == ANSWERS_V1_1
    assert len(known) == 24
    assert {key[0] for key in strange} == set(known)
    assert set(summary(strange).values()) == {(401, "Unauthorized")}
    succeeded = {key[0]: line["status"] for key, line in ours.items() if line["status"] < 400}
    assert succeeded == {name: int(status) for name, status in known.items() if name not in UNSERVED}


def test_the_v1_1_sdk_reads_settings_and_policies(v1_1: dict[Key, Line]) -> None:
    had = v1_1["GET /configurations/service", "get"]["body"]
    put = v1_1["PUT /configurations/service", "put"]["body"]
    default = v1_1["GET /configurations/policy", "get"]["body"]

    assert had["rewardWaitTime"] == "PT10M"
    assert had["learningMode"] == "Online"
    assert had["isAutoOptimizationEnabled"] is True
    edited = {"rewardWaitTime": "PT1M", "lastConfigurationEditDate": put["lastConfigurationEditDate"]}
    assert put == {**had, **edited}
    assert v1_1["PUT /configurations/service", "alone"]["body"]["isAutoOptimizationEnabled"] is False
    assert default["arguments"] == "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"
    bagged = {"name": default["name"], "arguments": "--cb_explore_adf --bag 3 --cb_type mtr -q ::"}
    assert v1_1["PUT /configurations/policy", "put"]["body"] == bagged
    assert v1_1["DELETE /configurations/policy", "delete"]["body"] == default
    several = v1_1["PUT /configurations/policy", "several slots"]["body"]["arguments"]
    assert several == default["arguments"].replace("--cb_", "--ccb_", 1)


def test_the_v1_1_sdk_reads_decisions(v1_1: dict[Key, Line]) -> None:
    one = v1_1["POST /rank", "rank"]
    several = v1_1["POST /multislot/rank", "rank"]
    chosen = [slot["rewardActionId"] for slot in several["body"]["slots"]]

    assert one["body"]["eventId"] == "js/1"
    assert one["headers"]["csp-billing-usage"] == "CognitiveServices.Personalizer.Transaction=1"
    assert list(several["body"]) == ["slots", "eventId"]
    assert several["body"]["eventId"] == "js/2"
    assert [slot["id"] for slot in several["body"]["slots"]] == ["top", "side"]
    assert len(set(chosen)) == 2
    assert set(chosen) <= {"a", "b", "c"}


def test_the_v1_1_sdk_moves_models(v1_1: dict[Key, Line], model: bytes) -> None:
    unsigned, signed = v1_1["GET /model", "unsigned"], v1_1["GET /model", "signed"]

    assert unsigned["body"]["bytes"] > 0
    assert unsigned["headers"]["content-type"] == signed["headers"]["content-type"] == "application/octet-stream"
    assert unsigned["headers"]["content-disposition"] == "attachment; filename=model.vw"
    assert signed["headers"]["content-disposition"] == "attachment; filename=model.vw.zip"
    assert (signed["body"]["bytes"], signed["body"]["sha256"]) == (len(model), hashlib.sha256(model).hexdigest())
    assert set(v1_1["GET /model/properties", "get"]["body"]) == {"creationTime", "lastModifiedTime"}
    assert v1_1["GET /evaluations", "list"]["body"] == []


def test_the_v1_1_sdk_reads_refusals(v1_1: dict[Key, Line]) -> None:
    for line in v1_1.values():
        if line["status"] >= 400:
            assert set(line["body"]) == {"error"}
            assert set(line["body"]["error"]) <= {"code", "message", "target"}
            assert line["body"]["error"]["message"]
