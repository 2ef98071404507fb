"""Turns an event id into what journal and joined log hold of it: each time it was ranked, and all that was observed.

What is joined is found by the log's index; what is pending by the marks of the journal's rows, which are read from the
join's watermark on. So the work is bounded by what is pending, and where that is too much the answer says so.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec
import orjson

from shared.log import activity, erasure, joined, merged, rows
from shared.log import checkpoint as checkpoints
from shared.log import entry as entries
from shared.log.buckets import BUCKET, EARLY, bucket_of, day_of, next_bucket
from shared.log.checkpoint import Checkpoint
from shared.log.entry import Entry
from shared.log.erasure import Erased
from shared.log.inbox import order
from shared.log.index import RANKED
from shared.log.joined import DSJSON, OBSERVATIONS, Window
from shared.log.reader import Reader
from shared.log.records import Observed, decode_observed, decode_ranked, digest_of, event_key, readable, unmark
from shared.storage import Blobs, Tables

MOST = 20
"""Times an id was ranked, and windows with observations of it, that one look reads: the last ones."""
MAX_MARKS = 1_000_000
"""Events of the journal whose marks one look reads: 16 MB."""
MAX_OBSERVED = 300_000
"""Pending observations that one look reads: a second of a core."""
_KEPT = 2 * 86_400
"""Seconds for which journal rows may stand when they are joined."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One time that an id was ranked.

    Attributes:
        entry: the event.
        time: when it arrived, in seconds since the epoch.
        window: of the joined log that holds it; None where none does.
        line: in that window.
        retry: whether it repeats one within two minutes, and so is not in the log and never will be.
    """

    entry: Entry
    time: float
    window: Window | None = None
    line: bytes = b""
    retry: bool = False


@dataclass(slots=True)
class History:
    """What the log holds of an event id.

    Attributes:
        rankings: in order of time.
        observed: in order of time, as the join takes them.
        observed_since: the time from which on they are all there, but for the last where `missing` says so.
        missing: why there may be more, in sentences for people.
    """

    rankings: list[Ranking] = field(default_factory=list)
    observed: list[Observed] = field(default_factory=list)
    observed_since: float = -math.inf
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A pending rank's time and row."""

    time: float
    partition: str
    row: str


class _TooMuch(Exception):
    """More stands in the journal than one look reads."""


class Search:
    """One look for one event id.

    Args:
        tables: hold the journal.
        blobs: hold the joined log, and what the journal's rows could not.
        loop_id: the loop.
        event_id: as rank or reward spelled it.
    """

    def __init__(self, tables: Tables, blobs: Blobs, loop_id: str, event_id: str) -> None:
        self._tables = tables
        self._journal = Reader(tables)
        self._blobs = blobs
        self._loop_id = loop_id
        self._key = event_key(event_id)
        self._digest = digest_of(event_id)
        self._found = History()
        self._marks_left = MAX_MARKS
        self._more = False

    async def run(self, now: float) -> tuple[History, Checkpoint]:
        """What the log holds of it, and the state of the log that was seen.

        Args:
            now: the storage's time.

        Raises:
            StorageError: storage does not answer, or holds what cannot be read.
        """
        # The journal first: what is joined and pruned meanwhile stands in the joined log then.
        before, _ = await checkpoints.load(self._blobs, self._loop_id)
        spans = (await activity.noted(self._tables)).get(self._loop_id, [])
        shards = sorted({*before.shards, *(span.shard for span in spans)})
        start = max(before.watermark, min((span.start for span in spans), default=int(now)))
        end = bucket_of(now) + 2 * BUCKET
        pending = (
            await self._pending(start, end, shards, await erasure.load(self._blobs, before.erasures)) if spans else []
        )
        checkpoint, _ = await checkpoints.load(self._blobs, self._loop_id)
        erased = await erasure.load(self._blobs, checkpoint.erasures)
        standing = await self._joined(checkpoint, erased)
        known = {ranking.time for ranking in standing}
        repeated = [
            ranking
            for ranking in await self._repeated(standing, checkpoint, shards, now, erased)
            if ranking.time not in known
        ]
        known |= {ranking.time for ranking in repeated}
        pending = [ranking for ranking in pending if ranking.time not in known]
        rankings = _retries([*standing, *repeated, *pending], checkpoint.watermark)
        self._found.rankings = rankings[-MOST:]
        if self._more or len(rankings) > MOST:
            self._found.missing.append(f"Of what was ranked and observed under this id the last {MOST} are told.")
        if self._found.rankings:
            await self._observations(start if spans else end, end, shards, erased)
        return self._found, checkpoint

    async def _pending(self, start: int, end: int, shards: Sequence[int], erased: Erased) -> list[Ranking]:
        """What was ranked from a bucket on, by the journal."""
        try:
            marks = [mark async for mark in self._marks(start - EARLY, end, shards)]
        except _TooMuch:
            self._found.missing.append(
                f"More than {MAX_MARKS} events are not joined yet, and were not searched: look again when they are."
            )
            return []
        return await self._rankings(marks, erased)

    async def _rankings(self, marks: Sequence[_Mark], erased: Erased) -> list[Ranking]:
        """The events of some marks; of another id with the same digest there may be none."""
        found = {}
        for mark in marks[-MOST:]:
            bucket = rows.bucket_of_partition(mark.partition)
            shard = int(mark.partition[:2])
            between = (mark.partition, rows.partition_key(shard, bucket + BUCKET))
            table = rows.table_name("rank", self._loop_id, day_of(bucket))
            async for row, _ in self._tables.query(table, between):
                if row["RowKey"] != mark.row:
                    continue
                ranked = readable(decode_ranked, await rows.lines(row, self._blobs))
                for event in erased.events([event for event in ranked if event_key(event.e) == self._key]):
                    found[event.t] = Ranking(entries.of_ranked(event), event.t)
        return [found[time] for time in sorted(found)]

    async def _marks(self, start: int, end: int, shards: Sequence[int]) -> AsyncIterator[_Mark]:
        """The places of the event's digest in the journal's rank rows, in order of time."""
        found = []
        columns = ("PartitionKey", "RowKey", "h")
        async for row in self._journal.read(self._loop_id, "rank", start, end, shards, columns):
            marks = unmark(bytes(row["h"]))  # type: ignore[arg-type]
            self._marks_left -= len(marks)
            if self._marks_left < 0:
                raise _TooMuch
            place = (str(row["PartitionKey"]), str(row["RowKey"]))
            found += [_Mark(time, *place) for digest, time in marks if digest == self._digest]
        for mark in sorted(found, key=lambda mark: mark.time):
            yield mark

    async def _joined(self, checkpoint: Checkpoint, erased: Erased) -> list[Ranking]:
        """What was ranked by the joined log; what was observed goes to `_found`."""
        since, watermark = checkpoint.since, checkpoint.watermark
        table, unsearched = await merged.look_up(self._blobs, self._loop_id, self._digest, since, watermark)
        if unsearched:
            self._found.observed_since = math.inf
            self._found.missing.append(
                f"{unsearched} windows of an earlier release have no index yet, and were not searched: look later."
            )
        ranked = sorted(float(time) for time in table["time"][table["kind"] == RANKED])
        observed = sorted(float(time) for time in table["time"][table["kind"] != RANKED])
        self._more = max(len(ranked), len(observed)) > MOST
        found = {}
        for window in await self._windows(ranked, DSJSON):
            lines = await joined.read_whole(self._blobs, self._loop_id, window, DSJSON)
            for ranking in await asyncio.to_thread(self._rankings_in, window, lines, erased):
                found[ranking.time] = ranking
        buckets = sorted({bucket_of(time) for time in observed})
        if len(buckets) > MOST:
            self._found.observed_since = max(self._found.observed_since, buckets[-MOST])
        for window in await self._windows(observed, OBSERVATIONS):
            lines = await joined.read_whole(self._blobs, self._loop_id, window, OBSERVATIONS)
            self._found.observed += erased.observations(await asyncio.to_thread(self._own, lines))
        return [found[time] for time in sorted(found)]

    def _rankings_in(self, window: Window, lines: Sequence[bytes], erased: Erased) -> list[Ranking]:
        """What was ranked by the lines of a window."""
        # As rank writes it (orjson), however its slashes are spelled; without the member's name, an id of a letter or
        # two would stand in every line.
        pieces = [re.escape(orjson.dumps(piece)[1:-1]) for piece in self._key.split("/")]
        member = re.compile(b'"EventId":"' + b"(?:/|%2[Ff])".join(pieces) + b'"')
        own = erased.joined([line for line in lines if member.search(line)], window.start)
        told = [(entries.of_line(line), line) for line in own]
        return [
            Ranking(entry, entry.time, window, line) for entry, line in told if event_key(entry.event_id) == self._key
        ]

    async def _windows(self, times: Sequence[float], kind: str) -> list[Window]:
        """The windows of some times, the last ones."""
        found: set[Window] = set()
        for bucket in sorted({bucket_of(time) for time in times})[-MOST:]:
            if any(window.start <= bucket < window.end for window in found):
                continue
            hour = bucket // 3600 * 3600
            held = await joined.windows(self._blobs, self._loop_id, hour, hour + 3600, kind)
            found.update(window for window in held if window.start <= bucket < window.end)
        return sorted(found)

    async def _repeated(
        self, standing: Sequence[Ranking], checkpoint: Checkpoint, shards: Sequence[int], now: float, erased: Erased
    ) -> list[Ranking]:
        """The retries of joined events, which no log holds, for as long as the journal's rows stand; the last first."""
        found: list[Ranking] = []
        room = max(0, MOST - len(standing))  # a retry must not hide the event that it repeats
        for ranking in reversed(standing):
            last = ranking.time
            while now - _KEPT < last < checkpoint.watermark:
                start, end = bucket_of(last), next_bucket(last + EARLY)
                try:
                    marks = [mark async for mark in self._marks(start, end, shards) if mark.time > last]
                except _TooMuch:
                    self._found.missing.append(
                        f"More than {MAX_MARKS} events were ranked beside it or are not joined yet; not all of its "
                        "retries are told."
                    )
                    return found
                if not marks:
                    break
                found += await self._rankings(marks, erased)
                if len(found) >= room:
                    self._found.missing.append(f"No more than {MOST} times are told; there may be more retries.")
                    return found[:room]
                last = marks[-1].time
        return found

    async def _observations(self, start: int, end: int, shards: Sequence[int], erased: Erased) -> None:
        """Add what was observed and is in no window yet, and put all of it in the join's order."""
        read = 0
        async for row in self._journal.read(self._loop_id, "obs", start, end, shards):
            read += int(row["n"])
            if read > MAX_OBSERVED:
                self._found.missing.append(
                    f"More than {MAX_OBSERVED} observations are in no window yet; those that came last are not told."
                )
                break
            lines = await rows.lines(row, self._blobs)
            self._found.observed += erased.observations(await asyncio.to_thread(self._own, lines))
        unique = {msgspec.json.encode(o): o for o in self._found.observed}
        self._found.observed = sorted(unique.values(), key=order)

    def _own(self, lines: Sequence[bytes]) -> list[Observed]:
        """Those of the observation lines that are of the event."""
        needle = msgspec.json.encode(self._key)
        return [o for o in readable(decode_observed, [line for line in lines if needle in line]) if o.e == self._key]


def _retries(rankings: Sequence[Ranking], watermark: int) -> list[Ranking]:
    """Those of the rankings that count or will, and the retries; without what was given up, as by DELETE logs."""
    found: list[Ranking] = []
    before: float | None = None
    for ranking in sorted(rankings, key=lambda ranking: ranking.time):
        retry = ranking.window is None and before is not None and ranking.time - before < EARLY
        before = ranking.time
        if retry or ranking.window is not None or ranking.time >= watermark:
            found.append(Ranking(ranking.entry, ranking.time, ranking.window, ranking.line, retry))
    return found
