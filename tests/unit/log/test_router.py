"""Loops that wait long: whatever comes between, each window holds what one join over everything would have given."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.log import activity, joined, joiner, retention, router, slices
from shared.log import checkpoint as checkpoints
from shared.log.buckets import LONG, Waits, bucket_of
from shared.log.checkpoint import Checkpoint
from shared.log.join import LoopRules, decode_events, join
from shared.log.joined import Window
from shared.log.joiner import Joiner
from shared.log.load import Load
from shared.log.reader import Reader
from shared.log.records import decode_observed, readable
from shared.log.rows import compress
from shared.log.slices import Part, Slice
from shared.storage import StorageError
from tests.journalled import LOOP, T0, Obs, Rank, Record
from tests.unit.log.test_joiner import Bench

HOURS = 3 * 3600.0
DAYS = 86_400.0


def history(chance: random.Random, waits: Waits, lasts: float, events: int) -> list[Record]:
    """Ranks, some repeated under their id soon or late, and rewards: early, in time, late, repeated, of nobody."""
    records: list[Record] = []
    for n in range(events):
        at = T0 + chance.uniform(0, lasts)
        if chance.random() < 0.1:
            at = float(bucket_of(at))
        event = Rank(f"e{n}", at, deferred=chance.random() < 0.2)
        records.append(event)
        for gap in chance.choice([(), (), (), (60,), (119.9, 130), (4000,)]):
            records.append(Rank(event.id, at + gap, chosen=1))
        wait = waits.at(bucket_of(at))
        for _ in range(chance.choice([0, 1, 1, 1, 2, 5])):
            offset = chance.choice(
                [-125, -120, -119.5, -1, 0, 3, wait / 2, wait - 0.5, wait - 1e-6, wait, wait + 1]
            ) + chance.choice([0, 0, chance.uniform(-3, 3)])
            kind = chance.choice(["r", "r", "r", "a"])
            records.append(Obs(event.id, at + offset, chance.choice([0.25, 1.0]), kind, chance.choice([None, "q"])))  # type: ignore[arg-type]
    records += [Obs(f"nobody{n}", T0 + chance.uniform(0, lasts), 1.0) for n in range(events // 5)]
    return records


def expected(records: Sequence[Record], loop: LoopRules, window: Window) -> list[bytes]:
    """The lines of a window, joined from everything there is."""
    ranks = [r for r in records if isinstance(r, Rank)]
    events = decode_events([r.line() for r in ranks if window.start <= r.t < window.end])
    earlier = [r.mark() for r in ranks if window.start - 120 <= bucket_of(r.t) < window.start]
    observed = readable(decode_observed, [r.line() for r in records if isinstance(r, Obs)])
    return join(events, observed, earlier, loop.at(window.start)).lines


async def check(bench: Bench, records: Sequence[Record]) -> None:
    """See that the log holds every event once with what was observed of it, and every observation, and nothing else."""
    await settled(bench, records)
    windows = await bench.windows()
    for window in windows:
        assert await joined.read(bench.blobs, LOOP, window) == expected(records, bench.loop, window)
    last: dict[str, float] = {}
    for rank in sorted((r for r in records if isinstance(r, Rank)), key=lambda r: r.t):
        if rank.t - last.get(rank.id, 0.0) >= 120:  # else it is a retry, whose window may hold nothing
            assert sum(w.start <= rank.t < w.end for w in windows) == 1
        last[rank.id] = rank.t
    kept = [
        line
        for window in await joined.windows(bench.blobs, LOOP, 0, 2**33, joined.OBSERVATIONS)
        for line in await joined.read_whole(bench.blobs, LOOP, window, joined.OBSERVATIONS)
    ]
    assert sorted(kept) == sorted(r.line() for r in records if isinstance(r, Obs))
    assert await slices.stored(bench.blobs, LOOP, slices.RANKS) == []
    assert await slices.stored(bench.blobs, LOOP, slices.MAIL) == []


async def settled(bench: Bench, records: Sequence[Record]) -> None:
    last = max(r.t for r in records)
    for later in (3 * 86_400, 70 * 86_400, 140 * 86_400):
        await bench.run(last + later)
    assert await activity.noted(bench.tables) == {}
    await retention.expire(bench.tables, bench.blobs, LOOP, -1, False, last + 140 * 86_400)


def steps(chance: random.Random, lasts: float, most: float) -> Iterable[float]:
    now = float(T0)
    while now < T0 + lasts:
        now += chance.uniform(1, most)
        yield now


@pytest.mark.no_cover
@pytest.mark.parametrize("prune", [False, True])
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("wait", [LONG + 60, HOURS, 2 * DAYS, 5 * DAYS, 60 * DAYS])
async def test_a_long_wait_joins_what_one_join_over_everything_would(wait: float, warm: bool, prune: bool) -> None:
    chance = random.Random(int(wait) + warm)
    bench = Bench(Waits(((0, wait),)), prune)
    records = history(chance, bench.loop.waits, 2 * wait if wait < DAYS else wait + 40_000, 60)
    await bench.write(*records)
    one = bench.joiner()

    for now in steps(chance, 3 * wait, wait / 8):
        spans = (await activity.noted(bench.tables)).get(LOOP, [])
        await (one if warm else bench.joiner()).run(bench.loop, spans, now)

    await check(bench, records)


@pytest.mark.no_cover
@settings(max_examples=20)
@given(
    st.lists(st.sampled_from([5.0, 600.0, LONG, LONG + 60, HOURS, 30_000.0, 3 * DAYS]), min_size=2, max_size=4),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_waits_change_while_events_are_pending(held: list[float], seed: int, prune: bool) -> None:
    async def scenario() -> None:
        chance = random.Random(seed)
        changes = sorted(bucket_of(T0 + chance.uniform(300, 30_000)) for _ in held[1:])
        waits = Waits(((0, held[0]), *zip(changes, held[1:], strict=True)))
        bench = Bench(waits, prune)
        records = history(chance, waits, 40_000, 40)
        await bench.write(*records, seed=seed)
        for now in steps(chance, 2 * max(held) + 40_000, 20_000):
            await bench.run(now)
        await check(bench, records)

    asyncio.run(scenario())


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", range(12))
async def test_kills_and_rivals_alter_nothing(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(joiner, "MAX_EVENTS", 7)
    monkeypatch.setattr(router, "MAX_OBSERVED", chance.choice([5, 20, 500_000]))
    held = [chance.choice([600.0, HOURS, 30_000.0]) for _ in range(2)]
    change = bucket_of(T0 + 15_000)
    waits = Waits(((0, held[0]), (change, held[1])) if held[0] != held[1] else ((0, held[0]),))
    bench = Bench(waits, prune=chance.random() < 0.5)
    records = history(chance, waits, 30_000, 40)
    await bench.write(*records, seed=seed)

    async def gate(name: str, done: bool) -> None:
        if chance.random() < 0.01:
            raise OSError("killed")
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)

    bench.gate = gate
    one = bench.joiner()

    async def run(mine: Joiner, now: float) -> None:
        spans = (await activity.noted(bench.tables)).get(LOOP, [])
        await mine.run(bench.loop, spans, now)

    kills = 0
    for now in steps(chance, 80_000, 15_000):
        runs = [run(chance.choice([one, bench.joiner()]), now) for _ in range(chance.choice([1, 3]))]
        for outcome in await asyncio.gather(*runs, return_exceptions=True):
            if isinstance(outcome, OSError):
                kills += 1
            elif outcome is not None:
                raise outcome
    assert kills
    bench.gate = None
    await check(bench, records)
    assert bench.counters["join.late_rows"] == 0


async def test_a_slice_ends_before_its_mail_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "MAX_OBSERVED", 30)
    monkeypatch.setattr(router, "MAX_EVENTS", 50)
    bench = Bench(Waits(((0, 2 * DAYS),)))
    ranks = [Rank(f"e{n}", T0 + n) for n in range(200)]
    records: list[Record] = [*ranks, *(Obs(r.id, T0 + 1000 + n) for n, r in enumerate(ranks))]
    await bench.write(*records)

    await bench.run(T0 + 7200)

    made = await slices.stored(bench.blobs, LOOP, slices.RANKS)
    assert all(one.end == other.start for one, other in pairwise(made))
    assert max(held.end - held.start for held in made if T0 <= held.start < T0 + 140) <= 60
    for held in made:
        blob = await bench.blobs.get(slices.path(LOOP, held, slices.MAIL))
        assert blob
        assert sum(len(part.data) > 0 for part in slices.decode(blob.data)) <= 8
    await check(bench, records)


async def test_a_loop_that_is_routed_up_to_now_has_nothing_due_until_its_wait_has_passed() -> None:
    bench = Bench(Waits(((0, 2 * DAYS),)))
    await bench.write(Rank("e", T0), Obs("e", T0 + 100))

    assert min(span.due for span in (await activity.noted(bench.tables))[LOOP]) < T0 + 2 * 3600
    await bench.run(T0 + 3 * 3600)
    calls = len(bench.calls)
    await bench.run(T0 + 4 * 3600)

    assert {call.split()[0] for call in bench.calls[calls:]} <= {"get", "names"}
    due = {span.due for span in (await activity.noted(bench.tables))[LOOP]}
    assert min(due) > T0 + 2 * DAYS - 3600
    assert await bench.windows() == []
    await bench.run(min(due) + 3700)
    assert await bench.rewards() == {"e": 1.0}


async def test_a_slice_that_is_gone_stops_the_join_and_passes_nothing() -> None:
    bench = Bench(Waits(((0, HOURS),)))
    await bench.write(Rank("e", T0), Obs("e", T0 + 5000))
    await bench.run(T0 + 9000)
    assert await slices.stored(bench.blobs, LOOP, slices.MAIL)
    for held in await slices.stored(bench.blobs, LOOP, slices.RANKS):
        await bench.blobs.delete(slices.path(LOOP, held, slices.RANKS))
        await bench.blobs.put(slices.path(LOOP, held, slices.RANKS), b"")

    with pytest.raises((StorageError, ValueError)):
        await bench.run(T0 + 40_000)
    assert (await bench.checkpoint()).watermark == 0


async def test_mail_that_is_rewritten_meanwhile_is_read_as_it_is_then() -> None:
    bench = Bench(Waits(((0, HOURS),)))
    rewards = [Obs("e", T0 + 5000.0 + n) for n in range(3)]
    await bench.write(Rank("e", T0), *rewards)
    await bench.run(T0 + 9000)
    checkpoint = await bench.checkpoint()
    one = router.Router(Reader(bench.tables), bench.blobs, lambda: Load(10, 10))

    async def mail() -> list[bytes]:
        found = [lines async for lines in one.mail(LOOP, T0, T0 + 60, HOURS, checkpoint)]
        return [line for lines in found for line in lines]

    assert sorted(await mail()) == [r.line() for r in rewards]
    for held in await slices.stored(bench.blobs, LOOP, slices.MAIL):
        path = slices.path(LOOP, held, slices.MAIL)
        blob = await bench.blobs.get(path)
        assert blob
        if parts := slices.decode(blob.data):
            kept = [Part(0, 5, b"of nobody"), *(part._replace(data=compress([rewards[1].line()])) for part in parts)]
            await bench.blobs.put(path, slices.encode(kept), blob.etag)

    assert await mail() == [rewards[1].line()]
    for held in await slices.stored(bench.blobs, LOOP, slices.MAIL):
        await bench.blobs.delete(slices.path(LOOP, held, slices.MAIL))
    with pytest.raises(StorageError, match="mail is gone"):
        await mail()


async def test_mail_that_a_rival_deleted_since_it_was_quicker_is_not_missed() -> None:
    bench = Bench(Waits(((0, HOURS),)))
    await bench.write(Rank("e", T0), Obs("e", T0 + 5000, 0.5))
    raced = False

    async def gate(name: str, done: bool) -> None:
        nonlocal raced
        if name.startswith("get") and name.endswith(".mail") and not raced:
            raced = True
            await bench.run(T0 + 40_000)

    bench.gate = gate
    await bench.run(T0 + 40_000)

    assert raced
    assert await bench.rewards() == {"e": 0.5}
    assert bench.counters["join.rivals"] >= 1


@pytest.mark.parametrize("repeated", [True, False])
async def test_what_came_behind_its_slice_is_not_joined_without_its_rewards(repeated: bool) -> None:
    """Nor does it make a retry of what its client sent once more, over the end of an hour."""
    bench, hour = Bench(Waits(((0, 4 * 3600.0),))), int(T0) // 86_400 * 86_400 + 5 * 3600
    await bench.write(Rank("other", hour - 30), Rank("another", hour + 20), seed=1)
    if repeated:
        await bench.write(Rank("e", hour + 10, chosen=1), seed=3)
    await bench.write(Obs("e", hour + 60, 0.7), seed=4)
    await bench.run(hour + 1500)
    assert (await bench.checkpoint()).sliced > hour
    await bench.write(Rank("e", hour - 4), seed=7)
    await bench.run(hour + 8 * 3600)

    assert await bench.rewards() == {"other": 0.0, "another": 0.0, **({"e": 0.7} if repeated else {})}
    assert (await bench.checkpoint()).retries == 0
    assert bench.counters["join.late_rows"] == 1


async def test_an_event_behind_its_slice_stops_no_window_that_had_observations_alone() -> None:
    bench, hour = Bench(Waits(((0, 4 * 3600.0),))), int(T0) // 86_400 * 86_400 + 5 * 3600
    await bench.write(Obs("nobody", hour - 30), seed=1)
    await bench.write(Rank("e", hour + 20), seed=2)
    await bench.run(hour + 1500)
    await bench.write(Rank("late", hour - 29), seed=7)
    await bench.run(hour + 8 * 3600)

    assert await bench.rewards() == {"e": 0.0}
    assert bench.counters["join.late_rows"] == 1


async def test_mail_that_is_really_gone_stops_the_join() -> None:
    bench = Bench(Waits(((0, HOURS),)))
    await bench.write(Rank("e", T0), Obs("e", T0 + 5000, 0.5))
    await bench.run(T0 + 9000)
    for held in await slices.stored(bench.blobs, LOOP, slices.MAIL):
        await bench.blobs.delete(slices.path(LOOP, held, slices.MAIL))

    with pytest.raises(StorageError, match="mail is gone"):
        await bench.run(T0 + 40_000)
    assert await bench.rewards() == {}


async def test_a_later_runs_slice_is_left_to_its_time() -> None:
    bench = Bench(Waits(((0, HOURS),)))
    await bench.write(Rank("e", T0), Obs("e", T0 + 3, 0.5))
    held = Checkpoint(slice=Slice(T0 - 240, T0 + 360), shards=[0, 1, 2])
    await bench.blobs.put(checkpoints.path(LOOP), msgspec.json.encode(held))

    assert await bench.run(T0 + 400) == 0
    assert await bench.checkpoint() == held
    await bench.run(T0 + 20_000)
    assert await bench.rewards() == {"e": 0.5}
