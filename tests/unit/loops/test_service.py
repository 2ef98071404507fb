from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract import durations
from shared.contract.errors import ApiError
from shared.loops.service import ServiceConfiguration, put

FULL: dict[str, Any] = {
    "rewardWaitTime": "PT10M",
    "defaultReward": 0.0,
    "rewardAggregation": "earliest",
    "explorationPercentage": 0.2,
    "modelExportFrequency": "PT5M",
    "logRetentionDays": 90,
}
HELD = ServiceConfiguration()


def changed(**members: Any) -> ServiceConfiguration:
    return put(orjson.dumps({**FULL, **members}), HELD)


def refusal(body: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        put(body if isinstance(body, bytes) else orjson.dumps(body), HELD)
    assert caught.value.status == 400
    return caught.value


def test_a_new_loop_has_the_defaults_of_the_service() -> None:
    assert HELD.to_api() == FULL
    assert HELD.reward_range == (-1.0, 1.0)


def test_what_is_answered_can_be_put_back() -> None:
    held = ServiceConfiguration(15.0, -0.5, "sum", 0.35, 15.0, -1, (-1.0, 1.0))

    assert put(orjson.dumps(held.to_api()), HELD) == held


@pytest.mark.parametrize(
    ("member", "value", "field", "read"),
    [
        ("rewardWaitTime", "PT5S", "reward_wait_time", 5.0),
        ("rewardWaitTime", "00:00:15", "reward_wait_time", 15.0),
        ("rewardWaitTime", "P2D", "reward_wait_time", 172_800.0),
        ("rewardWaitTime", "2.00:00:00", "reward_wait_time", 172_800.0),
        ("defaultReward", -1, "default_reward", -1.0),
        ("defaultReward", 1.0, "default_reward", 1.0),
        ("rewardAggregation", "average", "reward_aggregation", "average"),
        ("rewardAggregation", "median", "reward_aggregation", "median"),
        ("rewardAggregation", "sum", "reward_aggregation", "sum"),
        ("rewardAggregation", "min", "reward_aggregation", "min"),
        ("rewardAggregation", "Max", "reward_aggregation", "max"),
        ("explorationPercentage", 0, "exploration_percentage", 0.0),
        ("explorationPercentage", 1, "exploration_percentage", 1.0),
        ("modelExportFrequency", "PT5S", "model_export_frequency", 5.0),
        ("modelExportFrequency", "00:01:00", "model_export_frequency", 60.0),
        ("modelExportFrequency", "P30D", "model_export_frequency", 2_592_000.0),
        ("logRetentionDays", -1, "log_retention_days", -1),
        ("logRetentionDays", 2, "log_retention_days", 2),
        ("logRetentionDays", 2**31 - 1, "log_retention_days", 2**31 - 1),
    ],
)
def test_a_value_in_range_is_taken(member: str, value: Any, field: str, read: Any) -> None:
    found = getattr(changed(**{member: value}), field)

    assert (found, type(found)) == (read, type(read))
    assert changed(**{member: value}) == replace(HELD, **{field: read})


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("rewardWaitTime", "PT4.9S", "InvalidRewardWaitTime"),
        ("rewardWaitTime", "PT0S", "InvalidRewardWaitTime"),
        ("rewardWaitTime", "P2DT1S", "InvalidRewardWaitTime"),
        ("rewardWaitTime", "3.00:00:00", "InvalidRewardWaitTime"),
        ("defaultReward", -1.01, "InvalidServiceConfiguration"),
        ("defaultReward", 2, "InvalidServiceConfiguration"),
        ("defaultReward", 1e300, "InvalidServiceConfiguration"),
        ("rewardAggregation", "", "InvalidServiceConfiguration"),
        ("rewardAggregation", "first", "InvalidServiceConfiguration"),
        ("rewardAggregation", "x" * 300, "InvalidServiceConfiguration"),
        ("explorationPercentage", -0.01, "InvalidServiceConfiguration"),
        ("explorationPercentage", 1.01, "InvalidServiceConfiguration"),
        ("explorationPercentage", 20, "InvalidServiceConfiguration"),
        ("modelExportFrequency", "PT4S", "InvalidServiceConfiguration"),
        ("modelExportFrequency", "P31D", "InvalidServiceConfiguration"),
        ("logRetentionDays", 1, "InvalidLogRetentionDays"),
        ("logRetentionDays", 0, "InvalidLogRetentionDays"),
        ("logRetentionDays", -2, "InvalidLogRetentionDays"),
        ("logMirrorEnabled", True, "InvalidServiceConfiguration"),
        ("rewardWaitTime", "10 minutes", "BadRequest"),
        ("rewardWaitTime", "", "BadRequest"),
        ("rewardWaitTime", 600, "BadRequest"),
        ("rewardWaitTime", None, "BadRequest"),
        ("defaultReward", "0", "BadRequest"),
        ("defaultReward", True, "BadRequest"),
        ("defaultReward", None, "BadRequest"),
        ("rewardAggregation", 1, "BadRequest"),
        ("rewardAggregation", None, "BadRequest"),
        ("explorationPercentage", "20%", "BadRequest"),
        ("explorationPercentage", False, "BadRequest"),
        ("explorationPercentage", [0.2], "BadRequest"),
        ("modelExportFrequency", "5m", "BadRequest"),
        ("modelExportFrequency", {"minutes": 5}, "BadRequest"),
        ("logRetentionDays", 90.0, "BadRequest"),
        ("logRetentionDays", "90", "BadRequest"),
        ("logRetentionDays", True, "BadRequest"),
        ("logRetentionDays", 2**31, "BadRequest"),
        ("logRetentionDays", -(2**31) - 1, "BadRequest"),
    ],
)
def test_any_other_value_is_refused_by_name(member: str, value: Any, code: str) -> None:
    error = refusal({**FULL, member: value})

    assert (error.code, error.target) == (code, member)
    assert error.message.startswith(member)
    assert len(error.message) < 300


@pytest.mark.parametrize("member", FULL)
def test_the_members_are_required(member: str) -> None:
    error = refusal({name: value for name, value in FULL.items() if name != member})

    assert (error.code, error.target) == ("BadRequest", member)
    assert error.message.startswith(f"{member} is required")


@pytest.mark.parametrize(
    ("wait", "least"),
    [("PT5S", 2), ("PT10M", 2), ("P1D", 2), ("P1DT0.0000001S", 3), ("P1DT1S", 3), ("P2D", 3)],
)
def test_the_log_is_kept_for_the_wait_and_a_day_rounded_up(wait: str, least: int) -> None:
    assert changed(rewardWaitTime=wait, logRetentionDays=least).log_retention_days == least
    assert changed(rewardWaitTime=wait, logRetentionDays=-1).log_retention_days == -1
    error = refusal({**FULL, "rewardWaitTime": wait, "logRetentionDays": least - 1})

    assert (error.code, error.target) == ("InvalidLogRetentionDays", "logRetentionDays")
    assert f"at least {least}" in error.message


@pytest.mark.parametrize(
    "body",
    [
        {**FULL, "logMirrorEnabled": False},
        {**FULL, "logMirrorEnabled": None},
        {**FULL, "learningMode": "Online", "isAutoOptimizationEnabled": True, "unknown": {}},
        {name.upper(): value for name, value in FULL.items()},
        {name[0].upper() + name[1:]: value for name, value in FULL.items()},
    ],
)
def test_unknown_members_and_other_spellings_are_taken(body: dict[str, Any]) -> None:
    assert put(orjson.dumps(body), ServiceConfiguration(15.0, 1.0, "sum", 0.9, 15.0, -1)) == HELD


def test_what_the_api_cannot_say_keeps_its_value() -> None:
    held = replace(HELD, reward_range=(-5.0, 5.0))

    assert put(orjson.dumps(FULL), held).reward_range == (-5.0, 5.0)


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"defaultReward":NaN}', b"\xff"])
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    error = refusal(body)

    assert error.code == "BadRequest"
    assert error.message.startswith("The body is not JSON")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"'])
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    assert refusal(body).message == "The body must be a JSON object."


@pytest.mark.parametrize("value", [b"[" * 500 + b"]" * 500, b'{"a":' * 500 + b"1" + b"}" * 500])
@pytest.mark.parametrize("member", [m for m in FULL])
def test_a_value_nested_deep_is_a_bad_request(member: str, value: bytes) -> None:
    # It is read, but it could not be written again to be quoted.
    members = b",".join(
        b'"%b":%b' % (name.encode(), value if name == member else orjson.dumps(held)) for name, held in FULL.items()
    )

    error = refusal(b"{" + members + b"}")

    assert (error.code, error.target) == ("BadRequest", member)
    assert error.message.endswith(("it is an array.", "it is an object."))


configurations = st.builds(
    ServiceConfiguration,
    reward_wait_time=st.integers(5 * 10**7, 2 * 86_400 * 10**7).map(
        lambda ticks: durations.parse(f"PT{ticks / 10**7:.7f}S")
    ),
    default_reward=st.floats(-1, 1),
    reward_aggregation=st.sampled_from(["earliest", "average", "median", "sum", "min", "max"]),
    exploration_percentage=st.floats(0, 1),
    model_export_frequency=st.integers(5, 30 * 86_400).map(float),
    log_retention_days=st.just(-1) | st.integers(3, 2**31 - 1),
)


@given(configurations)
def test_settings_survive_get_and_put(held: ServiceConfiguration) -> None:
    found = put(orjson.dumps(held.to_api()), HELD)

    assert found == replace(held, reward_wait_time=pytest.approx(held.reward_wait_time, abs=1e-9))  # type: ignore[arg-type]
    assert found.to_api() == held.to_api()
