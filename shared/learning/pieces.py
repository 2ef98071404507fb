"""Turns a run of windows of the joined log into a model that has learned them: one piece of a new model's making.

What a piece takes is one message, so that it can be learned in a process of its own (docs/adr/0024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared.learning.excerpt import Excerpt, Stretch
from shared.learning.lesson import Job, Lesson, learn
from shared.learning.model import Learner
from shared.log import imports, joined
from shared.log.joined import DSJSON, Window
from shared.storage import Blobs

PIECE_BYTES = 24 * 1024 * 1024
"""Compressed bytes of the log in a piece, about 100,000 events of ten actions: some seconds of a core."""


class Task(msgspec.Struct, frozen=True, array_like=True):
    """All that it takes to learn a piece.

    Attributes:
        arguments, resuming: what VW is told; see `Job`.
        base: the model to go on from, or None.
        before: what was learned of the pieces that went into it.
        excerpt: what is learned.
    """

    arguments: str
    resuming: str
    base: bytes | None
    before: Lesson
    excerpt: Excerpt


class Learned(msgspec.Struct, frozen=True, array_like=True):
    """What came of a piece: the model, and the lesson of all that went into it."""

    model: bytes
    lesson: Lesson


def cut(sizes: Mapping[Window, int], through: int, most: int = PIECE_BYTES) -> list[tuple[int, int]]:
    """The spans of pieces that windows make, each of so many bytes or of one window: where it ends, and its bytes.

    Args:
        sizes: of the windows, in order.
        through: where the last one ends.
        most: bytes of a piece at most.
    """
    ends: list[int] = []
    held: list[int] = []
    for window, size in sizes.items():
        if held and held[-1] + size <= most:
            held[-1] += size
        else:
            ends.append(window.start)
            held.append(size)
    return list(zip([*ends[1:], through], held, strict=True)) if held else []


async def gather(
    blobs: Blobs,
    job: Job,
    imported: Sequence[tuple[str, int]],
    span: tuple[int, int],
    base: bytes | None,
    before: Lesson,
) -> bytes:
    """The message of the task of learning parts of imports and what the log holds of a span.

    Args:
        blobs: hold them.
        job: what it is for.
        imported: parts, by name and number.
        span: of the log: from the first bucket to before the last.
        base: the model to go on from, or None.
        before: what was learned of the pieces that went into it.

    Raises:
        StorageError: a part or a window is gone, or storage does not answer.
    """
    stretches = [Stretch(0, held) for held in await imports.fetch_all(blobs, job.loop_id, imported)]
    stretches += [
        Stretch(window.start, await joined.fetch(blobs, job.loop_id, window, DSJSON))
        for window in await joined.windows(blobs, job.loop_id, max(span[0], job.since), span[1])
    ]
    excerpt = Excerpt(job.multi_slot, job.mode, job.rules, job.erased.erasures, stretches)
    return msgspec.msgpack.encode(Task(job.arguments, job.resuming, base, before, excerpt))


def learn_task(message: bytes) -> bytes:
    """What comes of a task, as the message of a `Learned`.

    Raises:
        ModelError: VW does not take the model or its arguments.
        StorageError: a window is damaged.
    """
    task = msgspec.msgpack.decode(message, type=Task)
    excerpt, lesson = task.excerpt, task.before
    job = Job("", task.arguments, task.resuming, "", excerpt.multi_slot, excerpt.mode, 0, 0, 0, 0.0)
    learner = Learner(task.arguments, task.base, task.resuming)
    try:
        for lines, rules in excerpt.read():
            lesson.add(learn(learner, lines, job, rules))
        return msgspec.msgpack.encode(Learned(learner.save(), lesson))
    finally:
        learner.close()
