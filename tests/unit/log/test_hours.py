import asyncio
import contextlib
import itertools
import math
import random
import time
from collections.abc import Callable
from types import SimpleNamespace

import orjson
import pytest

from shared.log import hours, joined, merged, parts, retention
from shared.log.buckets import Waits
from shared.log.day import LATE as LATE_REWARDS
from shared.log.day import UNKNOWN, MinuteDay
from shared.log.erasure import NOTHING, Erased, Erasure
from shared.log.index import Replaced, Table
from shared.log.join import LoopRules
from shared.log.joined import Window
from shared.log.records import digest_of
from shared.log.series import Series
from shared.storage import Blobs, StorageError, Unavailable
from tests.cutoff import EFFECTS, CutOff, Killed
from tests.hourly import DAY, HOUR, MIDNIGHT, WAITS, Hourly, names
from tests.journalled import LOOP, Obs, Rank, Record

H = MIDNIGHT + 10 * HOUR
LATER = 100_000.0
"""Seconds after which all is closed."""


@pytest.fixture
def log() -> Hourly:
    return Hourly()


def events_file(start: int, end: int, generation: str = "", day: str = "14") -> str:
    return f"parquet/events/year=2023/month=11/day={day}/hour=10/{start}-{end}{generation}.parquet"


# -- when an hour is closed ------------------------------------------------------------------------------------------


async def test_an_hour_is_written_once_everything_of_it_is_joined(log: Hourly) -> None:
    await log.join(Rank("in", H + 10), Rank("next", H + HOUR + 119), Obs("next", H + HOUR - 0.5), now=H + HOUR + 600.0)
    assert await log.write(H + HOUR + 600.0, idle=False) == 0

    await log.join(Rank("after", H + HOUR + 700), now=H + HOUR + 720 + 600 + 100.0)
    assert await log.write(H + HOUR + 1420.0, idle=False) == 1

    assert names(list(await log.files())) == [
        f"index/{H}-{H + HOUR}.index",
        f"parquet/events/year=2023/month=11/day=15/hour=10/{H}-{H + HOUR}.parquet",
        f"parquet/observations/year=2023/month=11/day=15/hour=10/{H}-{H + HOUR}.parquet",
    ]
    assert [row["event_id"] for row in await log.rows("events")] == ["in"]
    assert [(row["fate"], row["delay_s"]) for row in await log.rows("observations")] == [("joined", -119.5)]


async def test_a_silent_loops_hour_is_written_once_no_bucket_of_it_is_open(log: Hourly) -> None:
    await log.join(Rank("e", H + 10), now=H + 1000.0)
    closes = WAITS.closes(H + HOUR + 115) + 1

    assert await log.write(closes - 0.1) == 0
    assert await log.write(closes + LATER, idle=False) == 0, "only what is joined counts while a loop is busy"
    assert await log.write(closes) == 1


async def test_what_is_noted_and_not_joined_holds_an_hour_up(log: Hourly) -> None:
    await log.join(Rank("first", H + 10), now=H + 720.0)
    await log.join(Rank("second", H + 3000), now=H + 3000.0)

    assert await log.write(H + LATER) == 0
    await log.join(now=H + LATER)
    assert await log.write(H + LATER) == 1
    assert [row["event_id"] for row in await log.rows("events")] == ["first", "second"]


async def test_no_read_is_made_while_no_boundary_was_passed(log: Hourly) -> None:
    await log.join(Rank("e", H + 10), Rank("f", H + 125), now=H + 1000.0)
    process = log.process()
    assert await process.run(log.rules, H + 1000.0) == 0
    log.calls.clear()
    assert await process.run(log.rules, H + HOUR + 120 + 599.0) == 0
    assert log.calls == []

    assert await process.run(log.rules, H + LATER, []) == 1
    log.calls.clear()
    assert await process.run(log.rules, H + LATER + 100, []) == 0
    assert log.calls == []
    assert await process.run(log.rules, H + LATER + 2 * HOUR, []) == 0
    assert log.calls != []


async def test_hours_without_anything_have_no_files(log: Hourly) -> None:
    await log.join(Rank("a", H), Rank("b", H + 7 * HOUR), now=H + LATER)

    assert await log.write(H + LATER) == 2
    assert len([name for name in await log.files() if "/events/" in name]) == 2
    assert await log.write(H + LATER + DAY) == 0


async def test_a_loop_that_was_never_called_has_nothing(log: Hourly) -> None:
    assert await log.write(H + LATER) == 0
    assert await log.blobs.names("") == []


async def test_a_process_remembers_a_bounded_number_of_loops(log: Hourly, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hours, "_LOOPS", 1)
    process = log.process()
    other = LoopRules("f" * 32, WAITS, 0.0, "sum", (-1.0, 1.0))
    for rules in (log.rules, other):
        await process.run(rules, H + LATER, [])

    assert list(process._through) == [other.loop_id]


# -- what is in it ---------------------------------------------------------------------------------------------------


async def test_every_event_of_the_log_is_a_row(log: Hourly) -> None:
    chance = random.Random(1)
    ranks = [Rank(f"e{n}", H + chance.uniform(0, 3 * HOUR), chosen=chance.randrange(3)) for n in range(300)]
    rewards = [Obs(r.id, r.t + chance.uniform(-100, 900), chance.random()) for r in ranks]
    await log.join(*ranks, *rewards, now=H + LATER)

    assert await log.write(H + LATER) == 4

    rows = {row["event_id"]: row for row in await log.rows("events")}
    lines = {line["EventId"]: line for line in map(orjson.loads, await log.lines())}
    assert len(rows) == 300 and rows.keys() == lines.keys()
    for event_id, row in rows.items():
        line = lines[event_id]
        assert (row["reward"], row["action"], row["rewards"]) == (
            0.0 - line["_original_label_cost"],
            line["_labelIndex"],
            len(line["o"]),
        )
    fates = await log.fates()
    assert {name for name, fate in fates.items() if fate == "joined"} == {n for n in lines if lines[n]["o"]}
    assert {fates[r.id] for r, o in zip(ranks, rewards, strict=True) if o.t - r.t >= 600} == {"late"}
    late = sum(fate == "late" for fate in fates.values())
    assert late > 20
    assert (log.counters["log.late"], (await log.progress()).late) == (late, late)


async def test_late_and_unknown_rewards_are_kept_and_marked(log: Hourly) -> None:
    await log.join(
        Rank("e", H),
        Rank("yesterday", H - DAY),
        Rank("too old", H - 2 * DAY),
        Obs("e", H + 599.9, 1.0, request="first"),
        Obs("e", H + 600.0, 2.0),
        Obs("e", H + 5 * HOUR, 3.0),
        Obs("e", H + 5 * HOUR, kind="a"),
        Obs("yesterday", H + 500, 4.0),
        Obs("too old", H + 10, 5.0),
        Obs("never", H + 10, 6.0),
        Obs("later", H + 10, 7.0),
        Rank("later", H + 131.0),
        now=H + LATER,
    )

    await log.write(H + LATER)

    fates = sorted((row["value"] or 0, row["fate"], row["delay_s"]) for row in await log.rows("observations"))
    assert fates == [
        (0, "late", 18_000.0),
        (1.0, "joined", pytest.approx(599.9)),
        (2.0, "late", 600.0),
        (3.0, "late", 18_000.0),
        (4.0, "late", DAY + 500.0),
        (5.0, "unknown", None),
        (6.0, "unknown", None),
        (7.0, "unknown", None),
    ]
    progress = await log.progress()
    assert (progress.late, progress.unknown) == (3, 3), "rewards alone"
    assert (log.counters["log.late"], log.counters["log.unknown"]) == (3, 3)
    days = await Series(log.blobs, log.counters).read(MinuteDay, LOOP, [MIDNIGHT - DAY, MIDNIGHT, MIDNIGHT + DAY])
    assert [sum(day.column(name).sum() for day in days) for name in (LATE_REWARDS, UNKNOWN)] == [3, 3]


async def test_events_in_windows_of_the_first_release_are_known(log: Hourly) -> None:
    await log.join(
        Rank("e", H), Obs("e", H + 10), Obs("e", H + 5 * HOUR), Obs("next", H + HOUR - 1), Rank("next", H + HOUR + 60),
        Obs("never", H + 20), now=H + LATER,
    )  # fmt: skip
    await log.unindex()

    await log.write(H + LATER)

    fates = [(row["event_id"], row["fate"]) for row in await log.rows("observations")]
    assert sorted(fates) == [("e", "joined"), ("e", "late"), ("never", "unknown"), ("next", "joined")]


async def test_the_wait_of_the_time_decides(log: Hourly) -> None:
    await log.join(Rank("a", H), Obs("a", H + 500), now=H + 720.0)
    log.rules = LoopRules(LOOP, Waits(((H + 1000, 60.0),)), 0.0, "sum", (-1.0, 1.0))
    await log.join(Rank("b", H + 2000), Obs("b", H + 2100), now=H + LATER)
    await log.write(H + LATER, idle=False)
    log.rules = LoopRules(LOOP, WAITS, 0.0, "sum", (-1.0, 1.0))
    await log.write(H + LATER)

    assert await log.fates() == {"a": "joined", "b": "joined"}


async def test_an_event_whose_log_was_deleted_is_unknown(log: Hourly) -> None:
    await log.join(Rank("old", H + 10), now=H + LATER)
    await log.join(Rank("new", H + 1000), now=H + LATER)
    await log.join(Obs("old", H + 3000), Obs("new", H + 3000), now=H + LATER + 1)
    await log.set(since=H + 900)

    await log.write(H + LATER)

    assert [row["event_id"] for row in await log.rows("events")] == ["new"]
    assert names(list(await log.files()))[0] == f"index/{H + 900}-{H + HOUR}.index"


async def test_a_log_that_is_deleted_takes_its_hours_with_it(log: Hourly) -> None:
    await log.join(*(Rank(f"e{n}", H + n * 1800) for n in range(60)), now=H + LATER)
    for _ in range(2):
        await log.write(H + LATER)
    assert len(await log.files()) > 30

    await retention.clear(log.blobs, LOOP, H + LATER)

    assert await log.files() == {}


async def test_a_line_that_cannot_be_read_holds_nothing_up(log: Hourly, caplog: pytest.LogCaptureFixture) -> None:
    await log.join(Rank("e", H + 600), now=H + LATER)
    await joined.write(log.blobs, LOOP, Window(H, H + 5), joined.DSJSON, [b"{"])
    await joined.write(log.blobs, LOOP, Window(H, H + 5), joined.OBSERVATIONS, [b"{"])

    assert await log.write(H + LATER) == 1
    assert [row["event_id"] for row in await log.rows("events")] == ["e"]
    assert log.counters["hours.damaged"] == 2
    assert "cannot be decoded" in caplog.text


async def test_a_damaged_window_is_no_hour(log: Hourly) -> None:
    await log.join(Rank("e", H), now=H + LATER)
    (path,) = [name for name in await log.blobs.names("") if ".dsjson." in name]
    blob = await log.blobs.get(path)
    assert blob is not None
    await log.blobs.put(path, blob.data[:-3], blob.etag, blob.metadata)

    with pytest.raises(StorageError, match="damaged"):
        await log.write(H + LATER)
    assert await log.files() == {} or all("/index/" in name for name in await log.files())


# -- parts -----------------------------------------------------------------------------------------------------------


async def busy(log: Hourly, count: int = 240) -> None:
    chance = random.Random(3)
    ranks = [Rank(f"e{n}", H + 2 * HOUR * n / count, chosen=chance.randrange(3)) for n in range(count)]
    rewards = [Obs(r.id, r.t + chance.uniform(-100, 1500)) for r in ranks[::2]]
    await log.join(*ranks, *rewards, now=H + LATER)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.log.joiner.MAX_EVENTS", 10)


@pytest.mark.usefixtures("small_windows")
async def test_a_large_hour_is_written_in_parts_that_tile_it(log: Hourly, monkeypatch: pytest.MonkeyPatch) -> None:
    await busy(log)
    await log.write(H + LATER)
    whole, fates, totals = await log.rows("events"), await log.fates(), await log.progress()

    small = Hourly()
    monkeypatch.setattr(parts, "MAX_BYTES", 2000)
    await busy(small)
    written = await small.write(H + LATER)

    assert written > 6
    spans = sorted(span for span in await merged.stored(small.blobs, LOOP) if span.end - span.start <= HOUR)
    assert (spans[0].start, spans[-1].end) == (H, H + 3 * HOUR)
    assert all(one.end == two.start for one, two in itertools.pairwise(spans))
    assert await small.rows("events") == whole
    assert await small.fates() == fates
    assert await small.progress() == totals


@pytest.mark.usefixtures("small_windows")
async def test_a_window_that_is_too_large_alone_is_a_part(log: Hourly, monkeypatch: pytest.MonkeyPatch) -> None:
    await busy(log, 60)
    monkeypatch.setattr(parts, "MAX_BYTES", 1)

    assert await log.write(H + LATER) == len({w.start for kind in joined.KINDS for w in await windows(log, kind)})
    assert len(await log.rows("events")) == 60


async def windows(log: Hourly, kind: str) -> list[Window]:
    return await joined.windows(log.blobs, LOOP, 0, 2**33, kind)


async def test_a_run_ends_in_time_and_the_next_one_goes_on(log: Hourly, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.join(Rank("a", H), Rank("b", H + HOUR), Rank("c", H + 2 * HOUR), now=H + LATER)
    seconds = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    process = log.process()

    assert await process.run(log.rules, H + LATER, [], until=0.0) == 0
    assert log.calls == []
    put = log.blobs.put

    async def slow(path: str, *args: object, **more: object) -> str:
        nonlocal seconds
        seconds += path.endswith("hours.json")
        return await put(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(log.blobs, "put", slow)
    assert await process.run(log.rules, H + LATER, [], until=2.0) == 2
    assert await process.run(log.rules, H + LATER, [], until=math.inf) == 1


# -- killed, raced, erased -------------------------------------------------------------------------------------------


def history() -> list[Record]:
    chance = random.Random(7)
    ranks = [Rank(f"e{n}", MIDNIGHT - HOUR + 300 * n, chosen=n % 3) for n in range(24)]
    return [*ranks, *(Obs(r.id, r.t + chance.uniform(-100, 5000), n) for n, r in enumerate(ranks[::2]))]


async def reached(log: Hourly) -> tuple[dict[str, bytes], hours.Progress]:
    return await log.files(), await log.progress()


async def uninterrupted(now: float) -> tuple[dict[str, bytes], hours.Progress]:
    log = Hourly()
    await log.join(*history(), now=now)
    for _ in range(2):  # the second one deletes what the first has merged
        await log.write(now)
    return await reached(log)


@pytest.fixture
def small_parts(small_windows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_BYTES", 600)


@pytest.mark.no_cover
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_run_that_is_cut_off_at_any_storage_call_changes_nothing(effect: str) -> None:
    now = MIDNIGHT + DAY + LATER
    wanted = await uninterrupted(now)
    assert len(wanted[0]) > 8
    start = Hourly()
    await start.join(*history(), now=now)
    for n in itertools.count():
        log = Hourly()
        log.tables = start.tables
        log.blobs._blobs = dict(start.blobs._blobs)
        gate = log.gate = CutOff(n, effect)
        with contextlib.suppress(Killed, Unavailable):
            await log.write(now)
        if not gate.reached:
            break
        log.gate = None
        for _ in range(2):
            await log.write(now)

        assert await reached(log) == wanted, f"cut off at call {n}: {log.calls}"
    assert n > 10


@pytest.mark.no_cover
@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("seed", range(5))
async def test_processes_that_race_and_die_leave_the_same(seed: int) -> None:
    now = MIDNIGHT + DAY + LATER
    wanted = await uninterrupted(now)
    log = Hourly()
    await log.join(*history(), now=now)
    chance = random.Random(seed)

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        if chance.random() < 0.02:
            raise Killed

    log.gate = gate
    for _ in range(4):
        await asyncio.gather(*(log.write(now) for _ in range(3)), return_exceptions=True)
    log.gate = None
    for _ in range(2):
        await log.write(now)

    assert await reached(log) == wanted
    assert log.counters["log.late"] <= wanted[1].late


def event(name: str) -> Erasure:
    return Erasure("event", digest_of(name).hex(), H + LATER)


async def renew(blobs: Blobs, generation: int, erased: Erased) -> None:
    """What an erasure makes of all windows."""
    for kind in (joined.DSJSON, joined.OBSERVATIONS):
        for window in await joined.windows(blobs, LOOP, 0, 2**33, kind):
            lines = await joined.read_whole(blobs, LOOP, window, kind)
            kept = erased.joined(lines, window.start) if kind == joined.DSJSON else erased.observation_lines(lines)
            if kept != lines:
                await joined.write(blobs, LOOP, Window(window.start, window.end, generation), kind, kept)
                await blobs.delete(joined.window_path(LOOP, window, kind))
    for window in await joined.windows(blobs, LOOP, 0, 2**33, joined.INDEX):
        own = {kind: [window] if kind == joined.INDEX else [] for kind in joined.KINDS}
        table = await merged.gather(blobs, LOOP, own, NOTHING)
        hidden = erased._events
        kept_rows = table[[int(event).to_bytes(8).hex() not in hidden for event in table["event"]]]
        await joined.write_index(blobs, LOOP, Window(window.start, window.end, generation), kept_rows)
        await blobs.delete(joined.window_path(LOOP, window, joined.INDEX))


async def test_what_is_being_erased_is_not_written(log: Hourly) -> None:
    await log.join(Rank("gone", H), Rank("kept", H + 1), Obs("gone", H + 2), Obs("kept", H + 3), now=H + LATER)
    await log.set(generation=4, erasures=[event("gone")])

    await log.write(H + LATER)

    assert [row["event_id"] for row in await log.rows("events")] == ["kept"]
    assert await log.fates() == {"kept": "joined"}
    assert all(".4." in name for name in await log.files())
    assert not any(digest_of("gone") in data for data in (await log.files()).values())


async def test_nor_is_what_is_being_erased_in_the_table_of_its_day(log: Hourly) -> None:
    await log.join(*history(), now=MIDNIGHT + DAY + LATER)
    await log.set(generation=4, erasures=[event("e20")])

    await log.write(MIDNIGHT + DAY + LATER)

    assert await merged.days(log.blobs, LOOP) != []
    assert not any(digest_of("e20") in data for data in (await log.files()).values())
    assert len(await log.look_up(digest_of("e21"))) > 0


@pytest.mark.parametrize("read", [False, True])
async def test_a_day_that_is_merged_while_an_erasure_passes_is_put_right(
    log: Hourly, monkeypatch: pytest.MonkeyPatch, read: bool
) -> None:
    """By the next run where its windows were to be read yet, else by the pass that confirms the erasure."""
    await log.join(*history(), now=MIDNIGHT + DAY + LATER)
    erased, now, passed = Erased([event("e20")]), MIDNIGHT + DAY + LATER, False
    gather = merged.gather

    async def gathered(blobs: Blobs, loop_id: str, windows: dict[str, list[Window]], hidden: Erased) -> Table:
        nonlocal passed
        starts = [window.start for window in windows[joined.INDEX]] or [0]
        day = not passed and max(starts) - min(starts) > HOUR
        before = await gather(blobs, loop_id, windows, hidden) if read else None
        if day:
            passed = True
            await log.set(generation=1, erasures=[event("e20")])
            await renew(log.blobs, 1, erased)
            await hours.rewrite(log.blobs, LOOP, MIDNIGHT, 1, erased)
        return await gather(blobs, loop_id, windows, hidden) if before is None else before

    monkeypatch.setattr(merged, "gather", gathered)
    await log.write(now)
    assert passed
    assert [day.generation for day in await merged.days(log.blobs, LOOP)] == [0] * read
    assert log.counters["hours.rivals"] == (not read)
    await log.write(now)
    await hours.renew(log.blobs, LOOP, MIDNIGHT, 1, erased)

    assert [day.generation for day in await merged.days(log.blobs, LOOP)] == [1]
    assert len(await log.look_up(digest_of("e20"))) == 0
    for name in {f"e{n}" for n in range(24)} - {"e20"}:
        assert len(await log.look_up(digest_of(name))) > 0


async def test_who_was_overtaken_leaves_the_hour_to_who_has_passed_it(log: Hourly) -> None:
    """By its very files, although an erasure has come to another hour since."""
    await log.join(Rank("e", H), Rank("gone", H + HOUR), now=H + LATER)

    async def overtake() -> None:
        await log.write(H + LATER)
        await log.set(generation=1, erasures=[event("gone")])
        await renew(log.blobs, 1, Erased([event("gone")]))
        await hours.rewrite(log.blobs, LOOP, H + HOUR, 1, Erased([event("gone")]))

    await during(log, lambda name, done: name.startswith("put") and name.endswith("hours.json") and not done, overtake)

    assert [row["event_id"] for row in await log.rows("events")] == ["e"]
    assert len(await log.look_up(digest_of("e"))) == 1


async def test_a_run_that_is_overtaken_again_and_again_ends_in_time(
    log: Hourly, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.join(Rank("e", H), now=H + LATER)
    tries = 0

    async def replaced(*given: object) -> Table:
        nonlocal tries
        tries += 1
        assert tries < 9
        raise Replaced("again")

    monkeypatch.setattr(merged, "gather", replaced)
    moments = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr(hours, "time", SimpleNamespace(monotonic=lambda: next(moments)))

    assert await log.write(H + LATER, until=2.0) == 0
    assert tries == 2


async def test_of_an_erased_event_a_later_reward_tells_nothing(log: Hourly) -> None:
    """Not even when it was ranked, whether the erasure has come to its windows or not."""
    await log.join(Rank("gone", H), Rank("kept", H + 1), now=H + 1150)
    await log.join(Obs("gone", H + 2000), Obs("kept", H + 2000), now=H + LATER)
    await log.set(generation=4, erasures=[Erasure("event", digest_of("gone").hex(), H + 1200.0)])

    await log.write(H + LATER)

    assert await log.fates() == {"gone": "unknown", "kept": "late"}
    assert {row["event_id"]: row["event_time"] for row in await log.rows("observations")}["gone"] is None


async def test_an_erasure_writes_an_hour_anew(log: Hourly) -> None:
    await log.join(*history(), now=MIDNIGHT + DAY + LATER)
    await log.write(MIDNIGHT + DAY + LATER)
    before = {row["event_id"]: row for row in await log.rows("events")}
    fates = await log.fates()
    totals = await log.progress()
    gone = "e20"
    assert gone in fates and len(await log.look_up(digest_of(gone))) == 2
    erased = Erased([event(gone)])
    await log.set(generation=1, erasures=[event(gone)])
    await renew(log.blobs, 1, erased)

    for _ in range(2):  # it may be repeated
        for hour in range(MIDNIGHT - 2 * HOUR, MIDNIGHT + 4 * HOUR, HOUR):
            await hours.rewrite(log.blobs, LOOP, hour, 1, erased)

        after = {row["event_id"]: row for row in await log.rows("events")}
        assert after == {name: row for name, row in before.items() if name != gone}
        assert await log.fates() == {name: fate for name, fate in fates.items() if name != gone}
        assert all(".1." in name for name in await log.files())
        assert len(await log.look_up(digest_of(gone))) == 0
        assert len(await log.look_up(digest_of("e21"))) > 0
    progress = await log.progress()
    assert (progress.late, progress.unknown, progress.generation) == (totals.late, totals.unknown, 1)


async def test_an_hour_that_was_never_written_is_not_by_an_erasure(log: Hourly) -> None:
    await log.join(Rank("e", H), now=H + LATER)

    await hours.rewrite(log.blobs, LOOP, H, 1, Erased([event("e")]))

    assert await log.files() == {}


async def test_an_hour_of_which_nothing_is_left_has_no_files(log: Hourly) -> None:
    await log.join(Rank("e", H), Obs("e", H + 1), now=H + LATER)
    await log.write(H + LATER)
    erased = Erased([event("e")])
    await log.set(generation=1, erasures=[event("e")])
    await renew(log.blobs, 1, erased)

    await hours.rewrite(log.blobs, LOOP, H, 1, erased)

    assert await log.files() == {}


async def during(log: Hourly, when: Callable[[str, bool], bool], act: Callable[[], object]) -> None:
    """Write, and do something when a storage call passes."""
    done_once = False

    async def gate(name: str, done: bool) -> None:
        nonlocal done_once
        if not done_once and when(name, done):
            done_once = True
            await act()  # type: ignore[misc]

    log.gate = gate
    await log.write(H + LATER)
    log.gate = None
    assert done_once


@pytest.mark.parametrize("moment", ["before the file", "behind the file", "before the mark"])
async def test_whoever_writes_while_an_erasure_passes_takes_it_back(log: Hourly, moment: str) -> None:
    await log.join(Rank("gone", H), Rank("kept", H + 1), Obs("gone", H + 2), now=H + LATER)
    erased = Erased([event("gone")])

    async def erase() -> None:
        await log.set(generation=1, erasures=[event("gone")])
        await renew(log.blobs, 1, erased)
        await hours.rewrite(log.blobs, LOOP, H, 1, erased)

    def when(name: str, done: bool) -> bool:
        put, path = name.split()[0] == "put", name.split()[-1]
        if moment == "before the mark":
            return put and path.endswith("hours.json") and not done
        return put and "/parquet/events/" in path and done is (moment == "behind the file")

    await during(log, when, erase)

    assert [row["event_id"] for row in await log.rows("events")] == ["kept"]
    assert all(".1." in name for name in await log.files())
    assert log.counters["hours.rivals"] == 1


async def test_an_erasure_that_meets_a_rival_tries_again(log: Hourly) -> None:
    await log.join(Rank("e", H), now=H + LATER)
    watched = log.process()._blobs

    async def gate(name: str, done: bool) -> None:
        if name.startswith("put") and not done:
            log.gate = None
            await log.write(H + LATER)

    log.gate = gate
    await hours.rewrite(watched, LOOP, H, 1, Erased())

    assert (await log.progress()).generation == 1
    assert [name for name in await log.files() if "events" in name] == [
        f"loops/{LOOP}/parquet/events/year=2023/month=11/day=15/hour=10/{H}-{H + HOUR}.1.parquet"
    ]
