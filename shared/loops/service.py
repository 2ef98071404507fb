"""Turns the ServiceConfiguration of the API into a loop's settings, and back (contract 3.1).

A PUT must send the required members; optional ones that it leaves out keep their value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from shared.contract import durations, instants
from shared.contract.configurations import INT32_MAX, ApprenticeModeMetrics, ServiceConfigurationV10, members
from shared.contract.errors import ApiError
from shared.contract.numbers import as_float32
from shared.contract.versions import Version
from shared.log.records import MODES, ONLINE
from shared.log.reward import AGGREGATIONS

SHORTEST = 5.0
"""Seconds; the smallest rewardWaitTime and modelExportFrequency."""
DAY = 86_400.0
LONGEST_WAIT = 2 * DAY
LONGEST_EXPORT = 30 * DAY
OPTIMIZATION_FREQUENCY = (DAY, 365 * DAY)
REWARD_RANGE = (-1.0, 1.0)
MAX_URI = 4096


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
        log_mirror_enabled: whether the joined log is copied; None where that was never said.
        log_mirror_sas_uri: the container that it is copied to, with leave to write: a secret.
        learning_mode: one of `MODES`.
        is_auto_optimization_enabled: whether better policies are looked for and taken over.
        auto_optimization_frequency: seconds between two such looks.
        auto_optimization_start: the first one, in seconds since the epoch.
        model_retrain_days: days of log that a new model is built from; 0 for the whole log.
        is_inference_explainability_enabled: whether Rank explains its choice.
    """

    reward_wait_time: float = 600.0
    default_reward: float = 0.0
    reward_aggregation: str = "earliest"
    exploration_percentage: float = 0.2
    model_export_frequency: float = 300.0
    log_retention_days: int = 90
    reward_range: tuple[float, float] = REWARD_RANGE
    log_mirror_enabled: bool | None = None
    log_mirror_sas_uri: str | None = None
    learning_mode: str = ONLINE
    is_auto_optimization_enabled: bool = True
    auto_optimization_frequency: float = 28 * DAY
    auto_optimization_start: float = 0.0
    model_retrain_days: int = 2
    is_inference_explainability_enabled: bool = False

    def to_api(
        self, version: Version, edited: float | None, apprentice: ApprenticeModeMetrics | None = None
    ) -> ServiceConfigurationV10:
        """The members as a version of the API spells them.

        Args:
            version: of the API.
            edited: when learning was last changed, in seconds since the epoch, or None if it never was.
            apprentice: what came of Apprentice mode, or None if it never was.
        """
        return members(
            version,
            {
                "reward_wait_time": durations.spell(self.reward_wait_time),
                "default_reward": self.default_reward,
                "reward_aggregation": self.reward_aggregation,
                "exploration_percentage": self.exploration_percentage,
                "model_export_frequency": durations.spell(self.model_export_frequency),
                "log_retention_days": self.log_retention_days,
                "log_mirror_enabled": self.log_mirror_enabled,
                "log_mirror_sas_uri": self.log_mirror_sas_uri,
                # Recorded without a zone and without a fraction, unlike the other instants (contract 1.5).
                "last_configuration_edit_date": (
                    instants.UNSET if edited is None else instants.spell(int(edited)).removesuffix("Z")
                ),
                "learning_mode": self.learning_mode,
                "is_auto_optimization_enabled": self.is_auto_optimization_enabled,
                "auto_optimization_frequency": durations.spell(self.auto_optimization_frequency),
                "auto_optimization_start_date": instants.spell(self.auto_optimization_start),
                "model_retrain_days": self.model_retrain_days,
                "is_inference_explainability_enabled": self.is_inference_explainability_enabled,
                "latest_apprentice_mode_metrics": apprentice,
            },
        )

    def learns_like(self, other: ServiceConfiguration) -> bool:
        """Whether nothing differs that shapes what is learned."""
        return all(getattr(self, name) == getattr(other, name) for name in _SHAPING)


_SHAPING = (
    "reward_wait_time",
    "default_reward",
    "reward_aggregation",
    "exploration_percentage",
    "reward_range",
    "learning_mode",
    "model_retrain_days",
)


def put(
    given: ServiceConfigurationV10, held: ServiceConfiguration, multi_slot: bool, longest_wait: float = LONGEST_WAIT
) -> ServiceConfiguration:
    """The settings that a PUT results in.

    Args:
        given: the body.
        held: the settings so far.
        multi_slot: whether the loop's policy is, which auto-optimization is not for.
        longest_wait: seconds of rewardWaitTime at most.

    Raises:
        ApiError: BadRequest when a duration or date cannot be read; InvalidServiceConfiguration or the member's own
            code when a value is out of range; InvalidLearningModeServiceConfiguration when the mode changes together
            with reward rules; ProblemTypeIncompatibleWithAutoOptimization.
    """
    changes: dict[str, Any] = {
        "reward_wait_time": duration(
            given.reward_wait_time, "rewardWaitTime", (SHORTEST, longest_wait), "InvalidRewardWaitTime"
        ),
        "default_reward": _number(given.default_reward, "defaultReward", -1.0, 1.0),
        "reward_aggregation": _one_of(given.reward_aggregation, "rewardAggregation", tuple(AGGREGATIONS)),
        "exploration_percentage": _number(given.exploration_percentage, "explorationPercentage", 0.0, 1.0),
        "model_export_frequency": duration(
            given.model_export_frequency, "modelExportFrequency", (SHORTEST, LONGEST_EXPORT)
        ),
        "log_retention_days": given.log_retention_days,
        **_optional(given),
    }
    changed = replace(held, **changes)
    _check_days(changed, "model_retrain_days" in changes)
    changed = replace(changed, model_retrain_days=_at_most(changed.model_retrain_days, changed.log_retention_days))
    if changed.learning_mode != held.learning_mode:
        for name, attribute in _REWARD_RULES.items():
            if getattr(changed, attribute) != getattr(held, attribute):
                message = f"learningMode and {name} cannot change in one call: make two."
                raise ApiError("InvalidLearningModeServiceConfiguration", message, "learningMode")
    if multi_slot and changed.is_auto_optimization_enabled:
        message = "isAutoOptimizationEnabled must be false for a loop with a multi-slot policy."
        raise ApiError("ProblemTypeIncompatibleWithAutoOptimization", message, "isAutoOptimizationEnabled")
    return changed


def _optional(given: ServiceConfigurationV10) -> dict[str, Any]:
    """The optional members that were sent, checked."""
    sent = {name: value for name in _OPTIONAL if (value := getattr(given, name, None)) is not None}
    if (mode := sent.get("learning_mode")) is not None:
        sent["learning_mode"] = _one_of(mode, "learningMode", MODES)
    if len(sent.get("log_mirror_sas_uri", "")) > MAX_URI:
        message = f"logMirrorSasUri must have {MAX_URI} characters at most."
        raise ApiError("InvalidServiceConfiguration", message, "logMirrorSasUri")
    if (frequency := sent.get("auto_optimization_frequency")) is not None:
        sent["auto_optimization_frequency"] = duration(frequency, "autoOptimizationFrequency", OPTIMIZATION_FREQUENCY)
    if (start := getattr(given, "auto_optimization_start_date", None)) is not None:
        try:
            sent["auto_optimization_start"] = instants.parse(start)
        except ValueError as e:
            name = "autoOptimizationStartDate"
            raise ApiError("BadRequest", f"{name} must be a date-time: {e}.", name) from e
    return sent


_REWARD_RULES = {
    "defaultReward": "default_reward",
    "rewardWaitTime": "reward_wait_time",
    "rewardAggregation": "reward_aggregation",
}
_OPTIONAL = (
    "log_mirror_enabled",
    "log_mirror_sas_uri",
    "learning_mode",
    "is_auto_optimization_enabled",
    "auto_optimization_frequency",
    "model_retrain_days",
    "is_inference_explainability_enabled",
)


def _check_days(changed: ServiceConfiguration, retrain_sent: bool) -> None:
    kept, least = changed.log_retention_days, math.ceil(changed.reward_wait_time / DAY + 1)
    if kept != -1 and not least <= kept <= INT32_MAX:
        message = (
            f"logRetentionDays must be -1 (for ever) or from {least}, which is rewardWaitTime and a day rounded up, "
            f"to {INT32_MAX}; it is {kept}."
        )
        raise ApiError("InvalidLogRetentionDays", message, "logRetentionDays")
    most = INT32_MAX if kept == -1 else kept
    if retrain_sent and not 0 <= changed.model_retrain_days <= most:
        message = f"modelRetrainDays must be from 0 to {most}; it is {changed.model_retrain_days}."
        raise ApiError("InvalidModelRetrainDays", message, "modelRetrainDays")


def _at_most(retrain: int, kept: int) -> int:
    """An older caller, who does not know modelRetrainDays, may shorten the log below it."""
    return retrain if kept == -1 else min(retrain, kept)


def _number(value: float, name: str, low: float, high: float) -> float:
    if not low <= value <= high:
        message = f"{name} must be from {low:g} to {high:g}; it is {value}."
        raise ApiError("InvalidServiceConfiguration", message, name)
    return as_float32(value)


def _one_of(value: str, name: str, names: tuple[str, ...]) -> str:
    """The name in its own spelling."""
    for known in names:
        if value.lower() == known.lower():
            return known
    message = f"{name} must be one of {', '.join(names)}; it is {value[:64]!r}."
    raise ApiError("InvalidServiceConfiguration", message, name)


def duration(value: str, name: str, between: tuple[float, float], code: str = "InvalidServiceConfiguration") -> float:
    """The seconds of a member that is a duration.

    Args:
        value: as it was sent.
        name: of the member.
        between: the least and the most seconds.
        code: of the refusal where it is out of range.

    Raises:
        ApiError: `code`, or BadRequest when it is no duration.
    """
    try:
        seconds = durations.parse(value)
    except ValueError as e:
        raise ApiError("BadRequest", f"{name} must be a duration: {e}.", name) from e
    if not between[0] <= seconds <= between[1]:
        low, high = map(durations.spell, between)
        raise ApiError(code, f"{name} must be from {low} to {high}; it is {value[:64]}.", name)
    return seconds
