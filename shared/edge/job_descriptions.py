"""Turns the operations on evaluations and feature importances into what callers are told of them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from shared.contract.configurations import INT32_MAX
from shared.contract.evaluations import EvaluationType
from shared.contract.versions import BEFORE_2022, ONLY_2022, Version
from shared.edge import evaluations, importances, jobs, paging, reports, schemas
from shared.edge.calls import Operation
from shared.edge.descriptions import CONFIGURATION, EVALUATIONS, IMPORTANCES, MODEL, POLICY, Description, Parameter

_DATES = {"name": "January", "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-02-01T00:00:00Z"}
_RUNS = (
    "It is made in the background, in pieces that any instance may do; rankloop/v1/jobs tells how far it is. What "
    "decided (online), the first action (baseline1) and a draw from all (BaselineRand) are compared in any case."
)


def _instant(text: str) -> Meta:
    return Meta(description=text, extra_json_schema={"format": "date-time"}, examples=["2026-01-31T00:00:00Z"])


def _whole(text: str, low: int, high: int = INT32_MAX) -> Any:
    return Annotated[int, Meta(ge=low, le=high, description=text)]


def _page(*versions: Version) -> tuple[Parameter, ...]:
    """What a list of pages is asked for."""
    return (
        Parameter("top", _whole("How many items to list at most.", 0), versions=versions),
        Parameter("skip", _whole("How many items to pass over.", 0), versions=versions),
        Parameter(
            "maxpagesize",
            _whole(f"How many items a page may hold; never more than {paging.MAX_SIZE}.", 1),
            versions=versions,
        ),
    )


PAGE = _page(*ONLY_2022)
_CREATE_CODES = (
    "DuplicateCustomPolicyNames",
    "InvalidDateTimesInEvaluationContract",
    "InvalidEvaluationContract",
    "InvalidPolicyConfiguration",
    "LogsSizeExceedAllowedLimit",
    "MaximumEvaluationCustomPoliciesExceeded",
    "NoLogsExistInDateRange",
)
_CONTRACT = {**_DATES, "policies": [POLICY]}

JOBS: Final[dict[Operation, Description]] = {
    evaluations.apply_from_evaluation: Description(
        CONFIGURATION,
        "Make a policy of an evaluation the loop's own",
        204,
        codes=(
            "EvaluationNotFound",
            "InvalidPolicyConfiguration",
            "LearningSettingsNotFound",
            "ProblemTypeIncompatibleWithAutoOptimization",
        ),
        example={"evaluationId": "b58c6d92-b727-48c1-9487-4be2782c9e0a", "policyName": "online"},
        details=(
            "As a PUT of the policy would: a new model is built from the log, as many days of it as modelRetrainDays "
            "says, and serves once it stands. The one before is kept."
        ),
    ),
    evaluations.list_evaluations: Description(
        EVALUATIONS,
        "List evaluations",
        answer={
            Version.V1_0: list[schemas.EvaluationV10],
            **dict.fromkeys(BEFORE_2022[1:], list[schemas.EvaluationV11]),
            Version.V2022: schemas.EvaluationList,
        },
        codes=("InvalidRequest",),
        query=(
            Parameter(
                "filter",
                Annotated[
                    str,
                    Meta(
                        description="Evaluations of one type only.",
                        extra_json_schema={"enum": [f"metadata=evaluationType eq '{one}'" for one in EvaluationType]},
                    ),
                ],
                versions=ONLY_2022,
            ),
            *PAGE,
        ),
    ),
    evaluations.create_evaluation: Description(
        EVALUATIONS,
        "Evaluate policies",
        201,
        {Version.V1_0: schemas.EvaluationV10, **dict.fromkeys(BEFORE_2022[1:], schemas.EvaluationV11)},
        codes=_CREATE_CODES,
        headers=("Location",),
        example=_CONTRACT,
        details=_RUNS,
    ),
    evaluations.get_evaluation: Description(
        EVALUATIONS,
        "Get an evaluation",
        answer={
            Version.V1_0: schemas.EvaluationV10,
            **dict.fromkeys(BEFORE_2022[1:], schemas.EvaluationV11),
            Version.V2022: schemas.Evaluation,
        },
        codes=("EvaluationNotFound", "IncompatibleEvaluationVersion", "InvalidRequest"),
        query=(
            Parameter("startTime", Annotated[str, _instant("From when on results are wanted.")], True, ONLY_2022),
            Parameter("endTime", Annotated[str, _instant("Until when.")], True, ONLY_2022),
            Parameter(
                "intervalInMinutes",
                Annotated[Literal[5, 60, 360, 720, 1440], Meta(description="Of how many minutes each result is; 5.")],
                versions=ONLY_2022,
            ),
            Parameter(
                "window",
                Annotated[
                    Literal["Expanding", "Rolling"],
                    Meta(description="Expanding goes with 5 minutes, Rolling with all others."),
                ],
                versions=ONLY_2022,
            ),
        ),
    ),
    evaluations.put_evaluation: Description(
        EVALUATIONS,
        "Evaluate policies",
        codes=(*_CREATE_CODES, "EvaluationAlreadyExists"),
        example=_CONTRACT,
        details=_RUNS,
    ),
    evaluations.delete_evaluation: Description(
        EVALUATIONS,
        "Delete an evaluation",
        204,
        codes=("EvaluationNotFound",),
        details="One that runs is canceled.",
    ),
    reports.get_report: Description(
        EVALUATIONS,
        "Get all that an evaluation knows of its policies",
        answer=reports.EvaluationReport,
        codes=("EvaluationNotFound",),
        details=(
            "Every estimate with its 95 % interval, of how many events of the policy's own the log tells as much, and "
            "whether that is enough, in words."
        ),
    ),
    importances.list_feature_importances: Description(
        IMPORTANCES, "List feature importances", answer=schemas.FeatureImportanceList, query=PAGE
    ),
    importances.get_feature_importance: Description(
        IMPORTANCES,
        "Get a feature importance",
        answer=schemas.FeatureImportance,
        codes=("FeatureImportanceNotFound",),
    ),
    importances.put_feature_importance: Description(
        IMPORTANCES,
        "Compute how much each feature matters",
        codes=(
            "InvalidContract",
            "FeatureImportanceAlreadyExists",
            "NoLogsExistInDateRange",
            "LogsSizeExceedAllowedLimit",
        ),
        example=_DATES,
        details=(
            "A model learns the first half of the events; on the second half it is looked at what is lost when a "
            "feature is permuted. rankloop/v1/jobs tells how far it is."
        ),
    ),
    importances.delete_feature_importance: Description(
        IMPORTANCES, "Delete a feature importance", 204, codes=("FeatureImportanceNotFound",)
    ),
    importances.get_importance_report: Description(
        IMPORTANCES,
        "Get a feature importance with its errors",
        answer=importances.Report,
        codes=("FeatureImportanceNotFound",),
        details="What is lost without each feature in units of the reward, with its standard error; and of how much.",
    ),
    jobs.list_jobs: Description(MODEL, "List jobs", answer=jobs.JobList, query=_page(*Version)),
    jobs.get_job: Description(MODEL, "Get how far a job is", answer=jobs.JobContract, codes=("ResourceNotFound",)),
    jobs.cancel_job: Description(
        MODEL,
        "Cancel a job",
        answer=jobs.JobContract,
        codes=("ResourceNotFound", "InvalidRequest"),
        details=(
            "An evaluation that is canceled has no results. Without its new model a loop goes on with the one that "
            "serves and learns, by the settings of now but with its own policy. No other job is begun for these "
            "settings; changing one of them begins one."
        ),
    ),
}
"""Of the operations on jobs."""
