"""Turns the joined log past a loop's last model into its next model version, and publishes it.

Learning goes on where the serving version stopped, bit for bit as one long run would have (docs/adr/0004), so a run
that dies anywhere is repeated and gives the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from shared.child import Apart
from shared.counters import Counters
from shared.learning import pointer as pointers
from shared.learning import registry
from shared.learning.aim import aim, going_on, nothing
from shared.learning.lesson import Job, Lesson, learn_window
from shared.learning.model import Learner
from shared.learning.piecework import Piece, Send, in_child, nowhere
from shared.learning.publisher import Publisher
from shared.learning.registry import Version
from shared.learning.renewer import Made, Renewer
from shared.learning.vetter import Vetter
from shared.log import joined
from shared.storage import Blobs, Conflict

log = logging.getLogger("rankloop.train")

PATIENCE = 60.0
"""Seconds of learning after which a loop lets others have their turn, and goes on with the next run."""
MAX_EVENTS = 100_000
"""Events learned before a version is published in any case: what a killed run repeats at most."""


def next_export(created: float, frequency: float) -> float:
    """When the next version is due: time is cut into slots of the frequency, and each has one version at most."""
    return (created // frequency + 1) * frequency


class Due(NamedTuple):
    """A loop that is to be trained, and what tells what to train, as of when it is asked."""

    loop_id: str
    job: Callable[[], Awaitable[Job]]


class Trainer:
    """Training over one storage account.

    Args:
        blobs: holds the joined log and the models.
        counters: gets train.events, train.skipped, train.versions, train.held, train.refused, train.rivals.
        steady: a clock that never jumps, in seconds.
        send: gives pieces of a new model's making to others.
        apart: does what such a piece computes in a process of its own.
    """

    def __init__(
        self,
        blobs: Blobs,
        counters: Counters,
        steady: Callable[[], float] = time.monotonic,
        send: Send = nowhere,
        apart: Apart = in_child,
    ) -> None:
        self._blobs = blobs
        self._counters = counters
        self._steady = steady
        self._renewer = Renewer(blobs, self._succeed, send, apart)
        self._behind: dict[str, tuple[int, float]] = {}

    async def run(self, due: Job | Due, now: float) -> float | None:
        """Train a loop up to its watermark and publish, unless the next version is not due yet.

        Args:
            due: what to train.
            now: seconds since the epoch.

        Returns:
            None when everything joined is learned, else when to look again, in seconds since the epoch.
        """
        catching_up, until, looked = False, self._steady() + PATIENCE, False
        while True:
            pointer, etag = await pointers.read(self._blobs, due.loop_id)
            # Behind the pointer: or one that was frozen since it was told would take the model of a newer policy for
            # that of an older one, and put its own in place of it.
            job = due if isinstance(due, Job) else await due.job()
            current = pointer.head if pointer else None
            if not looked:
                self._tell(job, current, now)
                looked = True
            try:
                learning, replaced = job, current or (nothing(job) if job.imports else None)
                if replaced is not None:
                    look = await self._renewer.look(aim(job, replaced), etag, now)
                    if look.published:
                        continue
                    if look.job is None:
                        return look.again
                    learning = look.job
                if current is not None:
                    if current.trained_through >= job.watermark:
                        return None
                    soonest = next_export(current.created, job.export_frequency)
                    if not catching_up and not current.blank and now < soonest:
                        return soonest
                trained_through = await self._extend(going_on(learning, current), current, etag, now, until)
            except Conflict:
                # Another run has published, or a model was imported or deleted; the job may be of an old policy by now.
                self._counters.add("train.rivals")
                return now
            if trained_through >= job.watermark:
                return None
            if self._steady() > until:
                return now
            catching_up = True  # the rest is due as well, not only in the next slot

    def _tell(self, job: Job, current: Version | None, now: float) -> None:
        """Tell how old the loop's newest version is, and for how long the next one is due, where there is news.

        It is due no sooner than the news was first seen: a loop may have been silent for a day.
        """
        if current is None or current.trained_through >= job.watermark:
            self._behind.pop(job.loop_id, None)
            return
        mark, since = self._behind.get(job.loop_id, (-1, now))
        if mark != current.trained_through:
            since = now
        self._behind[job.loop_id] = (current.trained_through, since)
        due = max(since, next_export(current.created, job.export_frequency))
        self._counters.worst("model.age", now - current.created)
        self._counters.worst("model.late", max(0.0, now - due))

    async def take(self, job: Job, piece: Piece, now: float) -> None:
        """Do a piece of a new model's making that was sent; see `Renewer.take`."""
        try:
            await self._renewer.take(job, piece, now)
        except Conflict:
            self._counters.add("train.rivals")

    async def _extend(self, job: Job, current: Version | None, etag: str | None, now: float, until: float) -> int:
        """Learn up to 100,000 more events, and publish.

        Returns:
            The bucket up to which there is nothing more to learn for this version.
        """
        base = None if current is None or not current.sha256 else current
        start = max(current.trained_through if current else 0, job.since)
        windows = await joined.windows(self._blobs, job.loop_id, start, job.watermark)
        data = await registry.load(self._blobs, job.loop_id, base) if base else None
        learner = await asyncio.to_thread(Learner, job.arguments, data, job.resuming)
        learned, trained_through = Lesson(), job.watermark
        try:
            for window in windows:
                enough = learned.events >= MAX_EVENTS or (learned.events and self._steady() > until)
                if enough:
                    trained_through = window.start
                    break
                learned.add(await learn_window(self._blobs, learner, window, job))
            if not (base or windows):
                return trained_through  # a model of nothing is none
            model = await asyncio.to_thread(learner.save)
        finally:
            learner.close()
        learned_from = windows[0].start if windows else trained_through
        made = Made(base, model, learned_from, trained_through, learned, [], job.generation)
        await self._succeed(job, current, etag, made, now)
        return trained_through

    async def _succeed(self, job: Job, current: Version | None, etag: str | None, made: Made, now: float) -> None:
        """Make a model serve in place of a version."""
        pointer, held = await pointers.read(self._blobs, job.loop_id)
        if held != etag:
            raise Conflict("the model pointer has moved")
        version = _version(job, current, made, now)
        vetter = Vetter(self._blobs, job)
        publisher = Publisher(self._blobs, self._counters, job.loop_id, vetter, job.since)
        await publisher.publish(version, made.model, made.lesson.recent, pointer, etag)
        self._counters.add("train.events", made.lesson.events)
        self._counters.add("train.skipped", made.lesson.skipped)
        self._counters.add("train.refused", made.lesson.refused)


def _version(job: Job, current: Version | None, made: Made, now: float) -> Version:
    base, lesson = made.base, made.lesson
    events = (base.events if base else 0) + lesson.events
    earned = ((base.reward or 0.0) * base.events if base else 0.0) - lesson.loss
    before = None if current is None or current.blank or not current.created else current
    name = registry.version_name(made.through, made.model)
    return Version(
        version=name,
        sha256=hashlib.sha256(made.model).hexdigest(),
        arguments=base.arguments if base else job.arguments,
        lineage=job.lineage,
        trained_through=made.through,
        events=events,
        reward=None if job.multi_slot else earned / events if events else 0.0,
        created=now,
        first_created=before.first_created if before else now,
        # Learned anew from the same lines a model is what it was, under the name that it had.
        parent=None if before is None else before.parent if before.version == name else before.version or None,
        base=base.version if base else None,
        learned_from=made.learned_from,
        learned=lesson.events,
        skipped=lesson.skipped,
        refused=lesson.refused,
        mode=job.mode,
        multi_slot=job.multi_slot,
        resuming=job.resuming,
        generation=made.generation,
        origin=None if base is None else base.version if base.imported else base.origin,
        shards=made.shards,
        shaping=job.shaping,
        left_out=job.left_out,
    )
