"""Every example request of every published version, sent to a fresh loop; every answer against that version's schema.

What must come of each example stands in `EXPECTED`, what differs from the example's own answer, and why, in
`DIFFERENCES` and `NOT_THERE`: a difference that is not listed fails, and so does one that is listed and not seen.
"""

import json
from email.message import Message
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.contract.conftest import SEEDS, Deployment
from tests.contract.loops import make_loop
from tests.contract.swagger import Example, Got, Swagger, missing

SPEC = SEEDS / "contract" / "spec"
MIRROR = frozenset({"logMirrorEnabled", "logMirrorSasUri"})
EXTRA = {"2022-09-01-preview": {"ServiceConfiguration": frozenset({"isInferenceExplainabilityEnabled"})}}
"""Members that no document has and the service was recorded to answer (contract 2)."""

pytestmark = pytest.mark.skipif(not SPEC.exists(), reason=f"no published swagger in {SEEDS.name}/contract/spec")


class Difference(NamedTuple):
    """A refusal where the example prints a success: its code, and why it is right."""

    code: str
    why: str


_EVENTS = {"Rank": 201, "Events_Reward": 204, "Events_Activate": 204}
_CONFIGURATION = {
    "ServiceConfiguration_Get": 200,
    "ServiceConfiguration_Update": 400,
    "Policy_Get": 200,
    "Policy_Update": 200,
    "Policy_Reset": 200,
}
_MODEL = {"Model_Get": 404, "Model_GetProperties": 200, "Model_Reset": 204}
_IMPORT = {"Model_Import": 400}
_LOGS = {"Log_GetProperties": 200, "Log_Delete": 204}
_UPLOADS = {"Log_Interactions": 403, "Log_Observations": 403}
_EVALUATIONS = {"Evaluations_Create": 400, "Evaluations_List": 200, "Evaluations_Get": 404, "Evaluations_Delete": 404}
_APPLY = {"ServiceConfiguration_ApplyFromEvaluation": 404}
_IMPORTANCES = {
    "FeatureImportances_Create": 400,
    "FeatureImportances_List": 200,
    "FeatureImportances_Get": 404,
    "FeatureImportances_Delete": 404,
}
_SLOTS = {"MultiSlot_Rank": 201, "MultiSlotEvents_Reward": 204, "MultiSlotEvents_Activate": 204}
_V1_0 = {**_CONFIGURATION, **_EVENTS, **_MODEL, **_LOGS, **_EVALUATIONS}

EXPECTED: dict[str, dict[str, int]] = {
    "preview/v1.0": _EVENTS,
    "stable/v1.0": _V1_0,
    "preview/v1.1-preview.1": {**_V1_0, **_APPLY, **_SLOTS},
    "preview/v1.1-preview.2": {**_V1_0, **_UPLOADS, **_APPLY, **_SLOTS},
    "preview/v1.1-preview.3": {**_V1_0, **_IMPORT, **_UPLOADS, **_APPLY, **_SLOTS},
    "preview/2022-09-01-preview": {**_V1_0, **_IMPORT, **_UPLOADS, **_APPLY, **_IMPORTANCES, **_SLOTS},
}
"""The status of each example, in the order in which they are sent."""
COUNTS = {
    "preview/v1.0": 3,
    "stable/v1.0": 17,
    "preview/v1.1-preview.1": 21,
    "preview/v1.1-preview.2": 23,
    "preview/v1.1-preview.3": 24,
    "preview/2022-09-01-preview": 28,
}

_NO_JOB = "it names a job that was never created"
_NO_UPLOAD = "what local inference uploads is not taken in this release, and the two letters id are no log"
DIFFERENCES: dict[str, Difference] = {
    "ServiceConfiguration_Update": Difference(
        "InvalidContainer", "its SAS ended in 2020, does not let delete, and names a host that the test does not allow"
    ),
    "Model_Get": Difference("ResourceNotFound", "the loop has learned nothing, and the example prints no model"),
    "Model_Import": Difference("InvalidModelImportFormat", "its model is the two letters id"),
    "Log_Interactions": Difference("InvalidApiAccess", _NO_UPLOAD),
    "Log_Observations": Difference("InvalidApiAccess", _NO_UPLOAD),
    "Evaluations_Create": Difference("NoLogsExistInDateRange", "a fresh loop has no log of the years 2018 and 2019"),
    "Evaluations_Get": Difference("EvaluationNotFound", _NO_JOB),
    "Evaluations_Delete": Difference("EvaluationNotFound", _NO_JOB),
    "ServiceConfiguration_ApplyFromEvaluation": Difference("EvaluationNotFound", _NO_JOB),
    "FeatureImportances_Create": Difference(
        "NoLogsExistInDateRange", "the example's dates are before the loop's log begins"
    ),
    "FeatureImportances_Get": Difference("FeatureImportanceNotFound", _NO_JOB),
    "FeatureImportances_Delete": Difference("FeatureImportanceNotFound", _NO_JOB),
}
RENAMED = {("preview/2022-09-01-preview", "InvalidContainer"): "InvalidSasUri"}
"""Codes that a version spells otherwise (contract 2)."""
NOT_THERE: dict[str, frozenset[str]] = {
    "ServiceConfiguration_Get": MIRROR,  # a fresh loop has no mirror
    "Log_GetProperties": frozenset({"dateRange"}),  # as recorded of a loop without a log
    "Evaluations_List": frozenset({"nextLink"}),  # an empty list has no next page
    "FeatureImportances_List": frozenset({"nextLink"}),
}
"""Members that an example prints and its answer lacks, rightly."""


Replayed = tuple[str, dict[str, Got]]


@cache
def document(version: str) -> Swagger:
    return Swagger(SPEC / version, EXTRA.get(version.rpartition("/")[2]))


def code(got: Got) -> str:
    told: str = json.loads(got.body)["error"]["code"]
    assert got.headers["x-ms-error-code"] == told
    return told


def printed(example: Example) -> Got:
    """An example's own answer, as it would come over the wire."""
    body, headers = example.printed_body, Message()
    if example.operation["responses"][str(example.printed_status)].get("schema"):
        headers["Content-Type"] = "application/json" if body else "application/octet-stream"
    for name, value in example.responses[str(example.printed_status)].get("headers", {}).items():
        headers[name] = value
    return Got(example.printed_status, headers, json.dumps(body).encode() if body else b"")


@pytest.fixture(scope="module", params=list(EXPECTED))
def replayed(served: Deployment, request: pytest.FixtureRequest) -> Replayed:
    """A version, and what a fresh loop answered to its examples."""
    version, loop, answers = request.param, make_loop(served), {}
    for name in EXPECTED[version]:
        if name == next(iter(_SLOTS)):
            loop.use_slots()
        answers[name] = loop.send(document(version).examples[name].sent())
    return version, answers


def test_no_example_is_left_out() -> None:
    folders = {str(file.parent.relative_to(SPEC)) for file in SPEC.rglob("Personalizer.json")}

    assert set(EXPECTED) == set(COUNTS) == folders
    for version, expected in EXPECTED.items():
        files = {file.stem for file in (SPEC / version / "examples").iterdir()}
        assert set(expected) == set(document(version).examples) == files
        assert len(expected) == len(document(version).operations) == COUNTS[version]


@pytest.mark.parametrize("version", EXPECTED)
def test_the_check_passes_the_examples_own_requests_and_answers(version: str) -> None:
    for name, example in document(version).examples.items():
        assert document(version).request_problems(example) == [], name
        assert document(version).problems(example.operation, printed(example)) == [], name


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("ServiceConfiguration_Get", {"rewardWaitTime": "00:10:00"}, "rewardWaitTime: '00:10:00' is not a 'duration'"),
        ("ServiceConfiguration_Get", {"lastConfigurationEditDate": "2019-02-30T00:00:00Z"}, "is not a 'date-time'"),
        ("ServiceConfiguration_Get", {"lastConfigurationEditDate": "2019-01-19"}, "is not a 'date-time'"),
        ("ServiceConfiguration_Get", {"logRetentionDays": 7.0}, "7.0 is not of type 'integer'"),
        ("ServiceConfiguration_Get", {"logRetentionDays": -2}, "-2 is less than the minimum of -1"),
        ("ServiceConfiguration_Get", {"defaultReward": None}, "None is not of type 'number'"),
        ("ServiceConfiguration_Get", {"later": True}, "'later' was unexpected"),
        ("Policy_Get", {"arguments": "x" * 1025}, "is too long"),
        ("Rank", {"ranking": [{"id": "a", "probability": 1.5}]}, "ranking.0.probability: 1.5 is greater than"),
        ("MultiSlot_Rank", {"slots": [{"rewardActionId": "a"}]}, "'id' is a required property"),
        ("Evaluations_List", {"value": [{"status": 1}]}, "value.0.status: 1 is not of type 'string'"),
    ],
)
def test_the_check_tells_what_does_not_fit(name: str, change: dict[str, Any], told: str) -> None:
    newest = document("preview/2022-09-01-preview")
    example = newest.examples[name]
    good = printed(example)
    bad = good._replace(body=json.dumps({**json.loads(good.body), **change}).encode())

    (problem,) = newest.problems(example.operation, bad)

    assert told in problem


def test_the_check_tells_wrong_statuses_headers_and_bodies() -> None:
    swagger = document("preview/2022-09-01-preview")
    examples = swagger.examples
    get, deleted = printed(examples["Policy_Get"]), printed(examples["Log_Delete"])

    def problems(name: str, got: Got) -> str:
        return "; ".join(swagger.problems(examples[name].operation, got))

    assert "status 201 is none of" in problems("Policy_Get", get._replace(status=201))
    assert "a body where none is declared" in problems("Log_Delete", deleted._replace(body=b"{}"))
    assert "no JSON" in problems("Policy_Get", get._replace(body=b"NaN"))
    assert "'name' is a required property" in problems("Policy_Get", get._replace(body=b'{"arguments": ""}'))
    assert "type is None" in problems("Policy_Get", get._replace(headers=Message()))
    assert "the file's type is None" in problems("Model_Get", get._replace(headers=Message()))
    assert "header x-ms-error-code is missing" in problems("Policy_Get", get._replace(status=404))


def test_each_example_has_the_expected_outcome(replayed: Replayed) -> None:
    version, answers = replayed
    differing = {
        name: code(answers[name])
        for name, example in document(version).examples.items()
        if answers[name].status != example.printed_status
    }
    allowed = {name: DIFFERENCES[name].code for name in EXPECTED[version] if name in DIFFERENCES}

    assert {name: got.status for name, got in answers.items()} == EXPECTED[version]
    assert differing == {name: RENAMED.get((version, known), known) for name, known in allowed.items()}


def test_each_answer_fits_the_published_schema(replayed: Replayed) -> None:
    version, answers = replayed
    swagger = document(version)
    problems = {name: swagger.problems(swagger.examples[name].operation, got) for name, got in answers.items()}

    assert {name: found for name, found in problems.items() if found} == {}


def test_each_answer_has_what_the_example_prints(replayed: Replayed) -> None:
    version, answers = replayed
    bodies = {
        name: (document(version).examples[name].printed_body, json.loads(got.body))
        for name, got in answers.items()
        if got.status in (200, 201) and name != "Model_Get"
    }
    lacking = {name: frozenset(missing(told, given)) for name, (told, given) in bodies.items()}
    allowed = {name: NOT_THERE.get(name, frozenset()) for name in bodies}

    for name, (told, _) in bodies.items():
        # What is listed and not printed by this version is no matter; what is there now must leave the list.
        assert lacking[name] == frozenset(member for member in allowed[name] if member in told), name


@pytest.mark.parametrize("version", [version for version in EXPECTED if "Policy_Get" in EXPECTED[version]])
def test_settings_are_taken_without_the_mirror(served: Deployment, version: str) -> None:
    example = document(version).examples["ServiceConfiguration_Update"]
    sent = {name: value for name, value in example.parameters["config"].items() if name not in MIRROR}

    got = make_loop(served).send(example.sent(without=MIRROR))

    assert got.status == 200, got.body
    assert document(version).problems(example.operation, got) == []
    kept = json.loads(got.body)
    edited = {"lastConfigurationEditDate": kept["lastConfigurationEditDate"]} if version != "stable/v1.0" else {}
    assert {name: kept[name] for name in sent} | edited == {**sent, **edited}


@pytest.mark.parametrize("version", EXPECTED)
def test_each_example_is_refused_without_a_key_that_fits(served: Deployment, version: str) -> None:
    loop, swagger = make_loop(served), document(version)

    for name, example in swagger.examples.items():
        got = loop.send(example.sent(), key="wrong")
        assert (got.status, code(got)) == (401, "Unauthorized"), name
        assert swagger.problems(example.operation, got) == [], name
