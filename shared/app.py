"""Turns the environment into one app: every part built once a process, on the event loop that serves it.

The only module with a global. Triggers ask for `current()`, and call one use case.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping

from shared import config
from shared.access import tokens
from shared.access.admission import Admission
from shared.access.rates import Rates
from shared.access.roles import Access
from shared.adoption import Adoption
from shared.clock import StorageClock
from shared.config import Config
from shared.counters import Counters
from shared.evaluation.evaluator import Evaluator
from shared.evaluation.importances import Importances, Weighing
from shared.evaluation.piecework import Scoring
from shared.guard import Guarded
from shared.health import examined
from shared.health.examiner import Examiner
from shared.joining import Joining
from shared.learning import rebuild
from shared.learning.piecework import Piece
from shared.learning.signed import Signer, trusted
from shared.learning.trainer import Trainer
from shared.log import activity
from shared.log import checkpoint as checkpoints
from shared.log.answers import Answers
from shared.log.eraser import Eraser
from shared.log.hours import Hours
from shared.log.joiner import Joiner
from shared.log.journal import Journal
from shared.log.mirror import Mirror, open_container
from shared.log.observe import Observer
from shared.log.series import Series
from shared.log.subject import Subjects
from shared.loops.loops import Loops
from shared.loops.settings import Loop
from shared.optimization import Optimization
from shared.ranking.model_cache import ModelCache
from shared.ranking.ranker import Ranker
from shared.readiness import Readiness
from shared.runs import Runs
from shared.storage import Blobs, NoQueues, OpenContainer, Queues, Tables
from shared.sweep import Sweep
from shared.telemetry import about
from shared.telemetry.telemetry import Sender, Telemetry
from shared.telemetry.traces import Traces
from shared.telemetry.unsaid import Unsaid
from shared.training import Training
from shared.work import Work

log = logging.getLogger("rankloop")

_TRAINING = 240.0
"""Seconds after which a timer run begins no other loop's training: the host ends a run that takes ten minutes."""
_MIRRORING = 30.0
"""Seconds that a loop's mirror may take of a timer run; what is left is copied by the next one."""
_ERASING = 60.0
"""Seconds of a timer run that erasures may take; the next one goes on."""
_HOURS = 60.0
"""Seconds after which a timer run begins no other part of an hour; what is left is written by the next one."""
_EXAMINING = 20.0
"""Seconds after which a timer run begins no other window to examine; the next one goes on."""


class App:
    """The parts, put together.

    Args:
        settings: of the deployment.
        tables, blobs, queues: its storage; without queues no work can be sent.
        close: ends the connections to it.
        open_container: opens the containers that logs are mirrored to.
        counters: where the storage counts, too.
        environment: says where telemetry goes; see `Telemetry`.
    """

    def __init__(
        self,
        settings: Config,
        tables: Tables,
        blobs: Blobs,
        close: Callable[[], Awaitable[None]] | None = None,
        open_container: OpenContainer = open_container,
        counters: Counters | None = None,
        queues: Queues | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.config = settings
        self.tables = tables
        self.blobs = blobs
        self.queues: Queues = queues or NoQueues()
        self.counters = counters or Counters()
        self.traces = Traces()
        self.unsaid = Unsaid()
        self.telemetry = Telemetry(environment or {}, self.counters, lambda: self._export(environment or {}))
        self.clock = StorageClock(lambda: tables.put("clock", {"PartitionKey": "clock", "RowKey": "probe"}))
        self.loops = Loops(tables, blobs, self.clock)
        self.models = ModelCache(blobs, self.counters)
        self.journal = Journal(tables, blobs, self.clock, self.counters, settings.shards, settings.linger)
        self.ranker = Ranker(
            self.models,
            self.journal,
            self.clock,
            self.counters,
            settings.log_deadline,
            strict=settings.strict_rank,
            traces=self.traces,
        )
        self.observer = Observer(self.journal, self.clock, self.counters, settings.reward_deadline)
        self.joiner = Joiner(tables, blobs, self.counters, settings.prune_journal)
        self.hours = Hours(blobs, self.counters)
        self.series = Series(blobs, self.counters)
        self.answers = Answers(tables, self.clock.now, self.counters)
        self.eraser = Eraser(tables, blobs, self.counters)
        self.pieces = Work(self.queues, self.counters)
        self.trying = asyncio.Lock()
        guarded = Guarded(self.counters, self.traces)
        self._guarded = guarded.run
        self.examiner = Examiner(blobs, self.counters, guarded)
        self.runs = Runs(guarded)
        self.joining = Joining(tables, self.clock, self.loops, self.joiner, self.counters, guarded)
        self.evaluator = Evaluator(blobs, self.pieces.send, Adoption(self.loops, self.trying))
        self.importances = Importances(blobs, self.pieces.send)
        self.optimization = Optimization(tables, blobs, self.evaluator)
        self.trainer = Trainer(blobs, self.counters, send=self.pieces.send)
        self.training = Training(
            tables, blobs, self.clock, self.loops, self.trainer, self.evaluator, self.importances, guarded
        )
        self.pieces.on(Piece, self.training.take)
        self.pieces.on(Scoring, self.training.evaluate)
        self.pieces.on(Weighing, self.training.weigh)
        self.rebuilder = rebuild.Rebuilder(blobs, self.counters)
        self.subjects = Subjects(blobs)
        self.mirror = Mirror(blobs, self.counters, open_container, settings.mirror_hosts)
        self.rates = Rates()
        self.readiness = Readiness(self.loops, self.clock)
        self.admission = Admission(min(settings.log_deadline, settings.reward_deadline))
        self.access = Access(settings.key, tokens.of(settings))
        self.trusted_signers = trusted(settings)
        self._signer: Signer | None = None
        self._close = close
        self.sweep = Sweep(
            tables, blobs, self.counters, self.clock, self.loops, self.hours, self.optimization.run, self._mirror
        )
        self._trained = ""

    def _export(self, environment: Mapping[str, str]) -> Sender:
        from shared.telemetry.export import Export  # OpenTelemetry takes 0.4 s, which no caller shall wait for

        return Export(environment, self.counters, self.traces, self._readings)

    def _readings(self) -> dict[str, float]:
        """What telemetry looks at each time."""
        under_way = self.admission.events.taken + self.admission.others.taken
        return {"journal.waiting": self.journal.waiting, "calls.under_way": under_way}

    async def signer(self) -> Signer | None:
        """What signs models, and knows its own signature; None where the deployment has no key for it."""
        if self._signer is None and self.config.signing_key:
            self._signer = await asyncio.to_thread(Signer, self.config.signing_key)
        return self._signer

    async def join_due(self) -> int:
        """Join what is closed in any loop; returns how many windows. With nothing due it costs one read.

        What fails is counted as join.failed and logged, and tried again by the next run.
        """
        with self.unsaid.call(), self.traces.whole("join_timer"):
            passed = await self._guarded("join", "any loop", self.joining.run()) or 0
        await self.telemetry.flush()
        return passed

    async def train_due(self) -> int:
        """Erase, train and publish what is due, mirror what was joined, write closed hours, and sweep.

        Returns how many loops it has looked at. With nothing due, and nothing ever joined, it costs one read; later
        on, another look at which loops there are. What fails is counted, logged, and tried again by a later run.
        """
        with self.unsaid.call(), self.traces.whole("train_timer"):
            self.counters.worst("model.late", 0.0)
            trained = await self._guarded("train", "any loop", self._train_due()) or 0
        await self.telemetry.flush()
        return trained

    async def _train_due(self) -> int:
        notes = await activity.for_train_timer(self.tables)
        if not notes.untrained and not notes.erasing and notes.sweep is None:
            return 0
        deleted = await self.loops.deleted()
        await self._erase_due([note for note in notes.erasing if note.loop_id not in deleted])
        due = [note for note in notes.untrained if note.after <= self.clock.now() and note.loop_id not in deleted]
        if due:
            await self.clock.ensure()
        grown: list[Loop] = []
        again: dict[activity.Note, float] = {}
        until, looked = time.monotonic() + _TRAINING, 0
        # Each run goes on behind the loop at which the one before stopped, so that none waits for ever.
        for note in sorted(due, key=lambda note: (note.loop_id <= self._trained, note.loop_id)):
            self._trained = note.loop_id
            left = await self._guarded("train", f"loop {note.loop_id}", self.training.run(note, grown))
            if left is not None:  # where that failed its note stays as it is
                again[note] = left
            looked += 1
            if time.monotonic() > until:
                break
        await asyncio.gather(*map(self._mirror, grown))
        ends = time.monotonic() + _HOURS
        for loop in grown:
            await self._guarded("hours", f"loop {loop.id}", self.hours.run(loop.rules(), self.clock.now(), until=ends))
        unexamined = await self.examiner.run_all({loop.id for loop in grown}, self.clock.now(), _EXAMINING)
        for note, left in again.items():
            settling = self.training.settle(note, min(left, unexamined.get(note.loop_id, left)))
            await self._guarded("train", f"loop {note.loop_id}", settling)
        await self._guarded("sweep", "the deployment", self.sweep.run(notes.sweep or 0.0, deleted))
        return looked

    async def _erase_due(self, notes: list[activity.Note]) -> None:
        until = time.monotonic() + _ERASING
        for note in sorted(notes, key=lambda note: note.after):
            if note.after <= self.clock.now() and time.monotonic() < until:
                await self._guarded("erase", f"loop {note.loop_id}", self._carry_out(note, until))

    async def _carry_out(self, note: activity.Note, until: float) -> None:
        loop, now = await self.loops.by_id(note.loop_id), await self.clock.read()  # surely past, as the buckets must be
        again = await self.eraser.run(loop.id, loop.waits, now, until - time.monotonic())
        checkpoint, _ = await checkpoints.load(self.blobs, loop.id)
        if await examined.forget(self.blobs, loop.id, checkpoint.generation) < checkpoint.watermark:
            await activity.note_joined(self.tables, loop.id)  # wakes the train timer, which examines it anew
        await activity.erased(self.tables, note, again)

    async def _mirror(self, loop: Loop) -> None:
        held = loop.configuration
        if held.log_mirror_enabled:
            run = self.mirror.run(loop.id, held.log_mirror_sas_uri or "", loop.edited or loop.created, self.clock.now())
            await self._guarded("mirror", f"loop {loop.id}", asyncio.wait_for(run, _MIRRORING))

    async def work(self, message: bytes) -> None:
        """Do the piece of work that a queue's message names; see `Work.run`."""
        with self.unsaid.call(), self.traces.whole("work"):
            await self.pieces.run(message)
        await self.telemetry.flush()

    async def drain(self) -> None:
        """Wait until every acknowledged event is in the log or known to be lost; then end the connections."""
        await self.journal.drain()
        await self.answers.drain()
        await self.telemetry.end()
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

        about.install(os.environ)
        settings, counters = config.read(os.environ), Counters()
        held = AzureStorage(settings.storage, counters.add)
        parts = held.tables, held.blobs, held.aclose
        app = App(settings, *parts, counters=counters, queues=held.queues, environment=os.environ)
        app.unsaid.install(os.environ)
        _app = (loop, app)
        # What is loaded stays for good. To look through it for garbage again and again holds calls up for 0.1 s each.
        gc.freeze()
    return _app[1]


async def drain() -> None:
    """Drain the process's app, if it was ever built; what a host calls before the process ends."""
    global _app
    held, _app = _app, None
    if held is not None:
        await held[1].drain()
