"""Turns journal lines into one table row, and rows back into lines.

A row is a group commit: the lines that were waiting, one a line of text, in one zstd frame, cut into binary
properties of 64 KiB. What one row cannot hold goes to a blob that the row names.
"""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from shared.log.records import VERSION
from shared.storage import Blobs, Row, StorageError

CHUNK = 65_536
CHUNKS = 10
"""Azurite counts base64 against 1 MiB on an upsert, so eleven binaries of 64 KiB are the most it takes; one is `h`."""
CAPACITY = CHUNK * CHUNKS

_local = threading.local()  # a compressor shared between threads fails


@dataclass(frozen=True, slots=True)
class RowKey:
    """Where a row stands: its loop's table of one stream and day, its shard and bucket, its writer and number."""

    table: str
    partition: str
    row: str


def table_name(stream: str, loop_id: str, day: str) -> str:
    """The table of a stream ("rank" or "obs"), a loop (32 hex digits) and a UTC day (yyyymmdd)."""
    return f"{stream}{loop_id}{day}"


def shard_of(writer: str, shards: int) -> int:
    """The shard a writer appends to, in [0, shards)."""
    return zlib.crc32(writer.encode()) % shards


def partition_key(shard: int, bucket: int) -> str:
    """Shard first: ranges of partition keys are what the service spreads over its servers."""
    return f"{shard:02d}_{bucket:010d}"


def bucket_of_partition(partition: str) -> int:
    """The bucket in a partition key."""
    return int(partition[3:])


def bucket_of(row: Row) -> int:
    """The bucket of a row."""
    return bucket_of_partition(str(row["PartitionKey"]))


def compress(lines: Sequence[bytes]) -> bytes:
    """The lines as one zstd frame."""
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(level=3)
    return compressor.compress(b"\n".join(lines))


def decompress(data: bytes, most: int = -1) -> bytes:
    """The text of one or more zstd frames; `ZstdDecompressor.decompress` would read the first one only.

    Args:
        data: the frames.
        most: bytes of the text after which the rest is left alone; -1 for all.

    Raises:
        StorageError: they are damaged.
    """
    try:
        if most < 0:  # nearly always it is one frame, of which a stream would make one more copy
            first = zstandard.ZstdDecompressor().decompressobj()
            text = first.decompress(data)
            if not first.unused_data:
                return text
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read(most)
    except zstandard.ZstdError as e:
        raise StorageError(f"compressed lines are damaged: {e}") from e


def pack(key: RowKey, frame: bytes, count: int, size: int, marks: bytes) -> Row:
    """The row of a compressed frame.

    Args:
        key: where the row goes.
        frame: what `compress` gave.
        count: how many lines are in it.
        size: how many bytes they have.
        marks: their marks, 16 bytes each; empty for observations.

    Returns:
        The row. A frame above 640 KiB is left out: the caller stores it at `overflow_path` first.
    """
    row: Row = {"PartitionKey": key.partition, "RowKey": key.row, "f": VERSION, "n": count, "s": size}
    if marks:
        row["h"] = marks
    if len(frame) > CAPACITY:
        row["b"] = overflow_path(key)
    else:
        for n in range(0, len(frame), CHUNK):
            row[f"d{n // CHUNK}"] = frame[n : n + CHUNK]
    return row


def overflow_path(key: RowKey) -> str:
    """The blob of a frame that is too large for a row."""
    return f"journal/{key.table}/{key.partition}/{key.row}"


def extent(lines: Sequence[bytes]) -> dict[str, str]:
    """The metadata of a blob at `overflow_path` that is written in place of another one: how much is in it."""
    return {"n": str(len(lines)), "s": str(sum(map(len, lines)))}


async def lines(row: Row, blobs: Blobs) -> list[bytes]:
    """The lines of a row, in the order they were written.

    Raises:
        StorageError: the row is of a later release or damaged, or its blob is gone.
    """
    return (await read(row, blobs))[0]


async def read(row: Row, blobs: Blobs) -> tuple[list[bytes], str | None]:
    """The same, and the ETag of the blob that holds them, where one does."""
    state: str | None = None
    if row["f"] != VERSION:
        raise StorageError(f"journal row of format {row['f']!r}; this release reads up to {VERSION}")
    if "b" in row:
        blob = await blobs.get(str(row["b"]))
        if blob is None:
            raise StorageError(f"the journal's blob {row['b']!r} is gone")
        frame, state = blob.data, blob.etag
        # One that was replaced tells itself how much is left: its row may be replaced later, or never.
        row = {**row, **{name: int(blob.metadata[name]) for name in ("n", "s") if name in blob.metadata}}
    else:
        frame = b"".join([bytes(row[f"d{n}"]) for n in range(CHUNKS) if f"d{n}" in row])  # type: ignore[arg-type]
    text = decompress(frame)
    if len(text) != int(row["s"]) + int(row["n"]) - 1:  # zstd gives the beginning of a frame that was cut off
        raise StorageError(f"journal row {row['RowKey']!r} is damaged: {len(text)} bytes are not what was written")
    return text.split(b"\n"), state
