"""Every member of ServiceConfiguration: its range, its default, and what a PUT makes of it in each version."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract import durations
from shared.contract.configurations import SERVICE_CONFIGURATIONS
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.contract.versions import ALL, FROM_P1, Version
from shared.loops.service import DAY, ServiceConfiguration, put

V10, P1, P2, P3, V2022 = ALL
REQUIRED: dict[str, Any] = {
    "rewardWaitTime": "PT10M",
    "defaultReward": 0.0,
    "rewardAggregation": "earliest",
    "explorationPercentage": 0.2,
    "modelExportFrequency": "PT5M",
    "logRetentionDays": 90,
}
FROM_V11: dict[str, Any] = {
    "lastConfigurationEditDate": "0001-01-01T00:00:00",
    "learningMode": "Online",
    "isAutoOptimizationEnabled": True,
    "autoOptimizationFrequency": "P28D",
    "autoOptimizationStartDate": "2023-11-29T22:13:20Z",
}
FROM_2022: dict[str, Any] = {"modelRetrainDays": 2, "isInferenceExplainabilityEnabled": False}
HELD = ServiceConfiguration(auto_optimization_start=1_701_296_000.0)
DEFAULTS = {V10: REQUIRED, **dict.fromkeys((P1, P2, P3), REQUIRED | FROM_V11), V2022: REQUIRED | FROM_V11 | FROM_2022}
"""A new loop's settings, as each version tells them."""


def read(body: Any, version: Version = V2022, held: ServiceConfiguration = HELD, slots: bool = False) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return put(decode(data, SERVICE_CONFIGURATIONS[version]), held, slots)


def changed(version: Version = V2022, held: ServiceConfiguration = HELD, **members: Any) -> ServiceConfiguration:
    found: ServiceConfiguration = read({**DEFAULTS[version], **members}, version, held)
    return found


def refusal(body: Any, version: Version = V2022, held: ServiceConfiguration = HELD, slots: bool = False) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(body, version, held, slots)
    assert caught.value.status in (400, 403)
    return caught.value


def told(held: ServiceConfiguration, version: Version, edited: float | None = None) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(msgspec.json.encode(held.to_api(version, edited)))
    return found


@pytest.mark.parametrize("version", ALL)
def test_a_new_loop_has_the_defaults_of_the_service(version: Version) -> None:
    assert told(HELD, version) == DEFAULTS[version]
    assert HELD.reward_range == (-1.0, 1.0)


@pytest.mark.parametrize("version", ALL)
def test_an_answer_holds_the_members_of_its_version_in_their_order(version: Version) -> None:
    full = replace(HELD, log_mirror_enabled=True, log_mirror_sas_uri="https://x")

    assert list(told(full, version))[:8] == [*REQUIRED, "logMirrorEnabled", "logMirrorSasUri"]
    assert set(told(full, version)) == {*DEFAULTS[version], "logMirrorEnabled", "logMirrorSasUri"}
    assert "logMirrorEnabled" in told(replace(HELD, log_mirror_enabled=False), version)


@pytest.mark.parametrize("version", ALL)
def test_what_is_answered_can_be_put_back(version: Version) -> None:
    held = ServiceConfiguration(
        15.0, -0.5, "sum", 0.35, 15.0, -1, (-1.0, 1.0), True, "https://x", "Apprentice", False, 5 * DAY, 1e9, 0, True
    )  # fmt: skip

    assert read(told(held, version), version, held) == held


VALUES: list[tuple[str, Any, str, Any]] = [
    ("rewardWaitTime", "PT5S", "reward_wait_time", 5.0),
    ("rewardWaitTime", "00:00:15", "reward_wait_time", 15.0),
    ("rewardWaitTime", "PT7.5S", "reward_wait_time", 7.5),
    ("rewardWaitTime", "P2D", "reward_wait_time", 172_800.0),
    ("rewardWaitTime", "2.00:00:00", "reward_wait_time", 172_800.0),
    ("defaultReward", -1, "default_reward", -1.0),
    ("defaultReward", 1.0, "default_reward", 1.0),
    ("rewardAggregation", "average", "reward_aggregation", "average"),
    ("rewardAggregation", "median", "reward_aggregation", "median"),
    ("rewardAggregation", "sum", "reward_aggregation", "sum"),
    ("rewardAggregation", "min", "reward_aggregation", "min"),
    ("rewardAggregation", "Max", "reward_aggregation", "max"),
    ("rewardAggregation", "EARLIEST", "reward_aggregation", "earliest"),
    ("explorationPercentage", 0, "exploration_percentage", 0.0),
    ("explorationPercentage", 1, "exploration_percentage", 1.0),
    ("modelExportFrequency", "PT5S", "model_export_frequency", 5.0),
    ("modelExportFrequency", "00:01:00", "model_export_frequency", 60.0),
    ("modelExportFrequency", "P30D", "model_export_frequency", 2_592_000.0),
    ("logRetentionDays", -1, "log_retention_days", -1),
    ("logRetentionDays", 2, "log_retention_days", 2),
    ("logRetentionDays", 2**31 - 1, "log_retention_days", 2**31 - 1),
    ("logMirrorEnabled", True, "log_mirror_enabled", True),
    ("logMirrorEnabled", False, "log_mirror_enabled", False),
    ("logMirrorSasUri", "https://a/b?sig=c", "log_mirror_sas_uri", "https://a/b?sig=c"),
]
VALUES_V11: list[tuple[str, Any, str, Any]] = [
    ("learningMode", "Apprentice", "learning_mode", "Apprentice"),
    ("learningMode", "loggingonly", "learning_mode", "LoggingOnly"),
    ("isAutoOptimizationEnabled", False, "is_auto_optimization_enabled", False),
    ("autoOptimizationFrequency", "P1D", "auto_optimization_frequency", DAY),
    ("autoOptimizationFrequency", "24:00:00", "auto_optimization_frequency", DAY),
    ("autoOptimizationFrequency", "365.00:00:00", "auto_optimization_frequency", 365 * DAY),
    ("autoOptimizationStartDate", "2026-01-31", "auto_optimization_start", 1_769_817_600.0),
    ("autoOptimizationStartDate", "2026-01-31T00:00:00", "auto_optimization_start", 1_769_817_600.0),
    ("autoOptimizationStartDate", "2026-01-31T02:00:00+02:00", "auto_optimization_start", 1_769_817_600.0),
    ("autoOptimizationStartDate", "2026-01-31T00:00:00.2544898Z", "auto_optimization_start", 1_769_817_600.254489),
]
VALUES_2022: list[tuple[str, Any, str, Any]] = [
    ("modelRetrainDays", 0, "model_retrain_days", 0),
    ("modelRetrainDays", 90, "model_retrain_days", 90),
    ("isInferenceExplainabilityEnabled", True, "is_inference_explainability_enabled", True),
]


@pytest.mark.parametrize(
    ("version", "member", "value", "field", "taken"),
    [(version, *case) for version in (V10, P3, V2022) for case in VALUES]
    + [(version, *case) for version in FROM_P1 for case in VALUES_V11]
    + [(V2022, *case) for case in VALUES_2022],
)
def test_a_value_in_range_is_taken_and_nothing_else_changes(
    version: Version, member: str, value: Any, field: str, taken: Any
) -> None:
    found = changed(version, **{member: value})

    assert (getattr(found, field), type(getattr(found, field))) == (taken, type(taken))
    # What a version cannot say shrinks with the log that it is built from.
    few = {"model_retrain_days": min(2, taken)} if field == "log_retention_days" and version is not V2022 else {}
    assert found == replace(HELD, **{field: taken}, **(few if taken != -1 else {}))


def test_every_setting_can_be_changed_by_a_member() -> None:
    reached = {field for *_, field, _ in (*VALUES, *VALUES_V11, *VALUES_2022)}

    assert reached == {field.name for field in fields(ServiceConfiguration)} - {"reward_range"}


BAD: list[tuple[str, Any, str]] = [
    ("rewardWaitTime", "PT4.9S", "InvalidRewardWaitTime"),
    ("rewardWaitTime", "PT0S", "InvalidRewardWaitTime"),
    ("rewardWaitTime", "P2DT1S", "InvalidRewardWaitTime"),
    ("rewardWaitTime", "3.00:00:00", "InvalidRewardWaitTime"),
    ("defaultReward", -1.01, "InvalidServiceConfiguration"),
    ("defaultReward", 2, "InvalidServiceConfiguration"),
    ("defaultReward", 1e300, "InvalidServiceConfiguration"),
    ("defaultReward", 1 + 1e-9, "InvalidServiceConfiguration"),
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
    ("logRetentionDays", 2**31, "InvalidLogRetentionDays"),
    ("logRetentionDays", -(2**31) - 1, "InvalidLogRetentionDays"),
    ("logRetentionDays", 2**62, "InvalidLogRetentionDays"),
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
    ("modelExportFrequency", None, "BadRequest"),
    ("logRetentionDays", 90.5, "BadRequest"),
    ("logRetentionDays", "90", "BadRequest"),
    ("logRetentionDays", True, "BadRequest"),
    ("logRetentionDays", None, "BadRequest"),
    ("logMirrorEnabled", "true", "BadRequest"),
    ("logMirrorEnabled", 1, "BadRequest"),
    ("logMirrorSasUri", 1, "BadRequest"),
]
BAD_V11: list[tuple[str, Any, str]] = [
    ("learningMode", "", "InvalidServiceConfiguration"),
    ("learningMode", "Offline", "InvalidServiceConfiguration"),
    ("learningMode", True, "BadRequest"),
    ("isAutoOptimizationEnabled", "yes", "BadRequest"),
    ("autoOptimizationFrequency", "PT23H59M59S", "InvalidServiceConfiguration"),
    ("autoOptimizationFrequency", "P366D", "InvalidServiceConfiguration"),
    ("autoOptimizationFrequency", "weekly", "BadRequest"),
    ("autoOptimizationFrequency", 1, "BadRequest"),
    ("autoOptimizationStartDate", "tomorrow", "BadRequest"),
    ("autoOptimizationStartDate", "", "BadRequest"),
    ("autoOptimizationStartDate", "2026-02-30T00:00:00Z", "BadRequest"),
    ("autoOptimizationStartDate", "x" * 300, "BadRequest"),
    ("autoOptimizationStartDate", 1_769_817_600, "BadRequest"),
]
BAD_2022: list[tuple[str, Any, str]] = [
    ("modelRetrainDays", -1, "InvalidModelRetrainDays"),
    ("modelRetrainDays", 91, "InvalidModelRetrainDays"),
    ("modelRetrainDays", 2**31, "InvalidModelRetrainDays"),
    ("modelRetrainDays", "2", "BadRequest"),
    ("modelRetrainDays", None, "BadRequest"),
    ("isInferenceExplainabilityEnabled", 1, "BadRequest"),
]


@pytest.mark.parametrize(
    ("version", "member", "value", "code"),
    [(version, *case) for version in (V10, P3, V2022) for case in BAD]
    + [(version, *case) for version in FROM_P1 for case in BAD_V11]
    + [(V2022, *case) for case in BAD_2022],
)
def test_any_other_value_is_refused_by_name(version: Version, member: str, value: Any, code: str) -> None:
    error = refusal({**DEFAULTS[version], member: value}, version)

    assert (error.code, error.target) == (code, member)
    assert error.message.startswith(member)
    assert len(error.message) < 300


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z", "0001-01-01"]
)
def test_a_date_at_the_end_of_the_calendar_is_refused_or_can_be_told(value: str) -> None:
    try:
        taken = changed(autoOptimizationStartDate=value)
    except ApiError as e:
        assert (e.code, e.target) == ("BadRequest", "autoOptimizationStartDate")
        return
    assert told(taken, V2022)["autoOptimizationStartDate"].endswith("Z")


@pytest.mark.parametrize("version", ALL)
def test_the_members_of_v1_0_are_required_in_every_version(version: Version) -> None:
    required = {*REQUIRED, "modelRetrainDays"} if version is V2022 else REQUIRED
    for member in required:
        error = refusal({name: value for name, value in DEFAULTS[version].items() if name != member}, version)
        assert (error.code, error.target) == ("BadRequest", member)
        assert error.message == f"{member} is required."
    bare = {name: DEFAULTS[version][name] for name in required}
    assert read(bare, version) == HELD


@pytest.mark.parametrize("version", ALL)
def test_optional_members_that_are_left_out_or_null_keep_their_value(version: Version) -> None:
    held = ServiceConfiguration(
        learning_mode="Apprentice",
        is_auto_optimization_enabled=False,
        auto_optimization_frequency=5 * DAY,
        auto_optimization_start=1e9,
        log_mirror_enabled=True,
        log_mirror_sas_uri="https://x",
        is_inference_explainability_enabled=True,
        reward_range=(-5.0, 5.0),
    )
    body = {**REQUIRED, "modelRetrainDays": 2}
    optional = ({*FROM_V11, *FROM_2022} - {"modelRetrainDays"}) | {"logMirrorEnabled", "logMirrorSasUri"}

    assert read(body, version, held) == held
    assert read({**body, **dict.fromkeys(optional)}, version, held) == held


@pytest.mark.parametrize("version", [V10, P1, P2, P3])
def test_members_of_later_versions_are_passed_over(version: Version) -> None:
    later = {name: object for name in DEFAULTS[V2022] if name not in DEFAULTS[version]}
    for value in ("nonsense", 7, False, None, {"a": [1]}):
        body = {**DEFAULTS[version], **dict.fromkeys(later, value), "latestApprenticeModeMetrics": value}
        assert read(body, version) == HELD


@pytest.mark.parametrize("version", FROM_P1)
def test_when_it_was_edited_is_read_only(version: Version) -> None:
    for value in ("2020-01-01T00:00:00Z", "nonsense"):
        assert changed(version, lastConfigurationEditDate=value) == HELD


@pytest.mark.parametrize(
    ("edited", "spelled"),
    [
        (None, "0001-01-01T00:00:00"),
        (1_700_000_000.0, "2023-11-14T22:13:20"),
        (1_700_000_000.987, "2023-11-14T22:13:20"),
    ],
)
def test_when_it_was_edited_is_spelled_without_zone_and_fraction(edited: float | None, spelled: str) -> None:
    assert told(HELD, P1, edited)["lastConfigurationEditDate"] == spelled


def test_the_other_instants_have_a_zone() -> None:
    for start, spelled in ((0.0, "1970-01-01T00:00:00Z"), (1e9 + 0.25, "2001-09-09T01:46:40.250000Z")):
        held = replace(HELD, auto_optimization_start=start)
        assert told(held, V2022)["autoOptimizationStartDate"] == spelled


# -- rules between members --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wait", "least"),
    [("PT5S", 2), ("PT10M", 2), ("P1D", 2), ("P1DT0.0000001S", 3), ("P1DT1S", 3), ("P2D", 3)],
)
def test_the_log_is_kept_for_the_wait_and_a_day_rounded_up(wait: str, least: int) -> None:
    for days in (least, -1):
        assert changed(rewardWaitTime=wait, logRetentionDays=days).log_retention_days == days
    error = refusal({**DEFAULTS[V2022], "rewardWaitTime": wait, "logRetentionDays": least - 1, "modelRetrainDays": 0})

    assert (error.code, error.target) == ("InvalidLogRetentionDays", "logRetentionDays")
    assert f"from {least}" in error.message


@pytest.mark.parametrize(("kept", "retrain"), [(2, 0), (2, 2), (90, 90), (-1, 0), (-1, 2**31 - 1)])
def test_a_new_model_is_built_from_no_more_days_than_are_kept(kept: int, retrain: int) -> None:
    assert changed(logRetentionDays=kept, modelRetrainDays=retrain).model_retrain_days == retrain
    if kept != -1:
        body = {**DEFAULTS[V2022], "logRetentionDays": kept, "modelRetrainDays": kept + 1}
        assert refusal(body).code == "InvalidModelRetrainDays"


def test_an_older_caller_may_shorten_the_log() -> None:
    held = replace(HELD, log_retention_days=90, model_retrain_days=30)

    for version in (V10, P1, P3):
        assert changed(version, held, logRetentionDays=7).model_retrain_days == 7
        assert changed(version, held, logRetentionDays=60).model_retrain_days == 30
        assert changed(version, held, logRetentionDays=-1).model_retrain_days == 30


MODES = ("Online", "Apprentice", "LoggingOnly")
RULES: dict[str, Any] = {"defaultReward": 0.5, "rewardWaitTime": "PT1M", "rewardAggregation": "sum"}


@pytest.mark.parametrize("version", FROM_P1)
@pytest.mark.parametrize("member", RULES)
def test_the_learning_mode_changes_alone(version: Version, member: str) -> None:
    error = refusal({**DEFAULTS[version], "learningMode": "Apprentice", member: RULES[member]}, version)

    assert (error.code, error.target) == ("InvalidLearningModeServiceConfiguration", "learningMode")
    assert member in error.message


@pytest.mark.parametrize("before", MODES)
@pytest.mark.parametrize("after", MODES)
def test_it_changes_with_anything_but_reward_rules(before: str, after: str) -> None:
    held = replace(HELD, learning_mode=before)
    others: dict[str, Any] = {
        "explorationPercentage": 0.5,
        "logRetentionDays": 30,
        "modelExportFrequency": "PT1M",
        "modelRetrainDays": 7,
    }

    assert changed(held=held, learningMode=after, **others).learning_mode == after
    # Equal values are no change, however they are spelled.
    same = changed(held=held, learningMode=after, rewardWaitTime="00:10:00", rewardAggregation="Earliest")
    assert same == replace(held, learning_mode=after)
    if before == after:
        assert changed(held=held, learningMode=after, **RULES).default_reward == 0.5


@pytest.mark.parametrize("version", FROM_P1)
def test_auto_optimization_is_not_for_slots(version: Version) -> None:
    body = {**DEFAULTS[version], "isAutoOptimizationEnabled": True}

    error = refusal(body, version, replace(HELD, is_auto_optimization_enabled=False), slots=True)
    assert (error.code, error.status) == ("ProblemTypeIncompatibleWithAutoOptimization", 403)
    assert error.target == "isAutoOptimizationEnabled"
    off = replace(HELD, is_auto_optimization_enabled=False)
    assert read({**body, "isAutoOptimizationEnabled": False}, version, off, slots=True) == off
    assert read(REQUIRED | FROM_2022, version, off, slots=True) == off


# -- numbers and spellings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(0.1, 0.1), (1 / 3, 0.33333334), (0.123456789, 0.12345679), (0.30000001192092896, 0.3), (1e-60, 0.0), (1, 1.0)],
)
def test_numbers_are_kept_as_the_original_did_at_their_shortest(sent: float, kept: float) -> None:
    found = changed(explorationPercentage=sent, defaultReward=-sent)

    assert (found.exploration_percentage, found.default_reward) == (kept, -kept)


def test_an_address_of_a_mirror_has_a_bound_even_while_there_is_no_mirror() -> None:
    assert changed(logMirrorSasUri="x" * 4096).log_mirror_sas_uri == "x" * 4096

    with pytest.raises(ApiError) as caught:
        changed(logMirrorSasUri="x" * 4097)

    assert (caught.value.code, caught.value.target) == ("InvalidServiceConfiguration", "logMirrorSasUri")


@given(st.floats(0, 1))
def test_a_number_that_is_put_back_stays(sent: float) -> None:
    kept = changed(explorationPercentage=sent)

    assert kept.exploration_percentage == pytest.approx(float(np.float32(sent)), rel=1e-6)
    assert changed(held=kept, **told(kept, V2022)) == kept


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("spelled", [str.upper, str.lower, lambda name: name[0].upper() + name[1:]])
def test_members_are_taken_in_any_case(version: Version, spelled: Any) -> None:
    body = {spelled(name): value for name, value in DEFAULTS[version].items()}
    odd = replace(HELD, default_reward=1.0, reward_aggregation="sum", exploration_percentage=0.9, log_retention_days=-1)

    assert read(body, version, odd) == HELD


@pytest.mark.parametrize("version", ALL)
def test_one_member_in_another_case_among_others_is_taken(version: Version) -> None:
    # A published page has callers send IsInferenceExplainabilityEnabled with the other members as they are.
    sent = {
        "LogMirrorEnabled": (True, "log_mirror_enabled", ALL),
        "LearningMode": ("Apprentice", "learning_mode", FROM_P1),
        "isautooptimizationenabled": (False, "is_auto_optimization_enabled", FROM_P1),
        "IsInferenceExplainabilityEnabled": (True, "is_inference_explainability_enabled", (V2022,)),
    }
    for member, (value, field, known) in sent.items():
        rest = {name: held for name, held in DEFAULTS[version].items() if name.lower() != member.lower()}
        assert (getattr(read({**rest, member: value}, version), field) == value) == (version in known), member


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'{"defaultReward":NaN}', b"\xff"])
def test_what_is_no_json_is_a_bad_request(body: bytes) -> None:
    error = refusal(body)

    assert error.code == "BadRequest"
    assert error.message.startswith("The body is not JSON")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"'])
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    assert refusal(body).message == "The body must be a JSON object."


@pytest.mark.parametrize("value", [b"[" * 200 + b"]" * 200, b'{"a":' * 200 + b"1" + b"}" * 200])
@pytest.mark.parametrize("member", [*DEFAULTS[V2022], "logMirrorEnabled"])
def test_a_value_nested_deep_is_a_bad_request(member: str, value: bytes) -> None:
    members = b",".join(
        b'"%b":%b' % (name.encode(), value if name == member else orjson.dumps(held))
        for name, held in {**DEFAULTS[V2022], "logMirrorEnabled": None}.items()
    )

    error = refusal(b"{" + members + b"}")

    assert (error.code, error.target) == ("BadRequest", member)


# -- what shapes learning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "shapes"),
    [
        ("reward_wait_time", 15.0, True),
        ("default_reward", 0.5, True),
        ("reward_aggregation", "sum", True),
        ("exploration_percentage", 0.5, True),
        ("reward_range", (-5.0, 5.0), True),
        ("learning_mode", "Apprentice", True),
        ("model_retrain_days", 7, True),
        ("model_export_frequency", 60.0, False),
        ("log_retention_days", 30, False),
        ("log_mirror_enabled", True, False),
        ("log_mirror_sas_uri", "https://x", False),
        ("is_auto_optimization_enabled", False, False),
        ("auto_optimization_frequency", DAY, False),
        ("auto_optimization_start", 0.0, False),
        ("is_inference_explainability_enabled", True, False),
    ],
)
def test_some_settings_shape_what_is_learned(field: str, value: Any, shapes: bool) -> None:
    assert HELD.learns_like(replace(HELD, **{field: value})) is not shapes
    assert HELD.learns_like(replace(HELD))


configurations = st.builds(
    ServiceConfiguration,
    reward_wait_time=st.integers(5 * 10**7, 2 * 86_400 * 10**7).map(
        lambda ticks: durations.parse(f"PT{ticks / 10**7:.7f}S")
    ),
    default_reward=st.floats(-1, 1, width=32).map(lambda value: float(str(np.float32(value)))),
    reward_aggregation=st.sampled_from(["earliest", "average", "median", "sum", "min", "max"]),
    exploration_percentage=st.floats(0, 1, width=32).map(lambda value: float(str(np.float32(value)))),
    model_export_frequency=st.integers(5, 30 * 86_400).map(float),
    log_retention_days=st.just(-1) | st.integers(3, 2**31 - 1),
    log_mirror_enabled=st.booleans(),
    log_mirror_sas_uri=st.text(),
    is_auto_optimization_enabled=st.booleans(),
    auto_optimization_frequency=st.integers(1, 365).map(lambda days: days * DAY),
    auto_optimization_start=st.integers(0, 4 * 10**9).map(float),
    model_retrain_days=st.integers(0, 3),
    is_inference_explainability_enabled=st.booleans(),
)


@given(configurations)
def test_settings_survive_get_and_put(held: ServiceConfiguration) -> None:
    found = read(told(held, V2022))

    assert found == replace(held, reward_wait_time=pytest.approx(held.reward_wait_time, abs=1e-9))  # type: ignore[arg-type]
    assert told(found, V2022) == told(held, V2022)
