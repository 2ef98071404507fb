"""Ranks for many loops in one process: `python -m bench.warm <loops> <model file>`, then lines that ask (`serve`).

Time is simulated: a millisecond passes with each call. Storage is in this process; its blobs are handed out as copies,
as they would come from Azure, and what is journalled is dropped, so that the loops alone take memory.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest.mock import patch

import orjson

from bench.documents import body, make_actions, rank_request
from shared.app import App
from shared.config import Config
from shared.freshness import Freshness
from shared.learning import pointer
from shared.loops.loops import DEFAULT
from shared.storage import Blob, Row
from shared.storage.memory import MemoryBlobs, MemoryTables

ACTIONS = 10
BODIES = 10
"""Requests of each loop, over the same actions."""
CALLS = 200
"""Rank calls of a round."""
APART = 0.001
"""Simulated seconds between two calls."""
WATCHED = 60.0
"""Simulated seconds in which reads are counted."""


class Clock:
    """The time of the storage, of the app and of its looks, in seconds since the epoch."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        """What it is now."""
        return self.time

    def look(self, at: Callable[[], Awaitable[None]]) -> Freshness:
        """Looks at storage by this clock."""
        return Freshness(at, self)


class Rows(MemoryTables):
    """Tables that keep nothing."""

    async def put(self, table: str, row: Row) -> float:
        """See `Tables.put`."""
        return self._now()


class Reads(MemoryBlobs):
    """Blobs that are handed out as copies, and how often each was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.by_path: Counter[str] = Counter()

    async def get(self, path: str) -> Blob | None:
        """See `Blobs.get`."""
        return self._read(path, await super().get(path))

    async def get_changed(self, path: str, etag: str | None) -> Blob | None:
        """See `Blobs.get_changed`."""
        return self._read(path, await super().get_changed(path, etag))

    def _read(self, path: str, blob: Blob | None) -> Blob | None:
        self.by_path[path] += 1
        return blob and Blob(bytes(bytearray(blob.data)), blob.etag, blob.metadata)

    def total(self, begin: str, end: str = "") -> int:
        """How often blobs were asked for whose path begins and ends so."""
        return sum(n for path, n in self.by_path.items() if path.startswith(begin) and path.endswith(end))


class Deployment:
    """An app with many loops, each with requests of its own; its clock is simulated."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.blobs = Reads()
        self.app = App(Config(storage="", key=""), Rows(clock), self.blobs)
        self.app.clock.local = clock
        self.bodies: dict[str, list[bytes]] = {}

    async def make(self, count: int, model: bytes) -> None:
        """Make so many loops, each with a version of its own of this model."""
        rng = random.Random(2)
        for name in [DEFAULT, *(f"loop-{n}" for n in range(1, count))]:
            loop = await self.app.loops.named(DEFAULT) if name == DEFAULT else (await self.app.loops.create(name))[0]
            training, lineage = loop.learned.training, loop.learned.lineage
            await pointer.install(self.blobs, loop.id, model, training, lineage, 0, self._clock())
            pool = make_actions(rng, ACTIONS)
            self.bodies[name] = [body(rank_request(rng, pool), f"{rng.getrandbits(128):032x}") for _ in range(BODIES)]

    async def warm(self, names: list[str]) -> list[float]:
        """The process's resident memory in MiB once the first of these loops has ranked, and once all have."""
        memory = []
        for warmed in (names[:1], names):
            await self.rank(warmed, len(warmed))
            memory.append(resident())
        return memory

    async def rank(self, names: list[str], calls: int) -> float:
        """Microseconds of processor time that a call takes, the median of so many calls to these loops in turn."""
        taken = []
        for n in range(calls):
            name = names[n % len(names)]
            started = time.thread_time()
            loop = await self.app.loops.named(name)
            await self.app.ranker.rank(loop, self.bodies[name][n // len(names) % BODIES])
            taken.append(time.thread_time() - started)
            self._clock.time += APART
        return statistics.median(taken) * 1e6

    async def watch(self) -> dict[str, int]:
        """Reads in a simulated minute of calls to all loops in turn: of the deployment, of settings, of models."""
        self.blobs.by_path.clear()
        await self.rank(list(self.bodies), round(WATCHED / APART))
        reads = self.blobs.total
        return {
            "deployment": reads("deployment.json"),
            "settings": reads("loops/", "/settings.json"),
            "models": reads("loops/", "/current.json"),
        }


def resident() -> float:
    """The process's resident memory in MiB; Linux tells it."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


async def serve(count: int, model: bytes) -> None:
    """Answer each line on stdin with a line of JSON.

    `memory`, once and first: resident MiB with the first loop warm, then with all. `one`, `all`: see `Deployment.rank`;
    calls to the first loop, or to all in turn. `reads`: see `Deployment.watch`.
    """
    clock = Clock()
    with patch("shared.loops.loops.Freshness", clock.look), patch("shared.ranking.model_cache.Freshness", clock.look):
        deployment = Deployment(clock)
        await deployment.make(count, model)
        names = list(deployment.bodies)
        answers: dict[str, Callable[[], Awaitable[object]]] = {
            "memory": lambda: deployment.warm(names),
            "one": lambda: deployment.rank(names[:1], CALLS),
            "all": lambda: deployment.rank(names, CALLS),
            "reads": deployment.watch,
        }
        for line in sys.stdin:
            print(orjson.dumps(await answers[line.strip()]()).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
