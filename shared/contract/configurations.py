"""Turns the configuration bodies of each API version into structs, and settings into the same structs (contract 3).

One struct serves both ways: what a PUT leaves out is None and keeps its value, and what is None is left out of an
answer. Ranges are given here for the API's description; `shared.loops` enforces them, since each has its own code.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shared.contract.versions import Version

INT32_MAX = 2**31 - 1
MAX_NAME = 256
MAX_ARGUMENTS = 1024


def _duration(text: str) -> Meta:
    return Meta(description=text, extra_json_schema={"format": "duration"}, examples=["PT10M"])


def _instant(text: str) -> Meta:
    return Meta(description=text, extra_json_schema={"format": "date-time"}, examples=["2026-01-31T00:00:00Z"])


def _from_to(low: float, high: float, text: str) -> Meta:
    return Meta(description=text, extra_json_schema={"minimum": low, "maximum": high})


class ServiceConfigurationV10(
    msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True, forbid_unknown_fields=True
):
    """The ServiceConfiguration of v1.0."""

    reward_wait_time: Annotated[
        str, _duration("How long after its Rank a reward counts; 5 s to 2 days, or what limits say.")
    ]
    default_reward: Annotated[float, _from_to(-1, 1, "The reward of an event that got none.")]
    reward_aggregation: Annotated[str, Meta(description="earliest, average, median, sum, min or max.")]
    exploration_percentage: Annotated[float, _from_to(0, 1, "The share of decisions that explore.")]
    model_export_frequency: Annotated[str, _duration("How often a new model is published; 5 s to 30 days.")]
    log_retention_days: Annotated[int, _from_to(-1, INT32_MAX, "Days that the log is kept; -1 for ever.")]
    log_mirror_enabled: Annotated[bool | None, Meta(description="Whether the log is copied to logMirrorSasUri.")] = None
    log_mirror_sas_uri: Annotated[str | None, Meta(description="A container SAS that may write and delete.")] = None


class ServiceConfigurationV11(
    ServiceConfigurationV10, rename="camel", omit_defaults=True, kw_only=True, forbid_unknown_fields=True
):
    """The ServiceConfiguration of the v1.1 previews."""

    # As recorded, it names no zone, so it is no date-time of RFC 3339.
    last_configuration_edit_date: Annotated[
        str | None, Meta(description="When learning was last changed, in UTC. Read only.")
    ] = None
    learning_mode: Annotated[str | None, Meta(description="Online, Apprentice or LoggingOnly.")] = None
    is_auto_optimization_enabled: Annotated[bool | None, Meta(description="Not with multi-slot.")] = None
    auto_optimization_frequency: Annotated[str | None, _duration("From 1 to 365 days.")] = None
    auto_optimization_start_date: Annotated[str | None, _instant("When the first optimisation is due.")] = None


class BatchMetrics(msgspec.Struct, rename="camel"):
    """Sums over events of Apprentice mode; the names are those of an early SDK."""

    number_of_events: int
    number_of_imitated_events: Annotated[int, Meta(description="In which Personalizer's draw was the baseline.")]
    sum_of_rewards: float
    sum_of_imitated_rewards: float


class ApprenticeModeMetrics(BatchMetrics, rename="camel"):
    """What came of Apprentice mode since the loop was last turned to it."""

    start_time: Annotated[str, Meta(description="When that was.")]
    last_processed_event_time: Annotated[str, Meta(description="Of the latest event; the year 1 before the first.")]
    last_batch_metrics: Annotated[BatchMetrics, Meta(description="Over the latest 1,000 events.")]


class ServiceConfigurationV2022(
    ServiceConfigurationV11, rename="camel", omit_defaults=True, kw_only=True, forbid_unknown_fields=True
):
    """The ServiceConfiguration of 2022-09-01-preview."""

    model_retrain_days: Annotated[
        int, _from_to(0, INT32_MAX, "Days of log that a new model is built from; 0 for the whole log.")
    ]
    is_inference_explainability_enabled: Annotated[
        bool | None, Meta(description="Whether Rank explains its choice.")
    ] = None
    latest_apprentice_mode_metrics: Annotated[
        ApprenticeModeMetrics | None,
        Meta(description="Absent where learningMode was never Apprentice. Read only."),
    ] = None


SERVICE_CONFIGURATIONS: Final[dict[Version, type[ServiceConfigurationV10]]] = {
    Version.V1_0: ServiceConfigurationV10,
    Version.V1_1_P1: ServiceConfigurationV11,
    Version.V1_1_P2: ServiceConfigurationV11,
    Version.V1_1_P3: ServiceConfigurationV11,
    Version.V2022: ServiceConfigurationV2022,
}
"""The body of each version; members of later versions are unknown to it, and ignored (contract 1.5)."""


class PolicyContract(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A learning policy: VW's arguments under a name."""

    name: Annotated[str, Meta(description="Any name; answers hold the loop's id.", max_length=MAX_NAME)]
    arguments: Annotated[
        str,
        Meta(
            description="Options of Vowpal Wabbit, of those that are allowed.",
            max_length=MAX_ARGUMENTS,
            examples=["--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"],
        ),
    ]


def members(version: Version, values: dict[str, Any]) -> ServiceConfigurationV10:
    """The body of a version that holds those of the values that it knows, by their Python names."""
    kind = SERVICE_CONFIGURATIONS[version]
    return kind(**{name: values[name] for name in kind.__struct_fields__ if name in values})
