"""Turns closed hours of the joined log into Parquet files and tables of their events (docs/queries.md, docs/adr/0019).

An hour is closed when every window is joined that can hold an event or an observation of it. It is written in parts,
nearly always one, behind a mark that moves by compare-and-swap. Names are immutable and tell what they hold, so rivals
and restarts write the same; killing a run anywhere costs the repetition of a part.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from shared.counters import Counters
from shared.log import checkpoint as checkpoints
from shared.log import erasure, late, merged, parts
from shared.log.activity import Span
from shared.log.buckets import EARLY, Waits
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased
from shared.log.join import LoopRules
from shared.log.parts import HOUR, Part
from shared.log.series import Series
from shared.storage import Blobs, Conflict, documents

log = logging.getLogger("rankloop.hours")

_MARGIN = 1.0
"""Seconds a bucket must have been closed, as the join has it."""
_LOOPS = 1000
"""Loops of which it is remembered how far they are."""


class Progress(msgspec.Struct, omit_defaults=True):
    """How far a loop's hours are written.

    Attributes:
        through: every part before it is.
        generation: of the last rewrite, at least; see `rewrite`.
        waits: all reward waits that ever held, as `Waits.steps`: the settings forget them.
        late: rewards that came when their event had waited long enough.
        unknown: rewards of no event that was ranked in the day before that.
        format: of this record.
    """

    through: int = 0
    generation: int = 0
    waits: list[tuple[int, float]] = []
    late: int = 0
    unknown: int = 0
    format: int = documents.FORMAT


def progress_path(loop_id: str) -> str:
    """The blob of a loop's progress."""
    return f"loops/{loop_id}/hours.json"


async def load(blobs: Blobs, loop_id: str) -> tuple[Progress, str | None]:
    """How far a loop's hours are written, and the state of that; nothing yet, and None, where there is none.

    Raises:
        StorageError: it is damaged or of a later release, or storage does not answer.
    """
    blob = await blobs.get(progress_path(loop_id))
    if blob is None:
        return Progress(), None
    return documents.decode(blob.data, Progress, progress_path(loop_id)), blob.etag


class Hours:
    """The hours of all loops, as one process writes them.

    Args:
        blobs: hold the joined logs, and get what is made of them.
        counters: gets hours.parts, hours.rivals, hours.damaged, log.late and log.unknown.
    """

    def __init__(self, blobs: Blobs, counters: Counters) -> None:
        self._blobs = blobs
        self._counters = counters
        self._series = Series(blobs, counters)
        self._through: dict[str, int] = {}

    async def run(
        self, loop: LoopRules, now: float, spans: Sequence[Span] | None = None, until: float = math.inf
    ) -> int:
        """Write the hours of a loop that are closed. Without a boundary passed since the last run it reads nothing.

        Args:
            loop: its rules.
            now: the storage's time, and not a moment ahead of it where there are spans.
            spans: what the loop has noted, read after `now`; or None, where only what is joined counts as over.
            until: by the monotonic clock, begin no other part after it; a later run goes on.

        Returns:
            How many parts were written.
        """
        through = self._through.get(loop.loop_id)
        shortest = min(wait for _, wait in loop.waits.steps) if spans is None else 0.0
        if time.monotonic() >= until or (through is not None and now < through + HOUR + EARLY + shortest):
            return 0
        written = 0
        while True:
            progress, etag = await load(self._blobs, loop.loop_id)
            checkpoint, _ = await checkpoints.load(self._blobs, loop.loop_id)  # behind it, see `rewrite`
            erased = await erasure.load(self._blobs, checkpoint.erasures)
            closed = _joined_through(checkpoint, loop.waits, spans, now) - EARLY
            reach = closed // HOUR * HOUR
            start = max(progress.through, checkpoint.since)
            part = await parts.following(self._blobs, loop.loop_id, start, reach, checkpoint.generation)
            if part is None:
                break
            if written and time.monotonic() >= until:
                return written
            try:
                await self._pass(loop, part, progress, etag, checkpoint, erased)
                written += 1
            except Conflict:
                self._counters.add("hours.rivals")
                await self._withdraw(loop.loop_id, part)
                if time.monotonic() >= until:
                    return written
        reach = max(reach, progress.through)
        try:
            await merged.merge_days(self._blobs, loop.loop_id, reach, checkpoint.generation, erased)
        except Conflict:
            self._counters.add("hours.rivals")
            return written
        if len(self._through) >= _LOOPS:
            self._through.clear()
        self._through[loop.loop_id] = reach
        return written

    async def _pass(
        self,
        loop: LoopRules,
        part: Part,
        progress: Progress,
        etag: str | None,
        checkpoint: Checkpoint,
        erased: Erased,
    ) -> None:
        """Write a part, and move the mark past it."""
        held = Waits(tuple(progress.waits)) if progress.waits else None
        waits = late.merged(held, loop.waits)
        rewards, damaged = await parts.write(self._blobs, loop.loop_id, part, waits, erased, checkpoint.since)
        await parts.delete_older(self._blobs, loop.loop_id, part.span.start, part.span.end, part.span.generation)
        await self._series.count_rewards(loop.loop_id, part.span, rewards[late.LATE], rewards[late.UNKNOWN])
        moved = msgspec.structs.replace(
            progress,
            through=part.span.end,
            generation=max(progress.generation, part.span.generation),
            waits=list(waits.steps),
            late=progress.late + rewards[late.LATE],
            unknown=progress.unknown + rewards[late.UNKNOWN],
        )
        await self._blobs.put(progress_path(loop.loop_id), msgspec.json.encode(moved), etag)
        self._counters.add("hours.parts")
        self._counters.add("log.late", rewards[late.LATE])
        self._counters.add("log.unknown", rewards[late.UNKNOWN])
        if damaged:
            self._counters.add("hours.damaged", damaged)
            log.error("%d lines of %s cannot be decoded and are not in its Parquet", damaged, part.span)

    async def _withdraw(self, loop_id: str, part: Part) -> None:
        """Take back what was written of a state that an erasure has replaced meanwhile."""
        progress, _ = await load(self._blobs, loop_id)
        generation = max(progress.generation, part.span.generation)
        if progress.through >= part.span.end:
            # A rival has passed it, perhaps with these very files: they go only where others stand in their place.
            stored = await parts.files(self._blobs, loop_id, part.span.start, part.span.end)
            generation = max((span.generation for _, span in stored), default=generation)
        await parts.delete_older(self._blobs, loop_id, part.span.start, part.span.end, generation)


async def rewrite(blobs: Blobs, loop_id: str, hour: int, generation: int, erased: Erased) -> None:
    """Write what stands of an hour anew, and delete what stood; for an erasure. It may be repeated, and cut off.

    Call it when the checkpoint names the generation, and every window of the hour's day is of its last state: the
    day's table is made of all of them. Whoever writes the hour meanwhile from an older checkpoint cannot pass it any
    more, and takes back what it has written; one that is killed in between may leave that, and one that merges the day
    its table, until `renew` is called.

    Args:
        blobs: hold the log.
        loop_id: the loop.
        hour: its start.
        generation: of what is written.
        erased: what nobody may see any more.

    Raises:
        Conflict: the hours are of a later generation already: what is written of this one would stand beside it.
    """
    progress, etag = await load(blobs, loop_id)
    while progress.generation < generation:
        try:
            fenced = msgspec.structs.replace(progress, generation=generation)
            etag = await blobs.put(progress_path(loop_id), msgspec.json.encode(fenced), etag)
            progress = fenced
        except Conflict:
            progress, etag = await load(blobs, loop_id)
    if progress.generation > generation:
        raise Conflict(f"the hours of {loop_id} are of generation {progress.generation}")
    end = hour + HOUR
    start = min([span.start for _, span in await parts.files(blobs, loop_id, hour, end)], default=end)
    since = (await checkpoints.load(blobs, loop_id))[0].since
    waits = Waits(tuple(progress.waits) or ((0, 0.0),))
    while part := await parts.following(blobs, loop_id, max(start, since), min(end, progress.through), generation):
        await parts.write(blobs, loop_id, part, waits, erased, since)
        start = part.span.end
    await renew(blobs, loop_id, hour, generation, erased)


async def renew(blobs: Blobs, loop_id: str, hour: int, generation: int, erased: Erased) -> None:
    """Leave nothing of an hour that was rewritten in an older generation, nor of its day; see `rewrite`."""
    await parts.delete_older(blobs, loop_id, hour, hour + HOUR, generation)
    for day in await merged.days(blobs, loop_id):
        if day.start // merged.DAY == hour // merged.DAY and day.generation < generation:
            await merged.write_day(blobs, loop_id, replace(day, generation=generation), erased)
            await blobs.delete(merged.path(loop_id, day))


def _joined_through(checkpoint: Checkpoint, waits: Waits, spans: Sequence[Span] | None, now: float) -> int:
    """Every event and observation of the log that arrived before this time is joined."""
    if spans is None:
        return checkpoint.watermark
    # What is in a closed bucket was noted before it was acknowledged, and the note stands until it is joined.
    open_from = min([waits.closed_before(now - _MARGIN), *(span.start for span in spans)])
    return max(checkpoint.watermark, open_from)
