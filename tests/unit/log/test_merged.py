from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import index, joined, merged
from shared.log.erasure import NOTHING
from shared.log.index import OBSERVED, RANKED
from shared.log.joined import Window
from shared.log.records import digest_of
from shared.storage.memory import MemoryBlobs
from tests.hourly import DAY, HOUR, MIDNIGHT, Hourly
from tests.journalled import LOOP, Obs, Rank


def test_the_largest_table_of_the_highest_generation_counts() -> None:
    day, early, late, rewritten = Window(0, DAY), Window(0, HOUR), Window(HOUR, 2 * HOUR), Window(0, DAY, 2)
    tomorrow = [Window(DAY, DAY + HOUR, 1), Window(DAY, DAY + HOUR)]

    assert merged.counting([late, early]) == [early, late]
    assert merged.counting([early, day, late, *tomorrow]) == [day, tomorrow[0]]
    assert merged.counting([early, day, rewritten, late]) == [rewritten]
    assert merged.counting([]) == []


async def test_a_day_that_is_over_is_merged_and_its_parts_go_a_day_later() -> None:
    log = Hourly()
    ranks = [Rank(f"e{n}", MIDNIGHT + n * 1800) for n in range(2 * 48)]
    observed = [Obs(r.id, r.t + 3000) for r in ranks]

    await log.join(*ranks, *observed, now=MIDNIGHT + DAY + 7000.0)
    await log.write(MIDNIGHT + DAY + 7000.0, idle=False)
    first = Window(MIDNIGHT, MIDNIGHT + DAY)
    held = sorted(await merged.stored(log.blobs, LOOP))
    assert first in held and len(held) == 1 + 24 + 1
    await log.join(now=MIDNIGHT + 5.0 * DAY)
    for _ in range(2):
        await log.write(MIDNIGHT + 5.0 * DAY)

    second = Window(MIDNIGHT + DAY, MIDNIGHT + 2 * DAY)
    stored = await merged.stored(log.blobs, LOOP)
    assert [span for span in stored if span.start < MIDNIGHT + 2 * DAY] == [first, second]
    assert await merged.days(log.blobs, LOOP) == [first, second]
    for rank in ranks[::7]:
        rows = await log.look_up(digest_of(rank.id))
        assert [(row["kind"], row["time"]) for row in rows] == [(RANKED, rank.t), (OBSERVED, rank.t + 3000)]
    assert len(await log.look_up(digest_of("never"))) == 0


async def test_a_day_of_very_many_events_is_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "MOST", 2 * index.ROW.itemsize)
    log = Hourly()
    await log.join(*(Rank(f"e{n}", MIDNIGHT + n * HOUR) for n in range(3)), now=MIDNIGHT + 5.0 * DAY)
    await log.write(MIDNIGHT + 5.0 * DAY)

    assert len(await merged.stored(log.blobs, LOOP)) == 3
    assert len(await log.look_up(digest_of("e1"))) == 1


async def test_what_is_no_hours_yet_is_found_and_what_is_deleted_or_not_joined_is_not() -> None:
    log = Hourly()
    await log.join(
        Rank("e", MIDNIGHT), Obs("e", MIDNIGHT + 9000.0), Rank("f", MIDNIGHT + 9000), now=MIDNIGHT + 99_999.0
    )
    digest = digest_of("e")

    assert len(await log.look_up(digest)) == 2
    await log.write(MIDNIGHT + 99_999.0, idle=False)
    assert len(await merged.stored(log.blobs, LOOP)) == 1
    assert len(await log.look_up(digest)) == 2
    assert len((await merged.look_up(log.blobs, LOOP, digest, MIDNIGHT + 5, 2**33))[0]) == 1
    assert len((await merged.look_up(log.blobs, LOOP, digest, 0, MIDNIGHT + HOUR))[0]) == 1


async def test_windows_without_an_index_are_gathered_by_their_lines() -> None:
    log = Hourly()
    records = (Rank("e", MIDNIGHT), Obs("e", MIDNIGHT + 9.0), Obs("e", MIDNIGHT + 9000.0), Rank("f", MIDNIGHT + 9000))
    await log.join(*records, now=MIDNIGHT + 99_999.0)
    held = await joined.sizes(log.blobs, LOOP, MIDNIGHT, MIDNIGHT + DAY)
    by_index = await merged.gather(log.blobs, LOOP, held, NOTHING)
    path = joined.window_path(LOOP, min(held[joined.INDEX]), joined.INDEX)
    kept = await log.blobs.get(path)
    await log.unindex()
    assert kept is not None

    bare = await joined.sizes(log.blobs, LOOP, MIDNIGHT, MIDNIGHT + DAY)
    assert bare[joined.INDEX] == {} and len(by_index) == 4
    assert (await merged.gather(log.blobs, LOOP, bare, NOTHING)).tolist() == by_index.tolist()
    await merged.write_day(log.blobs, LOOP, Window(MIDNIGHT, MIDNIGHT + DAY), NOTHING)
    day = await log.blobs.get(merged.path(LOOP, Window(MIDNIGHT, MIDNIGHT + DAY)))
    assert day is not None and day.data == by_index.tobytes()

    await log.blobs.put(path, kept.data)
    mixed = await joined.sizes(log.blobs, LOOP, MIDNIGHT, MIDNIGHT + DAY)
    assert len(mixed[joined.INDEX]) == 1 and len(merged.unindexed(mixed)) == len(held[joined.INDEX]) - 1
    assert (await merged.gather(log.blobs, LOOP, mixed, NOTHING)).tolist() == by_index.tolist()


async def test_windows_without_an_index_are_looked_up_as_far_as_that_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Hourly()
    await log.join(Rank("old", MIDNIGHT), now=MIDNIGHT + 2000.0)
    await log.join(Rank("new", MIDNIGHT + 9000), Obs("new", MIDNIGHT + 9001.0), now=MIDNIGHT + 99_999.0)
    await log.unindex()
    new = [(RANKED, MIDNIGHT + 9000.0), (OBSERVED, MIDNIGHT + 9001.0)]
    assert [(row["kind"], row["time"]) for row in await log.look_up(digest_of("new"))] == new
    assert [row["time"] for row in await log.look_up(digest_of("old"))] == [MIDNIGHT]

    sizes = await joined.sizes(log.blobs, LOOP, MIDNIGHT + 5000, MIDNIGHT + DAY)
    monkeypatch.setattr(merged, "MAX_BARE", sum(sum(of.values()) for of in sizes.values()))
    for event_id, rows in (("new", 2), ("old", 0)):
        table, unsearched = await merged.look_up(log.blobs, LOOP, digest_of(event_id), 0, 2**33)
        assert (len(table), unsearched) == (rows, 1)
    await log.write(MIDNIGHT + 99_999.0)
    assert [row["time"] for row in await log.look_up(digest_of("old"))] == [MIDNIGHT], "its hour's table is read"


@given(
    st.lists(st.integers(0, 200), max_size=300), st.lists(st.integers(0, 250), min_size=1, max_size=50), st.booleans()
)
async def test_many_events_are_selected_from_a_stored_table(held: list[int], asked: list[int], chunks: bool) -> None:
    blobs = MemoryBlobs()
    spread = 2**64 // 251
    table = index.merge([np.array([(n * spread, 0, float(i), RANKED) for i, n in enumerate(held)], index.ROW)])
    await blobs.put("t", table.tobytes())
    digests = np.unique(np.array([n * spread for n in asked], np.uint64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_CHUNK", 7)
        if chunks:
            patch.setattr(index, "_NEAR", 1000)
        found = await index.select(blobs, "t", table.nbytes, digests)

    assert found.tolist() == table[np.isin(table["event"], digests)].tolist()


async def test_a_table_that_is_gone_is_not_taken_for_one_without_rows() -> None:
    blobs = MemoryBlobs()
    few, many = np.array([5], np.uint64), np.arange(5, dtype=np.uint64)
    gone = {joined.DSJSON: [], joined.OBSERVATIONS: [], joined.INDEX: [Window(0, 60)]}

    with pytest.raises(index.Replaced, match="t is gone"):
        await index.select(blobs, "t", 10**6, few)
    with pytest.raises(index.Replaced, match="t is gone"):
        await index.select(blobs, "t", 100, many)
    with pytest.raises(index.Replaced, match="index is gone"):
        await merged.gather(blobs, LOOP, gone, NOTHING)


async def test_a_look_up_lists_again_what_an_erasure_replaces_under_way() -> None:
    log = Hourly()
    await log.join(Rank("e", MIDNIGHT), now=MIDNIGHT + 99_999.0)
    await log.write(MIDNIGHT + 99_999.0)
    (held,) = await merged.stored(log.blobs, LOOP)
    table = await log.blobs.get(merged.path(LOOP, held))
    assert table is not None
    replaced = list[int]()

    async def gate(name: str, done: bool) -> None:
        if name.startswith("get ") and not done and len(replaced) < tries:
            replaced.append(len(replaced))
            (held,) = await merged.stored(log.blobs, LOOP)
            await log.blobs.put(merged.path(LOOP, replace(held, generation=held.generation + 1)), table.data)
            await log.blobs.delete(merged.path(LOOP, held))

    log.gate = gate
    watched = log.process()._blobs
    for tries in (1, 2):
        replaced.clear()
        rows, _ = await merged.look_up(watched, LOOP, digest_of("e"), 0, 2**33)
        assert (len(rows), len(replaced)) == (1, tries)
    tries = 9
    with pytest.raises(index.Replaced):
        await merged.look_up(watched, LOOP, digest_of("e"), 0, 2**33)


async def test_hours_that_hold_something_are_found_in_order() -> None:
    blobs = MemoryBlobs()
    starts = [MIDNIGHT - 40 * DAY, MIDNIGHT - 60, MIDNIGHT, MIDNIGHT + 5 * HOUR, MIDNIGHT + 400 * DAY]
    for start in starts:
        await joined.write(blobs, LOOP, Window(start, start + 60), joined.DSJSON, [b"{}"])

    async def found(start: int, end: int) -> list[int]:
        return [hour async for hour in joined.hours(blobs, LOOP, start, end)]

    assert await found(0, 2**33) == [start // HOUR * HOUR for start in starts]
    assert await found(MIDNIGHT - 1, MIDNIGHT + HOUR) == [MIDNIGHT - HOUR, MIDNIGHT]
    assert await found(MIDNIGHT + 5 * HOUR + 30, MIDNIGHT + 6 * HOUR) == [MIDNIGHT + 5 * HOUR]
    assert await found(MIDNIGHT + HOUR, MIDNIGHT + 5 * HOUR) == []
