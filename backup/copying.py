"""Turns a deployment's storage into that of another one, which goes on where the first was; it may serve meanwhile.

What makes the copy whole is the order (docs/adr/0039). Whatever says how far something has come is read before that
which it counts on: first the marks of what is made of the joined log, then the journal and its notes, then the join's
checkpoint, and last what never changes. What lies beyond a mark is left out, for the copy makes it again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import NamedTuple, TypeVar

import orjson

from shared.log import activity, answers, hours, rows, slices
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.loops import deployment as deployments
from shared.loops import settings
from shared.loops.deployment import DEPLOYMENT
from shared.storage import Blob, Blobs, Row, Tables, documents

TRIES = 5
"""Times that a loop's copy is begun, or a part of it: something may be deleted from under it, or a setting change."""
_STREAMS = ("rank", "obs", answers.STREAM)
"""What has tables of a loop's own."""
_AT_ONCE = 32
"""Rows or blobs that are copied at a time."""
_MARK = re.compile(r"loops/[0-9a-f]{32}/(?:models/)?[^/]+\.json")
_SPAN = re.compile(r"/(joined|parquet|index)/(?:.*/)?\d{10}-(\d{10})\.[^/]+$")
_IN_WORK = re.compile(r"loops/[0-9a-f]{32}/(?:evaluating|pieces|weighing)/")

T = TypeVar("T")


class NotCopied(Exception):
    """The copy was not made, or is not whole: the text says why, and what to do."""


class Account(NamedTuple):
    """The storage of one deployment."""

    tables: Tables
    blobs: Blobs


class Copied(NamedTuple):
    """What a copy holds: loops, rows of journals, blobs and their bytes."""

    loops: int
    rows: int
    blobs: int
    bytes: int


class Copy:
    """One copy.

    Args:
        source: the deployment's storage.
        target: another one, which holds no deployment.
        tell: gets a line for each loop.
    """

    def __init__(self, source: Account, target: Account, tell: Callable[[str], None]) -> None:
        self._source = source
        self._target = target
        self._tell = tell
        self._rows = 0
        self._sizes: dict[str, int] = {}

    async def run(self) -> Copied:
        """Copy everything; who is killed has left a target that holds no deployment, and empties it.

        Raises:
            NotCopied: there is none to copy, the target is not empty, or a loop did not keep still.
            StorageError: either storage does not answer.
        """
        blob = await self._source.blobs.get(DEPLOYMENT)
        if blob is None:
            raise NotCopied(f"the source holds no deployment: it has no {DEPLOYMENT}")
        if await self._target.blobs.names("") or await self._target.tables.names("activity"):
            raise NotCopied("the target is not empty: take another account, or delete its container and tables")
        found = deployments.decode(blob.data)
        told: dict[str, str] = {}
        for loop_id in sorted(set(found.loops.values())):
            told[loop_id] = await self._loop(loop_id)
        # Last, for it is what an app looks for. Loops that are deleted are not in the copy, and need no sweep.
        copied = {**orjson.loads(blob.data), "settings": told, "deleted": {}}
        await self._put(DEPLOYMENT, Blob(orjson.dumps(copied), ""))
        return Copied(len(told), self._rows, len(self._sizes), sum(self._sizes.values()))

    async def _loop(self, loop_id: str) -> str:
        """Copy a loop; returns the state (ETag) of its settings in the copy."""
        for _ in range(TRIES):
            before, copied = await self._state(loop_id), self._rows
            marks = await self._marks(loop_id)
            for stream in _STREAMS:
                for table in await self._source.tables.names(rows.table_name(stream, loop_id, "")):
                    await self._table(table)
            for span in (await activity.noted(self._source.tables)).get(loop_id, []):
                await activity.note_rows(self._target.tables, span)
            mark = await self._checkpoint(loop_id)
            held = _decoded(loop_id, mark)
            written = marks.get(hours.progress_path(loop_id))
            through = written and documents.decode(written.data, hours.Progress, hours.progress_path(loop_id)).through
            await self._contents(loop_id, held.watermark, through or 0)
            if await self._state(loop_id) == before:
                break
            self._tell(f"loop {loop_id}: settings changed, or something was erased meanwhile; it is begun again")
            await self._clear(loop_id)
            self._rows = copied
        else:
            raise NotCopied(f"loop {loop_id} did not keep still: empty the target, and try again later")
        if mark is not None:
            marks[checkpoints.path(loop_id)] = mark
        etags = {path: await self._put(path, blob) for path, blob in marks.items()}
        # A note too many costs a look.
        await activity.note_joined(self._target.tables, loop_id)
        if held.erasures:
            await activity.note_erasure(self._target.tables, loop_id)
        self._tell(f"loop {loop_id}: {self._rows - copied} rows of its journal, joined through {held.watermark}")
        return etags[settings.path(loop_id)]

    async def _state(self, loop_id: str) -> Hashable:
        """What must stay while a loop is copied: its settings, and what is deleted or erased from its log."""
        blob = await self._source.blobs.get(settings.path(loop_id))
        if blob is None:
            raise NotCopied(f"loop {loop_id} was deleted meanwhile: empty the target, and try again")
        held, _ = await checkpoints.load(self._source.blobs, loop_id)
        return blob.etag, held.since, held.journal_state

    async def _marks(self, loop_id: str) -> dict[str, Blob]:
        """The loop's settings, and the blobs that say how far something has come, but for the join's."""
        found: dict[str, Blob] = {}
        for path in await self._source.blobs.names(f"loops/{loop_id}/"):
            if _MARK.fullmatch(path) and path != checkpoints.path(loop_id):
                blob = await self._source.blobs.get(path)
                if blob is not None:
                    found[path] = blob
        return found

    async def _table(self, table: str) -> None:
        """Copy a table of the journal, or of the counts of calls, and the blobs of what its rows could not hold."""

        async def copy(row: Row) -> None:
            if "b" in row:
                await self._copy(str(row["b"]))  # gone where the row was joined long ago, and nobody reads it
            await self._target.tables.put(table, row)
            self._rows += 1

        async def held() -> AsyncIterator[Row]:
            async for row, _ in self._source.tables.query(table, ("", "~")):
                yield row

        await _each(held(), copy)

    async def _checkpoint(self, loop_id: str) -> Blob | None:
        """The join's checkpoint, once the slices that it counts on are copied: the join drops what it has passed."""
        path = checkpoints.path(loop_id)
        for _ in range(TRIES):
            mark = await self._source.blobs.get(path)
            sliced = _decoded(loop_id, mark).sliced
            for name in await self._source.blobs.names(slices.folder(loop_id)):
                part = slices.slice_of(name)
                if part is not None and part.end <= sliced:
                    await self._copy(name)
            now = await self._source.blobs.get(path)
            if (now and now.etag) == (mark and mark.etag):
                return mark
        raise NotCopied(f"loop {loop_id} is joined faster than it is copied: empty the target, and try again later")

    async def _contents(self, loop_id: str, watermark: int, hours_through: int) -> None:
        """Copy what never changes, and records; again as long as something goes that was listed.

        What is in work comes before the record that says so, and that before the results that it leads to.
        """
        ends = {"joined": watermark, "parquet": hours_through, "index": hours_through}

        def wanted(path: str) -> bool:
            span = _SPAN.search(path)
            beyond = span is not None and int(span[2]) > ends[span[1]]
            return not (beyond or _MARK.fullmatch(path) or path.startswith(slices.folder(loop_id)))

        def rank(path: str) -> int:
            return 0 if _IN_WORK.match(path) else 1 if path.endswith(".json") else 2

        for _ in range(TRIES):
            listed = await self._source.blobs.names(f"loops/{loop_id}/")
            paths = sorted((path for path in listed if wanted(path) and path not in self._sizes), key=rank)
            gone: list[str] = []

            async def copy(path: str, gone: list[str] = gone) -> None:
                if not await self._copy(path):
                    gone.append(path)

            await _each(_in_turn(paths), copy)
            if not gone:
                return
        raise NotCopied(f"loop {loop_id}: too much of its log is deleted or rewritten; empty the target, and try later")

    async def _copy(self, path: str) -> bool:
        """Copy a blob; whether it is there."""
        blob = await self._source.blobs.get(path)
        if blob is not None:
            await self._put(path, blob)
        return blob is not None

    async def _put(self, path: str, blob: Blob) -> str:
        """Write a blob of the target, in place of what an earlier try has left."""
        held = await self._target.blobs.get(path) if path in self._sizes else None
        self._sizes[path] = len(blob.data)
        return await self._target.blobs.put(path, blob.data, held.etag if held else None, blob.metadata)

    async def _clear(self, loop_id: str) -> None:
        """Delete what was copied of a loop: something of it may be erased by now."""
        for path in [path for path in self._sizes if loop_id in path]:
            await self._target.blobs.delete(path)
            del self._sizes[path]
        for stream in _STREAMS:
            for table in await self._target.tables.names(rows.table_name(stream, loop_id, "")):
                async for row, _ in self._target.tables.query(table, ("", "~"), ("PartitionKey", "RowKey")):
                    # Not the table: Azure would refuse to make another one of its name for a while.
                    await self._target.tables.delete(table, str(row["PartitionKey"]), str(row["RowKey"]))


def _decoded(loop_id: str, mark: Blob | None) -> Checkpoint:
    if mark is None:
        return Checkpoint()
    return documents.decode(mark.data, Checkpoint, checkpoints.path(loop_id), checkpoints.LATEST)


async def _in_turn(items: list[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


async def _each(items: AsyncIterator[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Do something for each item, begun in their order, some at a time; the first failure ends it."""
    running: set[asyncio.Future[None]] = set()
    try:
        async for item in items:
            if len(running) >= _AT_ONCE:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
            running.add(asyncio.ensure_future(do(item)))
        await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
