"""Loops that wait long, on Azurite: slices, their mail, and windows read by range, killed and raced on the way."""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import suppress

from localhost.azurite import Azurite
from shared.counters import Counters
from shared.log import activity, joined, retention, slices
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits, bucket_of
from shared.log.join import LoopRules
from shared.log.joiner import Joiner
from shared.storage.azure import AzureStorage
from tests.journalled import T0, Obs, Rank, WatchedBlobs, WatchedTables, journal
from tests.unit.log.test_router import expected, history

WAITS = Waits(((0, 600.0), (bucket_of(T0 + 1000), 100_000.0), (bucket_of(T0 + 5000), 5.0)))
LAST = T0 + 250_000.0


async def test_slices_and_windows_are_the_same_on_a_real_storage(azurite: Azurite) -> None:
    loop = LoopRules(uuid.uuid4().hex, WAITS, 0.0, "sum", (-1.0, 1.0))
    chance = random.Random(3)
    records = history(chance, WAITS, 6000, 50)
    killed = 0

    async def gate(name: str, done: bool) -> None:
        if chance.random() < 0.003:
            raise OSError("killed")

    async with AzureStorage(azurite.connection_string) as storage:
        counters = Counters()
        await journal(storage.tables, records, WAITS, loop_id=loop.loop_id)
        watched = WatchedTables(storage.tables, gate), WatchedBlobs(storage.blobs, gate)

        async def run(now: float) -> None:
            spans = (await activity.noted(storage.tables)).get(loop.loop_id, [])
            await Joiner(*watched, counters).run(loop, spans, now)

        now = float(T0)
        while now < LAST:
            now += chance.uniform(10_000, 60_000)
            for outcome in await asyncio.gather(run(now), run(now), return_exceptions=True):
                if isinstance(outcome, OSError):
                    killed += 1
                elif outcome is not None:
                    raise outcome
        for _ in range(200):
            if loop.loop_id not in await activity.noted(storage.tables):
                break
            with suppress(OSError):
                await run(LAST + 86_400)

        assert killed
        assert counters["join.slices"] >= 5
        events = 0
        for window in await joined.windows(storage.blobs, loop.loop_id, 0, 2**33):
            lines = await joined.read(storage.blobs, loop.loop_id, window)
            assert lines == expected(records, loop, window)
            events += len(lines)
        assert events == (await checkpoints.load(storage.blobs, loop.loop_id))[0].events
        assert events >= len({r.id for r in records if isinstance(r, Rank)})
        kept = [
            line
            for window in await joined.windows(storage.blobs, loop.loop_id, 0, 2**33, joined.OBSERVATIONS)
            for line in await joined.read_whole(storage.blobs, loop.loop_id, window, joined.OBSERVATIONS)
        ]
        assert sorted(kept) == sorted(r.line() for r in records if isinstance(r, Obs))
        await retention.expire(storage.tables, storage.blobs, loop.loop_id, -1, False, LAST + 2 * 86_400)
        assert await storage.blobs.names(slices.folder(loop.loop_id)) == []
