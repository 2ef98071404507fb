"""Turns records into a joined log in memory and its closed hours, and their files back into rows."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared.counters import Counters
from shared.log import activity, hours, joined, merged, parts
from shared.log import checkpoint as checkpoints
from shared.log.activity import Span
from shared.log.buckets import Waits
from shared.log.hours import Hours, Progress
from shared.log.index import Table
from shared.log.join import LoopRules
from shared.log.joiner import Joiner
from shared.storage import Blobs
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, Gate, Record, WatchedBlobs, journal

HOUR = 3600
DAY = 86_400
MIDNIGHT = 1_700_006_400
WAITS = Waits(((0, 600.0),))


class Hourly:
    """A loop's journal, joined log and hours, and the calls to them."""

    def __init__(self, waits: Waits = WAITS) -> None:
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()
        self.counters = Counters()
        self.rules = LoopRules(LOOP, waits, 0.0, "sum", (-1.0, 1.0))
        self.calls: list[str] = []
        self.gate: Gate | None = None

    async def _pass(self, name: str, done: bool) -> None:
        if not done:
            self.calls.append(name)
        if self.gate is not None:
            await self.gate(name, done)

    def process(self) -> Hours:
        """A fresh process."""
        return Hours(WatchedBlobs(self.blobs, self._pass), self.counters)

    async def spans(self) -> list[Span]:
        return (await activity.noted(self.tables)).get(LOOP, [])

    async def join(self, *records: Record, now: float) -> None:
        """Write records into the journal, and join what is closed."""
        await journal(self.tables, records, self.rules.waits)
        await Joiner(self.tables, self.blobs, self.counters).run(self.rules, await self.spans(), now)

    async def write(self, now: float, idle: bool = True, until: float = math.inf) -> int:
        """Write what is closed in a fresh process, as the sweep does or, where it may not be idle, training."""
        return await self.process().run(self.rules, now, await self.spans() if idle else None, until)

    async def progress(self) -> Progress:
        return (await hours.load(self.blobs, LOOP))[0]

    async def rows(self, table: str) -> list[dict[str, Any]]:
        return await rows(self.blobs, table)

    async def fates(self) -> dict[str, str]:
        return {row["event_id"]: row["fate"] for row in await self.rows(parts.OBSERVATIONS)}

    async def files(self) -> dict[str, bytes]:
        """What was made of hours: files and tables."""
        names = [name for name in await self.blobs.names("") if "/parquet/" in name or "/index/" in name]
        held = {name: await self.blobs.get(name) for name in names}
        return {name: blob.data for name, blob in held.items() if blob}

    async def set(self, **changes: Any) -> None:
        """Change the join's checkpoint."""
        held, etag = await checkpoints.load(self.blobs, LOOP)
        for name, value in changes.items():
            setattr(held, name, value)
        await checkpoints.save(self.blobs, LOOP, held, etag)

    async def lines(self) -> list[bytes]:
        windows = await joined.windows(self.blobs, LOOP, 0, 2**33)
        return [line for window in windows for line in await joined.read(self.blobs, LOOP, window)]

    async def look_up(self, digest: bytes) -> Table:
        held = (await checkpoints.load(self.blobs, LOOP))[0]
        table, unsearched = await merged.look_up(self.blobs, LOOP, digest, held.since, held.watermark)
        assert unsearched == 0
        return table

    async def unindex(self) -> None:
        """Leave the windows as the first release wrote them."""
        for name in await self.blobs.names(joined.log_path(LOOP)):
            if name.endswith(".index"):
                await self.blobs.delete(name)


async def rows(blobs: Blobs, table: str, loop_id: str = LOOP) -> list[dict[str, Any]]:
    """The rows of all of a table's files, in order of their names."""
    found: list[dict[str, Any]] = []
    for name in await blobs.names(parts.folder(loop_id, table)):
        blob = await blobs.get(name)
        assert blob is not None
        found += read(blob.data).to_pylist()
    return found


def read(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def names(files: Sequence[str]) -> list[str]:
    """The files less the loop's folder."""
    return [name.removeprefix(f"loops/{LOOP}/") for name in files]
