"""Turns operations into what callers are told of them: summary, answer, error codes, query and an example.

Nothing that answers calls imports this: `shared.edge.openapi` does, when the API's description is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta

from shared.contract.configurations import SERVICE_CONFIGURATIONS, PolicyContract
from shared.contract.stories import Explanations, Story
from shared.contract.versions import ALL, Version
from shared.edge import access, configurations, events, features, health, limits, loops, models, runs, schemas, stories
from shared.edge.calls import Operation

CHOOSING, CONFIGURATION, EVALUATIONS = "Choosing", "Configuration", "Evaluations"
IMPORTANCES, LOG, MODEL, RANKLOOP = "Feature importances", "Log", "Model", "Rankloop"
AREAS: Final = {
    CHOOSING: "Which action to show, and how it went.",
    CONFIGURATION: "How a loop learns and explores.",
    EVALUATIONS: "How other policies would have done.",
    IMPORTANCES: "How much each feature matters.",
    LOG: "What a loop learns from.",
    MODEL: "What a loop has learned.",
    RANKLOOP: "What Personalizer did not have: loops, their keys, their health, and the story of each event.",
}
"""What each area is about."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query: its name, its type with what there is to say of it, and the versions that have it."""

    name: str
    type: Any
    required: bool = False
    versions: tuple[Version, ...] = ALL


@dataclass(frozen=True, slots=True)
class Description:
    """What callers are told of an operation.

    Attributes:
        area: a key of `AREAS`.
        summary: what it does, in one line.
        status: of a success; None where this release refuses every call.
        answer: the type of its body, by version where versions differ; `bytes` for a file, None for an empty one.
        codes: of its refusals, besides those that any operation may have.
        headers: of a success: keys of `HEADERS`.
        query: its parameters.
        example: a body that a new loop takes, by version where versions differ; None where there is no body to show.
        details: what else there is to say.
    """

    area: str
    summary: str
    status: int | None = 200
    answer: Any = None
    codes: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    query: tuple[Parameter, ...] = ()
    example: Any = None
    details: str = ""


HEADERS: Final[Mapping[str, dict[str, Any]]] = {
    "csp-billing-usage": {"description": "As Personalizer sent it.", "required": True, "schema": {"type": "string"}},
    "Location": {"description": "Where it is found.", "schema": {"type": "string", "format": "uri"}},
    "x-rankloop-log": {
        "description": "There where the event is not safe in the log yet; it is written on in the background.",
        "schema": {"type": "string", "enum": ["pending"]},
    },
    "Content-Disposition": {
        "description": "The name of the file.",
        "required": True,
        "schema": {"type": "string", "enum": ["attachment; filename=model.vw", "attachment; filename=model.vw.zip"]},
    },
    "Operation-Location": {
        "description": "Where to learn what became of it.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Last-Modified": {"description": "When the model was made.", "required": True, "schema": {"type": "string"}},
}
"""Headers of successes."""
_RANKED = ("csp-billing-usage", "x-rankloop-log")
_EVENT_TEXT = "Counts when it comes within the loop's reward wait after its Rank; an unknown event does no harm."
_ACTIONS = [
    {"id": "pasta", "features": [{"taste": "salty", "spice": "medium"}, {"nutrition": 5}]},
    {"id": "ice cream", "features": [{"taste": "sweet"}, {"nutrition": 2}]},
]
_CONTEXT = [{"timeOfDay": "morning"}]
POLICY = {"name": "mine", "arguments": "--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::"}
_SETTINGS = {
    "rewardWaitTime": "PT10M",
    "defaultReward": 0.0,
    "rewardAggregation": "earliest",
    "explorationPercentage": 0.2,
    "modelExportFrequency": "PT5M",
    "logRetentionDays": 90,
}

DESCRIPTIONS: Final[dict[Operation, Description]] = {
    events.rank: Description(
        CHOOSING,
        "Choose one of the actions",
        201,
        schemas.RankResponse,
        ("InvalidRankRequest", "InvalidApiAccess", "ModelRankingError"),
        _RANKED,
        example={"actions": _ACTIONS, "contextFeatures": _CONTEXT, "eventId": "75269AD0-BFEE-4598-8196-C57383D38E10"},
        details="For loops with a single-slot policy. Repeated with the same eventId it chooses the same.",
    ),
    events.reward: Description(
        CHOOSING,
        "Say how well the chosen action went",
        204,
        codes=("InvalidRewardRequest",),
        example={"value": 1.0},
        details=_EVENT_TEXT,
    ),
    events.activate: Description(
        CHOOSING,
        "Say that the chosen action was shown",
        204,
        codes=("InvalidEventIdToActivate",),
        details=f"For events that were ranked with deferActivation. {_EVENT_TEXT}",
    ),
    events.rank_slots: Description(
        CHOOSING,
        "Choose an action for each slot",
        201,
        schemas.MultiSlotRankResponse,
        ("InvalidRankRequest", "InvalidMultiSlotApiAccess", "ModelRankingError"),
        _RANKED,
        example={
            "actions": _ACTIONS,
            "contextFeatures": _CONTEXT,
            "slots": [{"id": "top", "baselineAction": "pasta", "features": [{"size": "large"}]}],
        },
        details="For loops with a multi-slot policy.",
    ),
    events.reward_slots: Description(
        CHOOSING,
        "Say how well the actions in the slots went",
        204,
        codes=("InvalidRewardRequest", "InvalidMultiSlotApiAccess"),
        example={"reward": [{"slotId": "top", "value": 1.0}]},
        details=_EVENT_TEXT,
    ),
    events.activate_slots: Description(
        CHOOSING,
        "Say that the actions of all slots were shown",
        204,
        codes=("InvalidEventIdToActivate", "InvalidMultiSlotApiAccess"),
        details=f"For events that were ranked with deferActivation. {_EVENT_TEXT}",
    ),
    configurations.get_service_configuration: Description(
        CONFIGURATION, "Get the loop's settings", answer=SERVICE_CONFIGURATIONS
    ),
    configurations.put_service_configuration: Description(
        CONFIGURATION,
        "Change the loop's settings",
        answer=SERVICE_CONFIGURATIONS,
        codes=(
            "InvalidContainer",
            "InvalidLearningModeServiceConfiguration",
            "InvalidLogRetentionDays",
            "InvalidModelRetrainDays",
            "InvalidRewardWaitTime",
            "InvalidSasUri",
            "InvalidServiceConfiguration",
            "ProblemTypeIncompatibleWithAutoOptimization",
        ),
        example={version: _SETTINGS | ({"modelRetrainDays": 2} if version is Version.V2022 else {}) for version in ALL},
        details="Optional members that are left out keep their value. A change holds for calls that begin 5 s later.",
    ),
    configurations.get_policy: Description(CONFIGURATION, "Get the learning policy", answer=PolicyContract),
    configurations.put_policy: Description(
        CONFIGURATION,
        "Set the learning policy",
        answer=PolicyContract,
        codes=("InvalidPolicyConfiguration", "InvalidPolicyContract", "ProblemTypeIncompatibleWithAutoOptimization"),
        example=POLICY,
        details="A policy that learns otherwise than the one before begins with a new model, built from the log.",
    ),
    configurations.delete_policy: Description(
        CONFIGURATION, "Go back to the default learning policy", answer=PolicyContract
    ),
    models.get_model: Description(
        MODEL,
        "Get the model that serves",
        answer=bytes,
        codes=("BadRequest", "InvalidApiAccess", "ResourceNotFound"),
        headers=("Content-Disposition", "Last-Modified"),
        query=(
            Parameter(
                "signed",
                Annotated[bool, Meta(description="As a zip that can be imported; takes a deployment that can sign.")],
            ),
        ),
    ),
    models.put_model: Description(
        MODEL,
        "Import a model",
        204,
        codes=("InvalidModelImportFormat", "InvalidModelImportSignature"),
        details="A zip as GET returns it with signed=true, of this deployment or of a signer that it trusts.",
    ),
    models.delete_model: Description(MODEL, "Forget what was learned", 204),
    models.get_model_properties: Description(MODEL, "Get when the model was made", answer=schemas.ModelProperties),
    access.get_access: Description(RANKLOOP, "Get what the caller may do", answer=access.AccessContract),
    health.get_health: Description(RANKLOOP, "Get how far log and model are, and what is amiss", answer=schemas.Health),
    features.get_features: Description(
        RANKLOOP, "Get the features that come, and how much they vary", answer=features.FeaturesContract
    ),
    limits.get_limits: Description(RANKLOOP, "Get how far the loop's settings may go", answer=limits.LimitsContract),
    limits.put_limits: Description(
        RANKLOOP,
        "Let the loop's settings go further",
        answer=limits.LimitsContract,
        codes=("InvalidRequest",),
        example={"longestRewardWait": "P60D", "mostActions": 200, "lowestReward": -1.0, "highestReward": 1.0},
        details="For owners alone: what waits long costs storage, and many actions cost time and memory. Another range "
        "of rewards makes a new model.",
    ),
    stories.get_event: Description(
        RANKLOOP,
        "Get the story of an event",
        answer=Story,
        codes=("InvalidRequest", "ResourceNotFound"),
        details="What was decided, by which model, what was observed and learned; and the decision, computed anew.",
    ),
    stories.get_explanation: Description(
        RANKLOOP,
        "Get why an event was decided so",
        answer=Explanations,
        codes=("InvalidRequest", "ResourceNotFound"),
        details="By the model version that decided it: what each feature added to the reward expected of each action.",
    ),
    runs.join: Description(
        RANKLOOP,
        "Join what is closed, without its timer",
        answer=runs.JoinRun,
        details="It may be repeated, and run beside the timer. After 20 s it is answered, and goes on.",
    ),
    runs.train: Description(
        RANKLOOP,
        "Learn what is joined, without its timer",
        answer=runs.TrainRun,
        details="It may be repeated, and run beside the timer. After 20 s it is answered, and goes on.",
    ),
    loops.list_loops: Description(RANKLOOP, "List the loops", answer=loops.LoopList),
    loops.create_loop: Description(
        RANKLOOP,
        "Make a loop",
        201,
        loops.LoopContract,
        ("InvalidRequest", "LoopAlreadyExists"),
        example={"name": "news"},
        details="The answer holds its keys, which are shown this once.",
    ),
    loops.delete_loop: Description(
        RANKLOOP,
        "Delete a loop with all that it has stored",
        204,
        codes=("InvalidRequest",),
        details="Not the default one.",
    ),
    loops.replace_key: Description(
        RANKLOOP,
        "Replace one of the loop's keys",
        answer=loops.KeyContract,
        codes=("ResourceNotFound",),
        details="The answer holds the new one, which is shown this once. The old one opens nothing 5 s later.",
    ),
}
"""Of all operations but those on jobs and trials."""
