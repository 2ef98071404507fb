"""Storage requests that an app needs for its events, as Azure bills them, by how many ranks come a second.

A simulated clock: one instance with the settings of a new loop, storage that answers in 10 ms, calls that come at
random moments, one reward a rank, timers each minute. The worker's own time is left out, which would only put more
events into each row.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import uuid
from collections import Counter

import orjson

from bench import simulated
from bench.documents import body, make_actions, rank_request

RATES = (10, 100, 1000)
LATENCY = 0.010
LINGER = 20
WARM_UP = 900.0
"""Seconds until rewards are joined as fast as they come."""
WATCHED = 240.0
ACTIONS = 4


async def traffic(rate: int, linger: int, seconds: float, requests: Counter[str], since: float) -> Counter[str]:
    """Rank and reward for so many seconds; what was asked of storage once `since` seconds were over."""
    from shared.app import App
    from shared.config import read

    environment = {"RANKLOOP_STORAGE": "simulated", "RANKLOOP_LINGER_MS": str(linger)}
    blobs = simulated.CountedBlobs(LATENCY, requests)
    app = App(read(environment), simulated.CountedTables(LATENCY, requests), blobs)
    rng = random.Random(rate)
    request = rank_request(rng, make_actions(rng, ACTIONS))
    clock = asyncio.get_running_loop()

    async def event() -> None:
        event_id = uuid.UUID(int=rng.getrandbits(128)).hex
        loop = await app.loops.named("default")
        await app.ranker.rank(loop, body(request, event_id))
        app.answers.count(loop.id, "rank", 201)
        await asyncio.sleep(rng.expovariate(1 / 60))
        loop = await app.loops.named("default")
        await app.observer.observe(loop.id, loop.waits, event_id, "r", None, rng.random())
        app.answers.count(loop.id, "reward", 204)

    async def timers() -> None:
        while True:
            await asyncio.sleep(60)
            await app.join_due()
            await app.train_due()

    ticking = asyncio.ensure_future(timers())
    calls: set[asyncio.Task[None]] = set()
    began, before = clock.time(), None
    while clock.time() < began + seconds:
        if before is None and clock.time() >= began + since:
            before = requests.copy()
        await asyncio.sleep(rng.expovariate(rate))
        call = asyncio.ensure_future(event())
        calls.add(call)
        call.add_done_callback(calls.discard)
    watched = requests - (before or Counter())
    if app.counters["join.failed"] or app.counters["train.failed"]:
        raise SystemExit(f"a timer failed: {app.counters.snapshot()}")
    ticking.cancel()
    for call in calls:
        call.cancel()
    return watched


def measure(rate: int, linger: int) -> dict[str, float]:
    """Requests for 1,000 events by what for, in a process whose clocks may be replaced."""
    command = [sys.executable, "-m", "bench.requests", str(rate), str(linger)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def main() -> None:
    """Print the curve."""
    print(
        f"Storage requests for 1,000 events ({ACTIONS} actions, a rank and a reward each), storage answering in 10 ms:"
    )
    for linger, goal in ((0, 450), (LINGER, 150)):
        for rate in RATES:
            found = measure(rate, linger)
            aim = f"  (goal at most {goal})" if rate == RATES[-1] else ""
            print(f"  {rate:,} ranks/s, linger {linger} ms: {sum(found.values()):.0f}{aim}")
            for what, times in sorted(found.items(), key=lambda item: -item[1])[:4]:
                print(f"    {times:.1f} {what}")


def _child(rate: int, linger: int) -> None:
    requests: Counter[str] = Counter()

    async def watch() -> None:
        watched = await traffic(rate, linger, WARM_UP + WATCHED, requests, WARM_UP)
        for_each = {what: 1000 * times / (rate * WATCHED) for what, times in watched.items()}
        print(orjson.dumps(for_each).decode())

    simulated.run(watch)


if __name__ == "__main__":
    _child(int(sys.argv[1]), int(sys.argv[2]))
