"""Turns the environment into one app: every part built once a process, on the event loop that serves it.

The only module with a global. Triggers ask for `current()`, and call one use case.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared import config
from shared.clock import StorageClock
from shared.config import Config
from shared.counters import Counters
from shared.learning.trainer import Job, Trainer
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.joiner import Joiner
from shared.log.journal import Journal
from shared.log.observe import Observer
from shared.loops import policy
from shared.loops.loops import Loops
from shared.ranking.model_cache import ModelCache
from shared.ranking.rank import Ranker
from shared.storage import Blobs, StorageError, Tables

log = logging.getLogger("rankloop")

T = TypeVar("T")
_LOOK_AGAIN = 60.0
"""Seconds after which a loop whose next model is not due yet is looked at again: its settings may have changed."""


class App:
    """The parts, put together.

    Args:
        settings: of the deployment.
        tables, blobs: its storage.
        close: ends the connections to it.
    """

    def __init__(
        self, settings: Config, tables: Tables, blobs: Blobs, close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.config = settings
        self.tables = tables
        self.blobs = blobs
        self.counters = Counters()
        self.clock = StorageClock(lambda: tables.put("clock", {"PartitionKey": "clock", "RowKey": "probe"}))
        self.loops = Loops(tables, blobs, self.clock)
        self.models = ModelCache(blobs, self.counters)
        self.journal = Journal(tables, blobs, self.clock, self.counters, settings.shards)
        self.ranker = Ranker(
            self.models, self.journal, self.clock, self.counters, settings.log_deadline, strict=settings.strict_rank
        )
        self.observer = Observer(self.journal, self.clock, self.counters, settings.reward_deadline)
        self.joiner = Joiner(tables, blobs, self.counters, settings.prune_journal)
        self.trainer = Trainer(blobs, self.counters)
        self._close = close

    async def join_due(self) -> int:
        """Join what is closed in any loop; returns how many windows. With nothing due it costs one read.

        What fails is counted as join.failed and logged, and tried again by the next run.
        """
        return await self._guarded("join", "any loop", self._join_due()) or 0

    async def _join_due(self) -> int:
        noted = await activity.noted(self.tables)
        due = [loop_id for loop_id, spans in noted.items() if min(span.due for span in spans) <= self.clock.now()]
        if not due:
            return 0
        # By the storage's own word, and before the notes are read again: with an estimate that runs ahead, or a note
        # that was made meanwhile, the join would pass a bucket without having seen all of its events.
        now = await self.clock.read()
        noted = await activity.noted(self.tables)

        async def join(loop_id: str) -> int:
            loop = await self.loops.by_id(loop_id)
            return await self.joiner.run(loop.rules(), noted[loop_id], now)

        return sum([await self._guarded("join", f"loop {loop_id}", join(loop_id)) or 0 for loop_id in due])

    async def train_due(self) -> int:
        """Train and publish what is due in any loop; returns how many loops. With nothing due it costs one read.

        What fails is counted as train.failed and logged, and tried again by the next run.
        """
        return await self._guarded("train", "any loop", self._train_due()) or 0

    async def _train_due(self) -> int:
        due = [note for note in await activity.untrained(self.tables) if note.after <= self.clock.now()]
        if due:
            await self.clock.ensure()
        for note in due:
            await self._guarded("train", f"loop {note.loop_id}", self._train(note))
        return len(due)

    async def _train(self, note: activity.Untrained) -> None:
        loop = await self.loops.by_id(note.loop_id)
        checkpoint, _ = await checkpoints.load(self.blobs, loop.id)
        frequency = loop.configuration.model_export_frequency
        job = Job(loop.id, policy.training_arguments(), checkpoint.watermark, frequency)
        again = await self.trainer.run(job, self.clock.now())
        if again is None:
            await activity.trained(self.tables, note)
        else:
            await activity.put_off(self.tables, note, min(again, self.clock.now() + _LOOK_AGAIN))

    async def _guarded(self, what: str, whose: str, work: Awaitable[T]) -> T | None:
        """The result of some work, or None; its failure is counted and does not hold up the rest."""
        try:
            return await work
        except Exception as e:
            self.counters.add(f"{what}.failed")
            fault = None if isinstance(e, StorageError) else e  # whose place in the code is worth knowing
            log.error("the %s of %s failed and is tried again with the next run: %s", what, whose, e, exc_info=fault)
            return None

    async def drain(self) -> None:
        """Wait until every acknowledged event is in the log or known to be lost; then end the connections."""
        await self.journal.drain()
        if self._close is not None:
            await self._close()


_app: tuple[asyncio.AbstractEventLoop, App] | None = None


def current() -> App:
    """The process's app, built by the first call on an event loop.

    Raises:
        ConfigError: the environment lacks a setting.
    """
    global _app
    loop = asyncio.get_running_loop()
    if _app is None or _app[0] is not loop:
        from shared.storage.azure import AzureStorage  # the SDKs take 0.3 s of a cold start

        settings = config.read(os.environ)
        storage = AzureStorage(settings.storage)
        _app = (loop, App(settings, storage.tables, storage.blobs, storage.aclose))
    return _app[1]


async def drain() -> None:
    """Drain the process's app, if it was ever built; what a host calls before the process ends."""
    global _app
    if _app is not None:
        app, _app = _app[1], None
        await app.drain()
