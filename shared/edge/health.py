"""Turns what storage and this process hold into the state of a loop's log and model."""

from __future__ import annotations

import asyncio
import logging

from shared.access.roles import Role
from shared.app import App
from shared.edge.calls import Call, Reply, reply_json
from shared.health import examined
from shared.health.examined import Examined
from shared.health.findings import findings
from shared.learning import pointer as pointers
from shared.learning.pointer import Pointer
from shared.log import checkpoint as checkpoints
from shared.log import hours
from shared.log.checkpoint import Checkpoint
from shared.log.hours import Progress
from shared.loops.settings import Loop
from shared.storage import StorageError

log = logging.getLogger("rankloop.health")

_PATIENCE = 1.0
"""Seconds that health waits for storage; it is asked for when storage is in trouble."""


async def get_health(app: App, call: Call) -> Reply:
    """GET rankloop/v1/health: how far the join and the model are, and what this instance has counted."""
    loop = call.loop
    pointer: Pointer | None = None
    checkpoint: Checkpoint | None = None
    written: Progress | None = None
    seen: Examined | None = None
    try:
        async with asyncio.timeout(_PATIENCE):
            pointer, _ = await pointers.read(app.blobs, loop.id)
            checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
            written, _ = await hours.load(app.blobs, loop.id)
            seen, _ = await examined.load(app.blobs, loop.id)
    except (StorageError, TimeoutError) as e:
        log.warning("health is told without what storage holds: %s", e or "it does not answer")
    version, course = (pointer.serving, pointer.course) if pointer else (None, None)
    held = course.held_back if course else None
    return reply_json(
        {
            "time": app.clock.now(),
            "loopId": loop.id,
            "learningMode": loop.configuration.learning_mode,
            "rewardWaits": [{"from": since, "seconds": wait} for since, wait in loop.waits.steps],
            "storageAnswers": checkpoint is not None,
            "joinedThrough": checkpoint.watermark if checkpoint else None,
            "joinedEvents": checkpoint.events if checkpoint else None,
            "rewardedEvents": checkpoint.rewarded if checkpoint else None,
            "repeatedEvents": checkpoint.retries if checkpoint else None,
            "inactiveEvents": checkpoint.inactive if checkpoint else None,
            "emptySlots": checkpoint.empty_slots if checkpoint else None,
            "hoursThrough": written.through if written else None,
            "lateRewards": written.late if written else None,
            "unknownRewards": written.unknown if written else None,
            "erasuresInForce": len(checkpoint.erasures) if checkpoint else None,
            "modelVersion": version.version if version and not version.blank else None,
            "modelEvents": (version.events if version else 0) if checkpoint else None,
            "modelReward": version.reward if version else None,
            "trainedThrough": (version.trained_through if version else 0) if checkpoint else None,
            **_examined(app, loop, seen, checkpoint, pointer),
            "modelPinned": (course.pinned if course else False) if checkpoint else None,
            "learnedThrough": (pointer.head.trained_through if pointer else 0) if checkpoint else None,
            "heldBackVersion": held.version if held else None,
            "heldBackReason": held.held if held else None,
            **(_instance(app) if call.roles & Role.OWNER else {}),
        }
    )


def _examined(
    app: App, loop: Loop, held: Examined | None, checkpoint: Checkpoint | None, pointer: Pointer | None
) -> dict[str, object]:
    """What was found in the log; null where storage is silent."""
    if held is None or checkpoint is None:
        return {"examined": None, "findings": None}
    held = held.of(checkpoint.generation)
    whole, trained = held.whole, pointer.head.trained_through if pointer else 0
    return {
        "examined": {"from": whole.start, "through": held.through, "events": whole.events, "of": whole.lines},
        "findings": findings(held, trained, app.clock.now(), loop.configuration.model_export_frequency),
    }


def _instance(app: App) -> dict[str, object]:
    """What this process holds and has counted, over all loops: for their owner alone."""
    return {"waitingBytes": app.journal.waiting, "counters": app.counters.snapshot()}
