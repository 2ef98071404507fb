"""Turns calls about feature importances into jobs that are begun, and what these find into answers (ADR 0033)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.evaluations import Status, feature_importance_request
from shared.contract.requests import check_id
from shared.edge import asking, paging
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.evaluations import id_of, listed
from shared.edge.results import details, without_none
from shared.evaluation import asked, resources
from shared.evaluation.importance import Importance as Weight
from shared.evaluation.importance import Weighed
from shared.evaluation.resources import FeatureImportance
from shared.log import checkpoint as checkpoints

_NOTHING = Weighed([], 0.0, 0, 0, 0.0, 0)


class FeatureScore(msgspec.Struct, rename="camel"):
    """How much a feature matters."""

    namespace: Annotated[
        str, Meta(description="FromUrl: of the context; j: of actions; i: of their ids; sj: of slots; or the caller's.")
    ]
    feature_name: str
    score: Annotated[float, Meta(description="What is lost without it, as a share of the largest loss.", ge=0, le=1)]


class Report(msgspec.Struct, rename="camel", kw_only=True):
    """Features by how much they matter, and how sure that is."""

    id: str
    status: Status
    features: Annotated[list[Weight], Meta(description="The one that matters the most first; losses may be chance.")]
    value: Annotated[float, Meta(description="What the policy earns with all of them, without exploring, by SNIPS.")]
    learned: Annotated[int, Meta(description="Events that the model learned.")]
    events: Annotated[int, Meta(description="Others, on which the features were weighed.")]
    effective: Annotated[float, Meta(description="As many events of equal weight tell as much of the policy.")]
    features_found: Annotated[int, Meta(description="How many there are: 200 are weighed, which come most often.")]
    description: str | msgspec.UnsetType = msgspec.UNSET


async def list_feature_importances(app: App, call: Call) -> Reply:
    """GET featureImportances: the newest first, in pages."""
    page = paging.read(call.query)
    held = await resources.newest_first(app.blobs, call.loop.id, FeatureImportance)
    return listed(call, page, held, details)


async def put_feature_importance(app: App, call: Call) -> Reply:
    """PUT featureImportances/{featureImportanceId}: 200 with nothing, as recorded of evaluations."""
    importance_id = id_of(call)
    check_id(importance_id, "featureImportanceId", "InvalidContract")
    request, dates = feature_importance_request(call.body)
    loop = await asking.loop_for(app, call, FeatureImportance, importance_id)
    checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
    await asking.windows_of(app, loop, dates, checkpoint.since)
    now = await app.clock.read()
    made = FeatureImportance(
        id=importance_id,
        name=request.name,
        start=dates.start,
        end=dates.end,
        created=now,
        status=Status.RUNNING,
        api_version=call.version,
        job_id=asked.job_id(loop.id, importance_id, now),
    )
    begun = app.importances.begin(loop.id, made, asked.of(loop, made), now)
    await asking.begin(app, loop, FeatureImportance, begun)
    return Reply(200)


async def get_feature_importance(app: App, call: Call) -> Reply:
    """GET featureImportances/{featureImportanceId}."""
    importance = await _held(app, call)
    scores = [FeatureScore(one.namespace, one.feature_name, one.score) for one in _found(importance).features]
    members = {"featureScores": scores, "description": importance.description}
    return reply_json(without_none({**details(importance), **members}))


async def get_importance_report(app: App, call: Call) -> Reply:
    """GET rankloop/v1/featureImportances/{featureImportanceId}."""
    importance = await _held(app, call)
    found = msgspec.structs.asdict(_found(importance))
    description = importance.description or msgspec.UNSET
    return reply_json(Report(id=importance.id, status=importance.status, description=description, **found))


async def delete_feature_importance(app: App, call: Call) -> Reply:
    """DELETE featureImportances/{featureImportanceId}; one that is computed is canceled."""
    await app.importances.delete(call.loop.id, await _held(app, call), await app.clock.read())
    return Reply(204)


async def _held(app: App, call: Call) -> FeatureImportance:
    importance_id = id_of(call)
    importance = await resources.get(app.blobs, call.loop.id, FeatureImportance, importance_id)
    if importance is None:
        message = f"There is no feature importance {importance_id[:64]!r}."
        raise ApiError("FeatureImportanceNotFound", message, "featureImportanceId")
    return importance


def _found(importance: FeatureImportance) -> Weighed:
    """What came of it; nothing while it is computed, or where it was not."""
    return msgspec.json.decode(importance.content, type=Weighed | None) or _NOTHING
