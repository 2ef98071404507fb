"""Turns a deployment into one that has kept something for too long, which retention is to delete."""

import contextlib

import msgspec

from shared.learning import thinning
from shared.log import checkpoint as checkpoints
from shared.log import joined, retention, rows, series
from shared.log.day import MinuteDay
from shared.log.joined import Window
from shared.log.records import Observed, encode_observed
from shared.loops import deployment as deployments
from shared.loops.loops import DEFAULT
from shared.storage import Conflict
from shared.storage.azure import AzureStorage

LONG_AGO = 1_577_836_800
"""A day that no loop keeps: what it holds is for retention."""


async def leave_something_old(storage: str) -> None:
    """Put rows and blobs into the default loop that it has kept for too long."""
    async with AzureStorage(storage) as azure:
        deployment = await azure.blobs.get(deployments.DEPLOYMENT)
        if deployment is None:
            return
        loop_id = deployments.decode(deployment.data).loops[DEFAULT]
        line = encode_observed(Observed("of long ago", LONG_AGO + 1.0, "r", 1.0, None, "q"))
        # Or it would be moved once, perhaps while nobody kills.
        await azure.blobs.delete(thinning.progress_path(loop_id))
        checkpoint, etag = await checkpoints.load(azure.blobs, loop_id)
        if checkpoint.since:  # retention moves that once a day: here, again
            checkpoint = msgspec.structs.replace(checkpoint, since=LONG_AGO + retention.DAY)
            with contextlib.suppress(Conflict):
                await checkpoints.save(azure.blobs, loop_id, checkpoint, etag)
        await joined.write(azure.blobs, loop_id, Window(LONG_AGO, LONG_AGO + 5), joined.OBSERVATIONS, [line])
        with contextlib.suppress(Conflict):
            await azure.blobs.put(series.path(loop_id, LONG_AGO, MinuteDay), b"old")
        for stream in ("rank", "obs"):
            table = rows.table_name(stream, loop_id, "20200101")
            await azure.tables.put(table, {"PartitionKey": f"00_{LONG_AGO}", "RowKey": "w"})
            path = f"journal/{table}/00_{LONG_AGO}/w"
            blob = await azure.blobs.get(path)
            with contextlib.suppress(Conflict):  # it is being deleted
                await azure.blobs.put(path, b"old", blob.etag if blob else None)
