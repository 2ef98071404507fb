"""The configuration bodies: what each version's struct knows, and what the contract's own table says of it."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from shared.contract.configurations import (
    MAX_ARGUMENTS,
    MAX_NAME,
    SERVICE_CONFIGURATIONS,
    PolicyContract,
    ServiceConfigurationV10,
    members,
)
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.contract.versions import ALL, Version

V10 = {
    "rewardWaitTime", "defaultReward", "rewardAggregation", "explorationPercentage", "modelExportFrequency",
    "logMirrorEnabled", "logMirrorSasUri", "logRetentionDays",
}  # fmt: skip
V11 = V10 | {
    "lastConfigurationEditDate", "learningMode", "isAutoOptimizationEnabled", "autoOptimizationFrequency",
    "autoOptimizationStartDate",
}  # fmt: skip
V2022 = V11 | {"modelRetrainDays", "isInferenceExplainabilityEnabled", "latestApprenticeModeMetrics"}
REQUIRED = V10 - {"logMirrorEnabled", "logMirrorSasUri"}


@pytest.mark.parametrize(
    ("version", "known", "required"),
    [(ALL[0], V10, REQUIRED)]
    + [(version, V11, REQUIRED) for version in ALL[1:4]]
    + [(Version.V2022, V2022, REQUIRED | {"modelRetrainDays"})],
)
def test_a_version_knows_its_members(version: Version, known: set[str], required: set[str]) -> None:
    found = {f.encode_name: f.required for f in msgspec.structs.fields(SERVICE_CONFIGURATIONS[version])}

    assert set(found) == known
    assert {name for name, needed in found.items() if needed} == required


@pytest.mark.parametrize("version", ALL)
def test_a_body_takes_of_the_values_what_its_version_knows(version: Version) -> None:
    values = {
        "reward_wait_time": "PT10M",
        "default_reward": 0.0,
        "reward_aggregation": "earliest",
        "exploration_percentage": 0.2,
        "model_export_frequency": "PT5M",
        "log_retention_days": 90,
        "learning_mode": "Online",
        "model_retrain_days": 2,
        "log_mirror_enabled": None,
        "of a later version": 1,
    }

    body = members(version, values)

    assert type(body) is SERVICE_CONFIGURATIONS[version]
    told = orjson.loads(msgspec.json.encode(body))
    assert ("learningMode" in told) == (version is not Version.V1_0)
    assert ("modelRetrainDays" in told) == (version is Version.V2022)
    assert "logMirrorEnabled" not in told
    assert "isInferenceExplainabilityEnabled" not in told
    assert isinstance(body, ServiceConfigurationV10)


@pytest.mark.parametrize("version", ALL)
def test_what_was_said_to_be_false_is_said(version: Version) -> None:
    values = dict.fromkeys((f.name for f in msgspec.structs.fields(SERVICE_CONFIGURATIONS[version])), False)

    assert set(orjson.loads(msgspec.json.encode(members(version, values)))) == {
        f.encode_name for f in msgspec.structs.fields(SERVICE_CONFIGURATIONS[version])
    }


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({}, "name"),
        ({"name": "a"}, "arguments"),
        ({"arguments": "a"}, "name"),
        ({"name": None, "arguments": "a"}, "name"),
        ({"name": "a", "arguments": None}, "arguments"),
        ({"name": 1, "arguments": "a"}, "name"),
        ({"name": "x" * (MAX_NAME + 1), "arguments": "a"}, "name"),
        ({"name": "a", "arguments": "x" * (MAX_ARGUMENTS + 1)}, "arguments"),
    ],
)
def test_a_policy_has_a_name_and_arguments_of_some_length(body: dict[str, object], target: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(orjson.dumps(body), PolicyContract, "InvalidPolicyContract")

    assert (caught.value.code, caught.value.status, caught.value.target) == ("InvalidPolicyContract", 400, target)


def test_the_longest_policy_is_taken() -> None:
    assert (MAX_NAME, MAX_ARGUMENTS) == (256, 1024)
    for text in ("", "x" * 256, "é" * 256):
        body = {"name": text, "arguments": text * 4}
        assert decode(orjson.dumps(body), PolicyContract) == PolicyContract(text, text * 4)
