"""Turns the events and observations of a stretch of time into two blobs, by which long waits find their rewards.

`loops/<id>/slices/<from>-<to>.ranks` lists the windows of a slice, and of each the digests of its events, sorted.
`<from>-<to>.mail` holds the observations that arrived in the slice, two minutes earlier, by the window of their event,
however long ago that was (docs/adr/0017). Both begin with a table of what follows; nothing else is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.log.buckets import EARLY
from shared.log.erasure import Erased
from shared.log.records import decode_observed, digest_of, readable
from shared.storage import Blobs, StorageError

RANKS, MAIL = KINDS = ("ranks", "mail")
DIGEST = np.dtype(">u8")
Digests = NDArray[np.uint64]
_MARK = np.dtype([("event", ">u8"), ("time", ">f8")])
_COUNT = np.dtype(">u8")
_PART = np.dtype([("start", ">u8"), ("end", ">u8"), ("size", ">u8")])
_HEAD = 64 * 1024
"""Bytes read to learn what is in a blob; the table of nearly three thousand windows."""
_NAME = re.compile(r"/(\d{10})-(\d{10})\.[a-z]+$")


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """The buckets [start, end) of events, with the observations of [start - 120, end - 120)."""

    start: int
    end: int


class Part(NamedTuple):
    """What a blob of a slice holds for the window [start, end)."""

    start: int
    end: int
    data: bytes


class Place(NamedTuple):
    """Where in a blob a window's part lies."""

    start: int
    end: int
    offset: int
    size: int


def folder(loop_id: str) -> str:
    """The folder of a loop's slices."""
    return f"loops/{loop_id}/slices/"


def path(loop_id: str, held: Slice, kind: str) -> str:
    """The blob of a slice; `kind` is one of `KINDS`."""
    return f"{folder(loop_id)}{held.start:010d}-{held.end:010d}.{kind}"


def slice_of(path: str) -> Slice | None:
    """The slice that a blob is of."""
    match = _NAME.search(path)
    return Slice(int(match[1]), int(match[2])) if match else None


def encode(parts: Sequence[Part]) -> bytes:
    """The blob of some parts, in order."""
    table = np.array([(part.start, part.end, len(part.data)) for part in parts], _PART)
    head = np.array([len(parts)], _COUNT).tobytes() + table.tobytes()
    return b"".join([head, *(part.data for part in parts)])


def decode(blob: bytes) -> list[Part]:
    """The parts of a blob."""
    return [Part(p.start, p.end, blob[p.offset : p.offset + p.size]) for p in places(blob)]


def places(head: bytes) -> list[Place]:
    """Where the parts lie in a blob that begins so; `head` holds the whole table."""
    count = int(np.frombuffer(head, _COUNT, 1)[0])
    table = np.frombuffer(head, _PART, count, _COUNT.itemsize)
    offset = _COUNT.itemsize + table.nbytes
    ends = offset + np.cumsum(table["size"], dtype=np.int64)
    return [
        Place(int(row["start"]), int(row["end"]), int(end) - int(row["size"]), int(row["size"]))
        for row, end in zip(table, ends, strict=True)
    ]


async def read_places(blobs: Blobs, path: str) -> tuple[list[Place], str]:
    """Where the parts of a stored blob lie, and the state (ETag) in which they do.

    Raises:
        StorageError: the blob is gone.
    """
    while True:
        blob = await blobs.get_range(path, 0, _HEAD)
        if blob is None:
            raise StorageError(f"{path} is gone")
        size = _COUNT.itemsize + int(np.frombuffer(blob.data, _COUNT, 1)[0]) * _PART.itemsize
        if size > len(blob.data):
            whole = await blobs.get_range(path, 0, size)
            if whole is None or whole.etag != blob.etag:
                continue  # it was written anew meanwhile
            blob = whole
        return places(blob.data), blob.etag


def digests(marks: Iterable[bytes]) -> bytes:
    """The digests of the events in the marks of rows, sorted, none twice: a part of `ranks`."""
    events = np.frombuffer(b"".join(marks), _MARK)["event"]
    return np.unique(events).astype(DIGEST).tobytes()


def holds(part: Part, digests: Iterable[bytes]) -> bool:
    """Whether a part of `ranks` has any of some digests."""
    wanted = np.array([int.from_bytes(digest) for digest in digests], np.uint64)
    return bool(np.isin(np.frombuffer(part.data, DIGEST).astype(np.uint64), wanted).any())


class Letters:
    """The observations of a slice, to be found by their events' digests."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._found: list[tuple[int, float]] = []
        self._events: Digests = np.empty(0, np.uint64)
        self._times: NDArray[np.float64] = np.empty(0)
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, lines: Iterable[bytes], erased: Erased) -> None:
        """Take in lines; what cannot be decoded is of no event."""
        for line in lines:
            for o in erased.observations(readable(decode_observed, [line])):
                self._lines.append(line)
                self._found.append((int.from_bytes(digest_of(o.e)), o.t))

    def sort(self) -> None:
        """Make them ready for `of`; nothing is added after that."""
        found = np.array(self._found, [("event", np.uint64), ("time", np.float64)])
        self._found = []
        self._order = np.argsort(found["event"], kind="stable")
        self._events, self._times = found["event"][self._order], found["time"]

    def of(self, events: Digests, start: int, end: int, wait: float) -> list[bytes]:
        """The lines that can count for some events, and perhaps a few more: a join decides.

        Args:
            events: their digests, sorted.
            start: the first bucket of the window that they were ranked in.
            end: the one after its last.
            wait: seconds after its rank within which a reward counts.
        """
        first = np.searchsorted(self._events, events, "left")
        counts = np.searchsorted(self._events, events, "right") - first
        first, counts = first[counts > 0], counts[counts > 0]
        # The rows from each first one on, as many as there are.
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found = np.sort(self._order[np.repeat(first, counts) + steps])
        times = self._times[found]
        found = found[(times > start - EARLY) & (times < end + wait)]
        return [self._lines[n] for n in found.tolist()]


async def stored(blobs: Blobs, loop_id: str, *kinds: str) -> list[Slice]:
    """The slices of which any of some kinds is stored, in order."""
    names = [name for name in await blobs.names(folder(loop_id)) if name.rpartition(".")[2] in kinds]
    return sorted({held for name in names if (held := slice_of(name)) is not None})


async def drop(blobs: Blobs, loop_id: str, before: int) -> int:
    """Delete the slices that end at a bucket or before it, when all windows up to there are joined.

    Returns:
        How many blobs there were.
    """
    gone = [
        name
        for name in await blobs.names(folder(loop_id))
        if (held := slice_of(name)) is not None and held.end <= before
    ]
    for name in reversed(gone):  # the mail last, so that nobody takes a slice without it for a whole one
        await blobs.delete(name)
    return len(gone)
