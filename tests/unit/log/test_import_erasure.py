"""An erased event goes from imports as it goes from the log, wherever the run is cut off."""

import contextlib
import itertools

import pytest

from shared.log import checkpoint as checkpoints
from shared.log import imports
from shared.log.eraser import QUIET
from shared.log.erasure import Erased
from shared.log.imports import Import
from shared.log.joined import pack
from shared.storage import StorageError, Unavailable
from tests.cutoff import CutOff, Killed
from tests.journalled import LOOP, T0
from tests.unit.log.test_eraser import LATER, VICTIM, World, told

LINES = [
    b'{"EventId":"%b","Timestamp":"2023-01-01T00:00:00.%06dZ","c":{},"VWState":{"m":"N/A"}}' % (name, n)
    for n, name in enumerate([b"first", VICTIM.encode(), b"second", b"third"])
]
NAME = imports.name_of(0.0, LINES)


async def with_import() -> World:
    world = await told([])
    record = Import(NAME, "a file", 1.0, 0.0, 0.0, len(LINES))
    await imports.write(world.blobs, LOOP, record, [pack(LINES[:2]), pack(LINES[2:])])
    return world


async def left(world: World) -> list[bytes]:
    """What a trainer would read."""
    held, _ = await checkpoints.load(world.blobs, LOOP)
    parts = await imports.parts(world.blobs, LOOP, [NAME])
    return [line for part in parts for line in await imports.read(world.blobs, LOOP, part, Erased(held.erasures))]


async def test_the_event_is_gone_and_nothing_else_is() -> None:
    world = await with_import()
    await world.ask("event", VICTIM, T0)
    assert await left(world) == [LINES[0], *LINES[2:]]  # hidden at once

    await world.finish(T0 + LATER)

    assert await left(world) == [LINES[0], *LINES[2:]]
    assert await world.residue(VICTIM) == []
    generations = [part.generation for part in await imports.generations(world.blobs, LOOP)]
    assert generations == [1, 0]
    assert world.counters["erase.rows"] == 1


@pytest.mark.parametrize("effect", ["killed", "reply lost"])
async def test_a_run_may_be_cut_off_anywhere(effect: str) -> None:
    for n in itertools.count():
        world = await with_import()
        await world.ask("event", VICTIM, T0)
        gate = world.gate = CutOff(n, effect)
        now = T0 + LATER
        for _ in range(2):
            with contextlib.suppress(Killed, Unavailable):
                await world.erase(now)
            assert await left(world) == [LINES[0], *LINES[2:]]
            now += QUIET + 1
        world.gate = None
        await world.finish(now)

        assert await world.residue(VICTIM) == []
        assert await left(world) == [LINES[0], *LINES[2:]]
        if not gate.reached:
            break
    assert n > 12


async def test_a_part_that_another_run_has_replaced_is_gone_on_with_by_the_next() -> None:
    world = await with_import()
    await world.ask("event", VICTIM, T0)

    async def gate(name: str, done: bool) -> None:
        if name.startswith("get") and ".dsjson" in name and not done:
            world.gate = None
            await world.erase(T0 + LATER)

    world.gate = gate
    with pytest.raises(StorageError, match="is gone"):
        await world.erase(T0 + LATER)
    await world.finish(T0 + LATER)

    assert await world.residue(VICTIM) == []
