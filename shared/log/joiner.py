"""Turns closed journal buckets into the joined log, window by window, behind a checkpoint.

A window is planned first (which buckets, by compare-and-swap), then written (immutable blobs named by it), then passed
(the checkpoint moves). Whoever finds a plan carries it out, so rivals and restarts write the same window; killing a
run anywhere costs a repetition and nothing else (docs/adr/0003).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence

import msgspec

from shared.counters import Counters
from shared.log import activity, apprentice, arms, erasure, index, joined, retention, rows, series, slices
from shared.log import checkpoint as checkpoints
from shared.log.activity import Span
from shared.log.buckets import EARLY, LONG, bucket_of, day_of, least_window, next_bucket
from shared.log.checkpoint import Checkpoint, Plan
from shared.log.inbox import Inbox
from shared.log.join import Joined, LoopRules, decode_events, observations_of
from shared.log.joined import Window
from shared.log.load import Load
from shared.log.reader import Reader
from shared.log.records import decode_observed, readable
from shared.log.router import Router
from shared.log.series import Series
from shared.log.twins import Twins
from shared.storage import Blobs, Conflict, Row, StorageError, Tables

log = logging.getLogger("rankloop.join")

MAX_EVENTS = 10_000
"""Events of a window, about: more would only cost memory."""
MAX_BYTES = 64 * 1024 * 1024
"""Of a window's rank lines, about; the join holds twice as much."""
_FIRST_LOOK = 60
"""Seconds whose rows are counted first, then twice as many: a backlog must not be counted whole for each window."""
_Key = tuple[str, str, str]
"""Table, partition key and row key of a journal row."""
_MARGIN = 1.0
"""Seconds a bucket must have been closed by the joiner's own reckoning of the storage's clock."""


class Joiner:
    """The join over one storage account.

    Args:
        prune: delete journal rows as soon as they are joined, instead of whole day tables later. For Azurite, whose
            tables must stay small.
    """

    def __init__(self, tables: Tables, blobs: Blobs, counters: Counters, prune: bool = False) -> None:
        self._reader = Reader(tables)
        self._router = Router(self._reader, blobs, _load)
        self._twins = Twins(self._reader, blobs)
        self._tables = tables
        self._blobs = blobs
        self._counters = counters
        self._series = Series(blobs, counters)
        self._prune = prune

    async def run(self, loop: LoopRules, spans: Sequence[Span], now: float, until: float = math.inf) -> int:
        """Join every window of a loop that is closed.

        Args:
            loop: its rules.
            spans: the loop's noted spans, in order.
            now: the storage's time, and not a moment ahead of it; read before the spans were.
            until: when it is to begin nothing more, by the monotonic clock.

        Returns:
            How many windows this run passed.
        """
        passed = worked = 0
        while not worked or time.monotonic() < until:
            worked += 1
            checkpoint, etag = await checkpoints.load(self._blobs, loop.loop_id)
            if worked == 1:
                self._counters.worst("join.lag", activity.overdue(spans, loop.waits, checkpoint.watermark, now))
            if past := [span for span in spans if span.end <= checkpoint.watermark]:
                await activity.note_joined(self._tables, loop.loop_id)  # in case a run died before it did
                for span in past:
                    await activity.forget(self._tables, span)
                spans = [span for span in spans if span.end > checkpoint.watermark]
            spans = [
                await activity.routed(self._tables, span, wait)
                if (wait := loop.waits.at(span.start)) > LONG and span.end + EARLY <= checkpoint.sliced
                else span
                for span in spans
            ]
            closed = bucket_of(loop.waits.closed_before(now - _MARGIN))
            try:
                if await self._slice(loop, checkpoint, etag, spans, closed):
                    continue
                if checkpoint.plan is None:
                    planned = await self._plan(loop, checkpoint, spans, closed)
                    if planned is None:
                        return passed
                    etag = await checkpoints.save(self._blobs, loop.loop_id, planned, etag)
                    checkpoint = planned
                elif not checkpoint.plan.routed and checkpoint.plan.end > _limit(loop, checkpoint.plan.start, closed):
                    return passed  # a later run's plan, and not closed yet by what this one knows
                await self._carry_out(loop, checkpoint, etag, spans, closed)
            except StorageError as e:
                # Another run was quicker, and may have deleted what nobody needs then: go on from where it is.
                if not isinstance(e, Conflict) and (await checkpoints.load(self._blobs, loop.loop_id))[1] == etag:
                    raise
                self._counters.add("join.rivals")
                continue
            passed += 1
        return passed

    async def _slice(
        self, loop: LoopRules, checkpoint: Checkpoint, etag: str | None, spans: Sequence[Span], closed: int
    ) -> bool:
        """Route one more slice, where one is closed; whether the checkpoint has moved."""
        if checkpoint.slice is None:
            planned = await self._router.plan(loop.loop_id, loop.waits, checkpoint, spans, closed)
            if planned is None:
                return False
            etag = await checkpoints.save(self._blobs, loop.loop_id, planned, etag)
            checkpoint = planned
        elif checkpoint.slice.end > closed:
            return False  # a later run's
        await self._router.carry_out(loop.loop_id, loop.waits, checkpoint, etag)
        self._counters.add("join.slices")
        return True

    async def _plan(
        self, loop: LoopRules, checkpoint: Checkpoint, spans: Sequence[Span], closed: int
    ) -> Checkpoint | None:
        """The checkpoint with the next window planned, or None when none is closed."""
        ahead = [span for span in spans if span.end > checkpoint.watermark]
        if not ahead:
            return None
        start = max(checkpoint.watermark, ahead[0].start)
        planned = msgspec.structs.replace(
            checkpoint, shards=sorted({*checkpoint.shards, *(span.shard for span in spans)})
        )
        routed = loop.waits.at(start) > LONG
        if routed:
            window = await self._router.window(loop.loop_id, loop.waits, planned, spans, start, closed)
        else:
            window = await self._window(loop, planned, start, ahead[-1].end, closed)
        if window is None:
            return None
        plan = Plan(*window, loop.at(window[0]), checkpoint.generation, routed)
        return msgspec.structs.replace(planned, plan=plan)

    async def _window(
        self, loop: LoopRules, checkpoint: Checkpoint, start: int, last: int, closed: int
    ) -> tuple[int, int] | None:
        """The window from `start` on whose observations are looked for in the journal, or None if none is closed."""
        hour = (start // 3600 + 1) * 3600  # a window lies in one hour, as its path says
        whole = min(next(loop.waits.changes(start, hour), hour), last)  # and is joined by one wait
        limit, least = _limit(loop, start, closed), least_window(loop.waits.at(start))
        limit = whole if limit >= whole else min(limit, whole - least)  # which leaves no crumb behind
        if limit <= start or (limit < whole and limit - start < least):
            return None  # soon more of it is closed
        return start, await self._cut(loop.loop_id, checkpoint, start, limit)

    async def _cut(self, loop_id: str, checkpoint: Checkpoint, start: int, limit: int) -> int:
        """Where a window from `start` on ends so that what it holds fits into memory; `limit` at most."""
        load, looked, step = _load(), start, _FIRST_LOOK
        seen = max(start - EARLY, checkpoint.since)  # from there on the join will read, and without a gap is kept
        columns, shards = ("PartitionKey", "RowKey", "n", "s"), checkpoint.shards
        while looked < limit:
            ahead = min(limit, looked + step)
            async for row in self._reader.read(loop_id, "rank", looked, ahead, shards, columns):
                load.add("rank", row)
            async for row in self._reader.observations(loop_id, seen, ahead, shards, checkpoint.journal_state):
                load.add("obs", row)
            seen = ahead
            if (end := load.fills(start, ahead)) is not None:
                return end
            looked, step = ahead, 2 * step
        return limit

    async def _carry_out(
        self, loop: LoopRules, checkpoint: Checkpoint, etag: str | None, spans: Sequence[Span], closed: int
    ) -> None:
        """Write the planned window, and move the checkpoint past it."""
        plan = checkpoint.plan
        assert plan is not None  # noqa: S101 - for the type checker
        window = Window(plan.start, plan.end, plan.generation)
        await self._series.fold(loop.loop_id, checkpoint.ahead, checkpoint.cleared)
        passed: list[_Key] = []
        outcome, arrived = await self._join(loop.loop_id, plan, checkpoint, passed)
        # The index last: where it stands, so does what it leads to.
        labels = plan.rules.labels
        same = await joined.write(self._blobs, loop.loop_id, window, joined.DSJSON, outcome.lines, labels)
        same &= await joined.write(self._blobs, loop.loop_id, window, joined.OBSERVATIONS, arrived)
        table = index.of(outcome.events, readable(decode_observed, arrived))
        if not same:  # a rival's lines stand there: the index must lead to them
            kinds = ((joined.DSJSON, outcome.lines), (joined.OBSERVATIONS, arrived))
            held = [await joined.read_whole(self._blobs, loop.loop_id, window, k) if ours else [] for k, ours in kinds]
            table = index.of_lines(*held)
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
            apprentice=apprentice.add(checkpoint.apprentice, outcome.earned),
            arms=arms.add(checkpoint.arms, outcome.earned),
            ahead=series.passed(checkpoint.ahead, outcome.minutes.part(window.end)),
        )
        following = await self._plan(loop, done, spans, closed)
        await checkpoints.save(self._blobs, loop.loop_id, following or done, etag)
        if outcome.lines:
            await activity.note_joined(self._tables, loop.loop_id)
        self._counters.add("join.windows")
        self._counters.add("join.events", len(outcome.lines))
        self._counters.add("join.surplus", outcome.surplus)
        if outcome.late or not same:
            self._counters.add("join.late_rows", outcome.late or 1)
            log.warning("%s: rows came after the window was closed and written", window)
        if plan.routed:
            await slices.drop(self._blobs, loop.loop_id, window.end)
        else:
            self._reader.forget(loop.loop_id, window.end - EARLY)
        if not checkpoint.erasures:  # which may have to find in the rows what they name
            for key in passed:
                await self._tables.delete(*key)
        if checkpoint.watermark // 86400 != window.end // 86400:
            # The days that no later window reads; never today's, whose name Azure would refuse for a while.
            await retention.drop_journal(self._tables, self._blobs, loop.loop_id, day_of(window.end - 86400))

    async def _join(
        self, loop_id: str, plan: Plan, checkpoint: Checkpoint, passed: list[_Key]
    ) -> tuple[Joined, list[bytes]]:
        """Read and join a window.

        Returns:
            What `join` gives, and the observation lines that arrived in the window. `passed` gets the keys of the
            rows to be deleted, where rows are: those that no later window reads.
        """
        shards, erased = checkpoint.shards, await erasure.load(self._blobs, checkpoint.erasures)
        # What was deleted is no twin of an event that comes later, nor its reward.
        early = max(plan.start - EARLY, checkpoint.since)

        def note(stream: str, row: Row) -> None:
            if self._prune and (bucket := rows.bucket_of(row)) < plan.end - EARLY:
                table = rows.table_name(stream, loop_id, day_of(bucket))
                passed.append((table, str(row["PartitionKey"]), str(row["RowKey"])))

        earlier: list[bytes] = []
        columns = ("PartitionKey", "RowKey", "h")
        async for row in self._reader.read(loop_id, "rank", early, plan.start, shards, columns):
            earlier.append(erased.marks(bytes(row["h"])))  # type: ignore[arg-type]
            note("rank", row)
        ranked: list[bytes] = []
        async for row in self._reader.read(loop_id, "rank", plan.start, plan.end, shards):
            ranked += await rows.lines(row, self._blobs)
            note("rank", row)
        events = await asyncio.to_thread(decode_events, ranked)
        if damaged := len(ranked) - len(events):
            self._counters.add("join.damaged", damaged)
            log.error("%d rank lines of %d-%d cannot be decoded and are not in the log", damaged, plan.start, plan.end)
        told = events = erased.events(events)
        if plan.routed:
            events = await self._router.routed(loop_id, plan.start, events)
        inbox = Inbox(events, plan.rules.wait, early)
        arrived: list[tuple[int, str, list[bytes]]] = []
        if plan.routed:
            observed = self._reader.read(loop_id, "obs", early if self._prune else plan.start, plan.end, shards)
            async for lines in self._router.mail(loop_id, plan.start, plan.end, plan.rules.wait, checkpoint):
                inbox.add(erased.observations(observations_of(inbox.keys, lines)))
        else:
            last = next_bucket(plan.end + plan.rules.wait) if events else plan.end
            observed = self._reader.observations(loop_id, early, last, shards, checkpoint.journal_state)
        async for row in observed:
            lines = await rows.lines(row, self._blobs)
            if not plan.routed:
                inbox.add(erased.observations(observations_of(inbox.keys, lines)))
            if plan.start <= rows.bucket_of(row) < plan.end:
                arrived.append((rows.bucket_of(row), str(row["RowKey"]), lines))
            note("obs", row)
        outcome = await self._twins.join(loop_id, plan, checkpoint, erased, events, inbox.observed(), earlier)
        outcome.late, outcome.surplus = len(told) - len(events), outcome.surplus + inbox.left_out
        return outcome, erased.observation_lines([line for _, _, lines in sorted(arrived) for line in lines])


def _load() -> Load:
    return Load(MAX_EVENTS, MAX_BYTES)


def _limit(loop: LoopRules, start: int, closed: int) -> int:
    """The bucket that a window from `start` on can reach up to, since all its rewards are in closed buckets."""
    return bucket_of(closed - loop.waits.at(start))
