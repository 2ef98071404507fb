"""Tables of where events stand: merged, found in whole and in part, and the same from what is stored."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.log import index
from shared.log.erasure import NOTHING, Erased, Erasure, decode_line
from shared.log.index import OBSERVED, RANKED
from shared.log.join import LoopRules, decode_events, join, observations_of
from shared.log.joined import Window, window_path, write_index
from shared.log.records import Observed, Ranked, decode_observed, digest_of, mark
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, T0, Obs, Rank
from tests.unit.log.test_joiner import SHORT

ANN = "0123456789abcdef" * 2
digests = st.one_of(
    st.integers(0, 2**64 - 1), st.integers(0, 200), st.integers(2**64 - 200, 2**64 - 1), st.sampled_from([7, 2**63])
)


class CountedBlobs(MemoryBlobs):
    """Blobs that count the bytes that are read in part."""

    read = 0

    async def get_range(self, path, start, length):  # type: ignore[no-untyped-def]
        blob = await super().get_range(path, start, length)
        self.read += len(blob.data) if blob else 0
        return blob


def table(numbers: list[int]) -> index.Table:
    return index.merge([np.array([(n, 0, float(k), b"r") for k, n in enumerate(numbers)], index.ROW)])


def test_rows_are_what_was_told_in_order_of_digests_and_time() -> None:
    events = [event for n in range(50) for event in decode_events([Rank(f"e{n}", T0 + n, subject=ANN).line()])]
    observed = [Observed(f"e{n % 60}", T0 + n + 0.25, "r") for n in range(100)]

    found = index.of(events, observed)

    assert found.dtype == index.ROW
    assert len(found) == 150
    assert sorted(found["event"].tolist()) == found["event"].tolist()
    for n in range(60):
        rows = index.rows_of(found, digest_of(f"e{n}"))
        told = [(float(T0 + n), b"r", int(ANN[:16], 16))] if n < 50 else []
        told += [(T0 + k + 0.25, b"o", 0) for k in range(100) if k % 60 == n]
        assert [(row["time"], row["kind"], row["subject"]) for row in rows] == sorted(told)


def test_a_table_is_read_as_it_was_written() -> None:
    parts = [table([5, 3, 2**64 - 1]), table([]), table([3, 2**63])]

    merged = index.merge(parts)

    assert index.decode(merged.tobytes()).tolist() == merged.tolist()
    assert merged["event"].tolist() == [3, 3, 5, 2**63, 2**64 - 1]
    assert len(index.merge([])) == 0


def test_what_is_stored_of_a_window_gives_the_table_that_it_was_joined_with() -> None:
    ranks = [Rank(f"e{n}", T0 + n / 8, subject=ANN if n % 3 else None) for n in range(40)]
    arrived = [Obs(f"e{n}", T0 + n / 8 + 0.5).line() for n in range(50)] + [b"garbage"]
    events = decode_events([rank.line() for rank in ranks])
    keys = {event.e for event in events}
    rules = LoopRules(LOOP, SHORT, 0.0, "sum", (-1.0, 1.0)).at(T0)
    outcome = join(events, observations_of(keys, arrived), [], rules)

    stored = index.of_lines(outcome.lines, arrived)

    assert stored.tobytes() == index.of(outcome.events, map(decode_observed, arrived[:-1])).tobytes()
    assert decode_line(outcome.lines[0]).time == T0


@pytest.mark.parametrize(("ids", "tags", "held"), [(["e"], [], True), (["f", "g"], [], False), ([], [ANN], True),
                                                   ([], ["f" * 32], False), ([], [], False)])  # fmt: skip
def test_a_table_tells_whether_it_holds_any_of_many(ids: list[str], tags: list[str], held: bool) -> None:
    found = index.of(decode_events([Rank("e", T0, subject=ANN).line(), Rank("x", T0 + 1).line()]), [])

    assert index.holds(found, map(digest_of, ids), tags) == held


def test_rows_are_left_that_are_not_erased() -> None:
    named = Erasure("event", digest_of("e").hex(), T0 + 5.0)
    whose = Erasure("subject", ANN, T0 + 9.0, found="marks")
    erased = Erased([named, whose], {"marks": mark("x", T0 + 1.0)})
    ranked = [("e", 0.0), ("e", 6.0), ("x", 1.0), ("x", 2.0), ("z", 1.0)]
    lines = [Rank(name, T0 + time, subject=ANN if name == "x" else None).line() for name, time in ranked]
    observed = [Observed(name, T0 + time, "r") for name, time in [("e", 4.0), ("e", 5.0), ("x", 3.0), ("z", 3.0)]]
    whole = index.of(decode_events(lines), observed)

    left = index.left(whole, erased)

    told = {(name, time, RANKED) for name, time in (("e", 6.0), ("x", 2.0), ("z", 1.0))}
    told |= {("e", 5.0, OBSERVED), ("z", 3.0, OBSERVED)}
    ids = {int.from_bytes(digest_of(name)): name for name in "exz"}
    assert {(ids[int(row["event"])], row["time"] - T0, row["kind"]) for row in left} == told
    assert left.dtype == whole.dtype
    assert index.left(whole, NOTHING).tobytes() == whole.tobytes()


@settings(max_examples=300, deadline=None)
@given(numbers=st.lists(digests, max_size=60), fill=st.integers(0, 3000), seed=st.integers(0, 9), absent=digests)
async def test_a_read_in_part_finds_what_a_whole_one_finds(
    numbers: list[int], fill: int, seed: int, absent: int
) -> None:
    chance = random.Random(seed)
    whole = table([*numbers, *(chance.getrandbits(64) for _ in range(fill))])
    blobs = MemoryBlobs()
    await write_index(blobs, LOOP, Window(T0, T0 + 60), whole)
    path = window_path(LOOP, Window(T0, T0 + 60), "index")
    size = (await blobs.sizes("")).get(path, 0)

    for number in {*numbers, absent}:
        digest = number.to_bytes(8)
        found = await index.find(blobs, path, size, digest) if size else index.decode(b"")
        assert found.tolist() == index.rows_of(whole, digest).tolist()
        assert len(found) >= numbers.count(number)


async def test_a_read_in_part_is_short() -> None:
    chance, blobs = random.Random(1), CountedBlobs()
    numbers = [chance.getrandbits(64) for _ in range(200_000)]
    whole = table(numbers)
    await blobs.put("i", whole.tobytes())
    for number in numbers[:20]:
        (row,) = await index.find(blobs, "i", len(whole) * index.ROW.itemsize, number.to_bytes(8))
        assert row["event"] == number

    assert blobs.read / 20 < 0.04 * len(whole) * index.ROW.itemsize


async def test_a_table_that_is_gone_is_not_taken_for_one_without_rows() -> None:
    with pytest.raises(index.Replaced, match="i is gone"):
        await index.find(MemoryBlobs(), "i", 2500, b"12345678")


EVENT = Ranked("e", 1_700_000_000.25, False, b"{}", u="ab" * 16)  # type: ignore[arg-type]


async def test_what_was_stored_is_what_is_read() -> None:
    blobs = MemoryBlobs()
    table = index.of([EVENT], [Observed("e", 1_700_000_001.5, "r")])
    await blobs.put("t", table.tobytes())

    wanted = [
        (int.from_bytes(digest_of("e")), 0xABABABABABABABAB, 1_700_000_000.25, RANKED),
        (int.from_bytes(digest_of("e")), 0, 1_700_000_001.5, OBSERVED),
    ]
    for read in (index.decode(table.tobytes()), await index.find(blobs, "t", table.nbytes, digest_of("e"))):
        assert [tuple(row) for row in read.tolist()] == wanted


def test_merging_keeps_how_rows_are_stored() -> None:
    one = index.of([EVENT], [])

    for table in (index.merge([one]), index.merge([one, one]), index.merge([])):
        assert table.dtype == index.ROW
    assert np.array_equal(index.merge([one, one]), np.concatenate([one, one], dtype=index.ROW))
