"""Turns model calls into the loop's model file, signed or not, and a signed file into the model that serves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

from shared.app import App
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply, reply_json
from shared.edge.turn import turn
from shared.learning import pointer, registry, signed, trial
from shared.learning.model import ModelError
from shared.learning.registry import Version
from shared.log import checkpoint as checkpoints
from shared.loops import policy
from shared.loops.policy import Policy
from shared.loops.settings import Loop

_BINARY = "application/octet-stream"


async def get_model(app: App, call: Call) -> Reply:
    """GET and HEAD model: the file that serves, or with `signed=true` a zip that vouches for it (contract 5.7)."""
    wanted = call.query.get("signed", "false").lower()
    if wanted not in ("true", "false"):
        raise ApiError("BadRequest", f"signed must be true or false; it is {wanted[:64]!r}.", "signed")
    version, _ = await registry.current(app.blobs, call.loop.id)
    if version is None or version.blank:
        raise ApiError("ResourceNotFound", "The loop has no model yet: nothing has been learned.")
    data = await registry.load(app.blobs, call.loop.id, version)
    if wanted == "true":
        signer = await app.signer()
        if signer is None:
            raise ApiError("InvalidApiAccess", "This deployment cannot sign models: set RANKLOOP_SIGNING_KEY.")
        return model_file(await asyncio.to_thread(signed.pack, data, signer), version, "model.vw.zip")
    return model_file(data, version)


def model_file(data: bytes, version: Version, name: str = "model.vw") -> Reply:
    """The answer that holds a version as a file.

    Args:
        data: the file.
        version: of which it is.
        name: the file's.
    """
    headers = {
        "Content-Disposition": f"attachment; filename={name}",
        "Last-Modified": format_datetime(datetime.fromtimestamp(int(version.created), UTC), usegmt=True),
    }
    return Reply(200, data, headers, _BINARY)


async def put_model(app: App, call: Call) -> Reply:
    """PUT model: a signed zip becomes the model that serves and learns on (contract 5.7)."""
    loop = await app.loops.by_id(call.loop.id)  # as it is now: the model joins the lineage of its policy
    async with turn(app.trying):  # one at a time: a model may be large, and its trial takes a process
        model = await asyncio.to_thread(signed.unpack, call.body, await app.signer(), app.trusted_signers)
        made_with = await _tried(model, loop)
    checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
    await app.clock.ensure()
    lineage, now = loop.learned.lineage, app.clock.now()
    await pointer.install(
        app.blobs, loop.id, model, made_with.training, lineage, checkpoint.watermark, now, loop.imports
    )
    await app.models.renew(loop.id)
    app.counters.add("model.imported")
    return Reply(204)


async def _tried(model: bytes, loop: Loop) -> Policy:
    """The policy that a model from outside was made with, once it is known to serve and learn in the loop."""
    own = loop.learned
    try:
        found = await trial.run(own.training, own.resuming, "", loop.multi_slot, model)
        return policy.of_model(found)
    except (ModelError, ApiError) as e:
        message = f"The model cannot serve this loop, whose policy is {own.arguments}: {e}"
        raise ApiError("InvalidModelImportFormat", message[:500]) from e


async def delete_model(app: App, call: Call) -> Reply:
    """DELETE model: the loop forgets what it has learned; what is joined from now on is learned anew."""
    loop = await app.loops.by_id(call.loop.id)  # as it is now: an import just before is deleted with the model
    checkpoint, _ = await checkpoints.load(app.blobs, loop.id)
    await app.clock.ensure()
    await pointer.reset(app.blobs, loop.id, checkpoint.watermark, app.clock.now(), loop.imports)
    await app.models.renew(loop.id)
    app.counters.add("model.deleted")
    return Reply(204)


async def get_model_properties(app: App, call: Call) -> Reply:
    """GET model/properties: contract 1.4; a loop without a model answers the year 1."""
    version, _ = await registry.current(app.blobs, call.loop.id)
    return reply_json(registry.properties(version))
