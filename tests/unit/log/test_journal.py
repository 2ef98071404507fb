import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from shared.clock import WORST, StorageClock
from shared.counters import Counters
from shared.log import activity, journal, rows
from shared.log.buckets import BUCKET, Waits, bucket_of, day_of
from shared.log.journal import Full, Journal
from shared.log.line import Line
from shared.log.records import mark, unmark
from shared.log.rows import table_name
from shared.storage import Unavailable
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, Gate, WatchedBlobs, WatchedTables

SHORT = Waits(((0, 5.0),))
LONG = Waits(((0, 600.0),))
_sleep = asyncio.sleep


class Now:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.time = float(T0)

    def __call__(self) -> float:
        return self.time


class Bench:
    """A journal over storage that does what `gate` says."""

    def __init__(self, now: Now, shards: int = 4, linger: float = 0.0, max_bytes: int = 32 * 1024 * 1024) -> None:
        self.now = now
        self.gate: Gate | None = None
        self.calls: list[str] = []
        self.memory = MemoryTables(now)
        self.blobs = MemoryBlobs()
        self.counters = Counters()
        tables, blobs = WatchedTables(self.memory, self._pass), WatchedBlobs(self.blobs, self._pass)
        self.clock = StorageClock(lambda: tables.put("clock", {"PartitionKey": "c", "RowKey": "p"}), now)
        self.journal = Journal(tables, blobs, self.clock, self.counters, shards, linger, max_bytes)

    async def _pass(self, name: str, done: bool) -> None:
        if not done:
            self.calls.append(name)
        if self.gate is not None:
            await self.gate(name, done)

    def append(self, text: bytes, waits: Waits = LONG, stream: str = "rank", loop_id: str = LOOP) -> Line:
        time = self.journal.now()
        return self.journal.append(stream, loop_id, waits, text, time, mark(text[:20].decode("latin-1"), time))

    async def held(self, stream: str = "rank", loop_id: str = LOOP, day: str = day_of(T0)) -> list[list[bytes]]:
        """The lines in storage, row by row."""
        found = self.memory.query(table_name(stream, loop_id, day), ("", "~"))
        return [await rows.lines(row, self.blobs) async for row, _ in found]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    clock = Now()

    async def sleep(seconds: float) -> None:
        clock.time += seconds
        await _sleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    random.seed(0)  # the jitter between two tries
    return clock


@pytest.fixture
def bench(now: Now) -> Bench:
    return Bench(now)


async def test_lines_are_stamped_in_the_order_of_the_calls_though_a_sample_sets_the_clock_back(bench: Bench) -> None:
    bench.clock.sample(T0 - 1.0, T0 + 0.25)  # a slow write: the storage's time is known to half a second
    first = bench.journal.now()

    bench.clock.sample(T0 - 0.1, T0 - 0.05)
    stamps = [first, *(bench.journal.now() for _ in range(3))]

    assert bench.clock.now() < first
    assert stamps == [round(first + n / 1e6, 6) for n in range(4)]
    bench.now.time += 1.0
    assert bench.journal.now() == round(bench.clock.now(), 6)


async def test_a_clock_that_was_far_ahead_is_followed_back(bench: Bench) -> None:
    ahead = bench.journal.now()
    bench.now.time -= WORST + 0.1
    assert bench.journal.now() == ahead - WORST - 0.1


class Door:
    """A gate that lets rows through when told."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0

    async def __call__(self, name: str, done: bool) -> None:
        if name.startswith(("put rank", "put obs")) and not done:
            self.waiting += 1
            await self.open.wait()
            self.waiting -= 1


async def settled() -> None:
    for _ in range(20):
        await _sleep(0)


async def test_calls_that_come_together_share_a_row(bench: Bench) -> None:
    lines = [bench.append(b"%d" % n) for n in range(100)]

    assert all([await line.durable(1) for line in lines])
    assert await bench.held() == [[b"%d" % n for n in range(100)]]
    assert (bench.counters["journal.rows"], bench.counters["journal.lines"]) == (1, 100)
    assert bench.journal.waiting == 0


async def test_two_rows_are_on_their_way_and_the_next_one_fills(bench: Bench) -> None:
    bench.gate = door = Door()
    first = bench.append(b"first")
    await settled()
    second = bench.append(b"second")
    await settled()
    rest = []
    for n in range(50):
        rest.append(bench.append(b"%d" % n))
        await settled()
    assert door.waiting == 2
    assert not first.done.done()

    door.open.set()

    assert all([await line.durable(1) for line in (first, second, *rest)])
    assert sorted(map(len, await bench.held())) == [1, 1, 50]
    assert bench.journal.waiting == 0


async def test_a_row_holds_one_bucket(bench: Bench, now: Now) -> None:
    bench.gate = door = Door()
    lines = []
    for n in range(6):
        lines.append(bench.append(b"%d" % n))
        now.time += 2.5
    door.open.set()

    assert all([await line.durable(1) for line in lines])
    assert sorted(await bench.held()) == [[b"0", b"1"], [b"2", b"3"], [b"4", b"5"]]
    found = [row async for row, _ in bench.memory.query(table_name("rank", LOOP, day_of(T0)), ("", "~"))]
    for row in found:
        for _, time in unmark(bytes(row["h"])):  # type: ignore[arg-type]
            assert bucket_of(time) == rows.bucket_of_partition(str(row["PartitionKey"]))


async def test_rows_are_no_larger_than_storage_takes(bench: Bench) -> None:
    lines = [bench.append(b"%d" % n) for n in range(5000)]
    await bench.journal.drain()

    assert all(line.done.result() for line in lines)
    assert sorted(map(len, await bench.held())) == [5000 - 4096, 4096]


async def test_large_lines_get_rows_and_blobs_of_their_own(bench: Bench) -> None:
    texts = [random.Random(n).randbytes(size).replace(b"\n", b" ") for n, size in enumerate((3_000_000, 3_000_000, 9))]
    lines = [bench.append(text) for text in texts]
    await bench.journal.drain()

    assert all(line.done.result() for line in lines)
    assert sorted(await bench.held(), key=len) == [[texts[0]], texts[1:]]
    assert len(await bench.blobs.names("journal/")) == 2


async def test_streams_and_loops_share_nothing(bench: Bench) -> None:
    bench.append(b"r")
    bench.append(b"o", stream="obs")
    bench.append(b"other", loop_id="f" * 32)
    await bench.journal.drain()

    assert await bench.held() == [[b"r"]]
    assert await bench.held("obs") == [[b"o"]]
    assert await bench.held(loop_id="f" * 32) == [[b"other"]]


async def test_a_loop_that_hangs_holds_up_no_other(bench: Bench) -> None:
    hang = asyncio.Event()

    async def gate(name: str, done: bool) -> None:
        if LOOP in name:
            await hang.wait()

    bench.gate = gate
    hung, other = bench.append(b"1"), bench.append(b"1", loop_id="f" * 32)

    assert await other.durable(1)
    assert not hung.done.done()
    hang.set()
    assert await hung.durable(1)


async def test_the_span_is_noted_before_its_first_row_and_once(bench: Bench, now: Now) -> None:
    for n in range(3):
        bench.append(b"%d" % n)
        await bench.journal.drain()
        now.time += BUCKET

    assert [call[:8] for call in bench.calls] == ["put acti", "put rank", "put rank", "put rank"]
    assert [span.start for span in (await activity.noted(bench.memory))[LOOP]] == [T0]


async def test_of_too_many_spans_the_oldest_is_noted_again(
    bench: Bench, now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "REMEMBERED", 3)
    noted = []
    for minute in (0, 1, 2, 3, 3, 2, 1, 0, 3):
        now.time = T0 + 60 * minute
        bench.calls.clear()
        bench.append(b"1")
        await bench.journal.drain()
        noted.append("put activity" in bench.calls)

    assert noted == [True, True, True, True, False, False, False, True, False]


def failing(times: int, match: str, after: bool) -> Gate:
    left = [times]

    async def gate(name: str, done: bool) -> None:
        if match in name and done is after and left[0] > 0:
            left[0] -= 1
            raise Unavailable("down")

    return gate


@pytest.mark.parametrize("after", [False, True], ids=["refused", "reply lost"])
@pytest.mark.parametrize("match", ["put rank", "put activity", "put journal"])
async def test_a_row_is_tried_again_under_its_own_key(bench: Bench, match: str, after: bool) -> None:
    text = random.Random(0).randbytes(700_000).replace(b"\n", b" ")
    bench.gate = failing(3, match, after)
    line = bench.append(text)

    assert await line.durable(5)
    assert await bench.held() == [[text]]
    assert len(await bench.blobs.names("journal/")) == 1
    # A blob whose first try took effect stands, so its second try is no failure.
    assert bench.counters["journal.retries"] == (1 if match == "put journal" and after else 3)
    assert bench.counters["journal.lost"] == 0


@pytest.mark.parametrize("waits", [SHORT, LONG], ids=["wait 5 s", "wait 10 min"])
async def test_lines_that_miss_their_bucket_are_known_to_be_lost(bench: Bench, now: Now, waits: Waits) -> None:
    bench.gate = failing(10**9, "put rank", after=False)
    lines = [bench.append(b"1", waits), bench.append(b"2", waits)]
    await bench.journal.drain()

    assert [line.done.result() for line in lines] == [False, False]
    assert bench.counters["journal.lost"] == 2
    assert waits.closes(T0) - 4 < now.time < waits.closes(T0), "it was tried until the bucket closed"
    assert bench.journal.waiting == 0

    bench.gate = None
    assert await bench.append(b"3", waits).durable(1), "the next line is written as ever"


@pytest.mark.parametrize(("seconds", "durable"), [(8.999, True), (9.0, False), (30.0, False)])
async def test_a_row_that_stands_too_late_is_not_acknowledged(
    bench: Bench, now: Now, seconds: float, durable: bool
) -> None:
    async def gate(name: str, done: bool) -> None:
        if name.startswith("put rank"):
            now.time = T0 + seconds

    bench.gate = gate
    line = bench.append(b"1", SHORT)

    assert await line.durable(1) is durable
    assert bench.counters["journal.lost"] == (not durable)


async def test_a_wait_that_was_shortened_meanwhile_closes_the_bucket_sooner(bench: Bench, now: Now) -> None:
    bench.gate = door = Door()
    line = bench.append(b"1", LONG)
    await settled()
    now.time += 20
    bench.append(b"2", SHORT)
    door.open.set()

    assert not await line.durable(1)


async def test_the_buffer_is_bounded_and_free_again(now: Now) -> None:
    bench = Bench(now, max_bytes=10_000)
    bench.gate = door = Door()
    lines = [bench.append(b"x" * 700) for _ in range(5)]
    with pytest.raises(Full):
        bench.append(b"x" * 700)  # a stream gets half of it
    assert bench.counters["journal.full"] == 1

    lines.append(bench.append(b"x" * 700, stream="obs"))  # and another one half of the rest
    lines += [bench.append(b"x" * 700, loop_id="f" * 32) for _ in range(2)]
    assert bench.journal.waiting == 8000
    for stream, loop_id in (("rank", LOOP), ("rank", "f" * 32)):
        with pytest.raises(Full):
            bench.append(b"x" * 1700, stream=stream, loop_id=loop_id)

    door.open.set()
    assert all([await line.durable(1) for line in lines])
    await bench.journal.drain()
    assert bench.journal.waiting == 0
    assert await bench.append(b"x" * 700).durable(1)


async def test_whoever_fills_the_buffer_leaves_room_for_many_others(now: Now) -> None:
    bench = Bench(now, max_bytes=1_000_000)
    bench.gate = Door()
    with pytest.raises(Full):
        for _ in range(1000):
            bench.append(b"x" * 700)
    half = bench.journal.waiting

    for n in range(100):
        bench.append(b"x" * 700, loop_id=f"{n:032x}")

    assert half == 500_000
    assert bench.journal.waiting == 600_000
    bench.gate.open.set()
    await bench.journal.drain()


async def test_loops_that_are_idle_are_forgotten(bench: Bench) -> None:
    bench.gate = door = Door()
    lines = [bench.append(b"1", loop_id=f"{n:032x}") for n in range(50)]
    abandoned = bench.append(b"1", stream="obs")
    abandoned.abandoned = True
    assert len(bench.journal._streams) == 51

    door.open.set()
    await bench.journal.drain()

    assert [await line.durable(0) for line in lines] == [True] * 50
    assert bench.journal._streams == {}


class Turnstile:
    """A gate that lets one row through at a time, and tells whose."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, asyncio.Event]] = []
        self.most = 0

    async def __call__(self, name: str, done: bool) -> None:
        if name.startswith("put rank") and not done:
            event = asyncio.Event()
            self.waiting.append((name[8:40], event))
            self.most = max(self.most, len(self.waiting))
            await event.wait()

    async def next(self) -> str:
        await settled()
        loop_id, event = self.waiting.pop(0)
        event.set()
        return loop_id


async def test_busy_loops_share_the_connections_and_take_turns(now: Now, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "WRITES", 4)
    monkeypatch.setattr(journal, "MAX_LINES", 1)
    bench = Bench(now)
    bench.gate = gate = Turnstile()
    for _ in range(50):
        bench.append(b"1")
    await settled()
    loops = [f"{n:032x}" for n in range(8)]
    for loop_id in loops:
        for _ in range(5):
            bench.append(b"1", loop_id=loop_id)

    turns = [await gate.next() for _ in range(90)]
    await bench.journal.drain()

    assert gate.most == 4
    assert Counter(turns) == {LOOP: 50, **dict.fromkeys(loops, 5)}
    # Two rows of each may stand in line: so five of its turns take five rounds of nine loops at most, and one more.
    assert max(n for n, loop_id in enumerate(turns) if loop_id in loops) < 6 * 9


async def test_a_row_that_pauses_before_its_next_try_takes_no_connection(
    now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "WRITES", 1)
    bench = Bench(now)

    async def gate(name: str, done: bool) -> None:
        if LOOP in name:
            raise Unavailable("throttled")

    bench.gate = gate
    failing_line = bench.append(b"1")
    await settled()
    other = bench.append(b"1", loop_id="f" * 32)

    assert await other.durable(1)
    await bench.journal.drain()
    assert not await failing_line.durable(0)


async def test_a_line_that_nobody_wants_any_more_is_not_written(bench: Bench) -> None:
    bench.gate = door = Door()
    on_the_way = [bench.append(b"1")]
    await settled()
    on_the_way.append(bench.append(b"2"))
    await settled()
    given_up, wanted, last = bench.append(b"3"), bench.append(b"4"), bench.append(b"5")
    for line in (on_the_way[0], given_up, last):
        line.abandoned = True
    door.open.set()
    await bench.journal.drain()

    assert [line.done.result() for line in (*on_the_way, given_up, wanted, last)] == [True, True, False, True, False]
    assert sorted(await bench.held()) == [[b"1"], [b"2"], [b"4"]]
    assert bench.journal.waiting == 0


async def test_only_abandoned_lines_make_no_row(bench: Bench) -> None:
    line = bench.append(b"1")
    line.abandoned = True
    await bench.journal.drain()

    assert not line.done.result()
    assert bench.calls == []
    assert bench.journal.waiting == 0


async def test_a_deadline_ends_the_waiting_not_the_line(bench: Bench) -> None:
    bench.gate = door = Door()
    line = bench.append(b"1")

    assert not await line.durable(0.01)
    assert not line.done.done()
    door.open.set()
    assert await line.durable(1)
    assert await line.durable(0), "known from now on"
    assert await bench.held() == [[b"1"]]


@pytest.mark.parametrize("part", ["compress", "pack"])
async def test_a_row_that_cannot_be_made_leaves_nobody_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    working: Callable[..., object] = getattr(journal, part)
    calls: list[object] = []

    def broken_once(*args: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise ValueError("broken")
        return working(*args)

    monkeypatch.setattr(journal, part, broken_once)
    lines = [bench.append(b"1"), bench.append(b"2")]
    bench.now.time += BUCKET
    good = bench.append(b"3")
    await bench.journal.drain()

    assert [line.done.result() for line in (*lines, good)] == [False, False, True]
    assert bench.counters["journal.lost"] == 2
    assert bench.journal.waiting == 0


async def test_drain_waits_for_the_last_line(bench: Bench) -> None:
    bench.gate = door = Door()
    lines = [bench.append(b"%d" % n) for n in range(10)]
    drained = asyncio.ensure_future(bench.journal.drain())
    await settled()
    assert not drained.done()

    door.open.set()
    await drained

    assert all(line.done.result() for line in lines)
    await bench.journal.drain()  # with nothing to wait for


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_storage_does_a_durable_line_stands_once(now: Now, seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(now, max_bytes=20_000)

    async def gate(name: str, done: bool) -> None:
        for _ in range(chance.randrange(3)):
            await _sleep(0)
        now.time += chance.choice([0, 0.001, 0.2, 2])
        if chance.random() < 0.4:
            raise Unavailable("down")

    bench.gate = gate
    lines, refused = [], 0
    for n in range(300):
        try:
            lines.append(bench.append(b"%d" % n, chance.choice([SHORT, LONG]), chance.choice(["rank", "obs"])))
        except Full:
            refused += 1
        lines[-1].abandoned = chance.random() < 0.1
        if chance.random() < 0.5:
            await settled()
    await bench.journal.drain()

    assert all(line.done.done() for line in lines)
    assert bench.journal.waiting == 0
    stands = Counter(text for row in [*await bench.held(), *await bench.held("obs")] for text in row)
    assert set(stands.values()) == {1}
    durable = [line.text for line in lines if line.done.result()]
    assert durable, "the case is not worth anything"
    assert all(stands[text] == 1 for text in durable)
    assert bench.counters["journal.lines"] == len(durable)
