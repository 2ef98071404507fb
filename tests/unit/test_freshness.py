"""How old what was seen may be, with a clock that is moved by hand and looks that end when they are told to."""

from __future__ import annotations

import asyncio
import logging

import pytest

from shared import freshness
from shared.freshness import HARD, SOFT, Freshness
from shared.storage import Unavailable


class World:
    """A clock, and looks that can be held back or fail."""

    def __init__(self) -> None:
        self.now = 100.0
        self.looks = 0
        self.failing = False
        self.chance = 0.5
        self.gate = asyncio.Event()
        self.gate.set()
        self.freshness = Freshness(self.look, lambda: self.now, chance=lambda: self.chance)

    async def look(self) -> None:
        self.looks += 1
        await self.gate.wait()
        if self.failing:
            raise Unavailable("down")

    async def settle(self) -> None:
        """Let what can go on go on."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_the_first_call_waits_for_a_look(world: World) -> None:
    assert (world.freshness.seen, world.freshness.age()) == (False, float("inf"))

    await world.freshness.ensure()

    assert (world.freshness.seen, world.freshness.age(), world.looks) == (True, 0.0, 1)


async def test_calls_soon_after_a_look_do_not_look(world: World) -> None:
    await world.freshness.ensure()
    world.now += SOFT - 0.1

    for _ in range(10):
        await world.freshness.ensure()
    await world.settle()

    assert world.looks == 1


async def test_a_look_that_is_due_runs_beside_the_calls(world: World) -> None:
    await world.freshness.ensure()
    world.now += SOFT
    world.gate.clear()

    for _ in range(10):
        await world.freshness.ensure()  # returns, though the look does not
    await world.settle()
    assert (world.looks, world.freshness.age()) == (2, SOFT)

    world.gate.set()
    await world.settle()
    assert world.freshness.age() == 0


async def test_after_a_silence_a_call_waits_for_the_look(world: World) -> None:
    await world.freshness.ensure()
    world.now += HARD

    await world.freshness.ensure()

    assert (world.looks, world.freshness.age()) == (2, 0.0)


async def test_a_call_waits_no_longer_than_its_patience(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "PATIENCE", 0.01)
    await world.freshness.ensure()
    world.now += HARD
    world.gate.clear()

    await asyncio.gather(*[world.freshness.ensure() for _ in range(10)])

    assert (world.looks, world.freshness.age()) == (2, HARD)
    world.gate.set()
    await world.settle()
    assert world.freshness.age() == 0


async def test_calls_that_are_cancelled_leave_the_look_running(world: World) -> None:
    world.gate.clear()
    call = asyncio.ensure_future(world.freshness.ensure())
    await world.settle()
    call.cancel()
    await world.settle()
    assert call.cancelled()

    world.gate.set()
    await world.settle()

    assert world.freshness.seen
    assert world.looks == 1


async def test_what_was_seen_is_as_old_as_the_start_of_its_look(world: World) -> None:
    await world.freshness.ensure()
    world.now += SOFT
    world.gate.clear()
    await world.freshness.ensure()
    await world.settle()
    world.now += 1
    world.gate.set()
    await world.settle()

    assert world.freshness.age() == 1


async def test_a_look_that_fails_leaves_what_was_seen_and_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.freshness.ensure()
    world.now += HARD
    world.failing = True

    with caplog.at_level(logging.WARNING):
        await world.freshness.ensure()

    assert world.freshness.seen
    assert world.freshness.age() == HARD
    assert "what was last seen stands: down" in caplog.text


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.5), (0.5, 1.0), (0.99, 1.49)])
async def test_after_a_failure_there_is_a_pause(world: World, chance: float, pause: float) -> None:
    world.chance = chance
    world.failing = True
    for _ in range(5):
        await world.freshness.ensure()
    assert (world.looks, world.freshness.seen) == (1, False)

    world.now += pause - 0.01
    await world.freshness.ensure()
    assert world.looks == 1

    world.now += 0.02
    world.failing = False
    await world.freshness.ensure()
    assert (world.looks, world.freshness.seen) == (2, True)


async def test_refresh_looks_at_once_and_tells_of_a_failure(world: World) -> None:
    await world.freshness.ensure()
    world.now += 1

    await world.freshness.refresh()
    assert (world.looks, world.freshness.age()) == (2, 0.0)
    world.failing = True
    with pytest.raises(Unavailable):
        await world.freshness.refresh()
    assert world.freshness.age() == 0.0


async def test_an_older_look_that_ends_late_does_not_make_it_older(world: World) -> None:
    world.gate.clear()
    older = asyncio.ensure_future(world.freshness.refresh())
    await world.settle()
    held_back, world.gate = world.gate, asyncio.Event()
    world.gate.set()
    world.now += 3
    await world.freshness.refresh()
    held_back.set()
    await older

    assert world.freshness.age() == 0


def test_five_seconds_are_kept() -> None:
    # A call that does not wait acts on a look younger than HARD, of which the look itself may take the rest.
    assert SOFT < HARD
    assert freshness.PATIENCE + HARD <= 5.0


async def test_only_the_first_calls_wait_for_a_look_that_hangs(world: World) -> None:
    await world.freshness.ensure()
    world.now += HARD + 1
    world.gate.clear()
    first = asyncio.ensure_future(world.freshness.ensure())
    await world.settle()
    assert not first.done()
    world.now += freshness.PATIENCE + 0.1

    with pytest.raises(StopIteration):  # it ends without waiting for anything
        world.freshness.ensure().send(None)

    world.gate.set()
    await first
