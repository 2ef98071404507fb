"""Bodies and queries of evaluations and feature importances into checked requests, and statuses into each version's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson
import pytest

from shared.contract.errors import ApiError
from shared.contract.evaluations import (
    EVALUATION_CONTRACTS,
    DateRange,
    EvaluationContract,
    EvaluationContractV1,
    EvaluationContractV2022,
    EvaluationType,
    PolicyReferenceContract,
    Status,
    evaluation_request,
    feature_importance_request,
    filter_query,
    result_query,
    spell_status,
)
from shared.contract.versions import ALL, BEFORE_2022, Version

POLICY = {"name": "mine", "arguments": "--cb_explore_adf --bag 3"}
WEEK = {"name": "week", "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-08T00:00:00Z"}
EVALUATION: dict[str, Any] = {**WEEK, "policies": [POLICY]}
JANUARY_1 = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
DATES = DateRange(JANUARY_1, JANUARY_1 + 7 * 86_400)


def evaluate(changed: dict[str, Any], version: Version = Version.V2022) -> tuple[EvaluationContract, DateRange]:
    given = {name: value for name, value in {**EVALUATION, **changed}.items() if value is not ...}
    return evaluation_request(orjson.dumps(given), version)


@pytest.mark.parametrize("version", ALL)
def test_an_evaluation_is_read(version: Version) -> None:
    request, dates = evaluate({}, version)

    assert (request.name, dates) == ("week", DATES)
    assert [(policy.name, policy.arguments) for policy in request.policies] == [tuple(POLICY.values())]


def test_each_version_has_its_own_flag() -> None:
    both = {"enableOfflineExperimentation": True, "enablePolicyOptimization": True}
    for version in BEFORE_2022:
        assert EVALUATION_CONTRACTS[version] is EvaluationContractV1
    first, last = evaluate(both, Version.V1_0)[0], evaluate({**both, "EnablePolicyOptimization": False})[0]

    assert isinstance(first, EvaluationContractV1)
    assert isinstance(last, EvaluationContractV2022)
    assert first.optimize is True
    assert last.optimize is False, "member names are read without regard to case"
    assert evaluate({"enablePolicyOptimization": None})[0] == evaluate({})[0]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-01", "2026-01-08"),
        ("2026-01-01T00:00:00", "2026-01-08T00:00:00.000Z"),
        ("2026-01-01T01:00:00+01:00", "2026-01-07T23:00:00-01:00"),
    ],
)
def test_times_are_read_with_and_without_time_and_zone(start: str, end: str) -> None:
    assert evaluate({"startTime": start, "endTime": end})[1] == DATES


@pytest.mark.parametrize(
    ("changed", "target"),
    [
        ({"name": ...}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"startTime": ...}, "startTime"),
        ({"startTime": 5}, "startTime"),
        ({"startTime": "yesterday"}, "startTime"),
        ({"endTime": ...}, "endTime"),
        ({"endTime": "2026-02-30"}, "endTime"),
        ({"endTime": ""}, "endTime"),
        ({"startTime": "0001-01-01T00:00:00+12:00"}, "startTime"),
        ({"endTime": "9999-12-31T23:59:59-12:00"}, "endTime"),
        ({"policies": ...}, "policies"),
        ({"policies": None}, "policies"),
        ({"policies": [{"name": "mine"}]}, "policies[0].arguments"),
        ({"policies": [{**POLICY, "name": "x" * 257}]}, "policies[0].name"),
        ({"policies": [{**POLICY, "arguments": "x" * 1025}]}, "policies[0].arguments"),
        ({"enablePolicyOptimization": "yes"}, "enablePolicyOptimization"),
    ],
)
def test_a_member_that_is_not_what_it_should_be_is_named(changed: dict[str, Any], target: str) -> None:
    with pytest.raises(ApiError) as refused:
        evaluate(changed)

    assert (refused.value.code, refused.value.target) == ("InvalidEvaluationContract", target)
    assert target in refused.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"week"'])
def test_what_is_no_object_is_a_bad_request(body: bytes) -> None:
    for decode in (feature_importance_request, lambda body: evaluation_request(body, Version.V1_0)):
        with pytest.raises(ApiError) as refused:
            decode(body)
        assert refused.value.code == "BadRequest"


@pytest.mark.parametrize("end", ["2026-01-01T00:00:00Z", "2025-12-31"])
def test_an_evaluation_ends_after_it_begins(end: str) -> None:
    with pytest.raises(ApiError) as refused:
        evaluate({"endTime": end})

    assert (refused.value.code, refused.value.target) == ("InvalidDateTimesInEvaluationContract", "startTime")
    assert end in refused.value.message


def test_there_may_be_ten_policies_and_none() -> None:
    ten = [{**POLICY, "name": f"p{n}"} for n in range(10)]

    assert len(evaluate({"policies": ten})[0].policies) == 10
    assert evaluate({"policies": []})[0].policies == []
    with pytest.raises(ApiError, match="at most 10 policies; it holds 11") as refused:
        evaluate({"policies": [*ten, POLICY]})
    assert (refused.value.code, refused.value.target) == ("MaximumEvaluationCustomPoliciesExceeded", "policies")


def test_policies_have_different_names() -> None:
    assert len(evaluate({"policies": [POLICY, {**POLICY, "name": "Mine"}]})[0].policies) == 2
    with pytest.raises(ApiError, match="'mine'") as refused:
        evaluate({"policies": [POLICY, {**POLICY, "name": "other"}, {**POLICY, "arguments": "--cb_explore_adf"}]})
    assert (refused.value.code, refused.value.target) == ("DuplicateCustomPolicyNames", "policies[2].name")


def test_a_feature_importance_is_read() -> None:
    request, dates = feature_importance_request(orjson.dumps({**WEEK, "policies": "not looked at"}))

    assert (request.name, dates) == ("week", DATES)


@pytest.mark.parametrize(
    ("changed", "target"),
    [
        ({"name": None}, "name"),
        ({"startTime": "yesterday"}, "startTime"),
        ({"endTime": "2026-01-01T00:00:00Z"}, "startTime"),
    ],
)
def test_a_feature_importance_has_one_code(changed: dict[str, Any], target: str) -> None:
    with pytest.raises(ApiError) as refused:
        feature_importance_request(orjson.dumps({**WEEK, **changed}))

    assert (refused.value.code, refused.value.target) == ("InvalidContract", target)


TIMES = {"startTime": WEEK["startTime"], "endTime": WEEK["endTime"]}


@pytest.mark.parametrize(
    ("query", "interval"),
    [
        ({}, 5),
        ({"intervalInMinutes": "5"}, 5),
        ({"window": "Expanding"}, 5),
        ({"intervalInMinutes": "5", "window": "Expanding"}, 5),
        *(({"intervalInMinutes": str(n), "window": "Rolling"}, n) for n in (60, 360, 720, 1440)),
    ],
)
def test_results_are_asked_for_between_two_times_at_an_interval(query: dict[str, str], interval: int) -> None:
    assert result_query({**TIMES, **query}) == (DATES, interval)


@pytest.mark.parametrize(
    ("query", "code", "target"),
    [
        ({"endTime": TIMES["endTime"]}, "BadRequest", "startTime"),
        ({"startTime": TIMES["startTime"]}, "BadRequest", "endTime"),
        ({**TIMES, "startTime": ""}, "BadRequest", "startTime"),
        ({**TIMES, "endTime": "soon"}, "BadRequest", "endTime"),
        ({**TIMES, "endTime": "2025-01-01"}, "BadRequest", "startTime"),
        ({**TIMES, "intervalInMinutes": "15"}, "InvalidRequest", "intervalInMinutes"),
        ({**TIMES, "intervalInMinutes": "hour", "window": "Rolling"}, "InvalidRequest", "intervalInMinutes"),
        ({**TIMES, "window": "Rolling"}, "InvalidRequest", "window"),
        ({**TIMES, "intervalInMinutes": "60"}, "InvalidRequest", "window"),
        ({**TIMES, "intervalInMinutes": "60", "window": "Expanding"}, "InvalidRequest", "window"),
        ({**TIMES, "window": "Tumbling"}, "InvalidRequest", "window"),
    ],
)
def test_what_cannot_be_asked_for_is_named(query: dict[str, str], code: str, target: str) -> None:
    with pytest.raises(ApiError) as refused:
        result_query(query)

    assert (refused.value.code, refused.value.target) == (code, target)
    assert target in refused.value.message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("metadata=evaluationType eq 'Manual'", EvaluationType.MANUAL),
        ("metadata=evaluationType eq 'Auto'", EvaluationType.AUTO),
        ("evaluationType eq 'Auto'", EvaluationType.AUTO),
        (" metadata = evaluationType  eq  'Auto' ", EvaluationType.AUTO),
    ],
)
def test_lists_are_filtered_by_type(text: str, wanted: EvaluationType) -> None:
    assert filter_query({"filter": text}) is wanted
    assert filter_query({}) is None


@pytest.mark.parametrize(
    "text", ["", "metadata=evaluationType eq Manual", "evaluationType ne 'Auto'", "status eq 'Running'", "'Manual'"]
)
def test_any_other_filter_is_refused(text: str) -> None:
    with pytest.raises(ApiError, match="evaluationType eq 'Manual' or ") as refused:
        filter_query({"filter": text})

    assert (refused.value.code, refused.value.target) == ("InvalidRequest", "filter")


V1_0 = {"completed", "pending", "failed", "notSubmitted"}
V1_1 = V1_0 | {"timeout", "optimalPolicyApplied", "onlinePolicyRetained"}


def test_each_version_has_words_for_every_status() -> None:
    assert {spell_status(status, Version.V1_0) for status in Status} == V1_0
    for version in (Version.V1_1_P1, Version.V1_1_P2, Version.V1_1_P3):
        assert {spell_status(status, version) for status in Status} == V1_1
    assert [spell_status(status, Version.V2022) for status in Status] == [status.value for status in Status]
    assert spell_status(Status.RUNNING, Version.V1_1_P3) == "pending"
    assert spell_status(Status.ONLINE_POLICY_RETAINED, Version.V1_0) == "completed"


def test_the_types_can_be_described() -> None:
    """The API's description is made from them."""
    kinds: list[type] = [*set(EVALUATION_CONTRACTS.values()), PolicyReferenceContract]
    _, components = msgspec.json.schema_components(kinds)

    for kind in kinds:
        described = components[kind.__name__]
        assert described["description"]
        assert all("description" in member for name, member in described["properties"].items()), kind
    policies = components["EvaluationContractV2022"]["properties"]["policies"]
    assert policies["maxItems"] == 10
    assert set(components["EvaluationContractV1"]["required"]) == {"name", "startTime", "endTime", "policies"}
