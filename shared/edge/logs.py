"""Turns log calls into the span of the joined log, and into its end (contract 5.8)."""

from __future__ import annotations

import asyncio

from shared.app import App
from shared.contract.errors import ApiError
from shared.edge.calls import Call, Reply, reply_json
from shared.log import retention

_CLOCK_ERROR = 0.1
"""Seconds by which two instances differ at most in what they take for the storage's time."""


async def get_log_properties(app: App, call: Call) -> Reply:
    """GET logs/properties: the days of the first and the last joined event; nothing where there is none."""
    return reply_json(await retention.properties(app.blobs, call.loop.id))


async def delete_logs(app: App, call: Call) -> Reply:
    """DELETE logs: the joined log goes, and what is not joined yet is not learned."""
    counts_from = await retention.clear(app.blobs, call.loop.id, await app.clock.read())
    app.counters.add("log.cleared")
    # Answered when the bucket is over that was given up, 5 s at most: what comes after the answer must count.
    await asyncio.sleep(counts_from - app.clock.now() + _CLOCK_ERROR)
    return Reply(204)


async def upload(app: App, call: Call) -> Reply:
    """POST logs/interactions and logs/observations: what local inference uploads, which Rankloop does not take."""
    raise ApiError("InvalidApiAccess", "Uploading logs of local inference is disabled: call rank and reward instead.")
