"""Turns the joined log past a loop's last model into its next model version, and publishes it.

Learning goes on where the serving version stopped, bit for bit as one long run would have (docs/adr/0004), so a run
that dies anywhere is repeated and gives the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from shared.counters import Counters
from shared.learning import registry
from shared.learning.model import Learner, ModelError
from shared.learning.registry import Version
from shared.log import joined
from shared.storage import Blobs, Conflict

log = logging.getLogger("rankloop.train")

_SKIP = b'"_skipLearn":true'
_HEAD_END = b',"o":['
"""Ends the part of a line in which the join writes and no caller's text stands."""
MAX_EVENTS = 100_000
"""Events learned before a version is published in any case: what a killed run repeats at most."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to train.

    Attributes:
        loop_id: the loop.
        arguments: VW's arguments for the loop's first model.
        watermark: the joined log is whole up to this bucket.
        export_frequency: seconds between published models.
    """

    loop_id: str
    arguments: str
    watermark: int
    export_frequency: float


@dataclass(slots=True)
class Lesson:
    """What a learner made of a run of lines.

    Attributes:
        events: lines learned.
        skipped: lines of events that are not to be learned: deferred, and never activated.
        loss: the sum of their progressive losses.
        refused: lines that VW would not take.
    """

    events: int = 0
    skipped: int = 0
    loss: float = 0.0
    refused: int = 0


def learn(learner: Learner, lines: Sequence[bytes]) -> Lesson:
    """Learn joined lines in order."""
    lesson = Lesson()
    before = learner.loss
    for line in lines:
        if line.find(_SKIP, 0, line.find(_HEAD_END)) >= 0:
            lesson.skipped += 1
            continue
        try:
            learner.learn(line)
            lesson.events += 1
        except ModelError:
            lesson.refused += 1
    lesson.loss = learner.loss - before
    return lesson


def next_export(created: float, frequency: float) -> float:
    """When the next version is due: time is cut into slots of the frequency, and each has one version at most."""
    return (created // frequency + 1) * frequency


class Trainer:
    """Training over one storage account.

    Args:
        blobs: holds the joined log and the models.
        counters: gets train.events, train.skipped, train.versions, train.refused, train.rivals.
    """

    def __init__(self, blobs: Blobs, counters: Counters) -> None:
        self._blobs = blobs
        self._counters = counters

    async def run(self, job: Job, now: float) -> float | None:
        """Train a loop up to its watermark and publish, unless the next version is not due yet.

        Args:
            job: what to train.
            now: seconds since the epoch.

        Returns:
            None when everything joined is learned, else when to look again, in seconds since the epoch.
        """
        catching_up = False
        while True:
            version, etag = await registry.current(self._blobs, job.loop_id)
            if version is not None and version.trained_through >= job.watermark:
                return None
            if version is not None and not catching_up and now < next_export(version.created, job.export_frequency):
                return next_export(version.created, job.export_frequency)
            try:
                trained_through = await self._extend(job, version, etag, now)
            except Conflict:
                self._counters.add("train.rivals")  # another run has published: go on from there
                catching_up = False
                continue
            if trained_through >= job.watermark:
                return None
            catching_up = True  # the rest is due as well, not only in the next slot

    async def _extend(self, job: Job, parent: Version | None, etag: str | None, now: float) -> int:
        """Learn up to 100,000 more events and publish; returns the bucket that the new version is trained through."""
        start = parent.trained_through if parent else 0
        windows = await joined.windows(self._blobs, job.loop_id, start, job.watermark)
        data = await registry.load(self._blobs, job.loop_id, parent) if parent else None
        learner = await asyncio.to_thread(Learner, job.arguments, data)
        events, skipped, loss, trained_through = 0, 0, 0.0, job.watermark
        try:
            for window in windows:
                if events >= MAX_EVENTS:
                    trained_through = window.start
                    break
                lesson = await asyncio.to_thread(learn, learner, await joined.read(self._blobs, job.loop_id, window))
                events += lesson.events
                skipped += lesson.skipped
                loss += lesson.loss
                if lesson.refused:
                    self._counters.add("train.refused", lesson.refused)
                    log.error("%d lines of %s were refused by VW", lesson.refused, window)
            if not windows and parent is None:
                return trained_through
            model = await asyncio.to_thread(learner.save)
        finally:
            learner.close()
        await self._publish(job, parent, etag, model, trained_through, events, loss, now)
        self._counters.add("train.skipped", skipped)
        return trained_through

    async def _publish(
        self,
        job: Job,
        parent: Version | None,
        etag: str | None,
        model: bytes,
        trained_through: int,
        events: int,
        loss: float,
        now: float,
    ) -> None:
        learned = (parent.events if parent else 0) + events
        earned = (parent.reward * parent.events if parent else 0.0) - loss
        version = Version(
            version=registry.version_name(trained_through, model),
            sha256=hashlib.sha256(model).hexdigest(),
            arguments=parent.arguments if parent else job.arguments,
            trained_through=trained_through,
            events=learned,
            reward=earned / learned if learned else 0.0,
            created=now,
            first_created=parent.first_created if parent else now,
            parent=parent.version if parent else None,
        )
        await registry.store(self._blobs, job.loop_id, version, model)
        await registry.point(self._blobs, job.loop_id, version, etag)
        self._counters.add("train.versions")
        self._counters.add("train.events", events)
        log.info("loop %s serves %s: %d events, mean progressive reward %.4f",
                 job.loop_id, version.version, learned, version.reward)  # fmt: skip
