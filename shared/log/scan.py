"""Turns all that a loop stores, place by place, into what was removed of it and what was found (docs/adr/0018)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from shared.log import checkpoint as checkpoints
from shared.log import imports, index, joined, rows, scrub, slices
from shared.log.checkpoint import Checkpoint
from shared.log.erasure import Erased, Erasure
from shared.log.joined import INDEX, Window
from shared.log.parts import HOUR
from shared.log.records import unmark
from shared.log.scrub import Event, Gone, Kinds
from shared.storage import Blobs, Row, Tables

_JOURNAL, _MAIL, _LOG, _IMPORTS, END = "0/", "1/", "2/", "3/", "4"
"""How a cursor begins: in the journal a table and a partition follow, in mail and in the joined log when a slice or a
window starts, in imports a part."""
_AT_ONCE = 16
"""Windows that are looked into at once by their indexes. Of whole ones, of 250 MB or so, one is held at a time."""
_FEW = 8
"""Events that are looked for one by one in a window's index; for more the whole index is read."""
_TAG = re.compile(rb'"u":"([0-9a-f]{32})"')


@dataclass(frozen=True, slots=True)
class Aim:
    """What is looked for.

    Attributes:
        checkpoint: of the join, as it was before anything was looked at.
        closed: every bucket before it is closed.
        ids: of the erasures that are carried out; what others hide is removed where it is met.
        sought: subjects whose events are to be found, by tag.
        erased: what is removed: all that is known of erasures in force.
    """

    checkpoint: Checkpoint
    closed: int
    ids: frozenset[str]
    sought: dict[str, list[Erasure]]
    erased: Erased

    def removes(self, start: int, generation: int) -> bool:
        """Whether a window, all of whose blobs are of this generation at least, may hold what is to be removed."""
        held = self.checkpoint.erasures
        return any(e.ready and e.id in self.ids and generation < e.generation and start < e.at for e in held)

    def finds(self, events: Iterable[Event]) -> list[tuple[str, Event]]:
        """Those of some events that are of a subject that is sought, with the erasure's id."""
        found = [(erasure, event) for event in events for erasure in self.sought.get(event.subject or "", ())]
        return [(erasure.id, event) for erasure, event in found if event.time < erasure.at]

    def unmarked(self, found: Iterable[tuple[str, Event]]) -> bool:
        """Whether an erasure that removes what it names has not known any of the found events."""
        ready = {e.id for e in self.checkpoint.erasures if e.ready}
        return any(one in ready and not self.erased.hides_mark(*unmark(event.mark)[0]) for one, event in found)

    def hides_any(self, row: Row) -> bool:
        """Whether a row has a mark of an event that is erased."""
        return any(self.erased.hides_mark(*one) for one in unmark(bytes(row["h"])))  # type: ignore[arg-type]


@dataclass(slots=True)
class Seen:
    """What was removed from a place, and what was found there, by erasure.

    Attributes:
        gone: what was removed.
        found: events of subjects that are sought, with the erasure's id.
        unmarked: whether any of those is hidden already, and its mark not kept yet. The place is left as it is: marks
            come first, since observations are told by them alone.
        hour: the hour of the log that the place lies in, where it is a window.
    """

    gone: Gone = field(default_factory=Gone)
    found: list[tuple[str, Event]] = field(default_factory=list)
    unmarked: bool = False
    hour: int | None = None


class Scan:
    """A look into all that a loop stores.

    Args:
        tables, blobs: hold it.
        loop_id: the loop.
        aim: what is looked for.
        note: is told of an hour of the log before the first window in it is altered, and keeps that in mind for good.
    """

    def __init__(
        self, tables: Tables, blobs: Blobs, loop_id: str, aim: Aim, note: Callable[[int], Awaitable[None]]
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._loop_id = loop_id
        self._aim = aim
        self._note = note
        self._whole = asyncio.Semaphore(1)

    async def places(self, done: str) -> AsyncIterator[tuple[str, list[Awaitable[Seen]]]]:
        """The looks that are to be taken, a few at a time, each with the cursor that stands for all up to them.

        Args:
            done: the cursor behind which to go on; nothing at first. It ends with `END`.
        """
        if done < _MAIL:
            for stream in ("obs", "rank"):
                for table in await self._tables.names(rows.table_name(stream, self._loop_id, "")):
                    before = f"{_JOURNAL}{table}/"
                    if done < before + "~":
                        start = done[len(before) :] + "~" if done.startswith(before) else ""
                        async for partition, held in self._partitions(table, start):
                            yield before + partition, [self._row(table, *one) for one in held]
                        await scrub.orphans(self._tables, self._blobs, table, self._aim.closed)
                        yield before + "~", []
        if done < _LOG:
            for one in await slices.stored(self._blobs, self._loop_id, *slices.KINDS):
                if f"{_MAIL}{one.start:010d}" > done:
                    yield f"{_MAIL}{one.start:010d}", [self._slice(one)]
        if done < _IMPORTS:
            every = sorted((await joined.stored(self._blobs, self._loop_id)).items())
            ahead = [(span, kinds) for span, kinds in every if f"{_LOG}{span[0]:010d}" > done]
            for n in range(0, len(ahead), _AT_ONCE):
                group = ahead[n : n + _AT_ONCE]
                yield f"{_LOG}{group[-1][0][0]:010d}", [self._window(*one) for one in group]
            yield _IMPORTS, []
        if done < END:
            for part in await imports.generations(self._blobs, self._loop_id):
                cursor = f"{_IMPORTS}{part.name}/{part.number:05d}.{part.generation:010d}"
                if cursor > done:
                    yield cursor, [self._import(part)]
            yield END, []

    async def _partitions(self, table: str, start: str) -> AsyncIterator[tuple[str, list[tuple[Row, str]]]]:
        """The rows of closed buckets that are to be looked into, each with its state, by partition."""
        aim = self._aim
        by_marks = table.startswith("rank") and not aim.sought
        columns = ("PartitionKey", "RowKey", "h") if by_marks else None
        partition, held = "", list[tuple[Row, str]]()
        async for row, etag in self._tables.query(table, (start, "~"), columns):
            if row["PartitionKey"] != partition and partition:
                yield partition, held
                held = []
            partition = str(row["PartitionKey"])
            if rows.bucket_of_partition(partition) < aim.closed and (not by_marks or aim.hides_any(row)):
                held.append((row, etag))
        if partition:
            yield partition, held

    async def _row(self, table: str, row: Row, etag: str) -> Seen:
        """Look into a row of the journal, of which perhaps only the marks are known."""
        aim, seen = self._aim, Seen()
        if "f" not in row:
            key = str(row["PartitionKey"])
            whole = [held async for held in self._tables.query(table, (key, key + "~"))]
            row, etag = next((held for held in whole if held[0]["RowKey"] == row["RowKey"]), (row, etag))
            if "f" not in row:
                return seen  # somebody has deleted it meanwhile
        if aim.sought and "h" in row:
            lines = await rows.lines(row, self._blobs)
            if any(match[1].decode() in aim.sought for match in _TAG.finditer(b"\n".join(lines))):
                seen.found = aim.finds([event for event in scrub.ranked(row, lines) if event])
                seen.unmarked = aim.unmarked(seen.found)
        if seen.unmarked:
            return seen
        if "h" not in row or seen.found or aim.hides_any(row):
            seen.gone = await scrub.row(self._tables, self._blobs, table, row, etag, aim.erased)
        return seen

    async def _slice(self, held: slices.Slice) -> Seen:
        """Look into a slice: its events, and its mail."""
        aim = self._aim
        shards = (await checkpoints.load(self._blobs, self._loop_id))[0].shards  # one may be new since the pass began
        await scrub.ranks(self._tables, self._blobs, self._loop_id, held, shards, aim.erased)
        return Seen(await scrub.mail(self._blobs, self._loop_id, held, aim.erased))

    async def _import(self, part: imports.Part) -> Seen:
        """Look into a part of an import: a few, so there is no index of them."""
        if not self._aim.removes(0, part.generation):
            return Seen()
        generation = self._aim.checkpoint.generation
        return Seen(await scrub.imported(self._blobs, self._loop_id, part, generation, self._aim.erased))

    async def _window(self, span: tuple[int, int], stored: Kinds) -> Seen:
        """Look into a window of the joined log."""
        aim, blobs, loop_id, seen = self._aim, self._blobs, self._loop_id, Seen(hour=span[0] // HOUR * HOUR)
        generation = aim.checkpoint.generation
        # What is not joined yet is written by this generation, whoever began it by an older one.
        ahead = span[0] >= aim.checkpoint.watermark
        old = scrub.older(stored, generation) if ahead else scrub.outdated(stored)
        await scrub.delete(blobs, loop_id, span, old)
        kinds = scrub.without(stored, old)
        removes = bool(kinds) and aim.removes(span[0], min(max(sizes) for sizes in kinds.values()))
        if ahead or not kinds or not (removes or aim.sought):
            return seen
        if not aim.sought and await self._holds_none(span, kinds):
            return seen
        table = await scrub.table_of(blobs, loop_id, span, kinds)
        if aim.sought and (table is None or index.holds(table, (), aim.sought)):
            async with self._whole:
                seen.found = aim.finds(await scrub.events(blobs, loop_id, span, kinds))
            seen.unmarked = aim.unmarked(seen.found)
        removes &= not seen.unmarked
        if removes and (table is None or index.holds(table, aim.erased.digests, aim.erased.subjects)):
            await self._note(span[0] // HOUR * HOUR)
            async with self._whole:
                seen.gone = await scrub.window(blobs, loop_id, span, kinds, generation, aim.erased)
        return seen

    async def _holds_none(self, span: tuple[int, int], kinds: Kinds) -> bool:
        """Whether a few short reads of a window's index tell that it holds nothing that is erased."""
        digests = list(self._aim.erased.digests)
        if INDEX not in kinds or len(digests) > _FEW or list(self._aim.erased.subjects):
            return False
        generation, size = max(kinds[INDEX].items())
        path = joined.window_path(self._loop_id, Window(*span, generation), INDEX)
        return not any([len(await index.find(self._blobs, path, size, digest)) for digest in digests])
