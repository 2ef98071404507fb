"""What is stored of windows, rows and mail, without what is erased; each on its own."""

import pytest

from shared.log import rows, scrub, slices
from shared.log.buckets import day_of
from shared.log.erasure import Erased, Erasure
from shared.log.joined import DSJSON, INDEX, OBSERVATIONS
from shared.log.records import digest_of, mark
from shared.log.slices import MAIL, Part, Slice
from shared.storage import Conflict, Row, StorageError
from shared.storage.memory import MemoryBlobs, MemoryTables
from tests.journalled import LOOP, T0, Obs, Rank

SPAN = (T0, T0 + 60)
ERASED = Erased([Erasure("event", digest_of("gone").hex(), T0 + 50.0)])
KEY = rows.RowKey(rows.table_name("rank", LOOP, day_of(T0)), rows.partition_key(0, T0), "w_0000000001")


@pytest.mark.parametrize(
    ("kinds", "old"),
    [
        ({DSJSON: {0: 9}, OBSERVATIONS: {0: 9}, INDEX: {0: 9}}, set()),
        ({DSJSON: {0: 9, 2: 9}, OBSERVATIONS: {0: 9, 2: 9}, INDEX: {2: 9}}, {(DSJSON, 0), (OBSERVATIONS, 0)}),
        ({DSJSON: {0: 9, 2: 9}, OBSERVATIONS: {0: 9}, INDEX: {0: 9}}, {(DSJSON, 0)}),  # not done yet
        ({DSJSON: {0: 9}, OBSERVATIONS: {2: 9}, INDEX: {0: 9, 2: 9}}, {(DSJSON, 0), (INDEX, 0)}),  # no event was left
        ({DSJSON: {0: 9, 1: 9}}, {(DSJSON, 0)}),
        ({}, set()),
    ],
)
def test_what_counts_no_more_is_told_by_generations(kinds: scrub.Kinds, old: set[tuple[str, int]]) -> None:
    found = scrub.outdated(kinds)

    assert set(found) == old
    assert len(found) == len(old)
    left = scrub.without(kinds, found)
    assert {(kind, n) for kind, sizes in left.items() for n in sizes} | old == set(scrub.older(kinds, 99))
    assert all(left.values())


async def test_an_index_that_is_gone_is_no_window_without_one() -> None:
    assert await scrub.table_of(MemoryBlobs(), LOOP, SPAN, {DSJSON: {0: 9}}) is None
    with pytest.raises(StorageError, match="is gone"):
        await scrub.table_of(MemoryBlobs(), LOOP, SPAN, {INDEX: {0: 25}})
    assert await scrub.events(MemoryBlobs(), LOOP, SPAN, {OBSERVATIONS: {0: 9}}) == []


async def _stands(tables: MemoryTables) -> tuple[Row, str]:
    """The only row, and its state."""
    (found,) = [found async for found in tables.query(KEY.table, ("", "~"))]
    return found


async def test_lines_that_cannot_be_decoded_stay_in_their_row() -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    lines = [b"garbage", Rank("gone", T0 + 1.0).line(), Rank("kept", T0 + 2.0).line()]
    marks = b"".join([mark("other", T0 + 0.5), mark("gone", T0 + 1.0), mark("kept", T0 + 2.0)])
    row = rows.pack(KEY, rows.compress(lines), 3, sum(map(len, lines)), marks)
    await tables.put(KEY.table, row)

    gone = await scrub.row(tables, blobs, KEY.table, *await _stands(tables), ERASED)

    assert [event.id for event in gone.events] == ["gone"]
    held, etag = await _stands(tables)
    assert await rows.lines(held, blobs) == [lines[0], lines[2]]
    assert held["h"] == marks[:16] + marks[32:]
    assert (held["n"], held["s"]) == (2, len(lines[0]) + len(lines[2]))
    assert not await scrub.row(tables, blobs, KEY.table, held, etag, ERASED)


async def test_marks_that_do_not_fit_the_lines_are_hidden_by_what_they_say() -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    lines = [Rank("gone", T0 + 1.0).line(), Rank("kept", T0 + 2.0).line()]
    marks = b"".join([mark("gone", T0 + 1.0), mark("kept", T0 + 2.0), mark("third", T0 + 3.0)])
    row = rows.pack(KEY, rows.compress(lines), 2, sum(map(len, lines)), marks)

    await tables.put(KEY.table, row)

    await scrub.row(tables, blobs, KEY.table, *await _stands(tables), ERASED)

    held, _ = await _stands(tables)
    assert (await rows.lines(held, blobs), held["h"]) == (lines[1:], marks[16:])


@pytest.mark.parametrize("cut_off", [False, True], ids=["its row is gone", "its row holds what is left"])
async def test_what_no_row_names_goes_once_its_bucket_is_closed(cut_off: bool) -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    await blobs.put(rows.overflow_path(KEY), b"")
    await scrub.orphans(tables, blobs, KEY.table, T0)
    assert await blobs.names("") == [rows.overflow_path(KEY)], "its writer may be about to name it"
    named: Row = {"PartitionKey": KEY.partition, "RowKey": KEY.row, "b": rows.overflow_path(KEY)}
    await tables.put(KEY.table, named)
    await scrub.orphans(tables, blobs, KEY.table, T0 + 5)
    assert await blobs.names("") == [rows.overflow_path(KEY)]
    if cut_off:
        await tables.put(KEY.table, {"PartitionKey": KEY.partition, "RowKey": KEY.row, "d0": b"what is left"})
    else:
        await tables.delete(KEY.table, KEY.partition, KEY.row)
    await scrub.orphans(tables, blobs, KEY.table, T0 + 5)
    assert await blobs.names("") == []


async def test_a_row_that_another_run_has_replaced_is_left_to_it() -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    lines = [Rank("gone", T0 + 1.0).line(), Rank("kept", T0 + 2.0).line()]
    marks = mark("gone", T0 + 1.0) + mark("kept", T0 + 2.0)
    row = rows.pack(KEY, rows.compress(lines), 2, sum(map(len, lines)), marks)
    await tables.put(KEY.table, row)
    seen = await _stands(tables)
    await tables.put(KEY.table, row)

    for erased in (ERASED, Erased([Erasure("event", digest_of(one).hex(), T0 + 50.0) for one in ("gone", "kept")])):
        with pytest.raises(Conflict):
            await scrub.row(tables, blobs, KEY.table, *seen, erased)
    assert (await _stands(tables))[0] == row


def _letters(*observations: Obs) -> bytes:
    return rows.compress([o.line() for o in observations])


async def test_mail_keeps_what_is_left_where_it_was() -> None:
    blobs, held = MemoryBlobs(), Slice(T0, T0 + 600)
    parts = [
        Part(T0, T0 + 5, _letters(Obs("gone", T0 + 2.0))),
        Part(T0 + 5, T0 + 10, _letters(Obs("kept", T0 + 3.0), Obs("gone", T0 + 4.0), Obs("gone", T0 + 55.0))),
        Part(T0 + 10, T0 + 15, _letters(Obs("kept", T0 + 6.0))),
    ]
    path = slices.path(LOOP, held, MAIL)
    await blobs.put(path, slices.encode(parts))

    gone = await scrub.mail(blobs, LOOP, held, ERASED)

    assert [o.t for o in gone.observations] == [T0 + 2.0, T0 + 4.0]
    blob = await blobs.get(path)
    assert blob is not None
    left = slices.decode(blob.data)
    assert left == [Part(T0 + 5, T0 + 10, _letters(Obs("kept", T0 + 3.0), Obs("gone", T0 + 55.0))), parts[2]]
    assert not await scrub.mail(blobs, LOOP, held, ERASED)
    assert await blobs.get(path) == blob
    assert not await scrub.mail(blobs, LOOP, Slice(T0 + 600, T0 + 1200), ERASED)


async def test_mail_that_another_run_has_replaced_is_left_to_it() -> None:
    class Raced(MemoryBlobs):
        async def get(self, path: str):  # type: ignore[no-untyped-def]
            blob = await super().get(path)
            if blob is not None:
                await super().put(path, blob.data, blob.etag)
            return blob

    blobs, held = Raced(), Slice(T0, T0 + 600)
    letters = _letters(Obs("gone", T0 + 2.0))
    await blobs.put(slices.path(LOOP, held, MAIL), slices.encode([Part(T0, T0 + 5, letters)]))

    with pytest.raises(Conflict):
        await scrub.mail(blobs, LOOP, held, ERASED)
