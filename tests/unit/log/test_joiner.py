import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import orjson
import pytest

from shared.counters import Counters
from shared.log import activity, index, joined, joiner
from shared.log import checkpoint as checkpoints
from shared.log.buckets import Waits, bucket_of, day_of
from shared.log.checkpoint import Checkpoint, Plan
from shared.log.join import LoopRules, Rules
from shared.log.joined import Window
from shared.log.joiner import Joiner
from shared.log.records import digest_of
from shared.log.rows import RowKey, compress, overflow_path, pack, partition_key, table_name
from shared.storage import Conflict, StorageError
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import (
    LOOP,
    T0,
    Gate,
    Obs,
    Rank,
    Record,
    Slot,
    SlotRank,
    WatchedBlobs,
    WatchedTables,
    journal,
)

SHORT = Waits(((0, 5.0),))
LATER = 1_000_000.0
"""Seconds after which all is closed."""


class Bench:
    def __init__(self, waits: Waits = SHORT, prune: bool = False, gate: Gate | None = None) -> None:
        self.tables, self.blobs, self.counters = MemoryTables(), MemoryBlobs(), Counters()
        self.calls: list[str] = []
        self.gate = gate
        self.loop = LoopRules(LOOP, waits, 0.0, "sum", (-1.0, 1.0))
        self.prune = prune

    async def _pass(self, name: str, done: bool) -> None:
        if not done:
            self.calls.append(name)
        if self.gate is not None:
            await self.gate(name, done)

    def joiner(self) -> Joiner:
        tables, blobs = WatchedTables(self.tables, self._pass), WatchedBlobs(self.blobs, self._pass)
        return Joiner(tables, blobs, self.counters, self.prune)

    async def write(self, *records: Record, shards: Sequence[int] = (0, 1, 2), seed: int = 0) -> None:
        await journal(self.tables, records, self.loop.waits, shards, seed)

    async def run(self, now: float) -> int:
        return await self.joiner().run(self.loop, (await activity.noted(self.tables)).get(LOOP, []), now)

    async def windows(self) -> list[Window]:
        return await joined.windows(self.blobs, LOOP, 0, 2**33)

    async def lines(self) -> list[dict[str, object]]:
        return [
            orjson.loads(line)
            for window in await self.windows()
            for line in await joined.read(self.blobs, LOOP, window)
        ]

    async def rewards(self) -> dict[str, float]:
        found = [(str(line["EventId"]), -float(str(line["_label_cost"]))) for line in await self.lines()]
        assert len(dict(found)) == len(found), "an event stands twice"
        return dict(found)

    async def checkpoint(self) -> Checkpoint:
        return (await checkpoints.load(self.blobs, LOOP))[0]


async def test_events_are_joined_once_their_rewards_and_their_buckets_are_closed() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0 + 1), Obs("e", T0 + 5.5, 0.5))
    # The bucket ends at 5, its rewards 5 s later, in a bucket that ends at 10 and closes 4 s later; and 1 s of margin.
    for seconds in (0, 5, 10, 14, 14.9):
        assert await bench.run(T0 + seconds) == 0
    assert await bench.windows() == []

    assert await bench.run(T0 + 15) == 1

    assert await bench.rewards() == {"e": 0.5}
    assert (await bench.checkpoint()).watermark == T0 + 5
    assert [note.loop_id for note in await activity.untrained(bench.tables)] == [LOOP]


@pytest.mark.parametrize("wait", [5.0, 7.5, 12.0, 15.0, 100.0, 600.0])
async def test_no_window_is_joined_before_its_rewards_are_closed(wait: float) -> None:
    bench = Bench(Waits(((0, wait),)))
    for n in range(0, 400, 7):
        await bench.write(Rank(f"e{n}", T0 + n), Obs(f"e{n}", T0 + n + wait - 0.5, 0.5))
    for seconds in range(0, 2000, 3):
        await bench.run(T0 + seconds)
        for window in await bench.windows():
            last = bucket_of(window.end + wait - 0.001)
            assert bench.loop.waits.closes(last) <= T0 + seconds - 1

    assert await bench.rewards() == {f"e{n}": 0.5 for n in range(0, 400, 7)}


async def test_an_event_whose_reward_lies_on_another_shard_and_day_finds_it() -> None:
    midnight = T0 // 86_400 * 86_400 + 86_400
    bench = Bench()
    await bench.write(Rank("e", midnight - 1), Rank("early", midnight + 100), shards=[0])
    await bench.write(Obs("e", midnight + 3, 0.5), Obs("early", midnight - 19, 0.25), shards=[3])

    await bench.run(midnight + LATER)

    assert await bench.rewards() == {"e": 0.5, "early": 0.25}
    assert (await bench.windows())[0].end == midnight


async def test_a_window_never_crosses_the_hour() -> None:
    hour = T0 // 3600 * 3600 + 3600
    bench = Bench()
    await bench.write(*(Rank(f"e{n}", hour - 30 + n) for n in range(60)))

    assert await bench.run(hour + LATER) == 2

    assert [(w.start, w.end) for w in await bench.windows()] == [(hour - 60, hour), (hour, hour + 60)]
    assert len(await bench.rewards()) == 60


@pytest.mark.parametrize(("first", "then"), [(5.0, 30.0), (30.0, 5.0)])
async def test_each_event_is_joined_by_the_wait_of_its_bucket(first: float, then: float) -> None:
    change = T0 + 30
    bench = Bench(Waits(((0, first), (change, then))))
    ranks = [Rank(f"e{n}", T0 + n + 0.5) for n in range(60)]
    await bench.write(*ranks, *(Obs(r.id, r.t + 10, 0.5) for r in ranks))

    await bench.run(T0 + LATER)

    wanted = {r.id: 0.5 if (first if r.t < change else then) > 10 else 0.0 for r in ranks}
    assert await bench.rewards() == wanted
    assert change in {w.start for w in await bench.windows()}


async def test_a_window_holds_about_so_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 25)
    bench = Bench()
    await bench.write(*(Rank(f"e{n:03}", T0 + n / 2) for n in range(200)))

    await bench.run(T0 + LATER)

    # Ten events a bucket: the third bucket is the one that goes beyond 25.
    counts = [len(await joined.read(bench.blobs, LOOP, w)) for w in await bench.windows()]
    assert counts == [30] * 6 + [20]
    assert list(await bench.rewards()) == [f"e{n:03}" for n in range(200)]


async def test_a_backlog_is_not_counted_whole_for_each_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 10)
    bench = Bench()
    hour = T0 // 3600 * 3600 + 3600
    await bench.write(*(Rank(f"e{n}", hour + 3 * n) for n in range(1000)), shards=[0])
    counted = 0
    query = bench.tables.query

    async def counting(table: str, partitions: tuple[str, str], select: Sequence[str] | None = None):  # type: ignore[no-untyped-def]
        nonlocal counted
        async for found in query(table, partitions, select):
            counted += select is not None and "n" in select
            yield found

    monkeypatch.setattr(bench.tables, "query", counting)
    await bench.run(hour + LATER)

    assert len(await bench.rewards()) == 1000
    assert counted < 10 * 1000


async def test_windows_of_a_long_wait_are_not_cut_at_every_run() -> None:
    bench = Bench(Waits(((0, 600.0),)))
    await bench.write(*(Rank(f"e{n}", T0 + n) for n in range(1000)))

    for seconds in range(0, 1700, 5):
        await bench.run(T0 + seconds)
    windows = await bench.windows()

    assert len(await bench.lines()) > 850
    assert all(w.end - w.start >= 60 for w in windows)


async def test_observations_alone_are_kept_and_make_no_line() -> None:
    bench = Bench()
    late = [Obs("late", T0 + n, float(n)) for n in range(3)]
    await bench.write(*late)

    assert await bench.run(T0 + LATER) == 1

    assert await bench.windows() == []
    path, _ = sorted(await bench.blobs.names(joined.log_path(LOOP)), reverse=True)
    assert path == joined.window_path(LOOP, Window(T0, T0 + 60), "observations")
    blob = await bench.blobs.get(path)
    assert blob is not None
    assert blob.metadata["n"] == "3"


async def test_observations_are_kept_in_the_window_they_arrived_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 10)
    bench = Bench()
    ranks = [Rank(f"e{n:02}", T0 + n) for n in range(60)]
    await bench.write(*ranks, *(Obs(r.id, r.t + 4, 0.5) for r in ranks))
    await bench.run(T0 + LATER)

    paths = [p for p in await bench.blobs.names(joined.log_path(LOOP)) if ".observations." in p]
    kept = [blob.metadata["n"] for p in paths if (blob := await bench.blobs.get(p))]
    assert sum(map(int, kept)) == 60
    assert len(kept) > 2


async def test_spans_without_rows_are_passed() -> None:
    bench = Bench()
    span = activity.span_of(LOOP, 1, T0, SHORT)  # a writer noted it, and died
    await activity.note_rows(bench.tables, span)

    assert await bench.run(T0 + LATER) == 1

    assert (await bench.checkpoint()).watermark == T0 + 60
    assert await activity.noted(bench.tables) == {}


async def test_passed_spans_are_forgotten_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 5)
    bench = Bench()
    await bench.write(*(Rank(f"e{n}", T0 + n) for n in range(600)), shards=[0, 1])
    spans = len((await activity.noted(bench.tables))[LOOP])

    await bench.run(T0 + LATER)

    assert await activity.noted(bench.tables) == {}
    assert Counter(bench.calls)["delete activity"] == spans


async def test_a_gap_is_skipped() -> None:
    bench = Bench()
    await bench.write(Rank("before", T0), Rank("after", T0 + 30 * 86_400))

    assert await bench.run(T0 + 30 * 86_400 + LATER) < 5 + 24

    assert list(await bench.rewards()) == ["before", "after"]


async def test_a_retry_in_the_next_window_is_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 0)
    bench = Bench()
    times = (0, 60, 119, 400)
    await bench.write(*(Rank("e", T0 + t, chosen=n % 3) for n, t in enumerate(times)))

    await bench.run(T0 + LATER)

    assert [line["_labelIndex"] for line in await bench.lines()] == [0, 0]
    assert (await bench.checkpoint()).retries == 2


async def test_totals_are_kept_with_the_checkpoint() -> None:
    bench = Bench()
    await bench.write(
        *(Rank("a", T0), Rank("a", T0 + 1), Rank("b", T0 + 2, deferred=True), Rank("c", T0 + 3)),
        *(Obs("a", T0 + 1, 0.5, request="q"), Obs("a", T0 + 2, 0.5, request="q")),
    )
    await bench.run(T0 + LATER)

    held = await bench.checkpoint()
    assert (held.events, held.rewarded, held.retries, held.inactive, held.duplicates) == (3, 1, 1, 1, 1)
    assert (held.empty_slots, held.shards) == (0, [0, 1, 2])


async def test_a_damaged_line_is_counted_and_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.write(Rank("e", T0), Obs("e", T0 + 1, 0.5), shards=[0])
    for stream, n in (("rank", 0), ("obs", 1)):
        row = pack(RowKey("", partition_key(0, T0), f"w9_{n}"), compress([b"{", b"garbage"]), 2, 8, b"0" * 32)
        await bench.tables.put(table_name(stream, LOOP, day_of(T0)), row)

    await bench.run(T0 + LATER)

    assert await bench.rewards() == {"e": 0.5}
    assert bench.counters["join.damaged"] == 2
    assert "2 rank lines" in caplog.text
    assert (await bench.checkpoint()).watermark > T0


async def test_multi_slot_events_are_joined_beside_others() -> None:
    bench = Bench()
    slots = (Slot("top", (1, 0, 2, 3)), Slot("only", (), 1, allowed=(1,)))
    await bench.write(
        *(SlotRank("a", T0, slots=slots), SlotRank("b", T0 + 1), Rank("c", T0 + 2), SlotRank("b", T0 + 3)),
        *(Obs("a", T0 + 1, 0.0, slots=(("top", 0.5), ("only", 1.0))), Obs("a", T0 + 2, 0.0, slots=(("top", 0.25),))),
        *(Obs("b", T0 + 2, 0.0, slots=(("side", 1.0),)), Obs("c", T0 + 3, 0.75)),
    )

    await bench.run(T0 + LATER)

    a, b, c = await bench.lines()
    assert isinstance(a["_outcomes"], list)
    assert isinstance(b["_outcomes"], list)
    assert [outcome.get("_label_cost") for outcome in a["_outcomes"]] == [-0.75, None]
    assert [outcome.get("_label_cost") for outcome in b["_outcomes"]] == [0.0, -1.0]
    assert c["_label_cost"] == -0.75
    held = await bench.checkpoint()
    assert (held.events, held.rewarded, held.retries, held.empty_slots) == (3, 3, 1, 1)


async def test_empty_slots_are_counted_over_all_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 5)
    bench = Bench()
    slots = (Slot("top", (1, 0)), Slot("only", (), 1, allowed=(1,)), Slot("none", (), 0, allowed=(1,)))
    await bench.write(*(SlotRank(f"e{n:02}", T0 + n, slots=slots) for n in range(30)))

    assert await bench.run(T0 + LATER) > 2

    assert (await bench.checkpoint()).empty_slots == 60


async def test_day_tables_are_dropped_when_no_window_reads_them_any_more() -> None:
    bench = Bench()
    day = T0 // 86_400 * 86_400
    await bench.write(*(record for n in range(5) for record in (Rank(f"e{n}", day + n * 86_400 + 3600), Obs("x", day))))
    key = RowKey(table_name("rank", LOOP, day_of(day)), partition_key(0, day + 3600), "w9_1")
    frame = random.Random(1).randbytes(700_000).replace(b"\n", b" ")
    await bench.blobs.put(overflow_path(key), frame)
    await bench.tables.put("rank" + "f" * 32 + day_of(day), {"PartitionKey": "another loop's", "RowKey": "1"})

    await bench.run(day + 5 * 86_400 + LATER)

    assert len(await bench.rewards()) == 5
    last = day_of(day + 4 * 86_400)
    assert await bench.tables.names("obs") == []
    assert set(await bench.tables.names("rank" + LOOP)) <= {"rank" + LOOP + last, "rank" + LOOP + _before(last)}
    assert await bench.tables.names("rank" + "f" * 32) == ["rank" + "f" * 32 + day_of(day)]
    assert await bench.blobs.names("journal/") == []


def _before(day: str) -> str:
    return str(int(day) - 1)


@pytest.mark.parametrize("seed", range(5))
async def test_pruning_takes_away_what_is_joined_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 20)
    chance = random.Random(seed)
    ranks = [Rank(f"e{n}", T0 + chance.uniform(0, 900)) for n in range(300)]
    # Early and late rewards, and ranks repeated within two minutes: all that reads rows of earlier windows.
    rewards = [Obs(r.id, r.t + chance.uniform(-130, 10), chance.choice([0.25, 0.5])) for r in ranks]
    again = [Rank(r.id, r.t + chance.uniform(1, 200), chosen=1) for r in ranks[:100]]
    records: list[Record] = [*ranks, *rewards, *again]
    plain, pruned = Bench(), Bench(prune=True)
    for bench in (plain, pruned):
        await bench.write(*records, seed=seed)
        for seconds in range(0, 1300, 20):
            await bench.run(T0 + seconds)

    assert await pruned.lines() == await plain.lines()
    left = []
    for stream in ("rank", "obs"):
        left += [row async for row, _ in pruned.tables.query(table_name(stream, LOOP, day_of(T0)), ("", "~"))]
    kept_from = (await pruned.checkpoint()).watermark - 120
    assert all(int(str(row["PartitionKey"])[3:]) >= kept_from for row in left)


async def test_a_join_whose_time_is_over_passes_one_window_and_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 5)
    bench = Bench()
    await bench.write(*(Rank(f"e{n}", T0 + n) for n in range(40)))
    spans = (await activity.noted(bench.tables))[LOOP]
    runner = Joiner(bench.tables, bench.blobs, bench.counters)

    assert await runner.run(bench.loop, spans, T0 + LATER, until=-1.0) == 1
    rest = await runner.run(bench.loop, spans, T0 + LATER)

    assert rest > 1
    assert len(await bench.lines()) == 40


async def test_a_row_that_comes_too_late_alters_no_window(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.write(Rank("e", T0), Rank("f", T0 + 1))

    async def gate(name: str, done: bool) -> None:
        if name.endswith("join.json") and done and not bench.calls.count("late"):
            return
        if name.endswith(".dsjson.zst") and done and name.startswith("put"):
            bench.calls.append("late")
            bench.gate = None
            await bench.write(Rank("late", T0 + 2), seed=9)
            raise OSError("killed")

    bench.gate = gate
    with pytest.raises(OSError, match="killed"):
        await bench.run(T0 + LATER)
    await bench.run(T0 + LATER)

    assert list(await bench.rewards()) == ["e", "f"]
    assert bench.counters["join.late_rows"] == 1
    (window,) = await joined.windows(bench.blobs, LOOP, 0, 2**33)
    blob = await bench.blobs.get(joined.window_path(LOOP, window, joined.INDEX))
    assert blob is not None
    assert sorted(index.decode(blob.data)["event"]) == sorted(int.from_bytes(digest_of(e)) for e in ("e", "f"))
    assert "after the window was closed" in caplog.text


@pytest.mark.parametrize("first", ["in time", "late", "in time and late"])
async def test_the_repeat_of_what_came_too_late_is_no_retry(first: str) -> None:
    """Of an event that stands in no window; what its client was promised then is in the log, with its reward."""
    bench = Bench()
    await bench.write(Rank("other", T0 + 1), seed=1)
    if "in time" in first:
        await bench.write(Rank("e", T0 + 2, chosen=0), seed=2)
    await bench.run(T0 + 20)
    if "late" in first:
        await bench.write(Rank("e", T0 + 3, chosen=0), seed=3)
    await bench.write(Rank("e", T0 + 12, chosen=1), Obs("e", T0 + 13, 0.7), seed=4)
    await bench.run(T0 + LATER)

    checkpoint = await bench.checkpoint()
    (line,) = [line for line in await bench.lines() if line["EventId"] == "e"]
    assert (checkpoint.events, checkpoint.retries) == ((2, 0) if first == "late" else (2, 1))
    assert line["_labelIndex"] == (1 if first == "late" else 0)
    assert await bench.rewards() == {"other": 0.0, "e": 0.7 if first == "late" else 0.0}


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("gap", [40.0, 100.0, 110.0, 119.0])
@pytest.mark.parametrize("at_once", [True, False])
async def test_however_often_an_event_is_repeated_it_is_one(at_once: bool, gap: float, indexed: bool) -> None:
    """Wherever windows end; also where the windows before are of the first release, which knew no index."""
    bench, count = Bench(), 9
    for n in range(count):
        await bench.write(Rank("e", T0 + 1 + gap * n, chosen=n % 2), Rank(f"other{n}", T0 + 2 + gap * n), seed=n)
        if not at_once:
            await bench.run(T0 + 21 + gap * n)
        if not indexed:
            for path in await bench.blobs.names(joined.log_path(LOOP)):
                if path.endswith(".index"):
                    await bench.blobs.delete(path)
    await bench.run(T0 + LATER)

    checkpoint = await bench.checkpoint()
    assert (checkpoint.events, checkpoint.retries) == (1 + count, count - 1)
    (line,) = [line for line in await bench.lines() if line["EventId"] == "e"]
    assert line["_labelIndex"] == 0


async def test_an_id_that_is_used_again_is_no_retry_of_what_came_too_late() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0 + 2), seed=1)
    await bench.run(T0 + 30)
    await bench.write(Rank("other", T0 + 150), seed=2)
    await bench.run(T0 + 190)
    await bench.write(Rank("e", T0 + 170), seed=3)  # behind its window
    await bench.write(Rank("e", T0 + 200, chosen=1), Obs("e", T0 + 201, 0.7), seed=4)
    await bench.run(T0 + LATER)

    assert [line["_label_cost"] for line in await bench.lines() if line["EventId"] == "e"] == [0.0, -0.7]
    assert (await bench.checkpoint()).retries == 0


async def test_what_was_deleted_makes_no_retry_of_what_came_too_late() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0 + 1))
    await bench.run(T0 + 30)
    held, etag = await checkpoints.load(bench.blobs, LOOP)
    await checkpoints.save(bench.blobs, LOOP, msgspec.structs.replace(held, since=int(T0) + 10), etag)
    await bench.write(Rank("other", T0 + 40), seed=1)
    await bench.run(T0 + 70)
    await bench.write(Rank("e", T0 + 41), seed=2)  # behind its window
    await bench.write(Rank("e", T0 + 80, chosen=1), seed=3)
    await bench.run(T0 + LATER)

    assert [line["_labelIndex"] for line in await bench.lines() if line["EventId"] == "e"] == [0, 1]
    assert (await bench.checkpoint()).retries == 0


async def test_a_later_runs_plan_is_left_to_its_time() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0), Obs("e", T0 + 3, 0.5))
    plan = Checkpoint(plan=Plan(T0, T0 + 60, bench.loop.at(T0)), shards=[0, 1, 2])
    await bench.blobs.put(checkpoints.path(LOOP), msgspec.json.encode(plan))

    assert await bench.run(T0 + 30) == 0
    assert await bench.checkpoint() == plan
    assert await bench.run(T0 + 75) == 1
    assert await bench.rewards() == {"e": 0.5}


async def test_a_plan_that_somebody_left_is_carried_out_as_it_is() -> None:
    bench = Bench()
    await bench.write(*(Rank(f"e{n}", T0 + n) for n in range(60)))
    plan = Checkpoint(plan=Plan(T0, T0 + 25, bench.loop.at(T0)), shards=[0, 1, 2])
    await bench.blobs.put(checkpoints.path(LOOP), msgspec.json.encode(plan))

    await bench.run(T0 + LATER)

    assert (await bench.windows())[0] == Window(T0, T0 + 25)
    assert len(await bench.rewards()) == 60


async def test_a_plan_is_carried_out_by_the_rules_it_was_made_with() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0))
    held = Checkpoint(plan=Plan(T0, T0 + 60, Rules(5.0, 0.25, "earliest", (-1.0, 1.0))), shards=[0, 1, 2])
    await bench.blobs.put(checkpoints.path(LOOP), msgspec.json.encode(held))

    await bench.run(T0 + LATER)  # by now the loop's default reward is 0

    assert await bench.rewards() == {"e": 0.25}


async def test_windows_end_before_they_hold_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_BYTES", 2000)
    bench = Bench()
    await bench.write(*(Rank(f"e{n}", T0 + n) for n in range(50)))

    await bench.run(T0 + LATER)

    ends = [window.end - window.start for window in await bench.windows()]
    assert max(ends) <= 15
    assert len(await bench.rewards()) == 50


@pytest.mark.parametrize("broken", ["format 2", "format 4"], ids=["row", "checkpoint"])
async def test_what_a_later_release_wrote_is_refused_and_nothing_is_passed(broken: str) -> None:
    bench = Bench()
    await bench.write(Rank("e", T0), shards=[0])
    if broken == "format 2":
        row = pack(RowKey("", partition_key(0, T0), "w_1"), compress([b"?"]), 1, 1, b"0" * 16) | {"f": 2}
        await bench.tables.put(table_name("rank", LOOP, day_of(T0)), row)
    else:
        await bench.blobs.put(checkpoints.path(LOOP), msgspec.json.encode(Checkpoint(format=checkpoints.LATEST + 1)))

    with pytest.raises(StorageError, match=broken):
        await bench.run(T0 + LATER)
    assert await bench.windows() == []


async def test_news_for_the_trainer_survive_a_run_that_dies_before_it_tells_them() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0))

    async def gate(name: str, done: bool) -> None:
        if name == "put activity":
            raise OSError("killed")

    bench.gate = gate
    with pytest.raises(OSError, match="killed"):
        await bench.run(T0 + LATER)
    assert await bench.rewards() == {"e": 0.0}
    assert await activity.untrained(bench.tables) == []

    bench.gate = None
    await bench.run(T0 + LATER)

    assert [note.loop_id for note in await activity.untrained(bench.tables)] == [LOOP]


async def test_without_spans_nothing_is_done() -> None:
    bench = Bench()
    assert await bench.run(T0 + LATER) == 0
    assert bench.calls == [f"get {checkpoints.path(LOOP)}"]


@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("seed", range(12))
async def test_rivals_write_the_same_log(monkeypatch: pytest.MonkeyPatch, seed: int, prune: bool) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 15)
    chance = random.Random(seed)
    ranks = [Rank(f"e{n}", T0 + chance.uniform(0, 300), chance.random() < 0.2) for n in range(150)]
    records: list[Record] = [*ranks, *(Obs(r.id, r.t + chance.uniform(-10, 7), 0.5) for r in ranks)]
    alone, raced = Bench(), Bench(prune=prune)
    for bench in (alone, raced):
        await bench.write(*records)

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)

    raced.gate = gate
    wanted_passes = await alone.run(T0 + LATER)
    passed = await asyncio.gather(*(raced.run(T0 + LATER) for _ in range(3)))

    assert await raced.lines() == await alone.lines()
    assert await raced.blobs.names("") == await alone.blobs.names("")
    for path in await alone.blobs.names(joined.log_path(LOOP)):
        mine, wanted = await raced.blobs.get(path), await alone.blobs.get(path)
        assert mine is not None
        assert wanted is not None
        assert mine.data == wanted.data
    assert await raced.checkpoint() == await alone.checkpoint()
    assert sum(passed) == wanted_passes
    assert raced.counters["join.rivals"] > 0


async def test_a_rivals_plan_is_not_overwritten() -> None:
    bench = Bench()
    await bench.write(Rank("e", T0))
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name == f"put {checkpoints.path(LOOP)}" and not done and not raced:
            raced = True
            await bench.run(T0 + LATER)

    bench.gate = gate
    await bench.run(T0 + LATER)

    assert await bench.rewards() == {"e": 0.0}
    assert bench.counters["join.rivals"] == 1
    with pytest.raises(Conflict):
        await bench.blobs.put(checkpoints.path(LOOP), b"")
