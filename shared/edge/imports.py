"""Turns files of past decisions into imports, which a loop learns before its own log; and calls on them."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from shared.app import App
from shared.contract import instants
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.loops import endpoint
from shared.edge.turn import turn
from shared.learning import pointer
from shared.log import imports
from shared.log.imports import Import
from shared.loops.settings import Loop
from shared.warmstart import convert
from shared.warmstart.convert import FORMATS, MAX_TEXT, Converted, File

MOST = 500
"""Imports that a loop may have: their names lie in its settings."""
_PATH = re.compile(r"(?:[A-Za-z0-9_=+-][A-Za-z0-9_.=+-]*/)*[A-Za-z0-9_=+-][A-Za-z0-9_.=+-]*", re.ASCII)
_AT_ONCE = 16
"""Records that are read at the same time."""
_INSTANT = {"format": "date-time"}


class ImportContract(msgspec.Struct, rename={"start": "from", "end": "to", "created": "createdAt"}):
    """Past decisions that a loop learns before its own log."""

    id: str
    source: Annotated[str, Meta(description="What they were read from.")]
    created: Annotated[str, Meta(extra_json_schema=_INSTANT)]
    start: Annotated[str, Meta(description="When the first one was taken.", extra_json_schema=_INSTANT)]
    end: Annotated[str, Meta(description="When the last one was taken.", extra_json_schema=_INSTANT)]
    events: Annotated[int, Meta(description="Decisions that are learned.")]
    skipped: Annotated[int, Meta(description="Lines without anything to learn: never activated, or held back.")]
    refused: Annotated[int, Meta(description="Lines that could not be taken.")]
    problems: Annotated[list[str], Meta(description="What was wrong with the first few, by their number.")]


class ImportList(msgspec.Struct):
    """The imports of a loop, in the order in which they are learned."""

    value: Annotated[list[ImportContract], Meta(max_length=MOST)]


async def create_import(app: App, call: Call) -> Reply:
    """POST rankloop/v1/imports: the loop builds a new model, of the import and its own log."""
    form, path = call.query.get("format", ""), call.query.get("path", "")
    if form not in FORMATS:
        message = f"format must be one of {', '.join(FORMATS)}; it is {form[:64]!r}."
        raise ApiError("BadRequest", message, "format")
    if bool(call.body) is bool(path):
        raise ApiError("BadRequest", "Send the file as the body, or name it in the query's path: one of both.", "path")
    loop = await app.loops.by_id(call.loop.id)  # as it is now: the lines are to fit its policy
    data = await _stored(app, loop.id, path) if path else call.body
    await app.clock.ensure()
    created = app.clock.now()
    digest = await asyncio.to_thread(imports.digest_of, data, form)
    until = time.monotonic() + convert.PATIENCE
    async with turn(app.trying):  # one at a time: a file may be large, and takes a process
        record = await imports.made_of(app.blobs, loop.id, digest)
        if record is None:
            found = await convert.run(_file(loop, data, form, created), until - time.monotonic())
            record = await _written(app, loop.id, found, digest, f"{form}, {path or 'uploaded'}", created)
    await app.loops.change(call.name, lambda held: _with(held, record.id))
    # It may be one that a model which was deleted, or replaced by one from outside, had learned.
    await pointer.change(app.blobs, loop.id, lambda held: held.wanting(record.id))
    app.counters.add("imports.events", record.events)
    place = f"{endpoint(call, call.name)}/rankloop/v1/imports/{record.id}"
    return reply_json(_shown(record), 201, {"Location": place})


async def _written(app: App, loop_id: str, found: Converted, digest: str, source: str, created: float) -> Import:
    """The import of what a file holds: a new one, unless another call has made it meanwhile, or an earlier release."""
    if not found.events:
        told = f": {found.problems[0]}" if found.problems else "."
        raise ApiError("InvalidRequest", f"The file holds nothing that this loop could learn{told}", "body")
    for same in (await imports.made_of(app.blobs, loop_id, digest), await imports.find(app.blobs, loop_id, found.name)):
        if same is not None:
            return same
    record = Import(
        imports.named(found.first, digest),
        source,
        created,
        found.first,
        found.last,
        found.events,
        found.skipped,
        found.refused,
        found.problems,
    )
    return await imports.write(app.blobs, loop_id, record, found.parts)


async def list_imports(app: App, call: Call) -> Reply:
    """GET rankloop/v1/imports."""
    names, found = sorted(call.loop.imports), list[Import | None]()
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        found += await asyncio.gather(*(imports.find(app.blobs, call.loop.id, name) for name in some))
    return reply_json(ImportList([_shown(record) for record in found if record is not None]))


async def get_import(app: App, call: Call) -> Reply:
    """GET rankloop/v1/imports/{importId}."""
    return reply_json(_shown(await _found(app, call)))


async def delete_import(app: App, call: Call) -> Reply:
    """DELETE rankloop/v1/imports/{importId}: the loop builds a new model without it."""
    record = await _found(app, call)
    await app.loops.change(call.name, lambda loop: replace(loop, imports=loop.imports - {record.id}))
    await imports.delete(app.blobs, call.loop.id, record.id)
    return Reply(204)


async def _found(app: App, call: Call) -> Import:
    record = await imports.find(app.blobs, call.loop.id, call.id)
    if record is None:
        raise ApiError("ResourceNotFound", f"There is no import with the id {call.id[:64]!r}.")
    return record


async def _stored(app: App, loop_id: str, path: str) -> bytes:
    """The file at a path that somebody has put beside what the loop stores."""
    if not _PATH.fullmatch(path):
        message = "path must be made of letters, digits and _.=+- between slashes, and no part may begin with a dot."
        raise ApiError("BadRequest", message, "path")
    whole = imports.incoming(loop_id) + path
    size = (await app.blobs.sizes(whole)).get(whole)
    if size is None:
        message = f"Nothing is stored at {whole}, in the container that the loops are stored in."
        raise ApiError("ResourceNotFound", message, "path")
    if size > MAX_TEXT:
        raise ApiError("PayloadSizeExceeded", f"The file has {size} bytes: import at most {MAX_TEXT} at once.", "path")
    blob = await app.blobs.get(whole)
    return b"" if blob is None else blob.data


def _file(loop: Loop, data: bytes, form: str, now: float) -> File:
    held = loop.configuration
    return File(
        data,
        cast(Any, form),
        loop.policy.arguments,
        held.reward_wait_time,
        held.default_reward,
        held.reward_aggregation,
        held.reward_range,
        loop.limits.most_actions,
        now,
    )


def _with(loop: Loop, name: str) -> Loop:
    if len(loop.imports | {name}) > MOST:
        raise ApiError("InvalidRequest", f"A loop has {MOST} imports at most: delete some first.")
    return replace(loop, imports=loop.imports | {name})


def _shown(record: Import) -> ImportContract:
    return ImportContract(
        record.id,
        record.source,
        instants.spell(record.created),
        instants.spell(record.first),
        instants.spell(record.last),
        record.events,
        record.skipped,
        record.refused,
        record.problems,
    )
