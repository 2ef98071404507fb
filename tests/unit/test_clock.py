import asyncio

import pytest

from shared.clock import StorageClock
from shared.storage import Unavailable


class World:
    """This machine's clock, and a storage that is `ahead` of it and takes `before` + `after` seconds a write."""

    def __init__(self, ahead: float = 100.0, before: float = 0.0, after: float = 0.0) -> None:
        self.time = 1000.0
        self.ahead, self.before, self.after = ahead, before, after
        self.down: Exception | None = None
        self.probes = 0
        self.chance = 0.5
        self.clock = StorageClock(self.probe, lambda: self.time, lambda: self.chance)

    async def probe(self) -> float:
        self.probes += 1
        if self.down is not None:
            raise self.down
        self.time += self.before
        written = self.time + self.ahead
        self.time += self.after
        return written

    @property
    def error(self) -> float:
        return self.clock.now() - (self.time + self.ahead)


async def test_until_the_first_sample_this_machines_clock_stands_in() -> None:
    world = World()
    assert (world.clock.now(), world.clock.known) == (1000.0, False)

    await world.clock.ensure()

    assert (world.clock.now(), world.clock.known) == (1100.0, True)


async def test_a_sample_stands_for_a_minute() -> None:
    world = World()
    await world.clock.ensure()
    world.time += 59.9
    await world.clock.ensure()
    assert world.probes == 1

    world.time += 0.2
    assert not world.clock.known
    await world.clock.ensure()
    assert world.probes == 2


async def test_calls_at_once_share_a_probe() -> None:
    world = World()
    await asyncio.gather(*(world.clock.ensure() for _ in range(10)))
    assert world.probes == 1


async def test_an_estimate_is_off_by_half_the_writes_duration_at_most_and_the_storages_word_never_ahead() -> None:
    for before, after in ((0.0, 3.0), (3.0, 0.0), (1.0, 2.0)):
        world = World(before=before, after=after)
        told = await world.clock.read()

        assert abs(world.error) <= 1.5
        assert told <= world.time + world.ahead


async def test_the_quickest_write_of_the_last_minute_knows_best() -> None:
    world = World(before=0.1, after=0.1)
    await world.clock.read()
    world.before, world.after = 0.0, 3.0
    await world.clock.read()
    assert world.error == pytest.approx(0)

    world.time += 61
    await world.clock.read()
    assert world.error == pytest.approx(-1.5), "an old sample counts no more"


@pytest.mark.parametrize("silence", [0.0, 61.0])
async def test_a_write_during_which_the_process_was_frozen_tells_nothing(silence: float) -> None:
    world = World(before=0.1, after=0.1)
    await world.clock.ensure()
    world.time += silence
    world.after = 600.0
    told = await world.clock.read()

    assert world.error == pytest.approx(0)
    assert not world.clock.known
    assert told <= world.time + world.ahead

    world.after, before = 0.1, world.probes
    await world.clock.ensure()
    assert (world.probes, world.clock.known) == (before + 1, True)


async def test_a_clock_that_is_set_back_during_a_write_is_asked_about_again() -> None:
    world = World()
    world.after = -600.0  # by this machine's clock
    await world.clock.ensure()
    assert (world.clock.now(), world.clock.known) == (world.time, False)

    world.after = 0.1
    await world.clock.ensure()
    assert abs(world.error) == pytest.approx(0.05)
    assert world.clock.known


async def test_a_first_write_that_takes_too_long_leaves_this_machines_clock() -> None:
    world = World(after=4.1)
    await world.clock.ensure()
    assert (world.clock.now(), world.clock.known) == (world.time, False)

    world.after = 4.0
    await world.clock.ensure()
    assert abs(world.error) == pytest.approx(2)
    assert world.clock.known


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 30.0])
async def test_a_clock_that_was_set_is_found_out_by_the_next_write(jump: float) -> None:
    world = World(before=0.01, after=0.01)
    await world.clock.read()
    world.time += jump
    world.ahead -= jump
    world.before = world.after = 0.5

    await world.clock.read()

    assert abs(world.error) <= 0.5


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 2.5), (0.5, 5.0), (0.99, 7.45)])
async def test_storage_that_does_not_answer_leaves_this_machines_clock(chance: float, pause: float) -> None:
    world = World()
    world.chance = chance
    world.down = Unavailable("down")
    await world.clock.ensure()
    assert (world.clock.now(), world.clock.known) == (1000.0, False)

    world.down = None
    world.time += pause - 0.1
    await world.clock.ensure()
    assert (world.probes, world.clock.known) == (1, False)  # in an outage few calls ask again

    world.time += 0.2
    await world.clock.ensure()
    assert (world.probes, world.clock.known) == (2, True)


async def test_a_probe_that_hangs_is_not_waited_for() -> None:
    hang = asyncio.Event()

    async def probe() -> float:
        await hang.wait()
        return 2000.0

    clock = StorageClock(probe, lambda: 1000.0)
    await clock.ensure()
    assert not clock.known
    hang.set()
    await clock.ensure()
    assert clock.now() == 2000.0


async def test_the_storages_word_is_not_made_up() -> None:
    world = World()
    world.down = Unavailable("down")
    with pytest.raises(Unavailable):
        await world.clock.read()


async def test_only_the_first_calls_wait_for_a_probe_that_hangs() -> None:
    now = 1000.0
    answer = asyncio.Event()

    async def probe() -> float:
        await answer.wait()
        return now

    clock = StorageClock(probe, lambda: now)
    first = asyncio.ensure_future(clock.ensure())
    await asyncio.sleep(0)
    now += 0.5

    with pytest.raises(StopIteration):  # it ends without waiting for anything
        clock.ensure().send(None)

    answer.set()
    await first
