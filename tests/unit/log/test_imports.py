"""Imported lines come back as they were stored, whoever stores them how often; an erasure leaves what is left."""

from __future__ import annotations

import pytest

from shared.log import imports
from shared.log.erasure import NOTHING, Erased, Erasure
from shared.log.imports import Import, Part
from shared.log.joined import pack
from shared.log.records import digest_of
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP

LINES = [b'{"EventId":"%d","Timestamp":"2026-01-01T00:00:0%dZ"}' % (n, n) for n in range(5)]
NAME = imports.name_of(1_700_000_000.9, LINES)
RECORD = Import(NAME, "a file", 5.0, 1.0, 2.0, 5)
PARTS = [pack(LINES[n : n + 2]) for n in (0, 2, 4)]


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


async def test_what_is_written_is_read(blobs: MemoryBlobs) -> None:
    assert await imports.write(blobs, LOOP, RECORD, PARTS) == RECORD

    parts = await imports.parts(blobs, LOOP, [NAME])
    assert parts == [Part(NAME, n) for n in range(3)]
    assert [line for part in parts for line in await imports.read(blobs, LOOP, part, NOTHING)] == LINES
    assert await imports.find(blobs, LOOP, NAME) == RECORD
    assert await imports.parts(blobs, LOOP, ["another"]) == []


async def test_the_same_again_changes_nothing(blobs: MemoryBlobs) -> None:
    await imports.write(blobs, LOOP, RECORD, PARTS)
    before = await blobs.names("")

    again = Import(NAME, "the same file", 9.0, 1.0, 2.0, 5)

    assert await imports.write(blobs, LOOP, again, PARTS) == RECORD
    assert await blobs.names("") == before


async def test_the_same_again_brings_nothing_back_that_an_erasure_has_removed(blobs: MemoryBlobs) -> None:
    await imports.write(blobs, LOOP, RECORD, PARTS)
    await imports.replace_part(blobs, LOOP, Part(NAME, 1), 7, LINES[2:3])
    before = await blobs.names("")

    assert await imports.write(blobs, LOOP, RECORD, PARTS) == RECORD
    assert await blobs.names("") == before


def test_names_sort_by_time_and_tell_lines_apart() -> None:
    assert NAME.startswith("1700000000-")
    assert imports.name_of(-5.0, LINES) < NAME < imports.name_of(1e12, LINES)
    assert imports.name_of(1.0, LINES) != imports.name_of(1.0, [*LINES[:-1], b"x"])
    assert imports.name_of(1.0, [b"a", b"b"]) != imports.name_of(1.0, [b"ab"])


def test_parts_are_cut_by_lines_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "PART_LINES", 3)
    monkeypatch.setattr(imports, "PART_BYTES", 10)

    assert imports.cut([b"1", b"2", b"3", b"4", b"123456789", b"1", b"2", b"12345678901"]) == [
        [b"1", b"2", b"3"],
        [b"4", b"123456789"],
        [b"1", b"2"],
        [b"12345678901"],
    ]
    assert imports.cut([]) == []


@pytest.mark.parametrize("name", ["", "..", "1700000000-0123456789abcdeg", f"{NAME}/x", f"x{NAME}"])
async def test_a_name_from_outside_is_no_path(name: str, blobs: MemoryBlobs) -> None:
    assert await imports.find(blobs, LOOP, name) is None


async def test_a_part_that_is_gone_or_damaged(blobs: MemoryBlobs) -> None:
    await imports.write(blobs, LOOP, RECORD, PARTS)
    first, second, _ = await imports.parts(blobs, LOOP, [NAME])
    await blobs.delete(imports.part_path(LOOP, first))
    held = await blobs.get(imports.part_path(LOOP, second))
    assert held is not None
    third = await blobs.get(imports.part_path(LOOP, Part(NAME, 2)))
    assert third is not None
    await blobs.put(imports.part_path(LOOP, second), third.data, held.etag, held.metadata)

    with pytest.raises(StorageError, match="is gone"):
        await imports.read(blobs, LOOP, first, NOTHING)
    with pytest.raises(StorageError, match="is damaged"):
        await imports.read(blobs, LOOP, second, NOTHING)


async def test_what_an_erasure_leaves(blobs: MemoryBlobs) -> None:
    await imports.write(blobs, LOOP, RECORD, PARTS)
    part = Part(NAME, 1)
    erased = Erased([Erasure("event", digest_of("2").hex(), 4e9, "e", 7)])

    assert await imports.read(blobs, LOOP, part, erased) == [LINES[3]]
    for _ in range(2):  # as one that was cut off
        await imports.replace_part(blobs, LOOP, part, 7, [LINES[3]])

    assert await imports.parts(blobs, LOOP, [NAME]) == [Part(NAME, 0), Part(NAME, 1, 7), Part(NAME, 2)]
    assert await imports.generations(blobs, LOOP) == await imports.parts(blobs, LOOP, [NAME])
    assert await imports.read(blobs, LOOP, Part(NAME, 1, 7), NOTHING) == [LINES[3]]


async def test_a_part_of_which_nothing_is_left(blobs: MemoryBlobs) -> None:
    await imports.write(blobs, LOOP, RECORD, PARTS)

    await imports.replace_part(blobs, LOOP, Part(NAME, 2), 3, [])

    assert await imports.read(blobs, LOOP, Part(NAME, 2, 3), NOTHING) == []


async def test_delete(blobs: MemoryBlobs) -> None:
    await imports.write(blobs, LOOP, RECORD, PARTS)

    await imports.delete(blobs, LOOP, NAME)

    assert await imports.find(blobs, LOOP, NAME) is None
    assert await blobs.names("") == []


def test_a_file_is_told_from_others_by_its_bytes_and_its_format() -> None:
    assert len({imports.digest_of(data, form) for data in (b"a", b"b") for form in ("csv", "dsjson")}) == 4
