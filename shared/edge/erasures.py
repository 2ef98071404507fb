"""Turns calls that name an event or a subject into erasures, and erasures into records of what became of them."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract import instants
from shared.contract.errors import ApiError
from shared.contract.requests import check_event_id
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.loops import endpoint
from shared.log import activity, erasures
from shared.log.erasures import Record
from shared.log.records import digest_of, event_key

_CLOCK_ERROR = 0.1
"""Seconds by which two instances differ at most in what they take for the storage's time."""


class RemovedContract(msgspec.Struct):
    """What an erasure has removed."""

    events: Annotated[int, Meta(description="Distinct ones, wherever they stood.")]
    observations: Annotated[int, Meta(description="Rewards and activations, distinct ones, wherever they stood.")]
    windows: Annotated[int, Meta(description="Windows of the joined log that were rewritten or deleted.")]
    rows: Annotated[int, Meta(description="Rows of the journal, and mail of long waits, rewritten or deleted.")]
    hours: Annotated[int, Meta(description="Hours of the log that held any of it.")]


class ErasureContract(msgspec.Struct, rename="camel"):
    """An erasure. It names neither the event nor the subject."""

    id: str
    kind: Literal["event", "subject"]
    status: Annotated[
        Literal["running", "done"],
        Meta(description="Running: hidden from all that reads the log. Done: nothing of it is stored any more."),
    ]
    at: Annotated[
        str, Meta(description="What arrived before this time is erased.", extra_json_schema={"format": "date-time"})
    ]
    removed: RemovedContract
    done_at: Annotated[
        str | msgspec.UnsetType,
        Meta(description="Left out while it is running.", extra_json_schema={"format": "date-time"}),
    ] = msgspec.UNSET


class ErasureList(msgspec.Struct):
    """The newest erasures of a loop, the newest first."""

    value: Annotated[list[ErasureContract], Meta(max_length=erasures.SHOWN)]


async def erase_event(app: App, call: Call) -> Reply:
    """DELETE rankloop/v1/events/{eventId}."""
    event_id = event_key(call.id)
    check_event_id(event_id, "BadRequest")
    return await _erase(app, call, "event", digest_of(event_id).hex())


async def erase_subject(app: App, call: Call) -> Reply:
    """DELETE rankloop/v1/subjects/{subject}."""
    return await _erase(app, call, "subject", await app.subjects.tag(call.loop.id, call.id, "subject"))


async def list_erasures(app: App, call: Call) -> Reply:
    """GET rankloop/v1/erasures."""
    return reply_json(ErasureList([_shown(record) for record in await erasures.newest(app.blobs, call.loop.id)]))


async def get_erasure(app: App, call: Call) -> Reply:
    """GET rankloop/v1/erasures/{erasureId}."""
    record = await erasures.find(app.blobs, call.loop.id, call.id)
    if record is None:
        raise ApiError("ResourceNotFound", f"There is no erasure with the id {call.id[:64]!r}.")
    return reply_json(_shown(record))


async def _erase(app: App, call: Call, kind: Literal["event", "subject"], key: str) -> Reply:
    # An instance whose clock runs ahead has stamped events with a time that storage has yet to reach.
    at = round(await app.clock.read() + _CLOCK_ERROR, 6)
    record = await erasures.ask(app.blobs, call.loop.id, kind, key, at, secrets.token_bytes(8))
    await activity.note_erasure(app.tables, call.loop.id)
    # Answered when that time is over by any instance's clock: what comes after the answer is kept.
    await asyncio.sleep(at - app.clock.now() + _CLOCK_ERROR)
    place = f"{endpoint(call, call.name)}/rankloop/v1/erasures/{record.id}"
    return reply_json(_shown(record), 202, {"Operation-Location": place})


def _shown(record: Record) -> ErasureContract:
    done = msgspec.UNSET if record.done is None else instants.spell(record.done)
    removed = RemovedContract(**msgspec.structs.asdict(record.removed))
    status: Literal["running", "done"] = "running" if record.done is None else "done"
    return ErasureContract(record.id, record.kind, status, instants.spell(record.at), removed, done)
