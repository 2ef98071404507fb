"""Turns evaluation and feature importance calls into stored jobs, and jobs into answers (contract 1.4, 5.10).

Nothing in this release can run a job. A call that would create one is checked as if it could, and then refused; jobs
that a later release has left can be listed, read and deleted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shared.app import App
from shared.contract import instants
from shared.contract.decoding import decode
from shared.contract.errors import ApiError
from shared.contract.evaluations import (
    DateRange,
    PolicyReferenceContract,
    Status,
    evaluation_request,
    feature_importance_request,
    filter_query,
    result_query,
    spell_status,
)
from shared.contract.requests import check_id
from shared.contract.versions import ALL, Version
from shared.edge import paging
from shared.edge.calls import Call, Reply, reply_json
from shared.evaluation import resources
from shared.evaluation.resources import Evaluation, FeatureImportance, Job
from shared.log import checkpoint as checkpoints
from shared.log import joined
from shared.log.records import event_key
from shared.loops import policy

J = TypeVar("J", bound=Job)
_HOUR = 3600
_UNFINISHED = (Status.RUNNING, Status.NOT_SUBMITTED)


async def list_evaluations(app: App, call: Call) -> Reply:
    """GET evaluations: the newest first; before 2022 all of them, then in pages."""
    if call.version is not Version.V2022:
        held = await resources.newest_first(app.blobs, call.loop.id, Evaluation)
        return reply_json([_flat(evaluation, call.version) for evaluation in held])
    page, wanted = paging.read(call.query), filter_query(call.query)
    held = await resources.newest_first(app.blobs, call.loop.id, Evaluation)
    return _listed(call, page, [one for one in held if wanted in (None, one.evaluation_type)], _evaluation_details)


async def create_evaluation(app: App, call: Call) -> Reply:
    """POST evaluations, before 2022."""
    await _check_log(app, call, _evaluated(call))
    raise _not_yet("run evaluations")


async def put_evaluation(app: App, call: Call) -> Reply:
    """PUT evaluations/{evaluationId}, in 2022."""
    evaluation_id = _id(call)
    check_id(evaluation_id, "evaluationId", "InvalidEvaluationContract")
    dates = _evaluated(call)
    if await resources.get(app.blobs, call.loop.id, Evaluation, evaluation_id) is not None:
        raise ApiError("EvaluationAlreadyExists", "There is an evaluation of this id already.", "evaluationId")
    await _check_log(app, call, dates)
    raise _not_yet("run evaluations")


async def get_evaluation(app: App, call: Call) -> Reply:
    """GET evaluations/{evaluationId}: flat before 2022, then with the results between two times."""
    wanted = result_query(call.query) if call.version is Version.V2022 else None
    evaluation = await _held_evaluation(app, call, _id(call))
    if ALL.index(call.version) > ALL.index(evaluation.api_version):
        message = f"The evaluation was made with {evaluation.api_version.value}: read it with that or an older version."
        raise ApiError("IncompatibleEvaluationVersion", message)
    if wanted is None:
        return reply_json(_flat(evaluation, call.version))
    return reply_json(_with_content(evaluation, *wanted))


async def delete_evaluation(app: App, call: Call) -> Reply:
    """DELETE evaluations/{evaluationId}."""
    if not await resources.delete(app.blobs, call.loop.id, Evaluation, _id(call)):
        raise _unknown_evaluation(_id(call))
    return Reply(204)


async def apply_from_evaluation(app: App, call: Call) -> Reply:
    """POST configurations/applyFromEvaluation: a policy of an evaluation becomes the loop's."""
    reference = decode(call.body, PolicyReferenceContract)
    evaluation = await _held_evaluation(app, call, event_key(reference.evaluation_id))
    if reference.policy_name not in [one.name for one in evaluation.policies]:
        message = f"policyName: the evaluation has no policy named {reference.policy_name[:64]!r}."
        raise ApiError("LearningSettingsNotFound", message, "policyName")
    raise _not_yet("apply policies of evaluations")


async def list_feature_importances(app: App, call: Call) -> Reply:
    """GET featureImportances: the newest first, in pages."""
    page = paging.read(call.query)
    return _listed(call, page, await resources.newest_first(app.blobs, call.loop.id, FeatureImportance), _details)


async def put_feature_importance(app: App, call: Call) -> Reply:
    """PUT featureImportances/{featureImportanceId}."""
    importance_id = _id(call)
    check_id(importance_id, "featureImportanceId", "InvalidContract")
    feature_importance_request(call.body)
    if await resources.get(app.blobs, call.loop.id, FeatureImportance, importance_id) is not None:
        message = "There is a feature importance of this id already."
        raise ApiError("FeatureImportanceAlreadyExists", message, "featureImportanceId")
    raise _not_yet("compute feature importances")


async def get_feature_importance(app: App, call: Call) -> Reply:
    """GET featureImportances/{featureImportanceId}."""
    importance = await resources.get(app.blobs, call.loop.id, FeatureImportance, _id(call))
    if importance is None:
        raise _unknown_feature_importance(_id(call))
    return reply_json(
        _without_none({**_details(importance), "featureScores": [], "description": importance.description})
    )


async def delete_feature_importance(app: App, call: Call) -> Reply:
    """DELETE featureImportances/{featureImportanceId}."""
    if not await resources.delete(app.blobs, call.loop.id, FeatureImportance, _id(call)):
        raise _unknown_feature_importance(_id(call))
    return Reply(204)


def _id(call: Call) -> str:
    """The id in the path; a slash in it is spelled in two ways, as in that of an event."""
    return event_key(call.id)


def _evaluated(call: Call) -> DateRange:
    """The part of the log that a checked evaluation is about."""
    request, dates = evaluation_request(call.body, call.version)
    for n, given in enumerate(request.policies):
        try:
            policy.read(given.arguments)
        except ApiError as e:
            raise ApiError(e.code, f"policies[{n}].{e.message}", f"policies[{n}].{e.target}") from e
    return dates


async def _check_log(app: App, call: Call, dates: DateRange) -> None:
    """See that there is something to evaluate.

    Raises:
        ApiError: NoLogsExistInDateRange.
    """
    checkpoint, _ = await checkpoints.load(app.blobs, call.loop.id)
    # A window lies in one hour, so one that reaches into the dates does not begin before their first hour.
    start = max(math.floor(dates.start) // _HOUR * _HOUR, checkpoint.since)
    windows = await joined.windows(app.blobs, call.loop.id, start, math.ceil(dates.end))
    if not any(window.end > dates.start for window in windows):
        raise ApiError("NoLogsExistInDateRange", "The log holds no event between startTime and endTime.", "startTime")


async def _held_evaluation(app: App, call: Call, evaluation_id: str) -> Evaluation:
    evaluation = await resources.get(app.blobs, call.loop.id, Evaluation, evaluation_id)
    if evaluation is None:
        raise _unknown_evaluation(evaluation_id)
    return evaluation


def _unknown_evaluation(evaluation_id: str) -> ApiError:
    return ApiError("EvaluationNotFound", f"There is no evaluation {evaluation_id[:64]!r}.", "evaluationId")


def _unknown_feature_importance(importance_id: str) -> ApiError:
    message = f"There is no feature importance {importance_id[:64]!r}."
    return ApiError("FeatureImportanceNotFound", message, "featureImportanceId")


def _not_yet(what: str) -> ApiError:
    # Without a time to come back: no later call to this release would do better.
    return ApiError("OperationNotAllowed", f"This release cannot {what} yet.")


def _listed(call: Call, page: paging.Page, jobs: Sequence[J], details: Callable[[J], dict[str, Any]]) -> Reply:
    shown, following = page.of(jobs)
    next_link = following.link(call.url, call.query) if following else None
    return reply_json(_without_none({"value": [details(job) for job in shown], "nextLink": next_link}))


def _details(job: Job) -> dict[str, Any]:
    """What lists hold of a job in 2022."""
    return {
        "id": job.id,
        "name": job.name,
        "startTime": instants.spell(job.start),
        "endTime": instants.spell(job.end),
        "creationTime": instants.spell(job.created),
        "status": spell_status(job.status, Version.V2022),
    }


def _evaluation_details(evaluation: Evaluation) -> dict[str, Any]:
    return {**_details(evaluation), "evaluationType": evaluation.evaluation_type}


def _with_content(evaluation: Evaluation, dates: DateRange, interval: int) -> dict[str, Any]:
    """The Evaluation of 2022; nothing here reads results, so it has none."""
    content = {
        "startTime": instants.spell(dates.start),
        "endTime": instants.spell(dates.end),
        "intervalInMinutes": interval,
        "value": [],
    }
    if evaluation.status in _UNFINISHED:  # as recorded of a running one (contract 5.10)
        content |= {"startTime": instants.UNSET, "endTime": instants.UNSET, "intervalInMinutes": 0}
    return _without_none(
        {
            **_evaluation_details(evaluation),
            "optimalPolicy": evaluation.optimal_policy,
            "content": content,
            "description": evaluation.description,
        }
    )


def _flat(evaluation: Evaluation, version: Version) -> dict[str, Any]:
    """The Evaluation of the versions before 2022; nothing here reads results, so it has none."""
    answer = {
        "id": evaluation.id,
        "name": evaluation.name,
        "startTime": instants.spell(evaluation.start),
        "endTime": instants.spell(evaluation.end),
        "jobId": evaluation.job_id,
        "status": spell_status(evaluation.status, version),
        "policyResults": [],
        "featureImportance": [],
    }
    if version is Version.V1_0:
        return answer
    return {
        **answer,
        "evaluationType": evaluation.evaluation_type,
        "optimalPolicy": evaluation.optimal_policy or "",
        "creationTime": instants.spell(evaluation.created),
    }


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
