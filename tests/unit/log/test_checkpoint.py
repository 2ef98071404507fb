"""The checkpoint of a join is kept from a neighbour of a former release, which would drop what it does not know."""

from typing import Any

import msgspec
import pytest

from shared.log import checkpoint as checkpoints
from shared.log.apprentice import Apprenticeship, Totals
from shared.log.arms import Arms, Sums
from shared.log.checkpoint import Checkpoint, Plan
from shared.log.erasure import Erasure
from shared.log.join import Rules
from shared.log.minutes import Part
from shared.log.series import Ahead
from shared.log.slices import Slice
from shared.storage import StorageError, documents
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, T0

RULES = Rules(600.0, 0.0, "sum", (-1.0, 1.0))


class FirstPlan(msgspec.Struct, frozen=True):
    """A plan as the first release knows it."""

    start: int
    end: int
    rules: Rules


class First(msgspec.Struct, omit_defaults=True):
    """A checkpoint as the first release knows it."""

    watermark: int = 0
    since: int = 0
    plan: FirstPlan | None = None
    shards: list[int] = msgspec.field(default_factory=list)
    events: int = 0
    rewarded: int = 0
    retries: int = 0
    inactive: int = 0
    duplicates: int = 0
    empty_slots: int = 0
    format: int = 1


async def stored(blobs: MemoryBlobs) -> bytes:
    blob = await blobs.get(checkpoints.path(LOOP))
    assert blob is not None
    return blob.data


NEWS: list[dict[str, Any]] = [
    {"generation": 1},
    {"erasures": [Erasure("event", "00" * 8, 1.0)]},
    {"sliced": T0},
    {"slice": Slice(T0, T0 + 600)},
    {"plan": Plan(T0, T0 + 60, RULES, generation=1)},
    {"plan": Plan(T0, T0 + 60, RULES, routed=True)},
]
LATEST: list[dict[str, Any]] = [
    {"arms": Arms()},
    {"arms": Arms(5.125, Sums(2, 1.5, 1.25), Sums(1, -1.0, 1.0)), "generation": 2},
    {"apprentice": Apprenticeship(1.0, 2.0, Totals(1, 1, 0.5, 0.5), b"\x00\xff" * 9)},
]
"""What the first release does not know, nor the one that reads format 2."""
CHARTED: list[dict[str, Any]] = [{"cleared": T0}, {"ahead": Ahead(tail=Part(T0 + 60))}]
"""What an earlier release drops: some minutes are missing in charts then (ADR 0036)."""


@pytest.mark.parametrize("news", NEWS, ids=lambda news: "-".join(news))
async def test_the_first_release_refuses_what_it_would_drop(news: dict[str, Any]) -> None:
    blobs, held = MemoryBlobs(), Checkpoint(watermark=T0, **news)
    await checkpoints.save(blobs, LOOP, held, None)

    with pytest.raises(StorageError, match="is of format 2; this release reads 1"):
        documents.decode(await stored(blobs), First, "it")
    assert (await checkpoints.load(blobs, LOOP))[0] == held


@pytest.mark.parametrize("news", LATEST, ids=lambda news: "-".join(news))
async def test_every_former_release_refuses_what_it_would_drop(news: dict[str, Any]) -> None:
    blobs, held = MemoryBlobs(), Checkpoint(watermark=T0, **news)
    await checkpoints.save(blobs, LOOP, held, None)

    for former in (1, 2):
        with pytest.raises(StorageError, match="is of format 3"):
            documents.decode(await stored(blobs), First, "it", former)
    assert (await checkpoints.load(blobs, LOOP))[0] == held


async def test_the_first_release_works_beside_this_one_while_nothing_new_is_in_use() -> None:
    blobs = MemoryBlobs()
    held = Checkpoint(watermark=T0, plan=Plan(T0, T0 + 60, RULES), shards=[0, 2], events=7)
    etag = await checkpoints.save(blobs, LOOP, held, None)

    theirs = documents.decode(await stored(blobs), First, "it")
    assert theirs == First(T0, 0, FirstPlan(T0, T0 + 60, RULES), [0, 2], 7)
    await blobs.put(checkpoints.path(LOOP), msgspec.json.encode(theirs), etag)
    assert (await checkpoints.load(blobs, LOOP))[0] == held


@pytest.mark.parametrize("news", CHARTED, ids=lambda news: "-".join(news))
async def test_what_charts_alone_need_keeps_no_former_release_from_joining(news: dict[str, Any]) -> None:
    blobs, held = MemoryBlobs(), Checkpoint(watermark=T0, **news)
    await checkpoints.save(blobs, LOOP, held, None)

    assert documents.decode(await stored(blobs), First, "it") == First(T0)
    assert (await checkpoints.load(blobs, LOOP))[0] == held


def test_every_member_the_first_release_does_not_know_is_tested() -> None:
    tested = {name for news in (*NEWS, *LATEST, *CHARTED) for name in news}
    assert {*Checkpoint.__struct_fields__} - {*First.__struct_fields__} <= tested
    assert {*Plan.__struct_fields__} - {*FirstPlan.__struct_fields__} == {"generation", "routed"}


async def test_a_change_that_changes_nothing_writes_nothing_whatever_the_format() -> None:
    blobs = MemoryBlobs()
    await checkpoints.save(blobs, LOOP, Checkpoint(generation=3), None)
    before = await blobs.get(checkpoints.path(LOOP))

    assert await checkpoints.change(blobs, LOOP, lambda _: Checkpoint(generation=3)) == Checkpoint(generation=3)
    assert await blobs.get(checkpoints.path(LOOP)) == before


async def test_what_is_no_more_in_use_is_open_to_the_first_release_again() -> None:
    blobs = MemoryBlobs()
    etag = await checkpoints.save(blobs, LOOP, Checkpoint(slice=Slice(T0, T0 + 600)), None)
    held, _ = await checkpoints.load(blobs, LOOP)
    await checkpoints.save(blobs, LOOP, msgspec.structs.replace(held, slice=None), etag)

    assert documents.decode(await stored(blobs), First, "it") == First()


async def test_a_later_release_is_refused() -> None:
    blobs = MemoryBlobs()
    await blobs.put(checkpoints.path(LOOP), b'{"format":4}')

    with pytest.raises(StorageError, match="is of format 4; this release reads 1 to 3"):
        await checkpoints.load(blobs, LOOP)
