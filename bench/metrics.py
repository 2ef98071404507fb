"""What a month of charts costs to read: storage reads and bytes, for loops that had something in each minute of it.

The days are made by the code that makes them as a loop is joined, of sums that vary as those of real rewards would, and
read by the API's own operation. The baseline of the time is orjson writing the same answer.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import orjson

from shared.app import App
from shared.config import Config
from shared.counters import Counters
from shared.edge.calls import Call
from shared.edge.metrics import MOST_POINTS, get_metrics
from shared.log import checkpoint as checkpoints
from shared.log.answers import KINDS, OUTCOMES
from shared.log.checkpoint import Checkpoint
from shared.log.day import DAY, MinuteDay
from shared.log.minutes import COUNTS, SUMS, Part
from shared.log.series import Ahead, Series
from shared.storage import Blob, Row
from shared.storage.memory import MemoryBlobs, MemoryTables

T0 = 1_699_920_000
"""A midnight."""
DAYS = 32
NOW = float(T0 + 31 * DAY + DAY // 2)
WATCHED = ("apprentice", "imitated", "apprenticeRewards", "imitatedRewards")
HELD = ("held", "heldRewards", "heldSquares")
Draw = Callable[[random.Random], float]
LOOPS: dict[str, tuple[Draw, tuple[str, ...]]] = {
    # what a minute's sums are, and the measures that are not there
    "clicks: rewards of 0 or 1": (lambda r: float(r.randrange(200)), (*WATCHED, *HELD)),
    "sums of real numbers": (lambda r: r.gauss(60.0, 15.0), (*WATCHED, *HELD)),
    "the same with a holdback: every measure that a loop can have at once": (lambda r: r.gauss(60.0, 15.0), WATCHED),
}


class Counted(MemoryBlobs):
    """Blobs that count how often, and how much, is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.bytes = 0

    async def get(self, path: str) -> Blob | None:
        """See `Blobs.get`."""
        blob = await super().get(path)
        self.reads[path.rpartition("/")[2].rpartition(".")[2]] += 1
        self.bytes += len(blob.data) if blob else 0
        return blob


async def month(draw: Draw, without: tuple[str, ...]) -> tuple[Counted, App, Call]:
    """An app with a loop that had traffic in each minute of a month."""
    blobs, tables, counters = Counted(), MemoryTables(lambda: NOW), Counters()
    app = App(Config("", ""), tables, blobs)
    app.clock.local = lambda: NOW
    loop = await app.loops.named("default")
    series, chance = Series(blobs, counters), random.Random(3)
    measures = [name for name in (*COUNTS, *SUMS) if name not in without]
    for n in range(DAYS):
        start = T0 + n * DAY
        minutes = [minute for minute in range(start, start + DAY, 60) if minute < NOW]
        sums = {
            name: [float(chance.randrange(1, 200)) if name in COUNTS else draw(chance) for _ in minutes]
            for name in measures
        }
        await series.fold(loop.id, Ahead(Part(start + DAY, minutes, sums)), 0)
        await series.change(loop.id, start, lambda day: _called(day, chance))
    await checkpoints.save(blobs, loop.id, Checkpoint(watermark=int(NOW)), None)
    for minute in range(int(NOW) - 4800, int(NOW), 60):  # two processes' calls that no day has yet
        for writer in "ab":
            counts = {f"{kind}_{outcome}": chance.randrange(1, 200) for kind in KINDS for outcome in OUTCOMES}
            row: Row = {"PartitionKey": f"{minute:010d}", "RowKey": writer, "format": 1, **counts}
            await tables.put(f"calls{loop.id}20231215", row)
    await app.clock.ensure()
    blobs.reads.clear()
    blobs.bytes = 0
    query = {"from": "2023-11-14T12:00:00Z", "to": "2023-12-15T12:00:00Z"}
    return blobs, app, Call(loop, "default", b"", {}, query=query)


def _called(day: MinuteDay, chance: random.Random) -> bool:
    for kind in KINDS[:2]:
        for n in range(1440):
            day.column(f"{kind}.ok")[n] = chance.randrange(1, 200)
    day.calls = day.start + DAY - (4800 if day.start + DAY > NOW else 0)
    return True


async def measure(draw: Draw, without: tuple[str, ...]) -> tuple[int, int, int, int, float]:
    """Reads, bytes read, bytes answered and compressed, and the time it takes / that of orjson writing the answer."""
    blobs, app, call = await month(draw, without)
    packed = await get_metrics(app, replace(call, headers={"accept-encoding": "gzip"}))
    blobs.reads.clear()
    blobs.bytes = 0
    reply = await get_metrics(app, call)
    reads = sum(blobs.reads.values()) + 2  # a page of the calls of today, and one of yesterday
    assert set(blobs.reads) == {"minutes", "json"}, "the log was read"
    read, told = blobs.bytes, orjson.loads(reply.body)
    assert told["count"] == MOST_POINTS
    assert min(told["series"]["events"]) > 0
    ratios = []
    for _ in range(5):
        started = time.process_time()
        await get_metrics(app, call)
        taken, started = time.process_time() - started, time.process_time()
        orjson.dumps(told)
        ratios.append(taken / (time.process_time() - started))
    return reads, read, len(reply.body), len(packed.body), statistics.median(ratios)


def main() -> None:
    """Print what it costs."""
    print(f"A month of minutes ({MOST_POINTS:,} of them, in {DAYS} days):")
    for what, (draw, without) in LOOPS.items():
        reads, read, answered, packed, ratio = asyncio.run(measure(draw, without))
        print(f"  {what}:")
        print(f"    {reads} reads  (goal at most 35), {read / 1e6:.2f} MB  (goal at most 2)")
        told = f"{answered / 1e6:.1f} MB, {packed / 1e6:.1f} MB compressed"
        print(f"    an answer of {told}, in {ratio:.1f}x the time of orjson writing the same")


if __name__ == "__main__":
    main()
