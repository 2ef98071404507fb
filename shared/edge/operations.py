"""Turns calls into answers: each operation of the API as one function over the app, and the table of their paths."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.app import App
from shared.contract.errors import ApiError
from shared.contract.requests import check_event_id, reward_request
from shared.learning import registry
from shared.learning.registry import Version
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.records import event_key
from shared.loops import service
from shared.loops.policy import policy_contract
from shared.storage import StorageError

log = logging.getLogger("rankloop.health")

_HEALTH_PATIENCE = 1.0
"""Seconds that health waits for storage; it is asked for when storage is in trouble."""
REQUEST_ID = "x-ms-client-request-id"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, after its path was taken apart.

    Attributes:
        loop: the loop's name.
        body: the request body.
        headers: by lower-case name.
        event_id: from the path, decoded; empty where the operation has none.
    """

    loop: str
    body: bytes
    headers: Mapping[str, str]
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: status, JSON body (empty for none) and headers."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Operation = Callable[[App, Call], Awaitable[Reply]]


async def rank(app: App, call: Call) -> Reply:
    """POST rank: contract 1.4, 5.3."""
    loop = await app.loops.named(call.loop)
    answer = await app.ranker.rank(loop, call.body)
    headers = {"csp-billing-usage": "CognitiveServices.Personalizer.Transaction=1"}  # contract 5.3
    if not answer.durable:
        headers["x-rankloop-log"] = "pending"
    return Reply(201, answer.body, headers)


async def reward(app: App, call: Call) -> Reply:
    """POST events/{eventId}/reward: contract 5.1."""
    check_event_id(call.event_id, "InvalidRewardRequest")
    value = reward_request(call.body)
    loop = await app.loops.named(call.loop)
    await app.observer.observe(loop.id, loop.waits, call.event_id, "r", value, call.headers.get(REQUEST_ID))
    return Reply(204)


async def activate(app: App, call: Call) -> Reply:
    """POST events/{eventId}/activate: contract 5.1."""
    check_event_id(call.event_id, "InvalidEventIdToActivate")
    loop = await app.loops.named(call.loop)
    await app.observer.observe(loop.id, loop.waits, call.event_id, "a", 0.0, call.headers.get(REQUEST_ID))
    return Reply(204)


async def get_service_configuration(app: App, call: Call) -> Reply:
    """GET configurations/service: contract 3.1."""
    loop = await app.loops.named(call.loop)
    return _json(loop.configuration.to_api())


async def put_service_configuration(app: App, call: Call) -> Reply:
    """PUT configurations/service: contract 3.1."""
    loop = await app.loops.configure(call.loop, lambda held: service.put(call.body, held))
    return _json(loop.configuration.to_api())


async def get_policy(app: App, call: Call) -> Reply:
    """GET configurations/policy: contract 3.2."""
    loop = await app.loops.named(call.loop)
    return _json(policy_contract(loop.id))


async def get_model_properties(app: App, call: Call) -> Reply:
    """GET model/properties: contract 1.4; a loop without a model answers the year 1."""
    loop = await app.loops.named(call.loop)
    version, _ = await registry.current(app.blobs, loop.id)
    return _json(registry.properties(version))


async def get_health(app: App, call: Call) -> Reply:
    """GET rankloop/v1/health: how far the join and the model are, and what this instance has counted."""
    loop = await app.loops.named(call.loop)
    version: Version | None = None
    checkpoint: Checkpoint | None = None
    try:
        async with asyncio.timeout(_HEALTH_PATIENCE):
            version, _ = await registry.current(app.blobs, loop.id)
            checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
    except (StorageError, TimeoutError) as e:
        log.warning("health is told without what storage holds: %s", e or "it does not answer")
    return _json(
        {
            "time": app.clock.now(),
            "loopId": loop.id,
            "rewardWaits": [{"from": since, "seconds": wait} for since, wait in loop.waits.steps],
            "storageAnswers": checkpoint is not None,
            "joinedThrough": checkpoint.watermark if checkpoint else None,
            "joinedEvents": checkpoint.events if checkpoint else None,
            "rewardedEvents": checkpoint.rewarded if checkpoint else None,
            "repeatedEvents": checkpoint.retries if checkpoint else None,
            "inactiveEvents": checkpoint.inactive if checkpoint else None,
            "modelVersion": version.version if version else None,
            "modelEvents": (version.events if version else 0) if checkpoint else None,
            "modelReward": version.reward if version else None,
            "trainedThrough": (version.trained_through if version else 0) if checkpoint else None,
            "waitingBytes": app.journal.waiting,
            "counters": app.counters.snapshot(),
        }
    )


def _json(value: Any) -> Reply:
    return Reply(200, orjson.dumps(value))


PERSONALIZER: dict[tuple[str, str], Operation] = {
    ("POST", "rank"): rank,
    ("POST", "events/{eventId}/reward"): reward,
    ("POST", "events/{eventId}/activate"): activate,
    ("GET", "configurations/service"): get_service_configuration,
    ("PUT", "configurations/service"): put_service_configuration,
    ("GET", "configurations/policy"): get_policy,
    ("GET", "model/properties"): get_model_properties,
}
"""Operations below `personalizer/v1.0/`."""
RANKLOOP: dict[tuple[str, str], Operation] = {("GET", "health"): get_health}
"""Operations below `rankloop/v1/`."""
_TABLES = {("personalizer", "v1.0"): PERSONALIZER, ("rankloop", "v1"): RANKLOOP}
_EVENT = re.compile(r"events/(.*)/(reward|activate)/?", re.DOTALL | re.IGNORECASE)


def find(method: str, path: str) -> tuple[Operation, str]:
    """The operation of a path, and the event id in it.

    Args:
        method: in upper case.
        path: below the host, without a leading slash. An event id in it may hold slashes: it is all but the known
            first and last segments (docs/adr/0005).

    Raises:
        ApiError: ResourceNotFound.
    """
    area, _, rest = path.partition("/")
    version, _, rest = rest.partition("/")
    table = _TABLES.get((area.lower(), version.lower()), {})
    if event := _EVENT.fullmatch(rest):
        operation = table.get((method, f"events/{{eventId}}/{event[2].lower()}"))
        if operation is not None:
            return operation, event_key(event[1])
    operation = table.get((method, rest.lower().rstrip("/")))
    if operation is not None:
        return operation, ""
    raise ApiError("ResourceNotFound", f"There is no operation {method} {path[:256]}.")
