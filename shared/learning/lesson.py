"""Turns joined lines into what a learner has made of them: those that are for it, labelled by the rules of its loop."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.learning.model import Learner, ModelError
from shared.learning.shaping import Shaping
from shared.learning.vetting import RECENT
from shared.log import joined
from shared.log.erasure import NOTHING, Erased
from shared.log.join import Rules
from shared.log.joined import DSJSON, Window
from shared.log.labels import sound
from shared.log.relabel import HEAD, relabel
from shared.storage import Blobs

log = logging.getLogger("rankloop.train")


@dataclass(frozen=True, slots=True)
class Job:
    """What to train.

    Attributes:
        loop_id: the loop.
        arguments: VW's arguments for a new model.
        resuming: those of them that an existing model must be told again.
        lineage: names what models must share to go on from each other; a change makes a new model from the log.
        multi_slot: whether events are multi-slot ones; others are left out.
        mode: the learning mode; events of another one are left out (contract 5.2).
        watermark: the joined log is whole up to this bucket.
        since: what the log held before this bucket is deleted.
        retrain_days: days of log that a new model is built from; 0 for the whole log.
        export_frequency: seconds between published models.
        erased: what of the log must not be seen any more.
        generation: of the log, see `Checkpoint`.
        merges: whether VW makes one model of several that learned apart by these arguments.
        shaping: the settings that shape its models; None for lines that are to be learned as they were labelled.
        left_out: imports of the loop that are not among those of `shaping`, since they are not to be learned.
    """

    loop_id: str
    arguments: str
    resuming: str
    lineage: str
    multi_slot: bool
    mode: str
    watermark: int
    since: int
    retrain_days: int
    export_frequency: float
    erased: Erased = NOTHING
    generation: int = 0
    merges: bool = False
    shaping: Shaping | None = None
    left_out: tuple[str, ...] = ()

    @property
    def rules(self) -> Rules | None:
        """By which lines are labelled; None: as they are."""
        return self.shaping.rules if self.shaping else None

    @property
    def imports(self) -> tuple[str, ...]:
        """Names of what is learned before the log."""
        return self.shaping.imports if self.shaping else ()

    def takes(self, line: bytes) -> bool:
        """Whether a joined line is for learning."""
        return takes(line, self.mode, self.multi_slot)


def takes(line: bytes, mode: str, multi_slot: bool) -> bool:
    """Whether a joined line is for learning in a learning mode, by multi-slot loops or by others."""
    head = HEAD.match(line)
    if head is None:
        return False
    skip, own, held, single = head.groups()
    return not skip and not held and (own or b"Online") == mode.encode() and (single is None) == multi_slot


_NEVER = re.compile(rb'\{(?:"_skipLearn":true|(?:"mode":"\w+",)?"holdback":true)')
"""How a line begins that no model of any settings learns: never activated, or held back."""


@dataclass(slots=True)
class Lesson:
    """What a learner made of a run of lines.

    Attributes:
        events: lines learned.
        skipped: lines of events that are not to be learned: deferred and never activated, held back, or of another
            learning mode or problem than the loop's.
        foreign: those of them that are of another mode or problem.
        loss: the sum of their progressive losses.
        refused: lines that VW would not take, or must not see.
        recent: the progressive losses of the last lines for learning; None for one that was refused.
    """

    events: int = 0
    skipped: int = 0
    foreign: int = 0
    loss: float = 0.0
    refused: int = 0
    recent: list[float | None] = field(default_factory=list)

    def add(self, other: Lesson) -> None:
        """Count what another run of lines gave, too."""
        self.events += other.events
        self.skipped += other.skipped
        self.foreign += other.foreign
        self.loss += other.loss
        self.refused += other.refused
        self.recent = [*self.recent, *other.recent][-RECENT:]


def learn(learner: Learner, lines: Sequence[bytes], job: Job, rules: Rules | None = None) -> Lesson:
    """Learn those of the joined lines that are for learning, in order.

    Args:
        learner: learns them.
        lines: of the joined log.
        job: says which are for learning.
        rules: by which they are labelled anew; None where they are labelled as they should be.
    """
    lesson = Lesson()
    before = learner.loss
    for line in lines:
        if not job.takes(line):
            lesson.skipped += 1
            lesson.foreign += _NEVER.match(line) is None
            continue
        cost = cost_of(learner, line, rules)
        lesson.recent.append(cost)
        if cost is None:
            lesson.refused += 1
        else:
            lesson.events += 1
    lesson.loss = learner.loss - before
    lesson.recent = lesson.recent[-RECENT:]
    return lesson


def cost_of(learner: Learner, line: bytes, rules: Rules | None = None) -> float | None:
    """Have a model learn a line; returns what it would have cost the moment before, or None if it is refused.

    Args:
        learner: the model.
        line: of the joined log.
        rules: as for `learn`.
    """
    if not sound(line):
        return None
    before = learner.loss
    try:
        learner.learn(line if rules is None else relabel(line, rules))
    except ModelError:
        return None
    return learner.loss - before


async def read(blobs: Blobs, window: Window, job: Job) -> tuple[list[bytes], Rules | None]:
    """The lines of a window that a job may see, and by which rules they are labelled anew; None where they need not be.

    Raises:
        StorageError: the window is gone or damaged, or storage does not answer.
    """
    lines, labels = await joined.read_labelled(blobs, job.loop_id, window, DSJSON, job.erased)
    # As nearly always: what is labelled by the rules of now is not looked at again.
    return lines, None if job.rules is None or job.rules.labels == labels else job.rules


async def learn_window(blobs: Blobs, learner: Learner, window: Window, job: Job) -> Lesson:
    """Learn a window of the joined log by the rules of a job.

    Raises:
        StorageError: the window is gone or damaged, or storage does not answer.
    """
    lines, rules = await read(blobs, window, job)
    lesson = await asyncio.to_thread(learn, learner, lines, job, rules)
    if lesson.refused:
        log.error("%d lines of %s were refused by VW", lesson.refused, window)
    return lesson
