"""Turns the joined log past a loop's last model into its next model version, and publishes it.

Learning goes on where the serving version stopped, bit for bit as one long run would have (docs/adr/0004), so a run
that dies anywhere is repeated and gives the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable

from shared.counters import Counters
from shared.learning import registry
from shared.learning.lesson import Job, Lesson, learn_window
from shared.learning.model import Learner
from shared.learning.registry import Version
from shared.log import joined
from shared.storage import Blobs, Conflict

log = logging.getLogger("rankloop.train")

PATIENCE = 60.0
"""Seconds of learning after which a loop lets others have their turn, and goes on with the next run."""
MAX_EVENTS = 100_000
"""Events learned before a version is published in any case: what a killed run repeats at most. A model of a new policy
is published only when it is done, since the one it replaces knows more until then."""


def next_export(created: float, frequency: float) -> float:
    """When the next version is due: time is cut into slots of the frequency, and each has one version at most."""
    return (created // frequency + 1) * frequency


class Trainer:
    """Training over one storage account.

    Args:
        blobs: holds the joined log and the models.
        counters: gets train.events, train.skipped, train.versions, train.refused, train.rivals.
        steady: a clock that never jumps, in seconds.
    """

    def __init__(self, blobs: Blobs, counters: Counters, steady: Callable[[], float] = time.monotonic) -> None:
        self._blobs = blobs
        self._counters = counters
        self._steady = steady

    async def run(self, job: Job, now: float) -> float | None:
        """Train a loop up to its watermark and publish, unless the next version is not due yet.

        Args:
            job: what to train.
            now: seconds since the epoch.

        Returns:
            None when everything joined is learned, else when to look again, in seconds since the epoch.
        """
        catching_up, until = False, self._steady() + PATIENCE
        while True:
            current, etag = await registry.current(self._blobs, job.loop_id)
            if current is not None and not renews(job, current):
                if current.trained_through >= job.watermark:
                    return None
                due = next_export(current.created, job.export_frequency)
                if not catching_up and not current.blank and now < due:
                    return due
            try:
                trained_through = await self._extend(job, current, etag, now, until)
            except Conflict:
                # Another run has published, or a model was imported or deleted; the job may be of an old policy by now.
                self._counters.add("train.rivals")
                return now
            if trained_through >= job.watermark:
                return None
            if self._steady() > until:
                return now
            catching_up = True  # the rest is due as well, not only in the next slot

    async def _extend(self, job: Job, current: Version | None, etag: str | None, now: float, until: float) -> int:
        """Learn up to 100,000 more events, or a whole new model, and publish.

        Returns:
            The bucket up to which there is nothing more to learn for this version.
        """
        renewed = current is not None and renews(job, current)
        base = None if current is None or current.blank or renewed else current
        start = _start(job, current, renewed)
        windows = await joined.windows(self._blobs, job.loop_id, start, job.watermark)
        data = await registry.load(self._blobs, job.loop_id, base) if base else None
        learner = await asyncio.to_thread(Learner, job.arguments, data, job.resuming)
        learned, trained_through = Lesson(), job.watermark
        try:
            for window in windows:
                enough = learned.events >= MAX_EVENTS or (learned.events and self._steady() > until)
                if enough and not renewed:
                    trained_through = window.start
                    break
                learned.add(await learn_window(self._blobs, learner, window, job))
            if not learned.events and (renewed or not (base or windows)):
                return trained_through  # what serves now knows more than a model of nothing
            model = await asyncio.to_thread(learner.save)
        finally:
            learner.close()
        learned_from = windows[0].start if windows else start
        version = _version(job, current, base, model, learned_from, trained_through, learned, now)
        await registry.note_before(self._blobs, job.loop_id, current)
        await self._publish(version, job, model, etag)
        self._counters.add("train.events", learned.events)
        self._counters.add("train.skipped", learned.skipped)
        self._counters.add("train.refused", learned.refused)
        return trained_through

    async def _publish(self, version: Version, job: Job, model: bytes, etag: str | None) -> None:
        await registry.store(self._blobs, job.loop_id, version, model)
        await registry.point(self._blobs, job.loop_id, version, etag)
        self._counters.add("train.versions")
        log.info("loop %s serves %s: %d events, mean progressive reward %s",
                 job.loop_id, version.version, version.events, version.reward)  # fmt: skip


def renews(job: Job, current: Version) -> bool:
    """Whether a new model is due, since what shapes the loop's has changed. A deleted model stays deleted.

    A model without a word of its settings, imported or of an older release, is taken for one of those of now.
    """
    known = current.shaping is not None and job.shaping is not None
    return not current.blank and (current.lineage != job.lineage or (known and current.shaping != job.shaping))


def _start(job: Job, current: Version | None, renewed: bool) -> int:
    """The bucket from which on there is something to learn."""
    if renewed:
        start = job.watermark - job.retrain_days * 86_400 if job.retrain_days else 0
    else:
        start = current.trained_through if current else 0
    return max(start, job.since)


def _version(
    job: Job,
    current: Version | None,
    base: Version | None,
    model: bytes,
    learned_from: int,
    through: int,
    lesson: Lesson,
    now: float,
) -> Version:
    events = (base.events if base else 0) + lesson.events
    earned = ((base.reward or 0.0) * base.events if base else 0.0) - lesson.loss
    before = None if current is None or current.blank else current
    return Version(
        version=registry.version_name(through, model),
        sha256=hashlib.sha256(model).hexdigest(),
        arguments=base.arguments if base else job.arguments,
        lineage=job.lineage,
        trained_through=through,
        events=events,
        reward=None if job.multi_slot else earned / events if events else 0.0,
        created=now,
        first_created=before.first_created if before else now,
        parent=before.version if before else None,
        base=base.version if base else None,
        learned_from=learned_from,
        learned=lesson.events,
        skipped=lesson.skipped,
        refused=lesson.refused,
        mode=job.mode,
        multi_slot=job.multi_slot,
        resuming=job.resuming,
        generation=job.generation,
        shaping=job.shaping,
    )
