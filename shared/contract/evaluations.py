"""Turns the bodies and queries of evaluation and feature importance calls into checked requests (contract 1.4, 4.3).

A job's status has other words in each version; they are here, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from shared.contract import instants
from shared.contract.configurations import MAX_NAME, PolicyContract
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.contract.versions import ALL, Version

MAX_CUSTOM_POLICIES = 10


class Status(StrEnum):
    """How far a job is, as 2022-09-01-preview spells it; feature importances have no policy to apply or retain."""

    SUCCEEDED = "Succeeded"
    RUNNING = "Running"
    FAILED = "Failed"
    NOT_SUBMITTED = "NotSubmitted"
    TIMEOUT = "Timeout"
    OPTIMAL_POLICY_APPLIED = "OptimalPolicyApplied"
    ONLINE_POLICY_RETAINED = "OnlinePolicyRetained"
    CANCELED = "Canceled"


class EvaluationType(StrEnum):
    """Who asked for an evaluation: a caller, or auto-optimization."""

    MANUAL = "Manual"
    AUTO = "Auto"


class PolicySource(StrEnum):
    """Where a policy of an evaluation is from: what decided, the baseline, a draw, the caller, or the search."""

    ONLINE = "Online"
    BASELINE = "Baseline"
    RANDOM = "Random"
    CUSTOM = "Custom"
    FOUND = "OfflineExperimentation"


class DateRange(NamedTuple):
    """A part of the log, in seconds since the epoch: from `start` to before `end`, which is later."""

    start: float
    end: float


def _instant(text: str) -> Meta:
    examples = ["2026-01-31T00:00:00Z", "2026-01-31"]
    return Meta(description=text, extra_json_schema={"format": "date-time"}, examples=examples)


class FeatureImportanceContract(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A part of the log whose features are to be ordered by how much they matter."""

    name: Annotated[str, Meta(description="Any text.", max_length=MAX_NAME)]
    start_time: Annotated[str, _instant("Where the part of the log begins; in UTC where no zone is named.")]
    end_time: Annotated[str, _instant("Where it ends; later than startTime.")]


class EvaluationContract(FeatureImportanceContract, kw_only=True):
    """A part of the log on which learning policies are to be compared."""

    # Its length is no rule of the type, since a list that is too long is refused with a code of its own.
    policies: Annotated[
        list[PolicyContract],
        Meta(
            description="Policies to compare with the loop's own, each with a name of its own; may be empty.",
            extra_json_schema={"maxItems": MAX_CUSTOM_POLICIES},
        ),
    ]


class EvaluationContractV1(EvaluationContract, kw_only=True):
    """The EvaluationContract of v1.0 and the v1.1 previews."""

    optimize: Annotated[bool | None, Meta(description="Whether to look for better policies.")] = msgspec.field(
        default=None, name="enableOfflineExperimentation"
    )


class EvaluationContractV2022(EvaluationContract, kw_only=True):
    """The EvaluationContract of 2022-09-01-preview."""

    optimize: Annotated[bool | None, Meta(description="Whether to look for better policies.")] = msgspec.field(
        default=None, name="enablePolicyOptimization"
    )


EVALUATION_CONTRACTS: Final[dict[Version, type[EvaluationContractV1 | EvaluationContractV2022]]] = {
    version: EvaluationContractV2022 if version is Version.V2022 else EvaluationContractV1 for version in ALL
}
"""The body of each version; the flag of another one is unknown to it, and ignored (contract 1.5)."""


class PolicyReferenceContract(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A policy of an evaluation."""

    evaluation_id: Annotated[str, Meta(description="The evaluation's id.", max_length=MAX_NAME)]
    policy_name: Annotated[str, Meta(description="The policy's name in that evaluation.", max_length=MAX_NAME)]


def evaluation_request(
    body: bytes, version: Version
) -> tuple[EvaluationContractV1 | EvaluationContractV2022, DateRange]:
    """Decode and check an evaluation's body, but for its policies' arguments.

    Raises:
        ApiError: BadRequest when it is no JSON object, InvalidEvaluationContract when a member is not what it should
            be, InvalidDateTimesInEvaluationContract when it does not begin before it ends,
            MaximumEvaluationCustomPoliciesExceeded, DuplicateCustomPolicyNames.
    """
    code = "InvalidEvaluationContract"
    request = decode(body, EVALUATION_CONTRACTS[version], code)
    dates = date_range(request.start_time, request.end_time, code, "InvalidDateTimesInEvaluationContract")
    names = [policy.name for policy in request.policies]
    if len(names) > MAX_CUSTOM_POLICIES:
        message = f"policies must hold at most {MAX_CUSTOM_POLICIES} policies; it holds {len(names)}."
        raise ApiError("MaximumEvaluationCustomPoliciesExceeded", message, "policies")
    for n, name in enumerate(names):
        if name in names[:n]:
            message = f"policies[{n}].name must be no other policy's; {name[:64]!r} is."
            raise ApiError("DuplicateCustomPolicyNames", message, f"policies[{n}].name")
    return request, dates


def feature_importance_request(body: bytes) -> tuple[FeatureImportanceContract, DateRange]:
    """Decode and check a feature importance's body.

    Raises:
        ApiError: BadRequest when it is no JSON object, else InvalidContract.
    """
    code = "InvalidContract"
    request = decode(body, FeatureImportanceContract, code)
    return request, date_range(request.start_time, request.end_time, code, code)


def date_range(start: str, end: str, unreadable: str, swapped: str) -> DateRange:
    """The part of the log between two date-times or dates.

    Args:
        start: what startTime holds.
        end: what endTime holds.
        unreadable: the code of a refusal of one that is neither.
        swapped: the code of a refusal of an end that is not after the start.

    Raises:
        ApiError: with one of these codes.
    """
    dates = DateRange(_time(start, "startTime", unreadable), _time(end, "endTime", unreadable))
    if dates.start >= dates.end:
        message = f"startTime must be before endTime; they are {start[:64]} and {end[:64]}."
        raise ApiError(swapped, message, "startTime")
    return dates


def _time(text: str, name: str, code: str) -> float:
    try:
        return instants.parse(text)
    except ValueError as e:
        raise ApiError(code, f"{name} must be a date-time: {e}.", name) from e


_EXPANDING, _ROLLING = "Expanding", "Rolling"
_WINDOWS: Final = {
    "5": _EXPANDING,
    **dict.fromkeys(("60", "360", "720", "1440"), _ROLLING),
}
"""The window that each intervalInMinutes goes with (contract 4.3)."""


def result_query(query: Mapping[str, str]) -> tuple[DateRange, int]:
    """Which results a GET of one evaluation wants in 2022-09-01-preview.

    Returns:
        Between which times, and of how many minutes each.

    Raises:
        ApiError: BadRequest when startTime or endTime is missing or cannot be read; InvalidRequest when the interval
            or the window is none that there is, or they do not go together.
    """
    for name in ("startTime", "endTime"):
        if name not in query:
            raise ApiError("BadRequest", f"The query must hold {name}, a date-time such as 2026-01-31T00:00:00Z.", name)
    dates = date_range(query["startTime"], query["endTime"], "BadRequest", "BadRequest")
    interval, window = query.get("intervalInMinutes", "5"), query.get("window", _EXPANDING)
    if interval not in _WINDOWS:
        message = f"intervalInMinutes must be one of {', '.join(_WINDOWS)}; it is {interval[:64]!r}."
        raise ApiError("InvalidRequest", message, "intervalInMinutes")
    if window != _WINDOWS[interval]:
        message = (
            f"window must be {_EXPANDING} (the default) with an intervalInMinutes of 5 (the default), and {_ROLLING} "
            f"with a longer one; it is {window[:64]!r} with {interval}."
        )
        raise ApiError("InvalidRequest", message, "window")
    return dates, int(interval)


# The swagger's own example has the prefix; callers who read it as OData leave it out.
_FILTER = re.compile(r"\s*(?:metadata\s*=\s*)?evaluationType\s+eq\s+'(Manual|Auto)'\s*", re.ASCII)


def filter_query(query: Mapping[str, str]) -> EvaluationType | None:
    """The type of evaluation that a list is to hold; None for all.

    Raises:
        ApiError: InvalidRequest when the filter is any other one.
    """
    text = query.get("filter")
    if text is None:
        return None
    match = _FILTER.fullmatch(text)
    if match is None:
        wanted = " or ".join(f"metadata=evaluationType eq '{one}'" for one in EvaluationType)
        raise ApiError("InvalidRequest", f"filter must be {wanted}; it is {text[:64]!r}.", "filter")
    return EvaluationType(match[1])


_STATUS_V1_1: Final = {
    Status.SUCCEEDED: "completed",
    Status.RUNNING: "pending",
    Status.FAILED: "failed",
    Status.NOT_SUBMITTED: "notSubmitted",
    Status.TIMEOUT: "timeout",
    Status.OPTIMAL_POLICY_APPLIED: "optimalPolicyApplied",
    Status.ONLINE_POLICY_RETAINED: "onlinePolicyRetained",
    Status.CANCELED: "failed",
}
_STATUS_V1_0: Final = {
    **_STATUS_V1_1,
    Status.TIMEOUT: "failed",
    Status.OPTIMAL_POLICY_APPLIED: "completed",
    Status.ONLINE_POLICY_RETAINED: "completed",
}


def spell_status(status: Status, version: Version) -> str:
    """The status in a version's words; where it has none of its own, the nearest one."""
    if version is Version.V2022:
        return status.value
    return (_STATUS_V1_0 if version is Version.V1_0 else _STATUS_V1_1)[status]
