import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import joined
from shared.log.joined import Window
from shared.log.rows import compress
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP

HOUR = 1_700_002_800
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
