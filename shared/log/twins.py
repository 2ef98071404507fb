"""Turns the marks before a window into those of events that the log holds: what a repeated event is told by.

A row that storage took very late, behind the join of its window, is in none; its writer has said so, or nothing. Its
mark must not make a retry of the event that a client sent once more and was promised (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence, Set

import numpy as np

from shared.log import index, joined, merged
from shared.log.buckets import EARLY
from shared.log.checkpoint import Plan
from shared.log.index import RANKED
from shared.log.join import Joined, join
from shared.log.records import MARK_BYTES, Observed, Ranked, unmark
from shared.storage import Blobs

REACH = 2 * EARLY
"""Seconds before a window in which the event is looked for that a mark repeats, itself or by another retry."""


async def join_standing(
    blobs: Blobs,
    loop_id: str,
    plan: Plan,
    since: int,
    events: Sequence[Ranked],
    observed: Sequence[Observed],
    marks: Sequence[bytes],
) -> Joined:
    """What `join` gives for a planned window by those marks of the rows before it that stand; see `standing`."""
    outcome = await asyncio.to_thread(join, events, observed, marks, plan.rules)
    if outcome.repeated:
        left = await standing(blobs, loop_id, marks, outcome.repeated, plan.start, since)
        if left != marks:
            outcome = await asyncio.to_thread(join, events, observed, left, plan.rules)
    return outcome


async def standing(
    blobs: Blobs, loop_id: str, marks: Sequence[bytes], repeated: Set[bytes], start: int, since: int
) -> list[bytes]:
    """The marks of rows before a window, without those of events that no window has.

    Args:
        blobs: hold the joined log, which reaches to the window.
        loop_id: the loop.
        marks: of the rows in the two minutes before it.
        repeated: the digests of those events of the window that are told to be retries; of others the marks are left.
        start: the window's first bucket.
        since: events before it are deleted.

    Raises:
        Replaced: an erasure replaces a window meanwhile.
        StorageError: storage does not answer.
    """
    asked = repeated & {digest for row in marks for digest, _ in unmark(row)}
    if not asked:
        return list(marks)
    first = start - REACH
    near = await joined.sizes(blobs, loop_id, first // 3600 * 3600, start)  # a window lies in one hour
    windows = {kind: {one: size for one, size in held.items() if one.end > first} for kind, held in near.items()}
    if merged.unindexed(windows):  # of the first release, which knew no index: as it took them
        return list(marks)
    digests = np.array(sorted(map(int.from_bytes, asked)), np.uint64)
    held: set[bytes] = set()
    for window, size in windows[joined.INDEX].items():
        path = joined.window_path(loop_id, window, joined.INDEX)
        table = await index.select(blobs, path, size, digests)
        ranked = table[(table["kind"] == RANKED) & (table["time"] >= since)]
        held |= {int(event).to_bytes(8) for event in ranked["event"]}
    return [_without(row, asked - held) for row in marks]


def _without(marks: bytes, gone: Iterable[bytes]) -> bytes:
    """The marks of a row less those of some events."""
    kept = [n for n, (digest, _) in enumerate(unmark(marks)) if digest not in gone]
    return b"".join([marks[n * MARK_BYTES : (n + 1) * MARK_BYTES] for n in kept])
