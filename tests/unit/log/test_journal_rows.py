"""How many rows a load makes, with storage that takes 10 ms for each; the time is simulated."""

import asyncio
from collections.abc import Iterator

import pytest

from shared.clock import StorageClock
from shared.counters import Counters
from shared.log.buckets import Waits
from shared.log.journal import Journal
from shared.log.line import Line
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, WatchedTables

WAITS = Waits(((0, 600.0),))


class Simulated(asyncio.SelectorEventLoop):
    """An event loop whose time goes on to the next thing that is due when there is nothing left to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = float(T0)
        self._clock_resolution = 1e-6  # coarser than a double of so many seconds

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    loop = Simulated()
    yield loop
    loop.close()


async def rows(linger: float, per_second: int, seconds: int = 5) -> tuple[float, float]:
    """Rows for each thousand pairs of a rank and a reward, and the longest that a line waited, in seconds."""
    loop = asyncio.get_running_loop()

    async def gate(name: str, done: bool) -> None:
        if not done:
            await asyncio.sleep(0.01)

    counters = Counters()
    tables = WatchedTables(MemoryTables(loop.time), gate)
    clock = StorageClock(lambda: tables.put("clock", {"PartitionKey": "c", "RowKey": "p"}), loop.time)
    held = Journal(tables, MemoryBlobs(), clock, counters, linger=linger)
    longest = 0.0

    def settled(began: float) -> None:
        nonlocal longest
        longest = max(longest, loop.time() - began)

    def append(stream: str) -> None:
        line: Line = held.append(stream, LOOP, WAITS, b"{}", held.now())
        began = loop.time()
        line.done.add_done_callback(lambda _: settled(began))

    for _ in range(per_second * seconds):
        append("rank")
        append("obs")
        await asyncio.sleep(1 / per_second)
    await held.drain()
    assert counters["journal.lines"] == 2 * per_second * seconds
    return counters["journal.rows"] / (per_second * seconds) * 1000, longest


def test_without_linger_two_rows_a_stream_are_always_on_their_way(simulated: Simulated) -> None:
    made, longest = simulated.run_until_complete(rows(0.0, 1000))

    assert 300 < made <= 410
    assert longest < 0.031, "it waits for a place, is written, and the first of all has its span noted before"


def test_linger_makes_few_rows_of_much_traffic(simulated: Simulated) -> None:
    made, longest = simulated.run_until_complete(rows(0.02, 1000))

    assert made <= 110
    assert longest < 0.051, "no line lingers twice"


def test_linger_makes_no_line_wait_for_longer_than_it(simulated: Simulated) -> None:
    made, longest = simulated.run_until_complete(rows(0.1, 5))

    assert made == 2000, "a row each: they come more seldom"
    assert longest < 0.121


def test_the_end_does_not_cut_a_linger_short_or_lose_its_line(simulated: Simulated) -> None:
    made, _ = simulated.run_until_complete(rows(0.1, 1, seconds=1))

    assert made == 2000
