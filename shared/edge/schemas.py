"""Turns what no struct encodes or decodes, answers built as bytes and features, into structs and schemas of the same.

They are there for the API's description alone; tests hold them equal to what is really answered and taken.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from shared.contract.errors import STATUS
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.requests import MAX_ID
from shared.edge import results
from shared.edge.importances import FeatureScore
from shared.health.catalogue import CATALOGUE
from shared.ranking.walk import MAX_DEPTH, MAX_KEY, MAX_NUMBER, MAX_STRING


def _is(text: str, **schema: Any) -> Meta:
    return Meta(description=text, extra_json_schema=schema)


# Ours have up to six digits of a second, and some lack the zone, as the original's did: RFC 3339 has it always.
INSTANT: Final = {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?(Z|[+-]\d\d:\d\d)?$"}
_Instant = Annotated[str, Meta(extra_json_schema=INSTANT, examples=["2026-01-31T00:00:00Z"])]

_REF = "#/components/schemas/"
_NUMBER = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
HAND_WRITTEN: Final[dict[str, dict[str, Any]]] = {
    "Features": {
        "title": "Features",
        "description": (
            "Features by name. A name that begins with an underscore is passed over, as is a feature that is null. "
            f"Objects and arrays may lie {MAX_DEPTH} levels deep."
        ),
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": MAX_KEY},
        "additionalProperties": {"$ref": _REF + "FeatureValue"},
    },
    "FeatureValue": {
        "title": "FeatureValue",
        "description": "A plain value, numbers, or further features under a name of their own.",
        "anyOf": [
            {"type": "string", "maxLength": MAX_STRING},
            _NUMBER,
            {"type": ["boolean", "null"]},
            {"type": "array", "items": {"anyOf": [_NUMBER, {"type": "null"}]}},
            {"type": "array", "items": {"$ref": _REF + "Features"}},
            {"$ref": _REF + "Features"},
        ],
    },
}
"""Schemas that refer to themselves, by name."""
_Features = Annotated[Any, Meta(extra_json_schema={"$ref": _REF + "Features"})]


class RankableAction(msgspec.Struct):
    """An action that can be chosen."""

    id: Annotated[str, Meta(description="No other action's.", min_length=1, max_length=MAX_ID)]
    features: Annotated[list[_Features], Meta(description="What is known of the action.", min_length=1)]


class RankedAction(msgspec.Struct):
    """An action, and how probable it was that it would be chosen."""

    id: str
    probability: Annotated[float, Meta(description="0 for an excluded action.", ge=0, le=1)]


class ExplainedFeature(msgspec.Struct):
    """What a feature, or several together, adds to the reward that the model expects of an action."""

    name: Annotated[str, Meta(description="Namespace and name; ^ stands between those of several.")]
    score: Annotated[float, Meta(description="Positive where it speaks for the action.")]


class ExplainedAction(msgspec.Struct):
    """What spoke for an action, and against it."""

    id: str
    features: Annotated[list[ExplainedFeature], Meta(description="Those that matter the most, the strongest first.")]


class RankResponse(msgspec.Struct, rename="camel", omit_defaults=True):
    """A decision."""

    ranking: Annotated[list[RankedAction], Meta(description="All actions, the chosen one first of those not excluded.")]
    event_id: Annotated[str, Meta(description="The caller's, or a new one.")]
    reward_action_id: Annotated[str, Meta(description="The action to show: the one that the reward will be for.")]
    inference_explanation: Annotated[
        list[ExplainedAction] | msgspec.UnsetType,
        Meta(
            description="With isInferenceExplainabilityEnabled: of that action; empty where no model's sum decided.",
        ),
    ] = msgspec.UNSET


class SlotResponse(msgspec.Struct, rename="camel", omit_defaults=True):
    """A slot, and the action to show in it."""

    id: str
    reward_action_id: Annotated[
        str | msgspec.UnsetType, Meta(description="Left out where earlier slots took all that this one admits.")
    ] = msgspec.UNSET


class MultiSlotRankResponse(msgspec.Struct, rename="camel"):
    """A decision for each slot."""

    slots: Annotated[list[SlotResponse], Meta(description="In the order of the request.")]
    event_id: Annotated[str, Meta(description="The caller's, or a new one.")]


class LogDates(msgspec.Struct):
    """The days of the first and the last event of a log."""

    since: Annotated[_Instant, Meta(description="The first day.")] = msgspec.field(name="from")
    to: Annotated[_Instant, Meta(description="The last day.")]


class LogsProperties(msgspec.Struct, rename="camel", omit_defaults=True):
    """What there is of a log."""

    date_range: Annotated[LogDates | msgspec.UnsetType, Meta(description="Left out while there is no log.")] = (
        msgspec.UNSET
    )


class ModelProperties(msgspec.Struct, rename="camel"):
    """When the model was made; the year 1 while there is none."""

    creation_time: Annotated[_Instant, Meta(description="When the loop's first model was made.")]
    last_modified_time: Annotated[_Instant, Meta(description="When the one that serves was made.")]


class RewardWait(msgspec.Struct):
    """A reward wait, and the bucket of the log from which it holds."""

    since: Annotated[int, Meta(description="In seconds since the epoch.")] = msgspec.field(name="from")
    seconds: float


class ExaminedLog(msgspec.Struct):
    """What of the log the findings rest on: the last day or two, examined in the background as it grows."""

    since: Annotated[int, Meta(description="In seconds since the epoch.")] = msgspec.field(name="from")
    through: Annotated[int, Meta(description="In seconds since the epoch; 0 before the first examination.")]
    events: Annotated[int, Meta(description="Events that were examined.")]
    of: Annotated[int, Meta(description="Events that there are in this time: of a large log a sample is examined.")]


class Finding(msgspec.Struct):
    """Something to know of a loop."""

    code: Annotated[str, _is("What kind of thing was found.", enum=sorted(CATALOGUE))]
    severity: Annotated[
        Literal["error", "warning", "info"],
        Meta(description="Something is broken; learning is worse than it could be; or it is worth a look."),
    ]
    what: Annotated[str, Meta(description="What was found, for people.")]
    numbers: Annotated[dict[str, float], Meta(description="What that rests on.")]
    todo: Annotated[str, Meta(description="What to do.")]


class Health(msgspec.Struct, rename="camel"):
    """How far log and model are; null where storage is silent. Only the owner is told what the instance has counted."""

    time: Annotated[float, Meta(description="The storage's, in seconds since the epoch.")]
    loop_id: str
    learning_mode: Annotated[str, Meta(description="Online, Apprentice or LoggingOnly.")]
    reward_waits: list[RewardWait]
    storage_answers: bool
    joined_through: int | None
    joined_events: int | None
    rewarded_events: int | None
    repeated_events: int | None
    inactive_events: int | None
    empty_slots: int | None
    hours_through: int | None
    late_rewards: int | None
    unknown_rewards: int | None
    erasures_in_force: int | None
    model_version: str | None
    model_events: int | None
    model_reward: float | None
    trained_through: int | None
    examined: ExaminedLog | None
    findings: Annotated[list[Finding] | None, Meta(description="The worst first.")]
    model_pinned: bool | None
    learned_through: int | None
    held_back_version: str | None
    held_back_reason: str | None
    waiting_bytes: int | msgspec.UnsetType = msgspec.UNSET
    counters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class Error(msgspec.Struct, omit_defaults=True):
    """Why a call was refused."""

    code: Annotated[str, _is("What went wrong, for programs.", enum=sorted(STATUS))]
    message: Annotated[str, Meta(description="What went wrong, for people: the member, and what was expected of it.")]
    target: Annotated[str | msgspec.UnsetType, Meta(description="The member or parameter at fault.")] = msgspec.UNSET


class ErrorResponse(msgspec.Struct):
    """The body of every refusal."""

    error: Error


class EvaluationDetails(msgspec.Struct, rename="camel", kw_only=True):
    """An evaluation in a list."""

    id: str
    name: str
    start_time: _Instant
    end_time: _Instant
    creation_time: _Instant
    status: Status
    evaluation_type: EvaluationType


class EvaluationContent(msgspec.Struct, rename="camel"):
    """Results between two times."""

    start_time: _Instant
    end_time: _Instant
    interval_in_minutes: int
    value: Annotated[list[results.PolicyResult], Meta(description="Of each policy and slot; empty while it runs.")]


class Evaluation(EvaluationDetails, rename="camel", kw_only=True):
    """An evaluation with its results."""

    content: EvaluationContent
    optimal_policy: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET


class EvaluationList(msgspec.Struct, rename="camel"):
    """A page of evaluations, the newest first."""

    value: list[EvaluationDetails]
    next_link: Annotated[str | msgspec.UnsetType, Meta(description="The address of the next page.")] = msgspec.UNSET


class EvaluationV10(msgspec.Struct, rename="camel", kw_only=True):
    """An evaluation as v1.0 shows it."""

    id: str
    name: str
    start_time: _Instant
    end_time: _Instant
    job_id: str
    status: Annotated[str, Meta(description="completed, pending, failed or notSubmitted.")]
    policy_results: Annotated[list[results.FlatPolicyResult], Meta(description="Of each policy; empty while it runs.")]
    feature_importance: Annotated[
        list[list[str]],
        Meta(description="Features that matter, the first the most; those together cannot be told apart."),
    ]


class EvaluationV11(EvaluationV10, rename="camel", kw_only=True):
    """An evaluation as the v1.1 previews show it."""

    status: Annotated[str, Meta(description="As in v1.0, or timeout, optimalPolicyApplied or onlinePolicyRetained.")]
    evaluation_type: EvaluationType
    creation_time: _Instant
    optimal_policy: Annotated[str, Meta(description="Empty where none is known.")]


class FeatureImportanceDetails(msgspec.Struct, rename="camel", kw_only=True):
    """A feature importance in a list."""

    id: str
    name: str
    start_time: _Instant
    end_time: _Instant
    creation_time: _Instant
    status: Status


class FeatureImportance(FeatureImportanceDetails, rename="camel", kw_only=True):
    """Features by how much they matter."""

    feature_scores: Annotated[list[FeatureScore], Meta(description="The highest first; empty while it is computed.")]
    description: str | msgspec.UnsetType = msgspec.UNSET


class FeatureImportanceList(msgspec.Struct, rename="camel"):
    """A page of feature importances, the newest first."""

    value: list[FeatureImportanceDetails]
    next_link: Annotated[str | msgspec.UnsetType, Meta(description="The address of the next page.")] = msgspec.UNSET
