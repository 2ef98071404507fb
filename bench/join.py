"""The join: events a second, memory over a long log, how often rows are read, and catching up after a day off.

`python -m bench.join memory` is the process whose memory is measured; `python -m bench join` runs it all.
"""

from __future__ import annotations

import asyncio
import math
import resource
import statistics
import subprocess
import sys
import time

import orjson

from bench.traffic import LOOP, T0, Journal, Traffic
from localhost.azurite import Azurite
from shared.counters import Counters
from shared.health.examiner import Examiner
from shared.learning import registry
from shared.learning.lesson import Job
from shared.learning.trainer import Trainer
from shared.log import activity
from shared.log.buckets import day_of
from shared.log.join import LoopRules
from shared.log.joiner import Joiner
from shared.log.records import ONLINE
from shared.log.rows import lines, table_name
from shared.storage import Blobs, Tables
from shared.storage.azure import AzureStorage
from shared.storage.memory import MemoryBlobs

LATER = 200 * 86_400.0
DAY = 86_400.0
WAITS = {
    # seconds: ranks at 10 a second, how far apart minutes of traffic are
    5.0: (12_000, None),
    15.0: (12_000, None),
    600.0: (36_000, None),
    7200.0: (216_000, None),
    2 * DAY: (72_000, 3600.0),
    60 * DAY: (144_000, DAY / 2),
}


class Discarding(MemoryBlobs):
    """Blobs that hold no joined log: what is written of it would take the memory that is measured."""

    async def put(self, path: str, data: bytes, etag: str | None = None, metadata: dict[str, str] | None = None) -> str:
        """See `Blobs.put`."""
        return await super().put(path, b"" if "/joined/" in path else data, etag, metadata)


def rules(traffic: Traffic) -> LoopRules:
    """The loop that has some traffic."""
    return LoopRules(LOOP.id, traffic.waits, 0.0, "earliest", (-1.0, 1.0))


async def join_all(tables: Tables, blobs: Blobs, traffic: Traffic, counters: Counters) -> None:
    """Join everything in one run."""
    spans = (await activity.noted(tables))[LOOP.id]
    await Joiner(tables, blobs, counters).run(rules(traffic), spans, traffic.end + LATER)


async def speed(actions: int, ranks: int) -> tuple[float, float]:
    """Events a second of processor time: of the join, and of orjson reading and writing the same lines."""
    traffic = Traffic(ranks, 100.0, 600.0, actions)
    journal, counters = Journal(traffic, 10**6), Counters()
    await journal.note(0, traffic.end)
    journal.make_all()
    started = time.process_time()
    await join_all(journal, MemoryBlobs(), traffic, counters)
    taken = time.process_time() - started
    assert counters["join.events"] == ranks
    given = [
        line for bucket in traffic.buckets("rank") for line in await lines(traffic.row("rank", bucket), MemoryBlobs())
    ]
    started = time.process_time()
    for line in given:
        orjson.dumps(orjson.loads(line))
    return ranks / taken, ranks / (time.process_time() - started)


async def examining(actions: int, ranks: int) -> tuple[float, int]:
    """Processor time of examining what was joined / of joining it; and how many events were examined."""
    traffic = Traffic(ranks, 100.0, 600.0, actions)
    journal, blobs, counters = Journal(traffic, 10**6), MemoryBlobs(), Counters()
    await journal.note(0, traffic.end)
    journal.make_all()
    started = time.process_time()
    await join_all(journal, blobs, traffic, counters)
    joining, started = time.process_time() - started, time.process_time()
    await Examiner(blobs, counters).run(LOOP.id, traffic.end, math.inf)
    return (time.process_time() - started) / joining, counters["examine.events"]


async def remember() -> None:
    """Join a log of 1,000,000 events, and print the resident memory at its most, in MiB."""
    traffic = Traffic(1_000_000, 100.0, 600.0, 4)
    journal, counters = Journal(traffic, 100), Counters()
    await journal.note(0, traffic.end)
    await join_all(journal, Discarding(), traffic, counters)
    assert counters["join.events"] == 1_000_000
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def reads(wait: float, warm: bool) -> tuple[float, int, int]:
    """How often rows of observations are read: on average, at most, and by which period of the timer, in seconds."""
    ranks, period = WAITS[wait]
    traffic = Traffic(ranks, 10.0, wait, 4, period)
    journal, blobs, counters = Journal(traffic, 50_000), MemoryBlobs(), Counters()
    step = 5 if warm and wait < 60 else 60
    if period:
        step = int(period / 2)  # most runs between would find nothing to do
    joiner, now, last = Joiner(journal, blobs, counters), float(T0), traffic.end + 1.2 * wait + DAY
    while now < last:
        await journal.note(now, now + step)
        now += step
        spans = (await activity.noted(journal)).get(LOOP.id, [])
        if spans and min(span.due for span in spans) <= now:
            await (joiner if warm else Joiner(journal, blobs, counters)).run(rules(traffic), spans, now)
    assert counters["join.events"] == ranks
    counted = [journal.reads[bucket] for bucket in traffic.buckets("obs")]
    return statistics.fmean(counted), max(counted), step


async def catch_up(minutes: int, storage: AzureStorage | None = None) -> tuple[float, float]:
    """Seconds of traffic, 100 ranks/s of 10 actions, that a second of joining and training takes in.

    Returns:
        The same by the clock, and of processor time.
    """
    ranks = minutes * 6000
    traffic = Traffic(ranks, 100.0, 600.0, 10)
    journal, counters = Journal(traffic, 10**6), Counters()
    journal.make_all()
    tables: Tables = journal
    blobs: Blobs = MemoryBlobs()
    if storage is not None:
        tables, blobs = storage.tables, storage.blobs
        for stream in ("rank", "obs"):
            for bucket in traffic.buckets(stream):
                await tables.put(table_name(stream, LOOP.id, day_of(bucket)), journal._row(stream, bucket))
    await journal.note(0, traffic.end)
    spans = (await activity.noted(journal))[LOOP.id]
    job = Job(
        LOOP.id, LOOP.policy.training, LOOP.policy.resuming, LOOP.policy.lineage, False, ONLINE, 2**33, 0, 0, 300.0
    )
    started, processor = time.perf_counter(), time.process_time()
    await Joiner(tables, blobs, counters).run(rules(traffic), spans, traffic.end + LATER)
    now: float | None = traffic.end
    while now is not None:
        now = await Trainer(blobs, counters).run(job, traffic.end)
    taken, processor = time.perf_counter() - started, time.process_time() - processor
    version, _ = await registry.current(blobs, LOOP.id)
    assert counters["join.events"] == ranks
    assert version is not None
    assert version.events == ranks
    return minutes * 60 / taken, minutes * 60 / processor


async def on_azurite(minutes: int) -> tuple[float, float]:
    """The same with Azurite for storage."""
    with Azurite() as azurite:
        async with AzureStorage(azurite.connection_string) as storage:
            return await catch_up(minutes, storage)


def main() -> None:
    """Print rates, memory and counts."""
    print("Joining on one core, by processor time / orjson reading and writing the same rank lines:")
    for actions, ranks in ((10, 60_000), (50, 20_000)):
        mine, theirs = asyncio.run(speed(actions, ranks))
        goal = "  (goal at least 10,000 events/s)" if actions == 50 else ""
        print(f"  {actions:3} actions: {mine / theirs:.2f}x  ({mine:,.0f} / {theirs:,.0f} events/s){goal}")
    print("Examining on one core, by processor time / joining the same events:")
    for actions, ranks in ((10, 60_000), (50, 20_000)):
        ratio, examined = asyncio.run(examining(actions, ranks))
        print(f"  {actions:3} actions: {ratio:.2f}x, {examined:,} of {ranks:,} events  (goal at most 0.33)")
    command = [sys.executable, "-m", "bench.join", "memory"]
    memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"Resident memory at its most over a log of 1,000,000 events: {memory:.0f} MiB  (goal below 1024)")
    print("How often a row of observations is read, at 10 ranks/s on a simulated clock (goal 12; at 60 days 3):")
    for wait, (_, period) in WAITS.items():
        bursts = f", in minutes of traffic {period / 3600:.0f} h apart" if period else ""
        for warm in (True, False):
            mean, most, step = asyncio.run(reads(wait, warm))
            process = "one process" if warm else "a new process for each run"
            print(
                f"  wait of {wait:9,.0f} s, {process}, timer every {step} s: {mean:.1f} times, {most} at most{bursts}"
            )
    print("Catching up, joining and training, at 100 ranks/s of 10 actions (goal at least 50 s of traffic a second):")
    for minutes in (10, 20, 40):
        clock, processor = asyncio.run(catch_up(minutes))
        print(f"  {minutes} minutes of traffic: {clock:.0f} s by the clock, {processor:.0f} s of processor time")
    clock, processor = asyncio.run(on_azurite(10))
    print(f"  10 minutes of traffic, on Azurite: {clock:.0f} s by the clock, {processor:.0f} s of our processor time")


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        asyncio.run(remember())
    else:
        main()
