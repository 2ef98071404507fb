"""Turns a method and a path into the route that they name: the table of all operations, and the way through it.

The Functions app registers catch-alls and leads every call here; the API's description is made from the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared.access.roles import Role
from shared.contract.configurations import SERVICE_CONFIGURATIONS, PolicyContract
from shared.contract.errors import ApiError
from shared.contract.evaluations import EVALUATION_CONTRACTS, FeatureImportanceContract, PolicyReferenceContract
from shared.contract.requests import MultiSlotRankRequest, MultiSlotRewardRequest, RankRequest, RewardRequest
from shared.contract.versions import ALL, BEFORE_2022, FROM_P1, FROM_P2, FROM_P3, IN_PATH, ONLY_2022, Version
from shared.edge import (
    access,
    action_metrics,
    apprentice,
    configurations,
    erasures,
    evaluations,
    events,
    features,
    health,
    holdback,
    importances,
    imports,
    jobs,
    limits,
    logs,
    loops,
    metrics,
    models,
    recent,
    reports,
    runs,
    status,
    stories,
    versions,
)
from shared.edge.calls import Operation
from shared.loops.loops import DEFAULT

MAX_UPLOAD = 100 * 1024 * 1024
"""Bytes of a binary body at most: what a deployed Functions host takes."""
CALL, READ, MANAGE, OWNER = Role.CALL, Role.READ, Role.MANAGE, Role.OWNER


@dataclass(frozen=True, slots=True)
class Route:
    """An operation and where it is found.

    Attributes:
        method: in upper case.
        path: below `personalizer/<version>/` or `rankloop/v1/`; an id in braces may hold slashes.
        operation: what answers.
        role: what the caller must hold.
        versions: of Personalizer's API that have it; none for Rankloop's own.
        body: the type of the body, for its description and its size: by version where versions differ, `bytes` for any,
            None for no body. The operation decodes it.
    """

    method: str
    path: str
    operation: Operation
    role: Role
    versions: tuple[Version, ...] = ()
    body: Any = None


PERSONALIZER = (
    Route("POST", "rank", events.rank, CALL, ALL, RankRequest),
    Route("POST", "events/{eventId}/reward", events.reward, CALL, ALL, RewardRequest),
    Route("POST", "events/{eventId}/activate", events.activate, CALL, ALL),
    Route("POST", "multislot/rank", events.rank_slots, CALL, FROM_P1, MultiSlotRankRequest),
    Route("POST", "multislot/events/{eventId}/reward", events.reward_slots, CALL, FROM_P1, MultiSlotRewardRequest),
    Route("POST", "multislot/events/{eventId}/activate", events.activate_slots, CALL, FROM_P1),
    Route("GET", "configurations/service", configurations.get_service_configuration, READ, ALL),
    Route(
        "PUT", "configurations/service", configurations.put_service_configuration, MANAGE, ALL, SERVICE_CONFIGURATIONS
    ),
    Route("GET", "configurations/policy", configurations.get_policy, READ, ALL),
    Route("PUT", "configurations/policy", configurations.put_policy, MANAGE, ALL, PolicyContract),
    Route("DELETE", "configurations/policy", configurations.delete_policy, MANAGE, ALL),
    Route(
        "POST",
        "configurations/applyFromEvaluation",
        evaluations.apply_from_evaluation,
        MANAGE,
        FROM_P1,
        PolicyReferenceContract,
    ),
    Route("GET", "evaluations", evaluations.list_evaluations, READ, ALL),
    Route("POST", "evaluations", evaluations.create_evaluation, MANAGE, BEFORE_2022, EVALUATION_CONTRACTS),
    Route("GET", "evaluations/{evaluationId}", evaluations.get_evaluation, READ, ALL),
    Route(
        "PUT",
        "evaluations/{evaluationId}",
        evaluations.put_evaluation,
        MANAGE,
        ONLY_2022,
        EVALUATION_CONTRACTS,
    ),
    Route("DELETE", "evaluations/{evaluationId}", evaluations.delete_evaluation, MANAGE, ALL),
    Route("GET", "featureImportances", importances.list_feature_importances, READ, ONLY_2022),
    Route("GET", "featureImportances/{featureImportanceId}", importances.get_feature_importance, READ, ONLY_2022),
    Route(
        "PUT",
        "featureImportances/{featureImportanceId}",
        importances.put_feature_importance,
        MANAGE,
        ONLY_2022,
        FeatureImportanceContract,
    ),
    Route(
        "DELETE", "featureImportances/{featureImportanceId}", importances.delete_feature_importance, MANAGE, ONLY_2022
    ),
    Route("DELETE", "logs", logs.delete_logs, MANAGE, ALL),
    Route("GET", "logs/properties", logs.get_log_properties, READ, ALL),
    Route("POST", "logs/interactions", logs.upload, CALL, FROM_P2, bytes),
    Route("POST", "logs/observations", logs.upload, CALL, FROM_P2, bytes),
    Route("GET", "model", models.get_model, READ, ALL),
    Route("HEAD", "model", models.get_model, READ, ALL),
    Route("PUT", "model", models.put_model, MANAGE, FROM_P3, bytes),
    Route("DELETE", "model", models.delete_model, MANAGE, ALL),
    Route("GET", "model/properties", models.get_model_properties, READ, ALL),
)
"""Personalizer's API: contract 1.3."""
RANKLOOP = (
    Route("GET", "access", access.get_access, READ),
    Route("GET", "health", health.get_health, READ),
    Route("GET", "status", status.get_status, OWNER),
    Route("GET", "features", features.get_features, READ),
    Route("GET", "limits", limits.get_limits, READ),
    Route("PUT", "limits", limits.put_limits, OWNER, body=limits.LimitsContract),
    Route("GET", "holdback", holdback.get_holdback, READ),
    Route("PUT", "holdback", holdback.put_holdback, MANAGE, body=holdback.HoldbackRequest),
    Route("GET", "apprentice", apprentice.get_apprentice, READ),
    Route("GET", "metrics", metrics.get_metrics, READ),
    Route("GET", "metrics/actions", action_metrics.get_action_metrics, READ),
    Route("GET", "events", recent.list_recent, READ),
    Route("GET", "events/{eventId}/explanation", stories.get_explanation, READ),
    Route("GET", "events/{eventId}", stories.get_event, READ),
    Route("GET", "versions", versions.list_versions, READ),
    Route("GET", "versions/{modelVersion}/diff", versions.get_difference, READ),
    Route("GET", "versions/{modelVersion}/model", versions.get_version_model, READ),
    Route("GET", "versions/{modelVersion}", versions.get_version, READ),
    Route("POST", "versions/{modelVersion}/rollback", versions.roll_back, MANAGE),
    Route("PUT", "pin", versions.pin, MANAGE),
    Route("DELETE", "pin", versions.unpin, MANAGE),
    Route("POST", "join", runs.join, MANAGE),
    Route("POST", "train", runs.train, MANAGE),
    Route("GET", "loops", loops.list_loops, OWNER),
    Route("POST", "loops", loops.create_loop, OWNER, body=loops.LoopRequest),
    Route("DELETE", "loops/{loop}", loops.delete_loop, OWNER),
    Route("POST", "keys/{key}", loops.replace_key, OWNER),
    Route("DELETE", "events/{eventId}", erasures.erase_event, MANAGE),
    Route("DELETE", "subjects/{subject}", erasures.erase_subject, MANAGE),
    Route("POST", "imports", imports.create_import, MANAGE, body=bytes),
    Route("GET", "imports", imports.list_imports, READ),
    Route("GET", "imports/{importId}", imports.get_import, READ),
    Route("DELETE", "imports/{importId}", imports.delete_import, MANAGE),
    Route("GET", "featureImportances/{featureImportanceId}", importances.get_importance_report, READ),
    Route("GET", "erasures", erasures.list_erasures, READ),
    Route("GET", "erasures/{erasureId}", erasures.get_erasure, READ),
    Route("GET", "evaluations/{evaluationId}", reports.get_report, READ),
    Route("GET", "jobs", jobs.list_jobs, READ),
    Route("GET", "jobs/{jobId}", jobs.get_job, READ),
    Route("DELETE", "jobs/{jobId}", jobs.cancel_job, MANAGE),
)
"""Rankloop's own API, at `rankloop/v1/`."""


class Found(NamedTuple):
    """What a path names: the loop by name, the API's version, the route, and the id in the path."""

    loop: str
    version: Version
    route: Route
    id: str = ""


class _Table:
    """Routes of one version by method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._holed: list[tuple[Route, str, str]] = []
        for route in routes:
            before, hole, after = route.path.partition("{")
            if hole:
                self._holed.append((route, before.lower(), after.partition("}")[2].lower()))
            else:
                self._exact[route.method, route.path.lower()] = route

    def find(self, method: str, path: str) -> tuple[Route, str] | None:
        """The route of a path, and the id in it: all between the known segments, slashes included (ADR 0005)."""
        exact = self._exact.get((method, path.lower().rstrip("/")))
        if exact is not None:
            return exact, ""
        for route, before, after in self._holed:
            if route.method != method or path[: len(before)].lower() != before:
                continue
            end = len(path)
            if after and path.endswith("/"):
                end -= 1
            last = end - len(after)
            if last >= len(before) and path[last:end].lower() == after:
                return route, path[len(before) : last]
        return None


_PERSONALIZER = {version: _Table(route for route in PERSONALIZER if version in route.versions) for version in Version}
_RANKLOOP = _Table(RANKLOOP)


def find(method: str, path: str, query: Mapping[str, str]) -> Found:
    """What a call names.

    Args:
        method: in upper case.
        path: below the host, decoded, without a leading slash.
        query: the query's parameters; the newest version of the API stands there.

    Raises:
        ApiError: ResourceNotFound, or BadRequest where only the version is missing or unknown.
    """
    loop, rest = DEFAULT, path
    if path[:6].lower() == "loops/":
        loop, _, rest = path[6:].partition("/")
    area, _, rest = rest.partition("/")
    if area.lower() == "rankloop":
        version_text, _, rest = rest.partition("/")
        found = _RANKLOOP.find(method, rest) if version_text.lower() == "v1" else None
        if found is not None:
            return Found(loop, Version.V2022, *found)
    elif area.lower() == "personalizer":
        first, _, below = rest.partition("/")
        in_path = IN_PATH.get(first.lower())
        version = in_path or Version.V2022
        found = _PERSONALIZER[version].find(method, below if in_path else rest)
        if found is not None:
            given = query.get("api-version")
            if in_path is None and given != Version.V2022:
                said = "is missing" if given is None else f"is {given[:64]!r}"
                message = f"The query's api-version must be {Version.V2022.value}; it {said}."
                raise ApiError("BadRequest", message, "api-version")
            return Found(loop, version, *found)
    raise ApiError("ResourceNotFound", f"There is no operation {method} {path[:256]}.")
