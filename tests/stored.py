"""Turns a storage account into all that it holds, piece by piece, with what is compressed in it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pyarrow.parquet as pq

from shared.log import rows, slices
from shared.storage import Blobs, Tables


async def everything(tables: Tables, blobs: Blobs) -> AsyncIterator[tuple[str, bytes]]:
    """Where each piece lies, and its bytes: blobs, rows, and beside those that are compressed what is in them."""
    for path in await blobs.names(""):
        blob = await blobs.get(path)
        assert blob is not None
        yield path, path.encode() + b"\n" + blob.data + repr(blob.metadata).encode()
        if path.endswith(".zst") or path.startswith("journal/") or "/series/" in path:
            yield f"{path} unpacked", rows.decompress(blob.data)
        if path.endswith(f".{slices.MAIL}"):
            yield f"{path} unpacked", b"\n".join(rows.decompress(part.data) for part in slices.decode(blob.data))
        if path.endswith(".parquet"):
            yield f"{path} unpacked", repr(pq.read_table(io.BytesIO(blob.data)).to_pylist()).encode()
    for table in await tables.names(""):
        async for row, _ in tables.query(table, ("", "~")):
            binaries = [value for value in row.values() if isinstance(value, bytes)]
            yield f"{table} {row['RowKey']!r}", b"\n".join([repr(row).encode(), *binaries])
            if "f" in row:
                yield f"{table} {row['RowKey']!r} unpacked", b"\n".join(await rows.lines(row, blobs))
