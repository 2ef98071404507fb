"""Answers into counts, closed minutes into rows, and rows into the blobs of their days, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from shared.counters import Counters
from shared.log import checkpoint as checkpoints
from shared.log import retention
from shared.log.answers import Answers, counted, fold, outcome_of
from shared.log.checkpoint import Checkpoint
from shared.log.day import DAY, MinuteDay
from shared.log.series import Series
from shared.storage import Row, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, WatchedBlobs

OTHER = "fedcba9876543210" * 2
START = T0 // DAY * DAY


class Clock:
    """A time that tests move, and with it the timers of the event loop."""

    def __init__(self) -> None:
        self.now = T0 + 10.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    async def move(self, seconds: float) -> None:
        """Let time pass, and what is due then be done."""
        self.now += seconds
        for timer in [timer for timer in self.timers if timer[0] <= self.now]:
            self.timers.remove(timer)
            timer[1]()
        for _ in range(20):
            await asyncio.sleep(0)


class Tables(MemoryTables):
    """Tables that can be out of reach, and tell what they were asked."""

    down = False

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def put(self, table: str, row: Row) -> float:
        self.calls.append(f"put {table}")
        if self.down:
            raise Unavailable("no answer")
        return await super().put(table, row)

    async def names(self, prefix: str) -> list[str]:
        self.calls.append("names")
        return await super().names(prefix)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock whose seconds are the event loop's."""
    made = Clock()

    class Handle:
        def __init__(self, timer: tuple[float, Callable[[], None]]) -> None:
            self.timer = timer

        def cancel(self) -> None:
            made.timers.remove(self.timer)

    class Loop:
        def call_later(self, delay: float, call: Callable[[], None]) -> Handle:
            made.timers.append((made.now + delay, call))
            return Handle(made.timers[-1])

    monkeypatch.setattr("shared.log.answers.asyncio.get_running_loop", Loop)
    return made


async def stored(tables: MemoryTables, loop_id: str = LOOP) -> list[tuple[int, dict[str, int]]]:
    return [one async for one in counted(tables, loop_id, START, START + 2 * DAY)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, "ok"), (204, "ok"), (304, "ok"), (400, "refused"), (401, "refused"), (404, "refused"), (429, "limited"),
     (503, "limited"), (500, "failed"), (504, "failed")],
)  # fmt: skip
def test_what_a_status_comes_to(status: int, outcome: str) -> None:
    assert outcome_of(status) == outcome


async def test_a_minute_is_written_once_when_it_is_over(clock: Clock) -> None:
    tables, counters = Tables(), Counters()
    here = Answers(tables, clock, counters)
    for status in (201, 201, 400, 503, 500):
        here.count(LOOP, "rank", status)
    here.count(OTHER, "reward", 204)
    await clock.move(49)
    assert tables.calls == []

    here.count(LOOP, "activate", 204)
    await clock.move(7)
    assert tables.calls == [f"put calls{LOOP}20231114", f"put calls{OTHER}20231114"]
    told = {"rank.ok": 2, "rank.refused": 1, "rank.limited": 1, "rank.failed": 1, "activate.ok": 1}
    assert await stored(tables) == [(T0, told)]
    assert await stored(tables, OTHER) == [(T0, {"reward.ok": 1})]

    await clock.move(600)
    assert len(tables.calls) == 2
    assert clock.timers == []
    here.count(LOOP, "rank", 201)
    await clock.move(70)
    assert (await stored(tables))[1:] == [(T0 + 660, {"rank.ok": 1})]
    assert counters["calls.rows"] == 3


async def test_what_storage_does_not_take_is_written_later_or_given_up(clock: Clock) -> None:
    tables, counters = Tables(), Counters()
    here = Answers(tables, clock, counters)
    tables.down = True
    here.count(LOOP, "rank", 201)
    for _ in range(3):
        await clock.move(60)
    assert len(tables.calls) == 3
    here.count(LOOP, "rank", 503)
    tables.down = False
    await clock.move(60)
    assert await stored(tables) == [(T0, {"rank.ok": 1}), (T0 + 180, {"rank.limited": 1})]

    tables.down = True
    here.count(LOOP, "rank", 201)
    here.count(LOOP, "rank", 201)
    for _ in range(16):
        await clock.move(60)
    tables.down = False
    await clock.move(60)
    assert counters["calls.lost"] == 2
    assert len(await stored(tables)) == 2
    assert clock.timers == []


async def test_what_is_counted_while_a_row_is_written_is_in_another(clock: Clock) -> None:
    class Slow(Tables):
        async def put(self, table: str, row: Row) -> float:
            if not self.calls:
                here.count(LOOP, "rank", 201)
            return await super().put(table, row)

    tables = Slow()
    here = Answers(tables, clock, Counters())
    here.count(LOOP, "rank", 201)
    await clock.move(60)
    clock.now -= 20  # a clock that is set back must not overwrite what stands
    here.count(LOOP, "reward", 204)
    clock.now += 20
    await clock.move(60)

    found = await stored(tables)
    assert sum(counts.get("rank.ok", 0) for _, counts in found) == 2
    assert sum(counts.get("reward.ok", 0) for _, counts in found) == 1
    assert len(found) == 3


@pytest.mark.parametrize("writing", [False, True])
async def test_the_end_of_the_process_writes_all(clock: Clock, writing: bool) -> None:
    tables = Tables()
    here = Answers(tables, clock, Counters())
    here.count(LOOP, "rank", 201)
    if writing:
        clock.now += 60
        clock.timers.pop()[1]()
    here.count(LOOP, "rank", 201)

    await here.drain()

    assert sum(counts["rank.ok"] for _, counts in await stored(tables)) == 2
    assert clock.timers == []
    await here.drain()
    assert len(tables.calls) == len(await stored(tables))


# -- folding ---------------------------------------------------------------------------------------------------------


async def written(tables: MemoryTables, *minutes: int, writer: str = "w") -> None:
    """Rows of one rank each, at some minutes behind T0."""
    for minute in minutes:
        at = T0 + 60 * minute
        row: Row = {"PartitionKey": f"{at:010d}", "RowKey": f"{writer}_{minute}", "format": 1, "rank_ok": 1}
        await tables.put(f"calls{LOOP}{'20231114' if at < START + DAY else '20231115'}", row)


async def folded(blobs: MemoryBlobs, start: int = START) -> tuple[float, int]:
    """How many ranks a day has, and through when."""
    (day,) = await Series(blobs, Counters()).read(MinuteDay, LOOP, [start])
    return day.column("rank.ok").sum(), day.calls


async def test_closed_minutes_are_folded_once() -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    series = Series(blobs, Counters())
    await written(tables, 0, 1, 2, 59)
    await written(tables, 1, writer="v")

    assert await fold(tables, blobs, series, LOOP, T0 + 1259.0) == 0  # minutes that somebody may write yet
    assert await fold(tables, blobs, series, LOOP, T0 + 1260.0) == 1
    assert await folded(blobs) == (1, T0 + 60)
    assert await fold(tables, blobs, series, LOOP, T0 + 1260.0) == 0
    assert await fold(tables, blobs, series, LOOP, T0 + 1200.0 + 180) == 3
    assert await folded(blobs) == (4, T0 + 180)
    assert await fold(tables, blobs, series, LOOP, T0 + 2 * DAY) == 1
    assert await folded(blobs) == (5, START + DAY)
    assert await fold(tables, blobs, series, LOOP, T0 + 3 * DAY) == 0


async def test_rivals_fold_a_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(MemoryBlobs):
        async def get(self, path):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0)
            return await super().get(path)

    tables, blobs = MemoryTables(), Slow()
    series = Series(blobs, Counters())
    await written(tables, 0, 1, 2)

    await asyncio.gather(*(fold(tables, blobs, series, LOOP, T0 + 1260.0 + 60 * n) for n in range(3)))
    await fold(tables, blobs, series, LOOP, T0 + DAY)

    assert (await folded(blobs))[0] == 3


@pytest.mark.parametrize("point", range(8))
async def test_a_fold_that_is_killed_is_repeated(point: int) -> None:
    calls = 0

    async def gate(name: str, done: bool) -> None:
        nonlocal calls
        calls += 1
        if calls == point + 1:
            raise OSError("killed")

    tables, blobs = MemoryTables(), MemoryBlobs()
    await written(tables, 0, 1, 2)
    watched = WatchedBlobs(blobs, gate)
    with suppress(OSError):
        await fold(tables, watched, Series(watched, Counters()), LOOP, T0 + 1320.0)
    assert calls > point
    await fold(tables, blobs, Series(blobs, Counters()), LOOP, T0 + DAY)

    assert (await folded(blobs))[0] == 3


async def test_what_was_deleted_is_not_folded() -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    await written(tables, 0, 1, 2)
    await checkpoints.save(blobs, LOOP, Checkpoint(cleared=T0 + 65), None)

    assert await fold(tables, blobs, Series(blobs, Counters()), LOOP, T0 + DAY) == 1


async def test_a_loop_without_calls_costs_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables()
    monkeypatch.setattr(MemoryBlobs, "get", None)

    assert await fold(tables, MemoryBlobs(), Series(MemoryBlobs(), Counters()), LOOP, T0) == 0
    assert tables.calls == ["names"]


async def test_tables_of_calls_go_with_those_of_the_journal_and_with_the_loop() -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    await written(tables, 0, 24 * 60)

    await retention.drop_journal(tables, blobs, LOOP, "20231115")
    assert await tables.names("") == [f"calls{LOOP}20231115"]
    await retention.erase(tables, blobs, LOOP)
    assert await tables.names("") == []
