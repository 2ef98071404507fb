import asyncio
import itertools
import random
from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest

from shared.counters import Counters
from shared.learning.lesson import Job
from shared.learning.trainer import Trainer
from shared.log import activity, joined, joiner, retention, slices
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits, day_of
from shared.log.checkpoint import Checkpoint, Plan
from shared.log.erasure import Erasure
from shared.log.join import LoopRules
from shared.log.joined import Window
from shared.log.joiner import Joiner
from shared.log.rows import table_name
from shared.log.slices import Slice
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage import Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.cutoff import CutOff, Killed
from tests.journalled import LOOP, T0, Gate, Obs, Rank, Record, WatchedBlobs, WatchedTables, journal

DAY = 86_400
MIDNIGHT = T0 // DAY * DAY
OTHER = "f" * 32
SHORT = Waits(((0, 5.0),))
RULES = LoopRules(LOOP, SHORT, 0.0, "sum", (-1.0, 1.0))
LATER = 10_000.0
"""Seconds after which all is closed."""


class Log:
    """A loop's journal and joined log in memory, and the calls to it."""

    def __init__(self) -> None:
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()
        self.counters = Counters()
        self.calls: list[str] = []
        self.gate: Gate | None = None

    async def _pass(self, name: str, done: bool) -> None:
        if not done:
            self.calls.append(name)
        if self.gate is not None:
            await self.gate(name, done)

    @property
    def watched(self) -> WatchedBlobs:
        return WatchedBlobs(self.blobs, self._pass)

    async def hold(self, *starts: int, kind: str = "dsjson", loop_id: str = LOOP) -> None:
        """Put windows of a minute into the joined log."""
        for start in starts:
            await joined.write(self.blobs, loop_id, Window(start, start + 60), kind, [b"{}"])

    async def reach(self, checkpoint: Checkpoint) -> None:
        _, etag = await checkpoints.load(self.blobs, LOOP)
        await checkpoints.save(self.blobs, LOOP, checkpoint, etag)

    async def checkpoint(self) -> Checkpoint:
        return (await checkpoints.load(self.blobs, LOOP))[0]

    async def starts(self, loop_id: str = LOOP) -> list[int]:
        """When the windows begin whose lines are there, of either kind."""
        names = [path.rpartition("/")[2] for path in await self.blobs.names(joined.log_path(loop_id))]
        return [int(name[:10]) for name in names if name.endswith(".zst")]

    async def write(self, *records: Record) -> None:
        await journal(self.tables, records, SHORT)

    async def join(self, now: float, prune: bool = False) -> int:
        tables = WatchedTables(self.tables, self._pass)
        spans = (await activity.noted(self.tables)).get(LOOP, [])
        return await Joiner(tables, self.watched, self.counters, prune).run(RULES, spans, now)

    async def clear(self, now: float) -> int:
        return await retention.clear(self.watched, LOOP, now)

    async def expire(self, days: int, now: float, pending: bool = False) -> int:
        tables = WatchedTables(self.tables, self._pass)
        return await retention.expire(tables, self.watched, LOOP, days, pending, now)

    async def events(self) -> dict[str, float]:
        """The rewards of the events that the log holds for those who read it."""
        held = await self.checkpoint()
        windows = await joined.windows(self.blobs, LOOP, held.since, held.watermark)
        lines = [orjson.loads(line) for window in windows for line in await joined.read(self.blobs, LOOP, window)]
        return {line["EventId"]: 0.0 - line["_label_cost"] for line in lines}

    async def learned(self) -> int:
        """How many events a new model is made of."""
        held = await self.checkpoint()
        arguments = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
        job = Job(LOOP, arguments, "", "", False, "Online", held.watermark, held.since, 0, 5.0)
        before = self.counters["train.events"]
        await Trainer(self.blobs, self.counters).run(job, held.watermark)
        return self.counters["train.events"] - before


@pytest.fixture
def log() -> Log:
    return Log()


def dates(first: int, last: int) -> dict[str, dict[str, str]]:
    spelt = [datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT00:00:00+00:00") for time in (first, last)]
    return {"dateRange": {"from": spelt[0], "to": spelt[1]}}


# -- properties ------------------------------------------------------------------------------------------------------


async def test_without_a_log_there_are_no_dates(log: Log) -> None:
    assert await retention.properties(log.blobs, LOOP) == {}
    await log.hold(T0, kind="observations")
    await log.hold(T0, loop_id=OTHER)
    assert await retention.properties(log.blobs, LOOP) == {}


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 2), (-1, 0), (-40, 3), (-400, 400), (-3, 36)])
async def test_the_dates_are_the_days_of_the_first_and_the_last_window(log: Log, first: int, last: int) -> None:
    ends = T0 + first * DAY, T0 + last * DAY
    await log.hold(*ends, T0 - T0 % 3600, ends[1] + 120)
    await log.hold(ends[0] - DAY, ends[1] + DAY, kind="observations")

    assert await retention.properties(log.blobs, LOOP) == dates(*ends)


async def test_dates_are_spelt_as_they_were_recorded(log: Log) -> None:
    await log.hold(1_769_817_600 + 3600)
    held = await retention.properties(log.blobs, LOOP)
    assert held == {"dateRange": {"from": "2026-01-31T00:00:00+00:00", "to": "2026-01-31T00:00:00+00:00"}}


async def test_what_is_deleted_has_no_date_though_its_blob_is_still_there(log: Log) -> None:
    await log.hold(T0 - DAY, T0, T0 + 60)
    await log.reach(Checkpoint(watermark=T0 + 120, since=T0 + 60))
    assert await retention.properties(log.blobs, LOOP) == dates(T0, T0)

    await log.reach(Checkpoint(watermark=T0 + 120, since=T0 + 120))
    assert await retention.properties(log.blobs, LOOP) == {}


async def test_dates_of_a_long_log_cost_a_few_looks(log: Log) -> None:
    await log.hold(*(T0 + n * DAY for n in range(400)))

    assert await retention.properties(log.watched, LOOP) == dates(T0, T0 + 399 * DAY)
    assert Counter(log.calls) == {f"get {checkpoints.path(LOOP)}": 1, "folders": 6, "names": 2}


# -- clear -----------------------------------------------------------------------------------------------------------


async def test_a_cleared_log_is_gone_and_its_totals_stay(log: Log) -> None:
    await log.hold(T0 - 3 * DAY, T0, T0 + 60)
    await log.hold(T0, kind="observations")
    await log.hold(T0, loop_id=OTHER)
    plan = Plan(T0 + 120, T0 + 180, RULES.at(T0))
    await log.reach(Checkpoint(watermark=T0 + 120, plan=plan, shards=[0, 2], events=7, rewarded=3, retries=1))

    assert await log.clear(T0 + 301.5) == T0 + 305

    assert await log.starts() == []
    assert await log.starts(OTHER) == [T0]
    gone = Checkpoint(
        watermark=T0 + 305, since=T0 + 305, cleared=T0 + 305, shards=[0, 2], events=7, rewarded=3, retries=1
    )
    assert await log.checkpoint() == gone
    assert await retention.properties(log.blobs, LOOP) == {}
    assert await log.learned() == 0


async def test_a_moment_between_two_buckets_belongs_to_the_later_one(log: Log) -> None:
    assert await log.clear(float(T0)) == T0 + 5


async def test_a_loop_that_was_never_joined_is_cleared_too(log: Log) -> None:
    await log.write(Rank("e", T0 + 1), Obs("e", T0 + 2))

    await log.clear(T0 + 4)
    await log.join(T0 + LATER)

    assert await log.events() == {}
    assert await log.learned() == 0
    assert await log.starts() == []
    assert await activity.noted(log.tables) == {}


async def test_clearing_twice_is_clearing_once(log: Log) -> None:
    await log.hold(T0)
    assert await log.clear(T0 + 302) == await log.clear(T0 + 304) == T0 + 305
    assert await log.clear(T0 + 200) == T0 + 305, "the mark never goes back"


@pytest.mark.parametrize("now", [T0 + 30.0, T0 + 61.0, T0 + 119.9])
async def test_what_is_pending_is_never_joined_and_what_comes_later_is(log: Log, now: float) -> None:
    """Ranked before and after, rewarded around; the mark lies inside a span or at its end, ahead of closed buckets."""
    ranks = [Rank(f"e{n:03}", T0 + n + 0.5) for n in range(240)]
    await log.write(*ranks[: int(now) - T0], *(Obs(r.id, r.t + 3, 0.5) for r in ranks))
    counts_from = await log.clear(now)
    await log.write(*ranks[int(now) - T0 :])

    for seconds in range(0, 400, 7):
        await log.join(T0 + seconds)
    await log.join(T0 + LATER)

    wanted = {rank.id: 0.5 for rank in ranks if rank.t >= counts_from}
    assert await log.events() == wanted
    assert await log.learned() == len(wanted)
    assert all(start >= counts_from for start in await log.starts())
    assert await activity.noted(log.tables) == {}
    assert (await log.checkpoint()).events == len(wanted)


async def test_an_event_is_no_repetition_of_a_deleted_one_and_does_not_get_its_reward(log: Log) -> None:
    await log.write(Rank("e", T0 + 1), Obs("e", T0 + 2, 0.5))
    counts_from = await log.clear(T0 + 4)
    await log.write(Rank("e", counts_from + 1, chosen=1), Rank("f", counts_from + 2), Obs("f", counts_from, 0.25))

    await log.join(T0 + LATER)

    assert await log.events() == {"e": 0.0, "f": 0.25}
    assert (await log.checkpoint()).retries == 0


@pytest.mark.parametrize("prune", [False, True])
async def test_a_join_that_is_overtaken_leaves_nothing_that_counts(log: Log, prune: bool) -> None:
    await log.write(*(Rank(f"e{n}", T0 + n) for n in range(60)))
    overtaken = False

    async def gate(name: str, done: bool) -> None:
        nonlocal overtaken
        if name.endswith(".dsjson.zst") and not done and not overtaken:
            overtaken = True
            await retention.clear(log.blobs, LOOP, T0 + 500.0)

    log.gate = gate
    await log.join(T0 + LATER, prune)

    assert log.counters["join.rivals"] == 1
    assert await log.starts() == [T0]
    assert await log.events() == {}
    assert await log.learned() == 0
    assert await retention.properties(log.blobs, LOOP) == {}
    assert await log.expire(-1, T0 + LATER) == 2, "the lines and their index"
    assert await log.starts() == []


async def test_a_join_that_moves_the_checkpoint_meanwhile_is_overruled(log: Log) -> None:
    await log.write(*(Rank(f"e{n}", T0 + n) for n in range(60)))
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {checkpoints.path(LOOP)}" and not done and not raced:
            raced = True
            assert await log.join(T0 + LATER) == 1

    log.gate = gate
    counts_from = await log.clear(T0 + LATER)

    assert await log.starts() == []
    held = await log.checkpoint()
    assert (held.watermark, held.since, held.plan, held.events) == (counts_from, counts_from, None, 60)


@pytest.mark.parametrize("effect", ["killed", "reply lost"])
async def test_clearing_may_be_cut_off_anywhere_and_repeated(effect: str) -> None:
    for n in itertools.count():
        log = Log()
        await log.hold(T0, T0 + 60, T0 + DAY)
        gate = log.gate = CutOff(n, effect)
        try:
            await log.clear(T0 + DAY + 300.0)
        except (Killed, Unavailable):
            await asyncio.sleep(0)
        if not gate.reached:
            break  # beyond the last call
        log.gate = None
        assert await log.clear(T0 + DAY + 300.0) == T0 + DAY + 305

        assert await log.starts() == []
        assert (await log.checkpoint()).since == T0 + DAY + 305
    assert n > 6


@pytest.mark.parametrize("seed", range(10))
async def test_joins_that_race_with_a_deletion_agree_on_what_is_left(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 15)
    log, chance = Log(), random.Random(seed)
    ranks = [Rank(f"e{n}", T0 + chance.uniform(0, 300)) for n in range(150)]
    await log.write(*ranks, *(Obs(r.id, r.t + chance.uniform(-100, 5), 0.5) for r in ranks))

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    log.gate = gate
    now = T0 + chance.uniform(0, 300)
    _, counts_from, *_ = await asyncio.gather(log.join(now), log.clear(now), log.join(now), log.join(now))
    await asyncio.gather(log.join(T0 + LATER), log.join(T0 + LATER))
    await log.expire(-1, T0 + LATER)

    assert set(await log.events()) == {rank.id for rank in ranks if rank.t >= counts_from}
    assert all(start >= counts_from for start in await log.starts())
    assert log.counters["join.late_rows"] == 0


# -- expire ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "kept"), [(2, 3), (3, 4), (7, 8), (100, 10), (2**31 - 1, 10), (-1, 10)])
async def test_whole_days_beyond_the_retention_go(log: Log, days: int, kept: int) -> None:
    starts = [MIDNIGHT + DAY - 60 - n * DAY for n in range(10)]
    await log.hold(*starts)
    await log.hold(*starts, kind="observations")
    await log.hold(*starts, loop_id=OTHER)
    await log.reach(Checkpoint(watermark=MIDNIGHT + DAY))

    expired = await log.expire(days, MIDNIGHT + DAY - 30.0)

    assert await log.starts() == sorted([*starts[:kept], *starts[:kept]])
    assert expired == 2 * (10 - kept)
    assert (await log.checkpoint()).since == (MIDNIGHT - days * DAY if kept < 10 or days == 100 else 0)
    assert await log.starts(OTHER) == sorted(starts)
    assert await log.expire(days, MIDNIGHT + DAY - 30.0) == 0


@pytest.mark.parametrize(("days", "kept"), [(0, 1), (1, 25), (2, 48 + 13)])
async def test_whole_hours_go_where_the_log_is_kept_for_a_day_at_most(log: Log, days: int, kept: int) -> None:
    noon = MIDNIGHT + 5 * DAY + DAY // 2
    starts = [noon - n * 3600 for n in range(100)]
    await log.hold(*starts)
    await log.reach(Checkpoint(watermark=noon + 3600))

    assert await log.expire(days, noon + 1800.0) == 100 - kept
    assert await log.starts() == sorted(starts[:kept])
    assert await log.expire(days, noon + 3599.0) == 0
    assert await log.expire(days, noon + 3600.0) == (days <= 1)


async def test_erasures_in_force_are_noted_again(log: Log) -> None:
    await log.expire(-1, float(T0))
    assert (await activity.for_train_timer(log.tables)).erasing == []
    await log.reach(Checkpoint(erasures=[Erasure("event", "00" * 8, 1.0)]))
    await log.expire(-1, float(T0))
    assert [note.loop_id for note in (await activity.for_train_timer(log.tables)).erasing] == [LOOP]


async def test_an_event_is_kept_for_at_least_its_days(log: Log) -> None:
    await log.hold(MIDNIGHT - 60, MIDNIGHT)
    await log.reach(Checkpoint(watermark=MIDNIGHT + 3 * DAY))

    await log.expire(2, MIDNIGHT + 2 * DAY - 0.5)
    assert await log.starts() == [MIDNIGHT - 60, MIDNIGHT]
    await log.expire(2, MIDNIGHT + 2 * DAY)
    assert await log.starts() == [MIDNIGHT]


async def test_the_mark_never_goes_back_or_beyond_what_is_joined(log: Log) -> None:
    await log.reach(Checkpoint(watermark=MIDNIGHT + 55))
    await log.expire(2, MIDNIGHT + 10.0 * DAY)
    assert await log.checkpoint() == Checkpoint(watermark=MIDNIGHT + 55, since=MIDNIGHT + 55)

    await log.expire(30, MIDNIGHT + 10.0 * DAY)
    await log.expire(-1, MIDNIGHT + 10.0 * DAY)
    assert (await log.checkpoint()).since == MIDNIGHT + 55


async def test_a_loop_that_was_never_joined_has_nothing_to_expire(log: Log) -> None:
    assert await log.expire(2, float(T0)) == 0
    assert await log.blobs.names("") == []


async def test_a_plan_outlives_the_retention(log: Log) -> None:
    plan = Plan(MIDNIGHT + 60, MIDNIGHT + 120, RULES.at(T0))
    await log.reach(Checkpoint(watermark=MIDNIGHT + 60, plan=plan))
    await log.expire(2, MIDNIGHT + 10.0 * DAY)
    assert (await log.checkpoint()).plan == plan


async def test_a_join_that_is_quicker_is_not_overwritten(log: Log) -> None:
    await log.reach(Checkpoint(watermark=MIDNIGHT))
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {checkpoints.path(LOOP)}" and not done and not raced:
            raced = True
            await log.reach(Checkpoint(watermark=MIDNIGHT + 60, events=5))

    log.gate = gate
    await log.expire(2, MIDNIGHT + 9.0 * DAY)

    assert await log.checkpoint() == Checkpoint(watermark=MIDNIGHT + 60, since=MIDNIGHT + 60, events=5)


async def test_a_day_of_a_long_log_costs_a_few_looks(log: Log) -> None:
    await log.hold(*(MIDNIGHT + n * DAY for n in range(400)))
    await log.reach(Checkpoint(watermark=MIDNIGHT + 400 * DAY))
    assert await log.expire(390, MIDNIGHT + 400.0 * DAY) == 10
    log.calls.clear()

    assert await log.expire(390, MIDNIGHT + 401.0 * DAY) == 1

    # Year, month and day folders, that day's blobs; the journal's two kinds of tables, and of blobs; those of calls;
    # slices; sums.
    assert Counter(log.calls)["folders"] == 3 + 2
    assert Counter(log.calls)["names"] == 1 + 4 + 1 + 1 + 1
    # Besides, the checkpoint is read and moved, the day's window deleted, and what stands in Parquet looked at.
    assert len(log.calls) == 5 + 8 + 4


async def test_a_run_deletes_so_many_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setattr(retention, "MOST", 25)
    starts = [MIDNIGHT + n * 600 for n in range(3 * 144)]
    await log.hold(*starts[::6])
    await log.reach(Checkpoint(watermark=MIDNIGHT + 9 * DAY))

    assert [await log.expire(2, MIDNIGHT + 9.0 * DAY) for _ in range(4)] == [25, 25, 22, 0]
    assert await log.starts() == []


async def test_what_else_lies_in_a_day_goes_with_it_and_what_lies_beside_stays(log: Log) -> None:
    folder = joined.window_path(LOOP, Window(MIDNIGHT, MIDNIGHT + 60), "dsjson").rpartition("/")[0]
    beside = joined.log_path(LOOP) + "a/b/c/d"
    for path in (f"{folder}/hour.parquet", beside):
        await log.blobs.put(path, b"")
    for since in (MIDNIGHT + DAY - 60, MIDNIGHT + DAY):
        assert await retention.properties(log.blobs, LOOP) == {}
        assert len(await log.blobs.names(folder)) == 1
        await log.reach(Checkpoint(watermark=since, since=since))
        await log.expire(-1, float(since))
    assert await log.blobs.names(joined.log_path(LOOP)) == [beside]


# -- journal and whole loops -----------------------------------------------------------------------------------------


async def tables_of(log: Log, *days: int) -> None:
    for day in days:
        for stream in ("rank", "obs"):
            table = table_name(stream, LOOP, day_of(MIDNIGHT + day * DAY))
            await log.tables.put(table, {"PartitionKey": "00_1", "RowKey": "w"})
            await log.blobs.put(f"journal/{table}/00_1/w", b"")
    for stream in ("rank", "obs"):
        await log.tables.put(table_name(stream, OTHER, day_of(MIDNIGHT)), {"PartitionKey": "00_1", "RowKey": "w"})
    await log.blobs.put(f"journal/rank{OTHER}20231114/00_1/w", b"")


async def left(log: Log) -> list[int]:
    """The days whose tables and blobs are left; nothing of another loop may have gone."""
    assert [len(await log.tables.names(f"{stream}{OTHER}")) for stream in ("rank", "obs")] == [1, 1]
    assert await log.blobs.names(f"journal/rank{OTHER}") != []
    days = [{table[-8:] for table in await log.tables.names(f"{stream}{LOOP}")} for stream in ("rank", "obs")]
    blobs = {path.split("/")[1][-8:] for path in await log.blobs.names("journal/") if LOOP in path}
    assert days[0] == days[1] == blobs
    return [n for n in range(-5, 15) if day_of(MIDNIGHT + n * DAY) in blobs]


@pytest.mark.parametrize(
    ("watermark", "pending", "kept"),
    [(0, False, [9, 10]), (10, False, [9, 10]), (3, True, [2, 3, 9, 10]), (0, True, [0, 1, 2, 3, 9, 10])],
)
async def test_journals_of_past_days_go_unless_a_join_still_reads_them(
    log: Log, watermark: int, pending: bool, kept: list[int]
) -> None:
    await tables_of(log, 0, 1, 2, 3, 9, 10)
    await log.reach(Checkpoint(watermark=MIDNIGHT + watermark * DAY + 600 if watermark else 0))

    await log.expire(-1, MIDNIGHT + 10.5 * DAY, pending)

    assert await left(log) == kept


async def test_overflow_of_tables_that_are_gone_already_goes_too(log: Log) -> None:
    await log.blobs.put(f"journal/rank{LOOP}20231101/00_1/w", b"")
    assert await retention.drop_journal(log.tables, log.blobs, LOOP, "20231102") == 1
    assert await log.blobs.names("journal/") == []


async def test_of_an_erased_loop_nothing_is_left(log: Log) -> None:
    await tables_of(log, 0, 1)
    await log.write(Rank("e", T0), Obs("e", T0))
    await activity.note_joined(log.tables, LOOP)
    await log.hold(T0, T0 + DAY)
    await log.hold(T0, loop_id=OTHER)
    await log.blobs.put(f"loops/{LOOP}/settings.json", b"")
    await journal(log.tables, [Rank("e", T0)], SHORT, loop_id=OTHER)
    await activity.note_joined(log.tables, OTHER)

    assert await retention.erase(log.tables, log.blobs, LOOP) > 10

    assert await left(log) == []
    assert await log.blobs.names(f"loops/{LOOP}") == []
    assert await log.starts(OTHER) == [T0]
    assert list(await activity.noted(log.tables)) == [OTHER]
    assert [note.loop_id for note in await activity.untrained(log.tables)] == [OTHER]
    assert await retention.erase(log.tables, log.blobs, LOOP) == 0


async def test_an_erased_loop_of_many_blobs_goes_in_several_runs(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST", 3)
    await log.hold(*(T0 + 60 * n for n in range(7)))

    assert [await retention.erase(log.tables, log.blobs, LOOP) for _ in range(4)] == [3, 3, 1, 0]
    assert await log.starts() == []


async def test_of_a_silent_loop_a_slice_that_has_just_ended_is_kept(log: Log) -> None:
    now = T0 + 10 * DAY
    await log.reach(Checkpoint(watermark=T0))
    for end in (now - 3600, now - 5):  # into the buckets of the last one an event may just have come
        await log.blobs.put(slices.path(LOOP, Slice(end - 3600, end), slices.RANKS), b"")

    await log.expire(-1, float(now))

    assert await slices.stored(log.blobs, LOOP, slices.RANKS) == [Slice(now - 3605, now - 5)]
