"""Turns events and observations into a sorted table of where they stand, and an event id into its rows of it.

A row is 25 bytes: the event's digest, the head of its subject's tag, the time of arrival, and what arrived. Rows are
sorted by the digest, which is a hash: so a digest lies about as far into a table as its value lies between nothing and
2^64, and one short read finds its rows however long the table is.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.log.erasure import Erased, decode_line
from shared.log.records import Observed, Ranked, decode_observed, digest_of, readable
from shared.storage import Blobs, Conflict

RANKED, OBSERVED = b"r", b"o"
ROW = np.dtype([("event", ">u8"), ("subject", ">u8"), ("time", ">f8"), ("kind", "S1")])
"""A row: digest of the event, the first eight bytes of the subject's tag or 0, seconds since the epoch, and whether it
is an event or an observation of one."""
Table = NDArray[np.void]
_CHUNK = 400_000
"""Rows of a large table that are read at a time: 10 MB."""
_NEAR = 6
"""Standard deviations around where a digest is expected; past them the read is widened."""


class Replaced(Conflict):
    """A table that was listed is gone, since an erasure has put another one in its place."""


def of(events: Iterable[Ranked], observed: Iterable[Observed]) -> Table:
    """The table of events and observations."""
    rows = [(_number(event.e), _head(event.u), event.t, RANKED) for event in events]
    rows += [(_number(o.e), 0, o.t, OBSERVED) for o in observed]
    return merge([np.array(rows, ROW)])


def of_lines(joined: Iterable[bytes], observed: Iterable[bytes]) -> Table:
    """The same from what is stored of a window: its joined lines and its observation lines."""
    lines = list(readable(decode_line, joined))
    rows = [(_number(line.event_id), _head(line.subject), line.time, RANKED) for line in lines]
    return merge([np.array(rows, ROW), of((), readable(decode_observed, observed))])


def holds(table: Table, digests: Iterable[bytes], subjects: Iterable[str] = ()) -> bool:
    """Whether a table has a row of one of the events, or perhaps of one of the subjects."""
    heads = np.array([_head(tag) for tag in subjects], np.uint64)
    return bool(_named(table, digests).any() or np.isin(table["subject"], heads).any())


def left(table: Table, erased: Erased) -> Table:
    """The rows of a table that are not erased; all of a subject whose events are still to be found are left."""
    gone = _named(table, erased.digests)
    for n in np.flatnonzero(gone):
        row = table[n]
        hides = erased.hides_mark if row["kind"] == RANKED else erased.hides_observed
        gone[n] = hides(int(row["event"]).to_bytes(8), float(row["time"]))
    return table[~gone]


def _named(table: Table, digests: Iterable[bytes]) -> NDArray[np.bool_]:
    """Which rows of a table are of one of the events."""
    return np.isin(table["event"], np.array([int.from_bytes(digest) for digest in digests], np.uint64))


def merge(tables: Sequence[Table]) -> Table:
    """One table of several."""
    # The type is told, or the numbers of what is stored would be in the order of this machine's bytes.
    whole = np.concatenate([*tables, np.empty(0, ROW)], dtype=ROW)
    return whole[np.lexsort((whole["kind"], whole["time"], whole["event"]))]


def decode(data: bytes) -> Table:
    """The table in a blob."""
    return np.frombuffer(data, ROW)


def rows_of(table: Table, digest: bytes) -> Table:
    """The rows of an event, given its digest, in order of time."""
    number = np.uint64(int.from_bytes(digest))
    events = table["event"]
    return table[np.searchsorted(events, number, "left") : np.searchsorted(events, number, "right")]


async def find(blobs: Blobs, path: str, size: int, digest: bytes) -> Table:
    """The rows of an event in a table that is stored, read in part.

    Args:
        blobs: hold it.
        path: of its blob.
        size: of the blob, in bytes.
        digest: of the event.

    Raises:
        Replaced: it is gone.
    """
    count = size // ROW.itemsize
    share = int.from_bytes(digest) / 2**64
    spread = _spread(count, share)
    while True:
        first = max(0, math.floor(count * share - spread))
        last = min(count, math.ceil(count * share + spread))
        table = await _read(blobs, path, first, last - first)
        found = rows_of(table, digest)
        low_enough = first == 0 or (len(table) and table["event"][0] < int.from_bytes(digest))
        high_enough = last == count or (len(table) and table["event"][-1] > int.from_bytes(digest))
        if low_enough and high_enough:
            return found
        spread *= 4


async def select(blobs: Blobs, path: str, size: int, digests: NDArray[np.uint64]) -> Table:
    """The rows of many events in a table that is stored, sorted as they are there.

    Args:
        blobs: hold it.
        path: of its blob.
        size: of the blob, in bytes.
        digests: of the events.

    Raises:
        Replaced: it is gone.
    """
    count = size // ROW.itemsize
    if len(digests) * 2 * _spread(count, 0.5) < count:  # cheaper than to read all of it
        return merge([await find(blobs, path, size, int(digest).to_bytes(8)) for digest in digests])
    found = []
    for first in range(0, count, _CHUNK):
        table = await _read(blobs, path, first, min(_CHUNK, count - first))
        found.append(await asyncio.to_thread(_among, table, digests))
    return merge(found)


async def _read(blobs: Blobs, path: str, first: int, count: int) -> Table:
    blob = await blobs.get_range(path, first * ROW.itemsize, count * ROW.itemsize)
    if blob is None:
        raise Replaced(f"{path} is gone")
    return decode(blob.data)


def _among(table: Table, digests: NDArray[np.uint64]) -> Table:
    return table[np.isin(table["event"].astype(np.uint64), digests)]


def _spread(count: int, share: float) -> float:
    """Rows on each side of where a digest is expected, of a table of `count` rows, within which it surely is."""
    return _NEAR * math.sqrt(count * share * (1 - share)) + _NEAR


def _number(event_id: str) -> int:
    return int.from_bytes(digest_of(event_id))


def _head(tag: str | None) -> int:
    return int(tag[:16], 16) if tag else 0
