"""Routes each observation of a loop that waits long to the windows of its event, once, as soon as buckets are closed.

A slice is planned first, then written, then passed, as windows are (docs/adr/0003, docs/adr/0017): its events' digests
by window, and the mail for every window that still waits. Then a window is joined from its own rows and its mail.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import msgspec
import numpy as np

from shared.log import checkpoint as checkpoints
from shared.log import erasure, rows, slices
from shared.log.activity import Span
from shared.log.buckets import BUCKET, EARLY, Waits, next_bucket, slice_length
from shared.log.checkpoint import Checkpoint
from shared.log.load import Load
from shared.log.reader import Reader
from shared.log.records import Ranked, digest_of
from shared.log.slices import MAIL, RANKS, Letters, Part, Place, Slice
from shared.storage import Blobs, Conflict, Row, StorageError

MAX_EVENTS = 2_000_000
"""Events of a slice, about; sixteen bytes each."""
MAX_OBSERVED = 500_000
"""Observations of a slice, about; its mail is written from memory."""
_STEP = 600
"""Seconds that are counted at a time."""
_REMEMBERED = 256
"""Blobs of which it is remembered what is where."""


class Router:
    """The slices of one storage account.

    Args:
        reader: reads the journal.
        blobs: hold slices, checkpoints, and what journal rows cannot hold.
        load: makes what tells where windows end.
    """

    def __init__(self, reader: Reader, blobs: Blobs, load: Callable[[], Load]) -> None:
        self._reader = reader
        self._blobs = blobs
        self._load = load
        self._places: OrderedDict[str, tuple[list[Place], str]] = OrderedDict()

    async def plan(
        self, loop_id: str, waits: Waits, checkpoint: Checkpoint, spans: Sequence[Span], closed: int
    ) -> Checkpoint | None:
        """The checkpoint with the next slice planned, or None when none is closed, or none is needed.

        Args:
            loop_id: the loop.
            waits: its reward waits.
            checkpoint: as it is now, without a slice in work.
            spans: the loop's noted spans.
            closed: every bucket before this one is closed.
        """
        for since, until, wait in waits.long_stretches(checkpoint.watermark):
            start = max(checkpoint.sliced, checkpoint.watermark, since)
            held = [span for span in spans if span.end > start - EARLY]
            start = max(start, min((span.start for span in held), default=start))  # nothing lies before it
            if not held or start >= until + next_bucket(wait) + EARLY:
                continue
            length = slice_length(wait)
            end = (start // length + 1) * length
            if end > closed:
                return None
            shards = sorted({*checkpoint.shards, *(span.shard for span in spans)})
            planned = msgspec.structs.replace(checkpoint, shards=shards)
            end = await self._cut(loop_id, planned, start, end)
            return msgspec.structs.replace(planned, slice=Slice(start, end))
        return None

    async def _cut(self, loop_id: str, checkpoint: Checkpoint, start: int, limit: int) -> int:
        """Where a slice from `start` on ends so that its mail can be made in memory; `limit` at most."""
        events: defaultdict[int, int] = defaultdict(int)
        observed: defaultdict[int, int] = defaultdict(int)
        for first in range(start, limit, _STEP):
            last = min(first + _STEP, limit)
            columns = ("PartitionKey", "RowKey", "n")
            async for row in self._reader.read(loop_id, "rank", first, last, checkpoint.shards, columns):
                events[rows.bucket_of(row)] += int(row["n"])
            async for row in self._observations(loop_id, checkpoint, first - EARLY, last - EARLY):
                observed[rows.bucket_of(row) + EARLY] += int(row["n"])
            if sum(events.values()) > MAX_EVENTS or sum(observed.values()) > MAX_OBSERVED:
                break
        held_events = held_observed = 0
        for bucket in sorted({*events, *observed}):
            held_events += events[bucket]
            held_observed += observed[bucket]
            if held_events > MAX_EVENTS or held_observed > MAX_OBSERVED:
                return bucket + BUCKET
        return limit

    async def carry_out(self, loop_id: str, waits: Waits, checkpoint: Checkpoint, etag: str | None) -> None:
        """Write the planned slice, and move the checkpoint past it.

        Raises:
            Conflict: another run has moved the checkpoint.
            StorageError: storage does not answer.
        """
        held = checkpoint.slice
        assert held is not None  # noqa: S101 - for the type checker
        await self._write_ranks(loop_id, waits, checkpoint, held)
        await self._write_mail(loop_id, waits, checkpoint, held)
        passed = msgspec.structs.replace(checkpoint, sliced=held.end, slice=None)
        await checkpoints.save(self._blobs, loop_id, passed, etag)
        self._reader.forget(loop_id, held.end - EARLY)

    async def _write_ranks(self, loop_id: str, waits: Waits, checkpoint: Checkpoint, held: Slice) -> None:
        """Cut a slice into windows, unless that has been done."""
        path = slices.path(loop_id, held, RANKS)
        if path in await self._blobs.names(path):
            return
        load, erased = self._load(), await erasure.load(self._blobs, checkpoint.erasures)
        marks: defaultdict[int, list[bytes]] = defaultdict(list)
        columns = ("PartitionKey", "RowKey", "n", "s", "h")
        async for row in self._reader.read(loop_id, "rank", held.start, held.end, checkpoint.shards, columns):
            load.add("rank", row)
            marks[rows.bucket_of(row)].append(erased.marks(bytes(row["h"])))  # type: ignore[arg-type]
        async for row in self._observations(loop_id, checkpoint, held.start, held.end):
            load.add("obs", row)

        def parts() -> bytes:
            found = []
            for since, until, _ in waits.long_stretches(held.start):
                start, last = max(held.start, since), int(min(held.end, until))
                while (start := load.begins(start, last)) < last:
                    limit = min(last, (start // 3600 + 1) * 3600)  # a window lies in one hour, as its path says
                    end = load.fills(start, limit) or limit
                    within = [mark for bucket in range(start, end, BUCKET) for mark in marks.get(bucket, ())]
                    found.append(Part(start, end, slices.digests(within)))
                    start = end
            return slices.encode(found)

        with suppress(Conflict):  # a rival's, which is as good
            await self._blobs.put(path, await asyncio.to_thread(parts))

    async def _write_mail(self, loop_id: str, waits: Waits, checkpoint: Checkpoint, held: Slice) -> None:
        """Match the observations of a slice with the events of every window that still waits."""
        letters, erased = Letters(), await erasure.load(self._blobs, checkpoint.erasures)
        async for row in self._observations(loop_id, checkpoint, held.start - EARLY, held.end - EARLY):
            letters.add(await rows.lines(row, self._blobs), erased)
        await asyncio.to_thread(letters.sort)
        mail: list[Part] = []
        for other in await slices.stored(self._blobs, loop_id, RANKS) if letters else ():
            if checkpoint.watermark < other.end <= held.start or other == held:
                path = slices.path(loop_id, other, RANKS)
                blob = await self._blobs.get(path)
                if blob is None:
                    raise StorageError(f"{path} is gone")
                mail += await asyncio.to_thread(_mail, letters, blob.data, waits, held)
        with suppress(Conflict):
            await self._blobs.put(slices.path(loop_id, held, MAIL), slices.encode(mail))

    async def window(
        self, loop_id: str, waits: Waits, checkpoint: Checkpoint, spans: Sequence[Span], start: int, closed: int
    ) -> tuple[int, int] | None:
        """The next window of what is routed, or None where its rewards are not all routed yet.

        Args:
            loop_id: the loop.
            waits: its reward waits.
            checkpoint: as it is now.
            spans: the loop's noted spans.
            start: the first bucket that is not joined; its wait is long.
            closed: see `plan`.
        """
        until, wait = next((until, wait) for _, until, wait in waits.long_stretches(start))
        for held in await slices.stored(self._blobs, loop_id, RANKS):
            if held.end <= start or held.end > checkpoint.sliced or held.start >= until:
                continue
            for place in (await self._read_places(loop_id, held, RANKS))[0]:
                if place.end > start and place.start < until:
                    ready = next_bucket(place.end + wait) <= _routed(checkpoint, spans, closed)
                    return (max(start, place.start), place.end) if ready else None
        end = int(min(checkpoint.sliced, until))  # no window is left before it
        return (start, end) if end > start else None

    async def mail(
        self, loop_id: str, start: int, end: int, wait: float, checkpoint: Checkpoint
    ) -> AsyncIterator[list[bytes]]:
        """The observations of the events of a window, and perhaps more.

        Args:
            loop_id: the loop.
            start: the window's first bucket.
            end: the one after its last.
            wait: seconds after its rank within which a reward counts.
            checkpoint: as it was when the window was planned.

        Raises:
            StorageError: mail is gone, perhaps since another run has joined the window.
        """
        for held in await slices.stored(self._blobs, loop_id, RANKS):
            if held.end <= start or held.end > checkpoint.sliced or held.start - EARLY >= next_bucket(end + wait):
                continue
            data = await self._read_part(loop_id, held, MAIL, start)
            if data:
                yield (await asyncio.to_thread(rows.decompress, data)).split(b"\n")

    async def routed(self, loop_id: str, start: int, events: Sequence[Ranked]) -> list[Ranked]:
        """Those events of a window that stood when its slice was cut: of a row that came later no mail is kept.

        None of them, where another run has joined the window and deleted the slice.

        Args:
            loop_id: the loop.
            start: the window's first bucket.
            events: what the journal holds of it by now.
        """
        known: set[int] = set()
        for held in await slices.stored(self._blobs, loop_id, RANKS) if events else ():
            if held.start <= start < held.end:
                data = await self._read_part(loop_id, held, RANKS, start)
                known.update(np.frombuffer(data, slices.DIGEST).tolist())
        return [event for event in events if int.from_bytes(digest_of(event.e)) in known]

    async def _read_part(self, loop_id: str, held: Slice, kind: str, start: int) -> bytes:
        """The part of a slice's mail, or of its events, that is for the window with a bucket."""
        while True:
            places, etag = await self._read_places(loop_id, held, kind)
            place = next((place for place in places if place.start <= start < place.end), None)
            if place is None or not place.size:  # a window may have observations alone
                return b""
            path = slices.path(loop_id, held, kind)
            blob = await self._blobs.get_range(path, place.offset, place.size)
            if blob is None:
                raise StorageError(f"{path} is gone")
            if blob.etag == etag:
                return blob.data
            self._places.pop(path, None)  # what was erased is out of it now

    async def _read_places(self, loop_id: str, held: Slice, kind: str) -> tuple[list[Place], str]:
        path = slices.path(loop_id, held, kind)
        if path not in self._places:
            self._places[path] = await slices.read_places(self._blobs, path)
            while len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)
        return self._places[path]

    async def _observations(self, loop_id: str, checkpoint: Checkpoint, start: int, end: int) -> AsyncIterator[Row]:
        async for row in self._reader.observations(loop_id, start, end, checkpoint.shards, checkpoint.journal_state):
            yield row


def _routed(checkpoint: Checkpoint, spans: Sequence[Span], closed: int) -> int:
    """The bucket before which every observation is routed, or there is none."""
    routed = checkpoint.sliced - EARLY
    begins = [span.start for span in spans if span.end > routed]
    return max(routed, min([closed, *begins]))


def _mail(letters: Letters, ranks: bytes, waits: Waits, held: Slice) -> list[Part]:
    """The parts of a slice's mail that are for the windows of another one, or its own."""
    found = []
    for part in slices.decode(ranks):
        wait = waits.at(part.start)
        if part.end + wait <= held.start - EARLY:
            continue
        events = np.frombuffer(part.data, slices.DIGEST).astype(np.uint64)
        lines = letters.of(events, part.start, part.end, wait)
        if lines:
            found.append(Part(part.start, part.end, rows.compress(lines)))
    return found
