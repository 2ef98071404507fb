"""Turns a window's joined lines into an immutable blob of the joined log, and the log's blobs back into lines.

One blob a window, named by it: `loops/<id>/joined/year=/month=/day=/hour=/<from>-<to>.dsjson.zst`. The observations
that arrived in the window stand beside it as `.observations.zst`, joined or not, so that nothing is lost with the
journal; so does its index, see `shared.log.index`. What an erasure leaves of a window is a new generation of its
blobs, `<from>-<to>.<generation>.dsjson.zst`, of which the highest counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from shared.log.erasure import NOTHING, Erased
from shared.log.index import Table
from shared.log.rows import compress, decompress
from shared.storage import Blobs, Conflict, StorageError

_NAME = re.compile(r"/(\d{10})-(\d{10})(?:\.(\d+))?\.([a-z]+)(?:\.zst)?$")
DSJSON, OBSERVATIONS, INDEX = KINDS = ("dsjson", "observations", "index")
"""What is kept of a window."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A run of buckets: from the first one to before `end`, seconds since the epoch; and a state of what it holds."""

    start: int
    end: int
    generation: int = 0


def log_path(loop_id: str) -> str:
    """The folder of a loop's joined log."""
    return f"loops/{loop_id}/joined/"


def window_path(loop_id: str, window: Window, kind: str) -> str:
    """The blob of a window; `kind` is one of `KINDS`."""
    generation = f".{window.generation}" if window.generation else ""
    hour = hour_path(window.start)
    name = f"{window.start:010d}-{window.end:010d}{generation}.{kind}"
    return f"{log_path(loop_id)}{hour}{name}" + ("" if kind == INDEX else ".zst")


def hour_path(time: int) -> str:
    """The folder of an hour, in the joined log and beside it."""
    return datetime.fromtimestamp(time, UTC).strftime("year=%Y/month=%m/day=%d/hour=%H/")


async def write(
    blobs: Blobs, loop_id: str, window: Window, kind: str, lines: Sequence[bytes], labels: str = ""
) -> bool:
    """Write a window's lines of a kind, unless there are none or the blob stands already.

    Args:
        blobs: get them.
        loop_id: the loop.
        window: the window.
        kind: one of `KINDS` that has lines.
        lines: them.
        labels: by what the lines are labelled, see `join.Rules.labels`; nothing where that is not known.

    Returns:
        False if other bytes stand there already. They hold every acknowledged line, since the window was closed when
        they were written; a row that storage took after its writer had given up can make the difference.
    """
    if not lines:
        return True
    path, packed = window_path(loop_id, window, kind), pack(lines, labels)
    try:
        await blobs.put(path, packed.data, metadata=packed.metadata)
    except Conflict:
        held = await blobs.get(path)
        return held is not None and held.metadata.get("sha256") == packed.metadata["sha256"]
    return True


class Packed(msgspec.Struct, frozen=True):
    """Lines as a blob: its bytes, and metadata that tell whether they are damaged."""

    data: bytes
    metadata: dict[str, str]


def pack(lines: Sequence[bytes], labels: str = "") -> Packed:
    """The blob of some lines; see `write`."""
    sha256 = hashlib.sha256(b"\n".join(lines)).hexdigest()
    known = {"labels": labels} if labels else {}
    return Packed(compress(lines), {"n": str(len(lines)), "sha256": sha256, **known})


async def write_index(blobs: Blobs, loop_id: str, window: Window, table: Table) -> None:
    """Write a window's index, unless it has no rows or the blob stands already."""
    if len(table):
        with suppress(Conflict):  # an earlier try took effect
            await blobs.put(window_path(loop_id, window, INDEX), table.tobytes())


async def windows(blobs: Blobs, loop_id: str, start: int, end: int, kind: str = DSJSON) -> list[Window]:
    """The windows of the joined log that begin in [start, end) and hold some of a kind, in order."""
    found: dict[tuple[int, int], Window] = {}
    for window in sorted(await generations(blobs, loop_id, start, end, kind)):
        found[window.start, window.end] = window
    return list(found.values())


async def generations(blobs: Blobs, loop_id: str, start: int, end: int, kind: str = DSJSON) -> list[Window]:
    """The same with every generation that is stored, those that count no more as well."""
    found = []
    for folder in await _folders(blobs, loop_id, start, end):
        for path in await blobs.names(folder):
            window, its = parse(path) or (None, "")
            if window is not None and its == kind and start <= window.start < end:
                found.append(window)
    return found


async def sizes(blobs: Blobs, loop_id: str, start: int, end: int) -> dict[str, dict[Window, int]]:
    """The windows that begin in [start, end) by kind, each with the size of its blob in bytes; see `windows`."""
    found: dict[str, dict[tuple[int, int], tuple[Window, int]]] = {kind: {} for kind in KINDS}
    for folder in await _folders(blobs, loop_id, start, end):
        held = await blobs.sizes(folder)
        for (window, kind), size in sorted((name, size) for path, size in held.items() if (name := parse(path))):
            if kind in found and start <= window.start < end:
                found[kind][window.start, window.end] = window, size
    return {kind: dict(of.values()) for kind, of in found.items()}


async def hours(blobs: Blobs, loop_id: str, start: int, end: int) -> AsyncIterator[int]:
    """The hours that hold something of the log, in order, from the one of `start` to before `end`."""
    root = log_path(loop_id)
    first, last = hour_path(start), hour_path(end - 1)

    async def below(folder: str, depth: int) -> AsyncIterator[str]:
        for child in await blobs.folders(folder):
            path = child[len(root) :]
            if not first[: len(path)] <= path <= last[: len(path)]:
                continue
            if depth == 1:
                yield path
            else:
                async for deeper in below(child, depth - 1):
                    yield deeper

    async for path in below(root, first.count("/")):
        yield int(datetime.strptime(path + "+0000", "year=%Y/month=%m/day=%d/hour=%H/%z").timestamp())


def parse(path: str) -> tuple[Window, str] | None:
    """The window and the kind that a blob's name tells, or None where it is no such name."""
    match = _NAME.search(path)
    return None if match is None else (Window(int(match[1]), int(match[2]), int(match[3] or 0)), match[4])


async def stored(blobs: Blobs, loop_id: str) -> dict[tuple[int, int], dict[str, dict[int, int]]]:
    """All that is stored of the windows, by start and end: the sizes of the blobs by kind and generation."""
    found: dict[tuple[int, int], dict[str, dict[int, int]]] = {}
    for path, size in (await blobs.sizes(log_path(loop_id))).items():
        window, kind = parse(path) or (None, "")
        if window is not None and kind in KINDS:
            kinds = found.setdefault((window.start, window.end), {})
            kinds.setdefault(kind, {})[window.generation] = size
    return found


async def _folders(blobs: Blobs, loop_id: str, start: int, end: int) -> list[str]:
    """The fewest folders that hold [start, end) and little else: hours for a day at most, else days, months, years."""
    root = log_path(loop_id)
    if end - start <= 86_400:
        return [root + hour_path(hour) for hour in range(start // 3600 * 3600, end, 3600)]
    first, last = root + hour_path(max(0, start)), root + hour_path(end - 1)

    async def covering(folder: str, depth: int) -> list[str]:  # `depth` counts the levels above the days
        if depth == 0 or first[: len(folder)] < folder < last[: len(folder)]:
            return [folder]
        held, children = list[str](), await blobs.folders(folder)
        for child in children:
            if first[: len(child)] <= child <= last[: len(child)]:
                held += await covering(child, depth - 1)
        return [folder] if held == children else held  # one list of all is less work than one of each

    return await covering(root, 3)


async def read(blobs: Blobs, loop_id: str, window: Window, erased: Erased = NOTHING) -> list[bytes]:
    """The dsjson lines of a window, less those that are erased.

    Raises:
        StorageError: the blob is gone, or is not what was written.
    """
    return (await read_labelled(blobs, loop_id, window, DSJSON, erased))[0]


async def read_beginning(
    blobs: Blobs, loop_id: str, window: Window, most: int, erased: Erased
) -> tuple[list[bytes], int]:
    """The dsjson lines that a window begins with, less those that are erased, and how many it has in all.

    Args:
        blobs: hold the log.
        loop_id: the loop.
        window: the window.
        most: bytes of them; to read all of a large window takes a quarter of what joining it took.
        erased: what nobody may see any more.

    Raises:
        StorageError: the blob is gone or damaged. Whether what is read is what was written is not looked at.
    """
    path = window_path(loop_id, window, DSJSON)
    blob = await blobs.get(path)
    if blob is None:
        raise StorageError(f"{path} is gone")
    text = await asyncio.to_thread(decompress, blob.data, most)
    lines = text.split(b"\n")
    if len(text) == most:
        lines.pop()  # cut off in the middle
    return erased.joined(lines, window.start), int(blob.metadata["n"])


async def read_whole(blobs: Blobs, loop_id: str, window: Window, kind: str) -> list[bytes]:
    """All lines of a kind that a window's blob holds; see `read`."""
    return (await read_labelled(blobs, loop_id, window, kind))[0]


async def read_labelled(
    blobs: Blobs, loop_id: str, window: Window, kind: str, erased: Erased = NOTHING
) -> tuple[list[bytes], str]:
    """The lines of a kind less those of events that are erased, and by what they are labelled; see `write`."""
    held = await fetch(blobs, loop_id, window, kind)
    lines = await asyncio.to_thread(held.lines)  # 64 MB of text take a quarter of a second
    return erased.joined(lines, window.start), held.labels


class Held(msgspec.Struct, frozen=True):
    """What a window's blob holds, as it is stored.

    Attributes:
        path: of the blob.
        data: its bytes.
        sha256: of the lines.
        labels: see `write`.
    """

    path: str
    data: bytes
    sha256: str
    labels: str

    def lines(self) -> list[bytes]:
        """All of its lines.

        Raises:
            StorageError: they are not what was written.
        """
        text = decompress(self.data)
        if hashlib.sha256(text).hexdigest() != self.sha256:
            raise StorageError(f"{self.path} is damaged: its hash is not the one it was written with")
        return text.split(b"\n") if text else []


async def fetch(blobs: Blobs, loop_id: str, window: Window, kind: str) -> Held:
    """What a window's blob holds, unread.

    Raises:
        StorageError: the blob is gone.
    """
    return await fetch_path(blobs, window_path(loop_id, window, kind))


async def fetch_path(blobs: Blobs, path: str) -> Held:
    """What a blob of lines holds; see `fetch`."""
    blob = await blobs.get(path)
    if blob is None:
        raise StorageError(f"{path} is gone")
    return Held(path, blob.data, blob.metadata.get("sha256", ""), blob.metadata.get("labels", ""))
