"""Turns a loop's settings and the version that learning goes on from into what is to be learned next.

What a model of its own, deleted or replaced by one from outside, had learned of imports stays out of what comes after
it, until a new model is made from the whole log; what is imported later is learned (docs/adr/0029). Nothing here reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import msgspec

from shared.learning.lesson import Job
from shared.learning.registry import Version


class Aim(NamedTuple):
    """What to learn in place of a version, or on top of it.

    Attributes:
        job: what a new model is made of.
        current: the version, with the settings that it is taken to be of where its record does not tell.
        renews: whether a new model takes its place.
    """

    job: Job
    current: Version
    renews: bool


def aim(job: Job, current: Version) -> Aim:
    """What is to be learned where a loop has a version.

    Args:
        job: what the loop is to be trained on.
        current: what learning goes on from.
    """
    spared = _without(job, _left_out(job, current))
    told = _told(job, current)
    shaped = told.shaping is not None and job.shaping is not None and told.shaping != spared.shaping
    renews = told.lineage != job.lineage or shaped
    if current.blank:  # it stays deleted, whatever is changed, until there is something new
        return Aim(spared, told, bool(spared.imports))
    begins = current.imported or current.origin is not None
    return Aim(spared if begins and current.lineage == job.lineage else job, told, renews)


def going_on(job: Job, current: Version | None) -> Job:
    """What is learned on top of a version, or of none: no import, since those are learned before the log."""
    learned = current.shaping.imports if current is not None and current.shaping is not None else ()
    return _without(job, set(job.imports) - set(learned))


def nothing(job: Job) -> Version:
    """What a loop without a model has in place of one, where there is something to begin with."""
    return _told(job, Version("", "", job.arguments, 0, 0, None, 0.0, 0.0, lineage=job.lineage))


def _left_out(job: Job, current: Version) -> Collection[str]:
    """The imports that the model after a version does not learn."""
    if current.left_out is None:  # by a release that did not note it: whatever there is was there before
        return job.imports if current.blank or current.imported else ()
    return current.left_out


def _told(job: Job, current: Version) -> Version:
    """A version as one of the settings of now, where it does not tell its own; it has learned no import then."""
    lineage = job.lineage if current.blank else current.lineage
    shaping = current.shaping or (job.shaping and msgspec.structs.replace(job.shaping, imports=()))
    return msgspec.structs.replace(current, lineage=lineage, shaping=shaping)


def _without(job: Job, names: Collection[str]) -> Job:
    """A job that leaves out some of its imports."""
    if job.shaping is None or not (out := tuple(name for name in job.imports if name in names)):
        return job
    kept = tuple(name for name in job.imports if name not in names)
    shaping = msgspec.structs.replace(job.shaping, imports=kept)
    return replace(job, shaping=shaping, left_out=tuple(sorted({*job.left_out, *out})))
