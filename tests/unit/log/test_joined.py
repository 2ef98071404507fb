from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import joined
from shared.log.erasure import NOTHING, Erased, Erasure
from shared.log.joined import DSJSON, Window
from shared.log.records import digest_of
from shared.log.rows import compress
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP

HOUR, DAY = 1_700_002_800, 86_400
WINDOW = Window(HOUR + 60, HOUR + 120)


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


def test_a_window_lies_in_its_hour_and_is_named_by_its_bounds() -> None:
    assert joined.window_path(LOOP, WINDOW, "dsjson") == (
        f"loops/{LOOP}/joined/year=2023/month=11/day=14/hour=23/1700002860-1700002920.dsjson.zst"
    )


async def test_what_is_written_is_read(blobs: MemoryBlobs) -> None:
    assert await joined.write(blobs, LOOP, WINDOW, "dsjson", [b'{"a":1}', b'{"b":2}'])

    assert await joined.windows(blobs, LOOP, HOUR, HOUR + 3600) == [WINDOW]
    assert await joined.read(blobs, LOOP, WINDOW) == [b'{"a":1}', b'{"b":2}']


async def test_no_lines_are_no_blob(blobs: MemoryBlobs) -> None:
    assert await joined.write(blobs, LOOP, WINDOW, "dsjson", [])
    assert await blobs.names("") == []


async def test_the_first_to_write_a_window_is_right(blobs: MemoryBlobs) -> None:
    assert await joined.write(blobs, LOOP, WINDOW, "dsjson", [b"1"])

    assert await joined.write(blobs, LOOP, WINDOW, "dsjson", [b"1"])
    assert not await joined.write(blobs, LOOP, WINDOW, "dsjson", [b"1", b"2"])
    assert await joined.read(blobs, LOOP, WINDOW) == [b"1"]


async def test_observations_stand_beside_the_log_and_are_no_window(blobs: MemoryBlobs) -> None:
    await joined.write(blobs, LOOP, WINDOW, "observations", [b"1"])
    assert await joined.windows(blobs, LOOP, 0, 2 * HOUR) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "other", "gone"])
async def test_damage_is_never_read_as_a_log(blobs: MemoryBlobs, damage: str) -> None:
    await joined.write(blobs, LOOP, WINDOW, "dsjson", [b"line %d" % n for n in range(100)])
    path = joined.window_path(LOOP, WINDOW, "dsjson")
    blob = await blobs.get(path)
    assert blob is not None
    await blobs.delete(path)
    data = {
        "truncated": blob.data[:-5],
        "flipped": blob.data[:20] + bytes([blob.data[20] ^ 255]) + blob.data[21:],
        "other": compress([b"other"]),
    }
    if damage in data:
        await blobs.put(path, data[damage], metadata=blob.metadata)

    with pytest.raises(StorageError, match=r"damaged|gone"):
        await joined.read(blobs, LOOP, WINDOW)


@given(st.sets(st.integers(0, 4000), max_size=8), st.integers(-100, 4000), st.integers(0, 4000))
async def test_the_windows_of_a_range_are_those_that_begin_in_it(starts: set[int], first: int, length: int) -> None:
    blobs = MemoryBlobs()
    held = [Window(HOUR + 60 * n, HOUR + 60 * n + 60) for n in sorted(starts)]
    for window in held:
        await joined.write(blobs, LOOP, window, "dsjson", [b"{}"])
    start, end = HOUR + 60 * first, HOUR + 60 * (first + length)

    assert await joined.windows(blobs, LOOP, start, end) == [w for w in held if start <= w.start < end]


async def test_logs_of_other_loops_are_no_concern(blobs: MemoryBlobs) -> None:
    await joined.write(blobs, "f" * 32, WINDOW, "dsjson", [b"{}"])
    assert await joined.windows(blobs, LOOP, 0, 2 * HOUR) == []


@given(st.sets(st.integers(-900, 900), max_size=8), st.integers(-900, 900), st.integers(0, 2000), st.integers(-1, 1))
async def test_the_windows_of_many_days_are_those_that_begin_in_them(
    days: set[int], first: int, length: int, seconds: int
) -> None:
    blobs = MemoryBlobs()
    held = [Window(HOUR + DAY * n, HOUR + DAY * n + 60) for n in sorted(days)]
    for window in held:
        await joined.write(blobs, LOOP, window, "dsjson", [b"{}"])
    start, end = HOUR + DAY * first + seconds, HOUR + DAY * (first + length)

    wanted = [w for w in held if start <= w.start < end]
    assert await joined.windows(blobs, LOOP, start, end) == wanted
    assert list((await joined.sizes(blobs, LOOP, start, end))["dsjson"]) == wanted


async def test_the_whole_log_is_found_since_the_beginning_of_time(blobs: MemoryBlobs) -> None:
    await joined.write(blobs, LOOP, WINDOW, "dsjson", [b"{}"])
    assert await joined.windows(blobs, LOOP, -62_135_596_800, 253_402_300_800) == [WINDOW]


@pytest.mark.parametrize(
    ("first", "last", "listed"),
    [
        ("2023-03-30", "2024-01-02", [""]),
        ("1970-01-01", "2242-01-01", [""]),
        ("2023-03-30", "2023-04-01", ["year=2023/month=03/"]),
        ("2023-03-31", "2023-04-02", ["year=2023/month=03/day=31/", "year=2023/month=04/day=01/"]),
        ("2023-03-31", "2024-01-02", ["year=2023/month=03/day=31/", "year=2023/month=04/", "year=2024/"]),
        ("2023-05-01", "2023-12-31", []),
    ],
)
async def test_folders_of_the_span_alone_are_listed_and_as_few_as_hold_it(
    monkeypatch: pytest.MonkeyPatch, blobs: MemoryBlobs, first: str, last: str, listed: list[str]
) -> None:
    for day in ("2023-03-30", "2023-03-31", "2023-04-01", "2023-04-02", "2024-01-01"):
        await joined.write(blobs, LOOP, Window(midnight(day), midnight(day) + 60), "dsjson", [b"{}"])
    asked: list[str] = []
    names = blobs.names

    async def watched(prefix: str) -> list[str]:
        asked.append(prefix.removeprefix(joined.log_path(LOOP)))
        return await names(prefix)

    monkeypatch.setattr(blobs, "names", watched)
    await joined.windows(blobs, LOOP, midnight(first), midnight(last))

    assert asked == listed


def midnight(day: str) -> int:
    return int(datetime.fromisoformat(day + "T00:00+00:00").timestamp())


async def test_of_a_large_window_the_beginning_is_read() -> None:
    blobs, lines = MemoryBlobs(), [b'{"EventId":"%d","Timestamp":"1970-01-01T00:00:01Z"}' % n for n in range(100)]
    window = Window(0, 5)
    await joined.write(blobs, LOOP, window, DSJSON, lines)
    erased = Erased([Erasure("event", digest_of("1").hex(), 100.0)])

    whole = await joined.read_beginning(blobs, LOOP, window, 10_000, NOTHING)
    some = await joined.read_beginning(blobs, LOOP, window, 3 * (len(lines[0]) + 1) + 20, NOTHING)
    less = await joined.read_beginning(blobs, LOOP, window, 3 * (len(lines[0]) + 1) + 20, erased)

    assert whole == (lines, 100)
    assert some == (lines[:3], 100)
    assert less == ([lines[0], lines[2]], 100)
    with pytest.raises(StorageError, match="is gone"):
        await joined.read_beginning(blobs, LOOP, Window(5, 10), 100, NOTHING)
