"""Erasures and closed hours beside each other, by the product's own timers: what they leave of tables and Parquet."""

from collections.abc import Callable

import pytest

from shared.log import checkpoint as checkpoints
from shared.log import erasures, parts
from shared.log.eraser import QUIET, Eraser
from shared.log.hours import Hours
from shared.log.records import digest_of
from shared.storage import StorageError
from tests.cutoff import Killed
from tests.hourly import HOUR, MIDNIGHT, WAITS, Hourly
from tests.journalled import LOOP, Rank, WatchedBlobs

NOW = MIDNIGHT + 2 * HOUR + 5000.0


async def ask(log: Hourly, name: str, at: float) -> None:
    await erasures.ask(log.blobs, LOOP, "event", digest_of(name).hex(), at, name.encode().rjust(8))


def eraser(log: Hourly, steady: Callable[[], float] = lambda: 0.0) -> Eraser:
    return Eraser(log.tables, WatchedBlobs(log.blobs, log._pass), log.counters, steady)


async def finish(log: Hourly, now: float) -> None:
    for _ in range(6):
        now += QUIET + 201
        await log.write(now)
        if await eraser(log).run(LOOP, WAITS, now, 1e9) is None:
            break
    assert (await checkpoints.load(log.blobs, LOOP))[0].erasures == []


async def named(log: Hourly, name: str) -> set[str]:
    return {path for path, data in (await log.files()).items() if digest_of(name) in data}


async def test_an_hour_is_renewed_for_whoever_was_met_there() -> None:
    """Also for an erasure that is carried out by another one's last pass, and has nothing left to meet in its own."""
    log = Hourly()
    await log.join(Rank("one", MIDNIGHT + 100.0), now=MIDNIGHT + HOUR + 800.0)
    await log.write(MIDNIGHT + HOUR + 900)
    await log.join(Rank("two", MIDNIGHT + HOUR + 1100.0), Rank("kept", MIDNIGHT + HOUR + 1200.0), now=NOW)
    await ask(log, "one", NOW - 300)
    await eraser(log).run(LOOP, WAITS, NOW, 1e9)
    now, began = NOW + QUIET + 1, False
    await eraser(log).run(LOOP, WAITS, now, -1.0)  # the pass that confirms it begins, and its time is over

    async def gate(name: str, done: bool) -> None:
        nonlocal began
        if not began and not done and name.startswith("put"):
            # Hours are being written by one that knows "one" only; it fails before it can take anything back.
            began = True
            await Hours(log.blobs, log.counters).run(log.rules, now, [])
            await ask(log, "two", now)
            await Eraser(log.tables, log.blobs, log.counters).run(LOOP, WAITS, now + 200, 1e9)

    log.gate = gate
    with pytest.raises(StorageError, match="is gone"):
        await log.process().run(log.rules, now, [])
    log.gate = None
    assert began and await named(log, "two")
    await finish(log, now)

    assert await named(log, "two") == set()
    assert [row["event_id"] for row in await log.rows(parts.EVENTS)] == ["kept"]


async def test_hours_that_have_passed_an_erasure_are_not_written_beside() -> None:
    """By one that knows less: rows would stand twice."""
    log, asked = Hourly(), False
    ranks = (Rank("kept", MIDNIGHT + 100.0), Rank("one", MIDNIGHT + 120.0), Rank("two", MIDNIGHT + HOUR + 100.0))
    await log.join(*ranks, now=NOW)
    await ask(log, "one", NOW - 300)

    async def gate(name: str, done: bool) -> None:
        nonlocal asked
        if not asked and done and name.startswith("delete") and "/joined/" in name and name.endswith(".index"):
            asked = True
            await ask(log, "two", NOW - 200)  # of another instance, which writes the hours that are closed, too
            await Hours(log.blobs, log.counters).run(log.rules, NOW, [])

    log.gate = gate
    await eraser(log).run(LOOP, WAITS, NOW, 1e9)
    log.gate = None
    assert asked
    await finish(log, NOW)

    assert [row["event_id"] for row in await log.rows(parts.EVENTS)] == ["kept"]
    assert await named(log, "one") | await named(log, "two") == set()


async def test_renewing_hours_ends_in_time_and_is_gone_on_with() -> None:
    log = Hourly()
    names = [f"e{n}" for n in range(24)]
    await log.join(*(Rank(name, MIDNIGHT + n * HOUR + 9.0) for n, name in enumerate(names)), now=NOW + 24 * HOUR)
    await log.write(NOW + 24 * HOUR)
    for name in names:
        await ask(log, name, NOW + 24 * HOUR)
    now, runs = NOW + 25 * HOUR, 0
    for passing in range(2):
        now += QUIET + 1
        for _ in range(200):
            runs += 1
            log.calls.clear()
            await eraser(log).run(LOOP, WAITS, now, -1.0)
            assert log.calls.count("names") < 16, "an hour a run, which lists a few times"
            progress, _ = await erasures.progress(log.blobs, LOOP)
            if progress.passing is None:
                break
        assert len(progress.hours) == (24 if passing == 0 else 0)
    await finish(log, now)

    assert runs > 48
    assert await log.files() == {}


async def test_nothing_is_known_of_an_erasure_that_is_done_wherever_its_last_run_was_cut_off() -> None:
    log = Hourly()
    await log.join(Rank("gone", MIDNIGHT + 9.0), now=NOW)
    await ask(log, "gone", NOW - 100)
    await eraser(log).run(LOOP, WAITS, NOW, 1e9)
    assert (await erasures.progress(log.blobs, LOOP))[0].tallies
    closed = False

    async def gate(name: str, done: bool) -> None:
        nonlocal closed
        closed |= done and name.startswith("put") and name.endswith("join.json")
        if closed and not done:
            raise Killed

    log.gate = gate
    with pytest.raises(Killed):
        await eraser(log).run(LOOP, WAITS, NOW + QUIET + 1, 1e9)
    log.gate = None
    assert (await checkpoints.load(log.blobs, LOOP))[0].erasures == []
    assert (await erasures.progress(log.blobs, LOOP))[0].tallies

    assert await eraser(log).run(LOOP, WAITS, NOW + QUIET + 2, 1e9) is None
    assert (await erasures.progress(log.blobs, LOOP))[0] == erasures.Progress()
