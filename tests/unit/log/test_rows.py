import os
import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.log.records import mark, unmark
from shared.log.rows import (
    CAPACITY,
    CHUNK,
    RowKey,
    bucket_of_partition,
    compress,
    decompress,
    lines,
    overflow_path,
    pack,
    partition_key,
    shard_of,
    table_name,
)
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs

KEY = RowKey("rank" + "0" * 32 + "20231114", "03_1700000000", "writer_0000000001")


def noise(size: int) -> bytes:
    """Bytes that do not compress, without a newline."""
    return random.Random(size).randbytes(size).replace(b"\n", b" ")


async def unpacked(given: list[bytes]) -> list[bytes]:
    return await lines(pack(KEY, compress(given), len(given), sum(map(len, given)), b""), MemoryBlobs())


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1).map(lambda line: line.replace(b"\n", b"")), min_size=1))
async def test_lines_come_back_in_order(given: list[bytes]) -> None:
    assert await unpacked(given) == given


@pytest.mark.parametrize("size", [CHUNK - 100, CHUNK + 1, 3 * CHUNK, CAPACITY - 100])
async def test_a_large_frame_is_cut_into_properties_that_storage_takes(size: int) -> None:
    row = pack(KEY, compress([noise(size)]), 1, size, b"")

    parts = [name for name in row if name.startswith("d")]
    assert parts == [f"d{n}" for n in range(-(-len(compress([noise(size)])) // CHUNK))]
    assert all(len(bytes(row[name])) <= CHUNK for name in parts)  # type: ignore[arg-type]
    assert await lines(row, MemoryBlobs()) == [noise(size)]


@pytest.mark.parametrize(("extra", "overflows"), [(0, False), (1, True)])
def test_a_frame_overflows_just_above_capacity(extra: int, overflows: bool) -> None:
    row = pack(KEY, os.urandom(CAPACITY + extra), 1, 100, b"")

    assert ("b" in row) is overflows
    assert any(name.startswith("d") for name in row) is not overflows


async def test_what_a_row_cannot_hold_stands_in_the_blob_it_names() -> None:
    blobs = MemoryBlobs()
    frame = compress([noise(CAPACITY + 1000), b"second"])
    row = pack(KEY, frame, 2, CAPACITY + 1006, b"")
    assert row["b"] == overflow_path(KEY)

    with pytest.raises(StorageError, match="gone"):
        await lines(row, blobs)
    await blobs.put(overflow_path(KEY), frame)

    assert await lines(row, blobs) == [noise(CAPACITY + 1000), b"second"]


@pytest.mark.parametrize("version", [0, 2, "1"])
async def test_a_row_of_another_format_is_refused(version: int | str) -> None:
    row = pack(KEY, compress([b"{}"]), 1, 2, b"") | {"f": version}

    with pytest.raises(StorageError, match="format"):
        await lines(row, MemoryBlobs())


async def test_a_damaged_row_is_a_storage_error() -> None:
    row = pack(KEY, b"no frame at all", 1, 15, b"")

    with pytest.raises(StorageError, match="damaged"):
        await lines(row, MemoryBlobs())


def test_a_row_says_where_it_stands_and_what_it_holds() -> None:
    marks = mark("e1", 1.5) + mark("e2", 2.5)
    row = pack(KEY, compress([b"1", b"2"]), 2, 2, marks)

    assert (row["PartitionKey"], row["RowKey"], row["f"], row["n"]) == (KEY.partition, KEY.row, 1, 2)
    assert [time for _, time in unmark(bytes(row["h"]))] == [1.5, 2.5]  # type: ignore[arg-type]
    assert "h" not in pack(KEY, b"", 1, 0, b"")


def test_all_frames_are_read_not_only_the_first() -> None:
    frame = zstandard.ZstdCompressor().compress
    assert decompress(frame(b"one\n") + frame(b"two")) == b"one\ntwo"


@given(st.integers(0, 99), st.integers(0, 10**10 - 1))
def test_partitions_sort_by_shard_then_bucket(shard: int, bucket: int) -> None:
    assert bucket_of_partition(partition_key(shard, bucket)) == bucket
    assert partition_key(shard, 0) <= partition_key(shard, bucket) < partition_key(shard + 1, 0) or shard == 99


@given(st.uuids(), st.integers(1, 100))
def test_a_writer_has_one_shard(writer: object, shards: int) -> None:
    shard = shard_of(str(writer), shards)
    assert 0 <= shard < shards
    assert shard == shard_of(str(writer), shards)


def test_writers_spread_over_the_shards() -> None:
    assert {shard_of(f"writer {n}", 4) for n in range(100)} == {0, 1, 2, 3}


def test_a_table_holds_one_stream_loop_and_day() -> None:
    assert table_name("obs", "0123456789abcdef" * 2, "20231114") == "obs0123456789abcdef0123456789abcdef20231114"
    assert len(table_name("rank", "f" * 32, "20231114")) <= 63, "Azure's limit"


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
async def test_a_frame_that_was_cut_off_is_no_shorter_row(kept: int) -> None:
    given = [noise(100 + n) for n in range(10)]
    row = pack(KEY, compress(given)[:kept], 10, 1045, b"")

    with pytest.raises(StorageError, match="is damaged"):
        await lines(row, MemoryBlobs())
