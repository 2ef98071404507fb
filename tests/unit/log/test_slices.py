import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import slices
from shared.log.erasure import NOTHING, Erased, Erasure
from shared.log.records import digest_of, mark
from shared.log.slices import DIGEST, MAIL, RANKS, Letters, Part, Slice
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, T0, Obs

PARTS = st.lists(st.tuples(st.integers(0, 2**33), st.integers(0, 2**33), st.binary(max_size=40)), max_size=8)


@given(PARTS)
def test_parts_come_back(given_: list[tuple[int, int, bytes]]) -> None:
    parts = [Part(*part) for part in given_]

    blob = slices.encode(parts)

    assert slices.decode(blob) == parts
    assert [blob[p.offset : p.offset + p.size] for p in slices.places(blob)] == [part.data for part in parts]


@pytest.mark.parametrize("count", [0, 1, 2730, 5000])
async def test_the_places_of_a_stored_blob_are_read_without_the_rest(count: int) -> None:
    blobs, parts = MemoryBlobs(), [Part(n, n + 1, b"x" * (n % 50)) for n in range(count)]
    blob = slices.encode(parts)
    etag = await blobs.put("b", blob)

    assert await slices.read_places(blobs, "b") == (slices.places(blob), etag)


async def test_a_blob_that_is_gone_is_an_error() -> None:
    with pytest.raises(StorageError, match="is gone"):
        await slices.read_places(MemoryBlobs(), "b")


async def test_places_and_their_state_belong_together() -> None:
    old = slices.encode([Part(n, n + 1, b"old") for n in range(5000)])
    new = slices.encode([Part(n, n + 1, b"newer") for n in range(5000)])

    class Rewritten(MemoryBlobs):
        async def get_range(self, path: str, start: int, length: int):  # type: ignore[no-untyped-def]
            found = await super().get_range(path, start, length)
            if found and found.etag == first:
                await self.put(path, new, first)
            return found

    blobs = Rewritten()
    first = await blobs.put("b", old)

    places, etag = await slices.read_places(blobs, "b")

    assert places == slices.places(new)
    assert etag != first


def test_digests_are_sorted_and_none_stands_twice() -> None:
    ids = [f"e{n}" for n in range(100)]
    marks = [b"".join(mark(event_id, T0 + n) for event_id in ids[n * 10 : n * 10 + 20]) for n in range(9)]

    found = np.frombuffer(slices.digests(marks), DIGEST)

    assert found.tolist() == sorted(int.from_bytes(digest_of(event_id)) for event_id in ids)
    assert slices.digests([]) == b""


@given(st.integers(0, 2**32))
def test_letters_find_what_arrived_for_some_events_in_time(seed: int) -> None:
    chance = random.Random(seed)
    observations = [Obs(f"e{chance.randrange(30)}", T0 + chance.uniform(-500, 900)) for _ in range(300)]
    wanted = {f"e{chance.randrange(40)}" for _ in range(15)}
    letters = Letters()
    letters.add([o.line() for o in observations], NOTHING)
    letters.sort()
    events = np.sort(np.array([int.from_bytes(digest_of(e)) for e in wanted], np.uint64))

    found = letters.of(events, T0, T0 + 100, 300.0)

    assert len(letters) == 300
    assert found == [o.line() for o in observations if o.id in wanted and -120 < o.t - T0 < 400]
    assert letters.of(np.empty(0, np.uint64), T0, T0 + 100, 300.0) == []


def test_letters_leave_out_what_is_damaged_or_erased() -> None:
    letters, key = Letters(), digest_of("gone").hex()
    lines = [b"{", Obs("gone", T0).line(), Obs("kept", T0).line()]
    letters.add(lines, Erased([Erasure("event", key, T0 + 1.0)]))
    letters.sort()
    events = np.sort(np.array([int.from_bytes(digest_of(e)) for e in ("gone", "kept")], np.uint64))

    assert letters.of(events, T0, T0 + 5, 10.0) == lines[2:]


async def test_slices_are_listed_in_order_and_dropped_when_they_are_over() -> None:
    blobs, held = MemoryBlobs(), [Slice(0, 600), Slice(600, 1200), Slice(1200, 1250)]
    for one in held:
        for kind in slices.KINDS:
            await blobs.put(slices.path(LOOP, one, kind), b"")
    await blobs.delete(slices.path(LOOP, held[2], MAIL))
    await blobs.put(f"{slices.folder(LOOP)}readme", b"")

    assert await slices.stored(blobs, LOOP, RANKS) == held
    assert await slices.stored(blobs, LOOP, MAIL) == held[:2]
    assert await slices.drop(blobs, LOOP, 1200) == 4
    assert await slices.stored(blobs, LOOP, RANKS) == held[2:]
    assert await slices.drop(blobs, LOOP, 1200) == 0
