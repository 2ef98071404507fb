"""Turns the ServiceConfiguration of the API into a loop's settings, and back (contract 3.1).

A PUT must send the required members; optional ones that it leaves out keep their value. This release serves the
members of v1.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from shared.contract import durations
from shared.contract.errors import ApiError
from shared.contract.requests import json_object
from shared.log.reward import AGGREGATIONS

SHORTEST = 5.0
"""Seconds; the smallest rewardWaitTime and modelExportFrequency."""
LONGEST_WAIT = 2 * 86_400.0
LONGEST_EXPORT = 30 * 86_400.0
REWARD_RANGE = (-1.0, 1.0)


@dataclass(frozen=True, slots=True)
class ServiceConfiguration:
    """A loop's settings, with the defaults of a new loop.

    Attributes:
        reward_wait_time: seconds after its rank within which a reward counts.
        default_reward: the reward of an event without any, in [-1, 1].
        reward_aggregation: a key of `AGGREGATIONS`.
        exploration_percentage: the share of decisions drawn from all actions, in [0, 1].
        model_export_frequency: seconds between published models.
        log_retention_days: days that the joined log is kept, or -1 for ever.
        reward_range: the lowest and highest reward that learning sees.
    """

    reward_wait_time: float = 600.0
    default_reward: float = 0.0
    reward_aggregation: str = "earliest"
    exploration_percentage: float = 0.2
    model_export_frequency: float = 300.0
    log_retention_days: int = 90
    reward_range: tuple[float, float] = REWARD_RANGE

    def to_api(self) -> dict[str, Any]:
        """The members as v1.0 spells them."""
        return {
            "rewardWaitTime": durations.spell(self.reward_wait_time),
            "defaultReward": self.default_reward,
            "rewardAggregation": self.reward_aggregation,
            "explorationPercentage": self.exploration_percentage,
            "modelExportFrequency": durations.spell(self.model_export_frequency),
            "logRetentionDays": self.log_retention_days,
        }


def put(body: bytes, held: ServiceConfiguration) -> ServiceConfiguration:
    """The settings that a PUT results in.

    Raises:
        ApiError: BadRequest when the body cannot be decoded, lacks a required member or has one of the wrong type;
            InvalidServiceConfiguration, InvalidRewardWaitTime or InvalidLogRetentionDays when a value is out of range.
    """
    members = {key.lower(): value for key, value in json_object(body).items()}
    if members.get("logmirrorenabled"):
        message = "logMirrorEnabled must be false: this release cannot mirror the log."
        raise ApiError("InvalidServiceConfiguration", message, "logMirrorEnabled")
    changed = replace(
        held,
        reward_wait_time=_duration(members, "rewardWaitTime", LONGEST_WAIT, "InvalidRewardWaitTime"),
        default_reward=_number(members, "defaultReward", -1.0, 1.0),
        reward_aggregation=_aggregation(members),
        exploration_percentage=_number(members, "explorationPercentage", 0.0, 1.0),
        model_export_frequency=_duration(
            members, "modelExportFrequency", LONGEST_EXPORT, "InvalidServiceConfiguration"
        ),
        log_retention_days=_required(members, "logRetentionDays", "a whole number", _is_int32),
    )
    least = math.ceil(changed.reward_wait_time / 86_400 + 1)
    if changed.log_retention_days != -1 and changed.log_retention_days < least:
        message = (
            f"logRetentionDays must be -1 (for ever) or at least {least}, which is rewardWaitTime and a day rounded "
            f"up; it is {changed.log_retention_days}."
        )
        raise ApiError("InvalidLogRetentionDays", message, "logRetentionDays")
    return changed


def _required(members: dict[str, Any], name: str, expected: str, is_kind: Callable[[Any], bool]) -> Any:
    if name.lower() not in members:
        raise ApiError("BadRequest", f"{name} is required: {expected}.", name)
    value = members[name.lower()]
    if not is_kind(value):
        # An array or object is not quoted: it may be nested deeper than can be written again.
        quoted = not isinstance(value, list | dict)
        shown = orjson.dumps(value).decode()[:64] if quoted else "an array" if isinstance(value, list) else "an object"
        raise ApiError("BadRequest", f"{name} must be {expected}; it is {shown}.", name)
    return value


def _is_int32(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def _number(members: dict[str, Any], name: str, low: float, high: float) -> float:
    value = _required(members, name, f"a number from {low:g} to {high:g}", _is_number)
    if not low <= value <= high:
        message = f"{name} must be from {low:g} to {high:g}; it is {value}."
        raise ApiError("InvalidServiceConfiguration", message, name)
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _aggregation(members: dict[str, Any]) -> str:
    expected = "one of " + ", ".join(AGGREGATIONS)
    value: str = _required(members, "rewardAggregation", expected, lambda v: isinstance(v, str))
    if value.lower() not in AGGREGATIONS:
        message = f"rewardAggregation must be {expected}; it is {value[:64]!r}."
        raise ApiError("InvalidServiceConfiguration", message, "rewardAggregation")
    return value.lower()


def _duration(members: dict[str, Any], name: str, longest: float, code: str) -> float:
    value: str = _required(members, name, "a duration such as PT10M", lambda v: isinstance(v, str))
    try:
        seconds = durations.parse(value)
    except ValueError as e:
        raise ApiError("BadRequest", f"{name} must be a duration: {e}.", name) from e
    if not SHORTEST <= seconds <= longest:
        message = f"{name} must be from {durations.spell(SHORTEST)} to {durations.spell(longest)}; it is {value[:64]}."
        raise ApiError(code, message, name)
    return seconds
