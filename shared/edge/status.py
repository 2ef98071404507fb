"""Turns what storage holds of every loop, and what this instance has counted, into how the deployment is."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.app import App
from shared.edge.calls import Call, Reply, reply_json
from shared.health import examined
from shared.health.findings import findings
from shared.learning import pointer as pointers
from shared.learning.trainer import next_export
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.activity import Span
from shared.storage import StorageError

log = logging.getLogger("rankloop.status")

_PATIENCE = 10.0
"""Seconds that are spent on all loops; it is asked for when storage is in trouble."""
_AT_ONCE = 16
"""Loops that are looked at at a time."""
_Seconds = Annotated[float, Meta(ge=0)]


class LoopStatus(msgspec.Struct, rename="camel", omit_defaults=True):
    """How a loop is; only its name and id where storage did not tell in time."""

    name: str
    id: str
    join_lag: Annotated[
        _Seconds | None, Meta(description="Seconds for which events are waiting that the join could have taken.")
    ] = None
    joined_events: int | None = None
    joined_through: Annotated[int | None, Meta(description="In seconds since the epoch.")] = None
    model_version: Annotated[str | None, Meta(description="The one that serves; left out where none does.")] = None
    model_age: Annotated[_Seconds | None, Meta(description="Seconds since that was made.")] = None
    model_late: Annotated[
        _Seconds | None, Meta(description="Seconds for which the next version is due, where there is news to learn.")
    ] = None
    model_pinned: bool | None = None
    findings: Annotated[
        dict[str, int] | None, Meta(description="How many errors, warnings and infos health tells of it.")
    ] = None


class Instance(msgspec.Struct, rename="camel"):
    """What the instance that answered holds, and has counted since it began."""

    waiting_bytes: Annotated[int, Meta(description="That wait for storage.")]
    calls_under_way: int
    counters: dict[str, int]


class DeploymentStatus(msgspec.Struct, rename="camel"):
    """How a deployment is."""

    time: Annotated[float, Meta(description="By the storage's clock, in seconds since the epoch.")]
    storage_answers: Annotated[bool, Meta(description="Whether all that there is to tell of loops could be read.")]
    loops: Annotated[list[LoopStatus], Meta(description="By name.")]
    instance: Instance


async def get_status(app: App, call: Call) -> Reply:
    """GET rankloop/v1/status: all loops at once, for the owner of the deployment."""
    told: dict[str, LoopStatus] = {}
    answers = False
    try:
        async with asyncio.timeout(_PATIENCE):
            ids = await app.loops.ids()
            told = {name: LoopStatus(name, loop_id) for name, loop_id in sorted(ids.items())}
            answers = await _look_at_all(app, told)
    except (StorageError, TimeoutError) as e:
        log.warning("status is told without what storage holds: %s", e or "it does not answer")
    under_way = app.admission.events.taken + app.admission.others.taken
    instance = Instance(app.journal.waiting, under_way, app.counters.snapshot())
    return reply_json(DeploymentStatus(app.clock.now(), answers, list(told.values()), instance))


async def _look_at_all(app: App, told: dict[str, LoopStatus]) -> bool:
    """Fill in what storage tells of loops, which are known by name; whether it told of each."""
    noted, places = await activity.noted(app.tables), asyncio.Semaphore(_AT_ONCE)

    async def look(name: str) -> bool:
        async with places:
            loop_id = told[name].id
            try:
                told[name] = await _look(app, name, loop_id, noted.get(loop_id, []))
            except StorageError as e:  # one loop's trouble is not the others'
                log.warning("the status of loop %s is not told: %s", loop_id, e)
                return False
            return True

    return all(await asyncio.gather(*map(look, told)))


async def _look(app: App, name: str, loop_id: str, spans: list[Span]) -> LoopStatus:
    loop = await app.loops.by_id(loop_id)
    checkpoint, _ = await checkpoints.load(app.blobs, loop_id)
    pointer, _ = await pointers.read(app.blobs, loop_id)
    seen, _ = await examined.load(app.blobs, loop_id)
    now, frequency = app.clock.now(), loop.configuration.model_export_frequency
    serving = pointer.serving if pointer and not pointer.serving.blank else None
    late = 0.0
    if pointer and pointer.head.trained_through < checkpoint.watermark:
        # Since when there is news is seen by the examiner; where it has not looked, nothing is late.
        standing = seen.standing
        since = standing.since if standing and standing.trained_through == pointer.head.trained_through else now
        late = max(0.0, now - max(since, next_export(pointer.head.created, frequency)))
    counted = Counter[str]()
    if seen.generation == checkpoint.generation:  # else it may be of what was erased
        trained = pointer.head.trained_through if pointer else 0
        counted.update(one.severity for one in findings(seen, trained, now, frequency))
    return LoopStatus(
        name,
        loop_id,
        join_lag=activity.overdue(spans, loop.waits, checkpoint.watermark, now),
        joined_events=checkpoint.events,
        joined_through=checkpoint.watermark,
        model_version=serving.version if serving else None,
        model_age=max(0.0, now - serving.created) if serving else None,
        model_late=late,
        model_pinned=pointer.course.pinned if pointer else False,
        findings=dict(counted),
    )
