"""Turns closed journal buckets into the joined log, window by window, behind a checkpoint.

A window is planned first (which buckets, by compare-and-swap), then written (immutable blobs named by it), then passed
(the checkpoint moves). Whoever finds a plan carries it out, so rivals and restarts write the same window; killing a
run anywhere costs a repetition and nothing else (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec

from shared.counters import Counters
from shared.log import activity, index, joined, retention, rows
from shared.log import checkpoint as checkpoints
from shared.log.activity import Span
from shared.log.buckets import BUCKET, EARLY, Waits, bucket_of, day_of, days, next_bucket
from shared.log.checkpoint import Checkpoint, Plan
from shared.log.erasure import Erased
from shared.log.join import Joined, Rules, decode_events, join, observations_of
from shared.log.joined import Window
from shared.log.records import Observed, decode_observed, event_key, readable
from shared.storage import Blobs, Conflict, Row, Tables

log = logging.getLogger("rankloop.join")

MAX_EVENTS = 10_000
"""Events of a window, about: more would only cost memory."""
MAX_BYTES = 64 * 1024 * 1024
"""Of a window's rank lines, about; the join holds twice as much."""
_LEAST = 0.1
"""Of the reward wait, which a window spans at least: for each window the observations of a whole wait are read. With
windows of 5 s and a wait of ten minutes each one would be read 120 times."""
_FIRST_LOOK = 60
"""Seconds whose rows are counted first, then twice as many: a backlog must not be counted whole for each window."""
_Key = tuple[str, str, str]
"""Table, partition key and row key of a journal row."""
_MARGIN = 1.0
"""Seconds a bucket must have been closed by the joiner's own reckoning of the storage's clock."""


@dataclass(frozen=True, slots=True)
class LoopRules:
    """A loop as the join sees it: its waits, and its rules at a wait."""

    loop_id: str
    waits: Waits
    default_reward: float
    aggregation: str
    reward_range: tuple[float, float]

    def at(self, bucket: int) -> Rules:
        """The rules of events that were ranked in this bucket."""
        return Rules(self.waits.at(bucket), self.default_reward, self.aggregation, self.reward_range)


class Joiner:
    """The join over one storage account.

    Args:
        prune: delete journal rows as soon as they are joined, instead of whole day tables later. For Azurite, whose
            tables must stay small.
    """

    def __init__(self, tables: Tables, blobs: Blobs, counters: Counters, prune: bool = False) -> None:
        self._tables = tables
        self._blobs = blobs
        self._counters = counters
        self._prune = prune

    async def run(self, loop: LoopRules, spans: Sequence[Span], now: float) -> int:
        """Join every window of a loop that is closed.

        Args:
            loop: its rules.
            spans: the loop's noted spans, in order.
            now: the storage's time, and not a moment ahead of it; read before the spans were.

        Returns:
            How many windows this run passed.
        """
        passed = 0
        while True:
            checkpoint, etag = await checkpoints.load(self._blobs, loop.loop_id)
            if past := [span for span in spans if span.end <= checkpoint.watermark]:
                await activity.note_joined(self._tables, loop.loop_id)  # in case a run died before it did
                for span in past:
                    await activity.forget(self._tables, span)
                spans = [span for span in spans if span.end > checkpoint.watermark]
            try:
                if checkpoint.plan is None:
                    planned = await self._plan(loop, checkpoint, spans, now)
                    if planned is None:
                        return passed
                    etag = await checkpoints.save(self._blobs, loop.loop_id, planned, etag)
                    checkpoint = planned
                elif checkpoint.plan.end > self._closed(loop, checkpoint.plan.start, now):
                    return passed  # a later run's plan, and not closed yet by what this one knows
                await self._carry_out(loop, checkpoint, etag, spans, now)
            except Conflict:
                self._counters.add("join.rivals")  # another run was quicker: go on from where it is
                continue
            passed += 1

    async def _plan(
        self, loop: LoopRules, checkpoint: Checkpoint, spans: Sequence[Span], now: float
    ) -> Checkpoint | None:
        """The checkpoint with the next window planned, or None when none is closed."""
        ahead = [span for span in spans if span.end > checkpoint.watermark]
        if not ahead:
            return None
        shards = sorted({*checkpoint.shards, *(span.shard for span in spans)})
        start = max(checkpoint.watermark, ahead[0].start)
        hour = (start // 3600 + 1) * 3600  # a window lies in one hour, as its path says
        whole = min(next(loop.waits.changes(start, hour), hour), ahead[-1].end)  # and is joined by one wait
        limit = min(whole, self._closed(loop, start, now))
        if limit <= start:
            return None
        end = await self._cut(loop.loop_id, start, limit, shards)
        if end == limit < whole and limit - start < _LEAST * loop.waits.at(start):
            return None  # soon more of it is closed
        plan = Plan(start, end, loop.at(start), checkpoint.generation)
        return msgspec.structs.replace(checkpoint, plan=plan, shards=shards)

    async def _cut(self, loop_id: str, start: int, limit: int, shards: Sequence[int]) -> int:
        """Where a window from `start` on ends so that it holds about 10,000 events or 64 MB; `limit` at most."""
        events, size, looked, step = 0, 0, start, _FIRST_LOOK
        while looked < limit:
            ahead = min(limit, looked + step)
            columns = ("PartitionKey", "RowKey", "n", "s")
            counted = [row async for row in self._read(loop_id, "rank", looked, ahead, shards, columns)]
            for bucket, group in groupby(sorted(counted, key=_bucket), key=_bucket):
                for row in group:
                    events += int(row["n"])
                    size += int(row["s"])
                if events > MAX_EVENTS or size > MAX_BYTES:
                    return bucket + BUCKET
            looked, step = ahead, 2 * step
        return limit

    def _closed(self, loop: LoopRules, start: int, now: float) -> int:
        """The bucket that a window from `start` on can reach up to, since all its rewards are in closed buckets."""
        return bucket_of(loop.waits.closed_before(now - _MARGIN) - loop.waits.at(start))

    async def _carry_out(
        self, loop: LoopRules, checkpoint: Checkpoint, etag: str | None, spans: Sequence[Span], now: float
    ) -> None:
        """Write the planned window, and move the checkpoint past it."""
        assert checkpoint.plan is not None  # noqa: S101 - for the type checker
        window = Window(checkpoint.plan.start, checkpoint.plan.end, checkpoint.plan.generation)
        passed: list[_Key] = []
        outcome, arrived = await self._join(loop.loop_id, window, checkpoint, checkpoint.plan.rules, passed)
        # The index last: where it stands, so does what it leads to.
        same = await joined.write(self._blobs, loop.loop_id, window, joined.DSJSON, outcome.lines)
        same &= await joined.write(self._blobs, loop.loop_id, window, joined.OBSERVATIONS, arrived)
        table = index.of(outcome.events, readable(decode_observed, arrived))
        await joined.write_index(self._blobs, loop.loop_id, window, table)
        done = msgspec.structs.replace(
            checkpoint,
            watermark=window.end,
            plan=None,
            events=checkpoint.events + len(outcome.lines),
            rewarded=checkpoint.rewarded + outcome.rewarded,
            retries=checkpoint.retries + outcome.retries,
            inactive=checkpoint.inactive + outcome.inactive,
            duplicates=checkpoint.duplicates + outcome.duplicates,
            empty_slots=checkpoint.empty_slots + outcome.empty_slots,
        )
        following = await self._plan(loop, done, spans, now)
        await checkpoints.save(self._blobs, loop.loop_id, following or done, etag)
        if outcome.lines:
            await activity.note_joined(self._tables, loop.loop_id)
        self._counters.add("join.windows")
        self._counters.add("join.events", len(outcome.lines))
        if not same:
            self._counters.add("join.late_rows")
            log.warning("%s: rows came after the window was closed and written", window)
        if self._prune:
            for key in passed:
                await self._tables.delete(*key)
        if checkpoint.watermark // 86400 != window.end // 86400:
            # The days that no later window reads; never today's, whose name Azure would refuse for a while.
            await retention.drop_journal(self._tables, self._blobs, loop.loop_id, day_of(window.end - 86400))

    async def _join(
        self, loop_id: str, window: Window, checkpoint: Checkpoint, rules: Rules, passed: list[_Key]
    ) -> tuple[Joined, list[bytes]]:
        """Read and join a window.

        Returns:
            What `join` gives, and the observation lines that arrived in the window. `passed` gets the keys of the
            rows that no later window reads.
        """
        keep_from, shards, erased = window.end - EARLY, checkpoint.shards, Erased(checkpoint.erasures)
        # What was deleted is no twin of an event that comes later, nor its reward.
        early = max(window.start - EARLY, checkpoint.since)

        def note(stream: str, row: Row) -> None:
            if _bucket(row) < keep_from:
                table = rows.table_name(stream, loop_id, day_of(_bucket(row)))
                passed.append((table, str(row["PartitionKey"]), str(row["RowKey"])))

        earlier: list[bytes] = []
        columns = ("PartitionKey", "RowKey", "h")
        async for row in self._read(loop_id, "rank", early, window.start, shards, columns):
            earlier.append(bytes(row["h"]))  # type: ignore[arg-type]
            note("rank", row)
        ranked: list[bytes] = []
        async for row in self._read(loop_id, "rank", window.start, window.end, shards):
            ranked += await rows.lines(row, self._blobs)
            note("rank", row)
        events = await asyncio.to_thread(decode_events, ranked)
        if damaged := len(ranked) - len(events):
            self._counters.add("join.damaged", damaged)
            log.error("%d rank lines of %s cannot be decoded and are not in the log", damaged, window)
        events = erased.events(events)
        keys = {event_key(event.e) for event in events}
        observed: list[Observed] = []
        arrived: list[tuple[int, str, list[bytes]]] = []
        last = next_bucket(window.end + rules.wait) if events else window.end
        async for row in self._read(loop_id, "obs", early, last, shards):
            lines = await rows.lines(row, self._blobs)
            observed += erased.observations(observations_of(keys, lines))
            if window.start <= _bucket(row) < window.end:
                arrived.append((_bucket(row), str(row["RowKey"]), lines))
            note("obs", row)
        outcome = await asyncio.to_thread(join, events, observed, earlier, rules)
        return outcome, erased.observation_lines([line for _, _, lines in sorted(arrived) for line in lines])

    async def _read(
        self,
        loop_id: str,
        stream: str,
        start: int,
        end: int,
        shards: Sequence[int],
        select: Sequence[str] | None = None,
    ) -> AsyncIterator[Row]:
        """The journal rows of buckets [start, end): one range query a day and shard, each by bucket and writer."""
        for day, first, last in days(start, end):
            for shard in shards:
                between = (rows.partition_key(shard, first), rows.partition_key(shard, last))
                async for row, _ in self._tables.query(rows.table_name(stream, loop_id, day), between, select):
                    yield row


def _bucket(row: Row) -> int:
    return rows.bucket_of_partition(str(row["PartitionKey"]))
