"""Copies made while the deployment goes on: whatever happens at any moment, nothing is lost and nothing is twice."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import orjson
import pytest
from msgspec import structs

from backup import copying
from backup.copying import Account, Copied, Copy, NotCopied
from shared.learning import registry, trainer
from shared.log import activity, checkpoint, erasures, joined, joiner, rows, slices
from shared.log.records import digest_of
from shared.loops import settings
from shared.loops.deployment import DEPLOYMENT
from shared.loops.loops import DEFAULT
from shared.storage import Blob, Unavailable
from tests.integration.test_pipeline import MIDNIGHT, WAITS, World, both_timers, history, until_idle
from tests.journalled import Gate, Obs, Rank, Record, WatchedBlobs, WatchedTables, journal

DONE = MIDNIGHT + 1000.0
"""When all is closed."""
Meanwhile = Callable[[World, str], Awaitable[None]]
"""What happens to a loop while it is copied."""


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joiner, "MAX_EVENTS", 12)
    monkeypatch.setattr(trainer, "MAX_EVENTS", 40)


class Made(NamedTuple):
    """A copy: what served meanwhile, the copy, its loop, and what the copier said."""

    source: World
    twin: World
    loop_id: str
    copied: Copied
    told: list[str]


async def begun(records: list[Record], prune: bool = False) -> tuple[World, str]:
    """A deployment that has joined and learned half of its journal."""
    world = World(prune=prune)
    loop_id = await world.begin(records)
    world.now = MIDNIGHT + 45.0
    await both_timers(world.app())
    return world, loop_id


async def copy(world: World, gate: Gate, told: list[str] | None = None) -> tuple[World, Copied]:
    """Copy a deployment, with each of its storage's calls behind a gate."""
    twin = World(prune=world.prune)
    source = Account(WatchedTables(world.tables, gate), WatchedBlobs(world.blobs, gate))
    copied = await Copy(source, Account(twin.tables, twin.blobs), (told if told is not None else []).append).run()
    return twin, copied


async def made(records: list[Record], meanwhile: Meanwhile, at: int, prune: bool = False) -> Made | None:
    """The copy of a deployment with which something happens before the `at`-th call; None where there are fewer."""
    world, loop_id = await begun(records, prune)
    calls = itertools.count()

    async def gate(name: str, done: bool) -> None:
        if not done and next(calls) == at:
            await meanwhile(world, loop_id)

    told: list[str] = []
    twin, copied = await copy(world, gate, told)
    twin.now = world.now
    return None if next(calls) <= at else Made(world, twin, loop_id, copied, told)


async def idle(world: World) -> None:
    """All is joined, learned and, where it is pruned, deleted."""
    world.now = max(world.now, DONE)
    await until_idle(world)


async def lines(world: World, loop_id: str) -> list[bytes]:
    """The joined log, whatever its windows are, each line as often as it is there."""
    found = []
    held, _ = await checkpoint.load(world.blobs, loop_id)
    for window in await joined.windows(world.blobs, loop_id, 0, held.watermark):
        found += await joined.read(world.blobs, loop_id, window)
    return sorted(found)


async def timers(world: World, loop_id: str) -> None:
    """Everything that is pending is joined, learned and pruned."""
    await idle(world)


async def arrivals(world: World, loop_id: str) -> None:
    """Events come, and are joined with what was there."""
    fresh: list[Record] = [Rank(f"fresh{n}", MIDNIGHT + 46 + n) for n in range(3)]
    await journal(world.tables, [*fresh, Obs("fresh1", MIDNIGHT + 50)], WAITS, loop_id=loop_id, seed=9)
    await idle(world)


@pytest.mark.no_cover
@pytest.mark.parametrize(("meanwhile", "prune"), [(timers, False), (timers, True), (arrivals, True)])
async def test_what_was_acknowledged_before_is_in_the_copy_once_with_its_rewards(
    meanwhile: Meanwhile, prune: bool
) -> None:
    """Whatever the timers do before the n-th call of the copy, for every n."""
    records = history(2, 24)
    plain, plain_id = await begun(records)
    await idle(plain)
    wanted = await lines(plain, plain_id)
    assert len(wanted) == 24

    for n in itertools.count():
        held = await made(records, meanwhile, n, prune)
        if held is None:
            break
        await idle(held.twin)

        found = [line for line in await lines(held.twin, held.loop_id) if b'"fresh' not in line]
        assert found == wanted, f"{meanwhile.__doc__} before call {n}"
        counted, _ = await checkpoint.load(held.twin.blobs, held.loop_id)
        version, _ = await registry.current(held.twin.blobs, held.loop_id)
        assert version is not None
        assert counted.events == len(await lines(held.twin, held.loop_id))
        assert version.trained_through == counted.watermark
    assert n > 20


async def test_a_copy_is_the_same_deployment() -> None:
    world, loop_id = await begun(history(3))
    news, _ = await world.app().loops.create("news")

    twin, copied = await copy(world, _open)

    app = twin.app()
    assert await app.loops.ids() == {DEFAULT: loop_id, "news": news.id}
    assert (await app.loops.named("news")).keys == news.keys
    (before, _), (after, _) = [await registry.current(one.blobs, loop_id) for one in (world, twin)]
    assert before is not None
    assert after == before
    assert await registry.load(twin.blobs, loop_id, before) == await registry.load(world.blobs, loop_id, before)
    assert (copied.loops, copied.blobs) == (2, len(await twin.blobs.names("")))
    journals = [table for stream in ("rank", "obs") for table in await world.tables.names(stream)]
    assert copied.rows == sum([await count(world, table) for table in journals]) > 0
    deployment = orjson.loads((await blob_of(twin, DEPLOYMENT)).data)
    assert deployment["settings"][loop_id] == (await blob_of(twin, settings.path(loop_id))).etag


@pytest.mark.no_cover
async def test_what_is_erased_meanwhile_is_in_no_copy() -> None:
    """Asked for, or asked for and done, before the n-th call of the copy, for every n."""
    records = history(4, 8)
    mark = digest_of("e3").hex()

    async def ask(world: World, loop_id: str) -> None:
        await erasures.ask(world.blobs, loop_id, "event", mark, world.now, bytes(8))
        await activity.note_erasure(world.tables, loop_id)

    async def erase(world: World, loop_id: str) -> None:
        await ask(world, loop_id)
        for _ in range(4):
            world.now += 1000.0
            await both_timers(world.app())
        assert (await checkpoint.load(world.blobs, loop_id))[0].erasures == []

    again = 0
    for meanwhile in (ask, erase):
        for n in itertools.count():
            held = await made(records, meanwhile, n)
            if held is None:
                break
            again += any("begun again" in line for line in held.told)
            for _ in range(4):
                held.twin.now += 1000.0
                await both_timers(held.twin.app())

            late = not await erasing(held.source, held.loop_id, held.twin)
            found = await lines(held.twin, held.loop_id)
            assert len(found) >= 7
            assert late or not [line for line in found if b'"EventId":"e3"' in line], f"before call {n}"
    assert again > 20


async def erasing(world: World, loop_id: str, twin: World) -> bool:
    """Whether the copy knows of the erasure: it was asked for before the loop's copy was whole."""
    generations = [(await checkpoint.load(one.blobs, loop_id))[0].generation for one in (world, twin)]
    return generations[1] > 0


@pytest.mark.parametrize("changes", [1, 99])
async def test_a_loop_whose_settings_change_is_begun_again_a_few_times(changes: int) -> None:
    world, loop_id = await begun(history(5, 20))
    left = changes

    async def gate(name: str, done: bool) -> None:
        nonlocal left
        if left and done and name == f"get {checkpoint.path(loop_id)}":
            left -= 1
            held = await blob_of(world, settings.path(loop_id))
            await world.blobs.put(settings.path(loop_id), held.data, held.etag)

    told: list[str] = []
    if changes > 1:
        with pytest.raises(NotCopied, match="did not keep still"):
            await copy(world, gate, told)
        assert left == changes - 4 * copying.TRIES
        return
    twin, copied = await copy(world, gate, told)

    assert ["begun again" in line for line in told] == [True, False]
    assert copied.rows == sum([await count(world, table) for table in await world.tables.names("rank")]) + sum(
        [await count(world, table) for table in await world.tables.names("obs")]
    )
    twin.now = world.now
    await idle(twin)
    await idle(world)
    assert await lines(twin, loop_id) == await lines(world, loop_id)


async def test_a_target_that_holds_anything_is_left_alone() -> None:
    world, _ = await begun(history(6, 10))
    full, _ = await begun(history(7, 10))
    before = {path: await full.blobs.get(path) for path in await full.blobs.names("")}

    for target in (Account(full.tables, full.blobs), Account(full.tables, World().blobs)):
        with pytest.raises(NotCopied, match="not empty"):
            await Copy(Account(world.tables, world.blobs), target, print).run()

    assert {path: await full.blobs.get(path) for path in await full.blobs.names("")} == before


async def test_a_source_without_a_deployment_is_no_backup() -> None:
    with pytest.raises(NotCopied, match="no deployment"):
        await copy(World(), _open)


async def test_a_loop_that_is_deleted_meanwhile_leaves_no_deployment() -> None:
    world, _ = await begun(history(8, 10))
    news, _ = await world.app().loops.create("news")
    twin = World()

    async def gate(name: str, done: bool) -> None:
        if name == f"get {DEPLOYMENT}" and done:
            await world.blobs.delete(settings.path(news.id))

    source = Account(world.tables, WatchedBlobs(world.blobs, gate))
    with pytest.raises(NotCopied, match=f"{news.id} was deleted"):
        await Copy(source, Account(twin.tables, twin.blobs), print).run()
    assert await twin.blobs.get(DEPLOYMENT) is None


async def test_a_long_waits_slices_are_those_of_its_checkpoint() -> None:
    """The join deletes slices that it has passed: what was listed may be gone, and the checkpoint says so."""
    world, loop_id = await begun(history(9, 10))
    passed, next_one, ahead = (slices.Slice(n * 3600, n * 3600 + 3600) for n in range(3))
    for part in (passed, next_one, ahead):
        await world.blobs.put(slices.path(loop_id, part, slices.MAIL), b"mail")

    async def move(sliced: int) -> None:
        await checkpoint.change(world.blobs, loop_id, lambda held: structs.replace(held, sliced=sliced))

    await move(passed.end)
    moved = False

    async def gate(name: str, done: bool) -> None:
        nonlocal moved
        if not moved and name == f"get {slices.path(loop_id, passed, slices.MAIL)}" and not done:
            moved = True
            await move(next_one.end)
            await world.blobs.delete(slices.path(loop_id, passed, slices.MAIL))

    twin, _ = await copy(world, gate)

    assert await twin.blobs.names(slices.folder(loop_id)) == [slices.path(loop_id, next_one, slices.MAIL)]
    assert (await checkpoint.load(twin.blobs, loop_id))[0].sliced == next_one.end


async def test_a_join_that_never_rests_is_told() -> None:
    world, loop_id = await begun(history(10, 10))

    async def gate(name: str, done: bool) -> None:
        if name == f"get {checkpoint.path(loop_id)}" and not done:
            await checkpoint.change(world.blobs, loop_id, lambda held: structs.replace(held, events=held.events + 1))

    with pytest.raises(NotCopied, match="joined faster"):
        await copy(world, gate)


@pytest.mark.parametrize("gone", [1, 99])
async def test_what_goes_while_it_is_copied_is_looked_for_again(gone: int) -> None:
    """An erasure writes a window anew under another name, and deletes the one that was listed."""
    world, loop_id = await begun(history(11, 20))
    (first, *_) = await world.blobs.names(joined.log_path(loop_id))
    left, name = gone, first

    async def gate(call: str, done: bool) -> None:
        nonlocal left, name
        if left and call == f"get {name}" and not done:
            left, held, before = left - 1, await blob_of(world, name), name
            name = before.replace(".dsjson", f".{left + 1}.dsjson") if gone == 1 else before + "x"
            await world.blobs.put(name, held.data, None, held.metadata)
            await world.blobs.delete(before)

    if gone > 1:
        with pytest.raises(NotCopied, match="deleted or rewritten"):
            await copy(world, gate)
        return
    twin, _ = await copy(world, gate)

    assert name != first
    assert await twin.blobs.names(joined.log_path(loop_id)) == await world.blobs.names(joined.log_path(loop_id))
    assert await blob_of(twin, name) is not None


async def test_what_no_row_can_hold_is_copied_with_it() -> None:
    world, loop_id = await begun(history(12, 10))
    key = rows.RowKey(rows.table_name("rank", loop_id, "20231115"), rows.partition_key(0, MIDNIGHT), "w_0000000001")
    frame = bytes(rows.CAPACITY + 1)
    await world.blobs.put(rows.overflow_path(key), frame, None, {"n": "1"})
    await world.tables.put(key.table, rows.pack(key, frame, 1, 1, b""))

    twin, _ = await copy(world, _open)

    held = await blob_of(twin, rows.overflow_path(key))
    assert (held.data, held.metadata) == (frame, {"n": "1"})


async def test_the_first_failure_ends_it() -> None:
    world, _ = await begun(history(13, 40))

    async def gate(name: str, done: bool) -> None:
        if name.endswith(joined.DSJSON + ".zst"):
            raise Unavailable("the source does not answer")

    with pytest.raises(Unavailable):
        await copy(world, gate)


async def _open(name: str, done: bool) -> None:
    """Let every call pass."""


async def blob_of(world: World, path: str) -> Blob:
    blob = await world.blobs.get(path)
    assert blob is not None, path
    return blob


async def count(world: World, table: str) -> int:
    return len([row async for row in world.tables.query(table, ("", "~"))])
