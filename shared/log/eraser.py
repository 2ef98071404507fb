"""Turns the erasures in force into storage that holds nothing of what they name, pass by pass (docs/adr/0018).

A pass goes through the journal and the joined log, and then writes the hours anew that it has met anything in. Of
subjects it finds the events; their marks, once they are in the checkpoint, tell the observations. What events and
found subjects name it removes. An erasure is done when a later pass, begun when no run is left that could have known
less, has found nothing of it any more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from shared.counters import Counters
from shared.log import checkpoint as checkpoints
from shared.log import erasures, hours
from shared.log.buckets import Waits, next_bucket
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased, Erasure, found_marks
from shared.log.erasures import Pass, Progress, Record, Tally
from shared.log.records import MARK_BYTES, mark
from shared.log.scan import END, Aim, Scan, Seen
from shared.storage import Blobs, Conflict, Tables

QUIET = 900.0
"""Seconds after which nobody writes any more who knew nothing of an erasure: a timer's run may take ten minutes
(host.json)."""
LOOK_AGAIN = 60.0
"""Seconds after which a loop with erasures in force is looked at again."""
_SAVED = 5.0
"""Seconds of work that a run which is killed has to repeat, about."""
_MARGIN = 1.0
"""Seconds a bucket must have been closed by our own reckoning of the storage's clock."""


class Eraser:
    """The erasures over one storage account.

    Args:
        tables: hold the journals.
        blobs: hold the joined logs.
        counters: gets erase.events, erase.windows, erase.rows, erase.done, erase.rivals.
        steady: a clock that never jumps, in seconds.
    """

    def __init__(
        self, tables: Tables, blobs: Blobs, counters: Counters, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._counters = counters
        self._steady = steady

    async def run(self, loop_id: str, waits: Waits, now: float, patience: float) -> float | None:
        """Carry out what is due of a loop's erasures.

        Args:
            loop_id: the loop.
            waits: its reward waits, which say when a bucket is closed.
            now: the storage's time, and not a moment ahead of it.
            patience: seconds after which the rest is left to the next run.

        Returns:
            None when nothing is left to be done, else when to look again, in seconds since the epoch.
        """
        until, closed = self._steady() + patience, waits.closed_before(now - _MARGIN)
        await erasures.tidy(self._blobs, loop_id)
        try:
            kept, checkpoint = await self._look(loop_id)
            if not checkpoint.erasures:
                return None
            while True:
                passing = kept.held.passing or _next(checkpoint, kept.held, closed, now)
                if passing is None:
                    return now + LOOK_AGAIN
                kept.held.passing = passing
                found = await found_marks(self._blobs, checkpoint.erasures)
                aim = _aim(checkpoint, kept.held, passing, closed, found)
                if not await self._pass(loop_id, kept, passing, aim, found, until):
                    return now
                await self._end(loop_id, checkpoint, kept.held, passing, found, now)
                await kept.save()
                kept, checkpoint = await self._look(loop_id)
        except Conflict:
            self._counters.add("erase.rivals")  # another run has come further
            return now

    async def _look(self, loop_id: str) -> tuple[_Kept, Checkpoint]:
        """How far the erasures are, and which are in force; of others nothing is known any more then."""
        kept = _Kept(self._blobs, loop_id, *await erasures.progress(self._blobs, loop_id))
        checkpoint, _ = await checkpoints.load(self._blobs, loop_id)  # behind it: what is not in force here is done
        known = _known(checkpoint, kept.held)
        if known != kept.held:
            kept.held = known
            await kept.save()
        return kept, checkpoint

    async def _pass(
        self, loop_id: str, kept: _Kept, passing: Pass, aim: Aim, found: Mapping[str, bytes], until: float
    ) -> bool:
        """Go on with a pass; whether it has come to its end."""
        alone = {e.id: Erased([e], found) for e in aim.checkpoint.erasures if e.ready}
        saved = self._steady()
        async for cursor, looks in Scan(self._tables, self._blobs, loop_id, aim, kept.note).places(passing.cursor):
            seen = [self._count(kept.held, passing, alone, one) for one in await _all(looks)]
            passing.cursor, late = cursor, self._steady() > until
            if any(seen) or late or cursor == END or self._steady() > saved + _SAVED:
                await kept.save()
                saved = self._steady()
            if late:
                return False
        for hour, generation in sorted(kept.held.hours.items()):
            if hour <= passing.hour:
                continue
            if generation:  # a run that was late may have written some of it once more
                await hours.renew(self._blobs, loop_id, hour, generation, aim.erased)
            else:
                await hours.rewrite(self._blobs, loop_id, hour, aim.checkpoint.generation, aim.erased)
                kept.held.hours[hour] = aim.checkpoint.generation
            passing.hour = hour
            await kept.save()
            if self._steady() > until:
                return False
        return True

    def _count(self, progress: Progress, passing: Pass, alone: Mapping[str, Erased], seen: Seen) -> bool:
        """Add what was seen at a place to the tallies; whether it was anything."""
        for erasure_id, event in seen.found:
            progress.tallies.setdefault(erasure_id, Tally()).events.add(event.mark)
        if seen.unmarked:  # the place was left as it is: nobody knows yet whether it holds anything of theirs
            passing.touched |= set(passing.ids)
        if not seen.gone:
            return bool(seen.found)
        for erasure_id, erased in alone.items():
            events = {e.mark for e in seen.gone.events if erased.hides(e.id, e.subject, e.time)}
            observations = {mark(o.e, o.t) for o in seen.gone.observations if erased.hides_observation(o)}
            if events or observations:
                tally = progress.tallies.setdefault(erasure_id, Tally())
                tally.events |= events
                tally.observations |= observations
                if seen.hour is None:
                    tally.rows += 1
                else:
                    tally.windows += 1
                    tally.hours.add(seen.hour)
                passing.touched.add(erasure_id)
        if seen.hour is None:
            self._counters.add("erase.rows")
        else:
            self._counters.add("erase.windows")
            self._counters.add("erase.events", len(seen.gone.events))
        return True

    async def _end(
        self,
        loop_id: str,
        checkpoint: Checkpoint,
        progress: Progress,
        passing: Pass,
        found: Mapping[str, bytes],
        now: float,
    ) -> None:
        """Draw the consequences of a pass that has come to its end."""
        mine = [e for e in checkpoint.erasures if e.id in passing.ids]
        left = {e.id: e.generation for e in checkpoint.erasures}
        known = {e.id: _tally(progress, e).events | _marks(found.get(e.found or "", b"")) for e in mine}
        await erasures.commit(self._blobs, loop_id, {e.id: known[e.id] for e in mine if e.kind == "subject"})
        for erasure in mine:
            if erasure.id in passing.unknown:
                continue
            if erasure.id in passing.touched or erasure.id not in progress.due:
                progress.due[erasure.id] = now + QUIET
                continue
            removed = _tally(progress, erasure).removed()
            await erasures.close(self._blobs, loop_id, Record(erasure.id, erasure.kind, erasure.at, now, removed))
            self._counters.add("erase.done")
            progress.due.pop(erasure.id)
            progress.tallies.pop(erasure.id, None)
            left.pop(erasure.id)
        # An hour is renewed for as long as one is in force that it was written anew for, whoever met it there.
        oldest = min(left.values(), default=math.inf)
        progress.hours = {hour: n for hour, n in progress.hours.items() if not n or n >= oldest}
        progress.passing = None


class _Kept:
    """How far the erasures of a loop are, kept in storage; who saves it after somebody else has, gets a Conflict."""

    def __init__(self, blobs: Blobs, loop_id: str, held: Progress, etag: str | None) -> None:
        self.held = held
        self._blobs = blobs
        self._loop_id = loop_id
        self._etag = etag
        self._saving = asyncio.Lock()

    async def save(self) -> None:
        async with self._saving:
            self._etag = await erasures.save(self._blobs, self._loop_id, self.held, self._etag)

    async def note(self, hour: int) -> None:
        """Keep in mind that an hour is to be written anew."""
        async with self._saving:
            if self.held.hours.get(hour) != 0:
                saved = replace(self.held, hours={**self.held.hours, hour: 0})
                self._etag = await erasures.save(self._blobs, self._loop_id, saved, self._etag)
                self.held.hours[hour] = 0


def _known(checkpoint: Checkpoint, progress: Progress) -> Progress:
    """What is known less what was of erasures that are in force no more: it names their events."""
    in_force = {e.id for e in checkpoint.erasures}
    if not in_force:
        return Progress()
    due = {one: at for one, at in progress.due.items() if one in in_force}
    tallies = {one: tally for one, tally in progress.tallies.items() if one in in_force}
    return replace(progress, due=due, tallies=tallies)


def _next(checkpoint: Checkpoint, progress: Progress, closed: int, now: float) -> Pass | None:
    """A pass for those erasures whose rows cannot be written any more, and which are due; None where there is none."""
    due = [e for e in checkpoint.erasures if next_bucket(e.at) <= closed and progress.due.get(e.id, now) <= now]
    return Pass([e.id for e in due], {e.id for e in due if not e.ready}) if due else None


def _aim(checkpoint: Checkpoint, progress: Progress, passing: Pass, closed: int, found: Mapping[str, bytes]) -> Aim:
    """What a pass looks for. One that is to see that nothing is left seeks the events of subjects once more."""
    sought: dict[str, list[Erasure]] = {}
    for erasure in checkpoint.erasures:
        seeks = erasure.id in passing.unknown or (erasure.id in passing.ids and erasure.id in progress.due)
        if erasure.kind == "subject" and seeks:
            sought.setdefault(erasure.key, []).append(erasure)
    erased = Erased([e for e in checkpoint.erasures if e.ready], found)
    return Aim(checkpoint, closed, frozenset(passing.ids), sought, erased)


def _tally(progress: Progress, erasure: Erasure) -> Tally:
    return progress.tallies.get(erasure.id, Tally())


def _marks(data: bytes) -> set[bytes]:
    return {data[n : n + MARK_BYTES] for n in range(0, len(data), MARK_BYTES)}


async def _all(looks: Sequence[Awaitable[Seen]]) -> list[Seen]:
    """What all looks saw. Where one fails, the others come to their end first: they may be rewriting something."""
    seen: list[Seen] = []
    for one in await asyncio.gather(*looks, return_exceptions=True):
        if isinstance(one, BaseException):
            raise one
        seen.append(one)
    return seen
