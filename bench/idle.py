"""Storage requests of a day without traffic, as Azure bills them: twenty loops that have learned, default timers.

A simulated clock and the app's own timers. The loops have had an hour of events each three days before, so that each
has a log, hours, models and settings that a sweep looks through. What the Functions host itself asks is not in it.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter

import orjson

from bench import simulated
from bench.documents import body, make_actions, rank_request

LOOPS = 20
EVENTS = 30
"""Of each loop, spread over an hour."""
DAY = 86_400.0
SILENT = 3 * DAY
GOAL = 20_000


async def day(requests: Counter[str]) -> dict[str, int]:
    """An hour of events, some days until all of it is done, and one in which nothing happens: what that asked for."""
    from shared.app import App
    from shared.config import Config
    from shared.loops.loops import DEFAULT

    tables, blobs = simulated.CountedTables(0.01, requests), simulated.CountedBlobs(0.01, requests)
    app = App(Config("simulated=", ""), tables, blobs)
    names = [DEFAULT, *(f"loop-{n}" for n in range(1, LOOPS))]
    for name in names[1:]:
        await app.loops.create(name)
    rng = random.Random(1)
    request = rank_request(rng, make_actions(rng, 4))

    async def timers(seconds: float) -> None:
        for _ in range(round(seconds / 120)):
            await asyncio.sleep(60)
            await app.join_due()
            await asyncio.sleep(60)
            await app.train_due()

    for n in range(EVENTS):
        for name in names:
            loop = await app.loops.named(name)
            await app.ranker.rank(loop, body(request, f"{name}-{n}"))
            await app.observer.observe(loop.id, loop.waits, f"{name}-{n}", "r", None, rng.random())
        await timers(120)
    await timers(SILENT)
    before = requests.copy()
    await timers(DAY)
    if failed := [name for name in app.counters.snapshot() if name.endswith(".failed")]:
        raise SystemExit(f"failed: {failed}")
    if app.counters["join.events"] != LOOPS * EVENTS or app.counters["train.versions"] < LOOPS:
        raise SystemExit(f"the loops have not learned: {app.counters.snapshot()}")
    return dict(requests - before)


def main() -> None:
    """Print what was asked for."""
    done = subprocess.run([sys.executable, "-m", "bench.idle", "child"], check=True, capture_output=True)
    found: dict[str, int] = json.loads(done.stdout)
    print(
        f"Storage requests of a day without traffic, {LOOPS} loops, each timer every two minutes (a simulated clock):"
    )
    print(f"  {sum(found.values()):,}  (goal at most {GOAL:,})")
    for what, times in sorted(found.items(), key=lambda item: -item[1])[:8]:
        print(f"    {times:,} {what}")


def _child() -> None:
    requests: Counter[str] = Counter()

    async def watch() -> None:
        print(orjson.dumps(await day(requests)).decode())

    simulated.run(watch)


if __name__ == "__main__":
    _child()
