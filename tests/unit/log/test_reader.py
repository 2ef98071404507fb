import asyncio
import random

import pytest

from shared.log.buckets import Waits
from shared.log.reader import Reader
from shared.log.rows import bucket_of
from shared.storage import Row
from shared.storage.memory import MemoryTables
from tests.journalled import LOOP, T0, Obs, Rank, WatchedTables, journal

WAITS = Waits(((0, 600.0),))
SHARDS = (0, 1, 2)


class Counted:
    """A journal, and how often each of its rows of observations was read."""

    def __init__(self, budget: int = 1_000_000) -> None:
        self.tables = MemoryTables()
        self.queries: list[str] = []
        self.reader = Reader(WatchedTables(self.tables, self._note), budget)

    async def _note(self, name: str, done: bool) -> None:
        self.queries.append(name)
        await asyncio.sleep(0)

    async def observed(self, start: int, end: int, state: object = 0, loop_id: str = LOOP) -> list[Row]:
        return [row async for row in self.reader.observations(loop_id, T0 + start, T0 + end, SHARDS, state)]


def keys(rows: list[Row]) -> list[tuple[str, str]]:
    return sorted((str(row["PartitionKey"]), str(row["RowKey"])) for row in rows)


@pytest.fixture
async def counted() -> Counted:
    made = Counted()
    await journal(made.tables, [*(Obs(f"e{n}", T0 + n / 2) for n in range(2000)), Rank("e", T0)], WAITS)
    return made


async def straight(counted: Counted, start: int, end: int) -> list[tuple[str, str]]:
    return keys([row async for row in Reader(counted.tables).read(LOOP, "obs", T0 + start, T0 + end, SHARDS)])


async def test_what_was_read_once_is_not_read_again(counted: Counted) -> None:
    first = await counted.observed(0, 300)
    counted.queries.clear()

    again = await counted.observed(100, 300)

    assert keys(again) == await straight(counted, 100, 300)
    assert len(first) > len(again) > 0
    assert counted.queries == []


@pytest.mark.parametrize("budget", [0, 20_000, 50_000, 1_000_000])
@pytest.mark.parametrize("seed", range(5))
async def test_every_stretch_gives_its_rows_once_whatever_is_kept(counted: Counted, seed: int, budget: int) -> None:
    chance = random.Random(seed)
    counted.reader = Reader(counted.tables, budget)
    start = 0
    for _ in range(40):
        end = start + 5 * chance.randrange(1, 40)
        assert keys(await counted.observed(start, end)) == await straight(counted, start, end)
        if chance.random() < 0.3:
            async for _row in counted.reader.observations(LOOP, T0 + start, T0 + end + 100, SHARDS, 0):
                if chance.random() < 0.1:
                    break  # whoever reads may stop anywhere
        start = chance.choice([start, start + 5, end, end + 50, max(0, start - 20)])
        if chance.random() < 0.5:
            counted.reader.forget(LOOP, T0 + start)


async def test_two_who_read_at_once_both_get_every_row_once(counted: Counted) -> None:
    reads = [counted.observed(start, 500) for start in (0, 0, 50, 100)]

    for found, start in zip(await asyncio.gather(*reads), (0, 0, 50, 100), strict=True):
        assert keys(found) == await straight(counted, start, 500)
    assert keys(await counted.observed(100, 900)) == await straight(counted, 100, 900)


async def test_rows_that_may_have_been_rewritten_are_read_again(counted: Counted) -> None:
    await counted.observed(0, 300)
    counted.queries.clear()

    await counted.observed(0, 300, state=1)

    assert len(counted.queries) == len(SHARDS)


async def test_what_nobody_reads_again_takes_no_memory(counted: Counted) -> None:
    counted.reader = Reader(counted.tables, 60_000)
    for start in range(0, 950, 50):
        await counted.observed(start, start + 50)
        counted.reader.forget(LOOP, T0 + start + 50)
    assert counted.reader._size == 0

    await counted.observed(0, 1000)
    assert 0 < counted.reader._size <= 60_000


async def test_a_loop_that_reads_takes_the_room_of_one_that_does_not(counted: Counted) -> None:
    other = "f" * 32
    await journal(counted.tables, [Obs("e", T0 + n / 2) for n in range(1000)], WAITS, loop_id=other)
    counted.reader = Reader(WatchedTables(counted.tables, counted._note), 1_200_000)
    await counted.observed(0, 500)
    await counted.observed(0, 500, loop_id=other)
    counted.queries.clear()

    assert len(await counted.observed(0, 500, loop_id=other)) == len(await counted.observed(0, 500))
    assert {name.split()[1][3:35] for name in counted.queries} <= {LOOP}
    assert counted.reader._size <= 1_200_000


async def test_the_rows_of_a_stream_come_by_shard_and_bucket(counted: Counted) -> None:
    rows = [row async for row in counted.reader.read(LOOP, "rank", T0, T0 + 5, SHARDS, ("PartitionKey", "n"))]

    assert [set(row) for row in rows] == [{"PartitionKey", "n"}]
    assert bucket_of(rows[0]) == T0
