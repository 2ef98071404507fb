import asyncio

import pytest

from shared.clock import StorageClock
from shared.contract.errors import ApiError
from shared.counters import Counters
from shared.log import rows
from shared.log.buckets import Waits, day_of
from shared.log.journal import Journal
from shared.log.observe import Observer
from shared.log.records import Observed, decode_observed
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, WatchedTables

WAITS = Waits(((0, 600.0),))


class Bench:
    def __init__(self, max_bytes: int = 100_000) -> None:
        self.hang: asyncio.Event | None = None
        self.tables, self.blobs, self.counters = MemoryTables(lambda: T0 + 0.5), MemoryBlobs(), Counters()
        watched = WatchedTables(self.tables, self._pass)
        clock = StorageClock(
            lambda: self.tables.put("clock", {"PartitionKey": "c", "RowKey": "p"}), lambda: T0 - 1000.0
        )
        self.journal = Journal(watched, self.blobs, clock, self.counters, max_bytes=max_bytes)
        self.observer = Observer(self.journal, clock, self.counters, 0.05)

    async def _pass(self, name: str, done: bool) -> None:
        if self.hang is not None:
            await self.hang.wait()

    async def reward(self, value: float = 0.5, request: str | None = None) -> None:
        await self.observer.observe(LOOP, WAITS, "a%2Fb", "r", request, value)

    async def held(self) -> list[Observed]:
        found = self.tables.query(rows.table_name("obs", LOOP, day_of(T0)), ("", "~"))
        return [decode_observed(line) async for row, _ in found for line in await rows.lines(row, self.blobs)]


async def test_a_reward_is_durable_when_the_call_returns_and_stamped_by_the_storages_clock() -> None:
    bench = Bench()
    await bench.reward(0.5, "q")

    assert await bench.held() == [Observed("a/b", T0 + 0.5, "r", 0.5, None, "q")]


async def test_rewards_by_slot_are_logged_in_their_order() -> None:
    bench = Bench()
    await bench.observer.observe(LOOP, WAITS, "e", "r", "q", slots=[("side", 0.5), ("top", -1.0), ("side", 0.25)])
    await bench.observer.observe(LOOP, WAITS, "e", "a", None)

    assert sorted(await bench.held(), key=lambda observed: observed.k) == [
        Observed("e", T0 + 0.5, "a"),
        Observed("e", T0 + 0.5, "r", 0.0, [("side", 0.5), ("top", -1.0), ("side", 0.25)], "q"),
    ]


@pytest.mark.parametrize("request_id", ["q" * 128, "a b\tc", "", None])
async def test_a_request_id_like_an_sdks_is_kept_as_it_is(request_id: str | None) -> None:
    bench = Bench()
    await bench.reward(0.5, request_id)

    assert [observed.q for observed in await bench.held()] == [request_id]


@pytest.mark.parametrize(
    ("request_id", "other"), [("q" * 129, "q" * 130), ("é", "è"), ("日" * 5000, "日"), ("\udce9", "é")]
)
async def test_of_a_longer_or_odder_request_id_a_short_digest_is_kept(request_id: str, other: str) -> None:
    bench = Bench()
    for given in (request_id, request_id, other):
        await bench.reward(0.5, given)

    first, again, another = [observed.q for observed in await bench.held()]
    assert first is not None
    assert another is not None
    assert first == again != another
    assert (len(first), len(another)) == (32, 32)


async def test_what_is_not_durable_in_time_is_refused_and_given_up_where_it_waits() -> None:
    bench = Bench()
    bench.hang = asyncio.Event()
    for n in range(3):  # two on their way, one behind them
        with pytest.raises(ApiError) as refused:
            await bench.reward(float(n))
        assert refused.value.status == 503
    assert bench.counters["observe.unsure"] == 3

    bench.hang.set()
    await bench.journal.drain()

    assert sorted(observed.v for observed in await bench.held()) == [0.0, 1.0]
    assert bench.journal.waiting == 0


async def test_a_full_buffer_refuses() -> None:
    bench = Bench(max_bytes=100)
    with pytest.raises(ApiError) as refused:
        await bench.reward()

    assert (refused.value.code, bench.counters["observe.refused"]) == ("OperationNotAllowed", 1)
    assert refused.value.retry_after is not None
