"""Turns a window into its joined lines by those marks before it that stand: what a repeated event is told by.

A row that storage took very late, behind the join of its window, is in no window, and nobody was promised its events.
Such a mark must not make a retry of the event that a client sent once more and was promised (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from shared.log import index, joined, merged
from shared.log.buckets import EARLY
from shared.log.checkpoint import Checkpoint, Plan
from shared.log.erasure import Erased
from shared.log.index import RANKED
from shared.log.join import Joined, join
from shared.log.reader import Reader
from shared.log.records import Observed, Ranked, marks_left, unmark
from shared.storage import Blobs

_AT_ONCE = 16
_COLUMNS = ("PartitionKey", "RowKey", "h")


class Twins:
    """What is told of repeated events over one storage account.

    Args:
        reader: reads the journal.
        blobs: hold the joined log.
    """

    def __init__(self, reader: Reader, blobs: Blobs) -> None:
        self._reader = reader
        self._blobs = blobs

    async def join(
        self,
        loop_id: str,
        plan: Plan,
        checkpoint: Checkpoint,
        erased: Erased,
        events: Sequence[Ranked],
        observed: Sequence[Observed],
        marks: Sequence[bytes],
    ) -> Joined:
        """What `join` gives for a planned window, by those of the marks that stand.

        Args:
            loop_id: the loop.
            plan: of the window.
            checkpoint: as it was when that was planned.
            erased: the erasures in force.
            events: of the window; see `join`.
            observed: of these.
            marks: of the rank rows in the two minutes before it.

        Raises:
            Replaced: an erasure replaces a window meanwhile.
            StorageError: storage does not answer.
        """
        outcome = await asyncio.to_thread(join, events, observed, marks, plan.rules)
        asked = outcome.repeated & {digest for row in marks for digest, _ in unmark(row)}
        if not asked:
            return outcome
        logged = await self._logged(loop_id, asked, plan.start, checkpoint.since)
        if logged is None:
            return outcome
        # Where rows go as soon as they are joined, these may be gone: then no more than a retry of a retry is one.
        first = max(plan.start - 2 * EARLY, checkpoint.since)
        between = (first, max(first, plan.start - EARLY), checkpoint.shards, _COLUMNS)
        rows = self._reader.read(loop_id, "rank", *between)
        before = [erased.marks(bytes(row["h"])) async for row in rows]  # type: ignore[arg-type]
        left = standing(marks, before, logged, asked)
        return outcome if left == marks else await asyncio.to_thread(join, events, observed, left, plan.rules)

    async def _logged(
        self, loop_id: str, asked: Set[bytes], start: int, since: int
    ) -> Mapping[bytes, Set[float]] | None:
        """When the log has some events, in the four minutes before a window; None where it does not tell."""
        first = start - 2 * EARLY
        near = await joined.sizes(self._blobs, loop_id, first // 3600 * 3600, start)  # a window lies in one hour
        windows = {kind: {one: size for one, size in held.items() if one.end > first} for kind, held in near.items()}
        if merged.unindexed(windows):
            return None  # of the first release, which knew no index
        digests, places = np.array(sorted(map(int.from_bytes, asked)), np.uint64), asyncio.Semaphore(_AT_ONCE)

        async def rows(window: joined.Window, size: int) -> index.Table:
            async with places:
                path = joined.window_path(loop_id, window, joined.INDEX)
                return await index.select(self._blobs, path, size, digests)

        found: defaultdict[bytes, set[float]] = defaultdict(set)
        for table in await asyncio.gather(*(rows(*one) for one in windows[joined.INDEX].items())):
            for row in table[(table["kind"] == RANKED) & (table["time"] >= since)]:
                found[int(row["event"]).to_bytes(8)].add(float(row["time"]))
        return found


def standing(
    marks: Sequence[bytes], before: Iterable[bytes], logged: Mapping[bytes, Set[float]], asked: Set[bytes]
) -> list[bytes]:
    """The marks before a window that stand: of events that the log has, or left out as the retry of another.

    Args:
        marks: of the rows in the two minutes before the window.
        before: of those in the two minutes before these.
        logged: when the log has an event, by digest.
        asked: the digests of the events that are looked into; what is marked of others is left as it is.
    """
    times: defaultdict[bytes, set[float]] = defaultdict(set)
    for row in (*before, *marks):
        for digest, time in unmark(row):
            if digest in asked:
                times[digest].add(time)

    def stands(digest: bytes, time: float) -> bool:
        if digest not in asked or time in logged.get(digest, ()):
            return True
        return any(0 < time - other < EARLY for other in (*times[digest], *logged.get(digest, ())))

    return [marks_left(row, stands) for row in marks]
