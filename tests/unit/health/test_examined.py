"""What is kept of an examined log: bounded, of the last day or two, and gone with what is erased or deleted."""

from __future__ import annotations

import msgspec
import pytest

from shared.health import examined
from shared.health.examined import DAY, ENOUGH, HOUR, Examined, Rewards, Standing, Totals
from shared.health.tally import Tally
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs

LOOP = "0" * 32


def _window(start: int, events: int = 10, reward: float = 1.0) -> Tally:
    return Tally(start=start, end=start + HOUR, lines=events, events=events, reward=reward, squares=reward)


def _days(hours: int, events: int = 1000) -> Examined:
    held = Examined()
    for n in range(hours):
        held = held.with_window(_window(n * HOUR, events))
    return held


def test_after_a_day_with_enough_events_another_tally_begins() -> None:
    day, later, much_later = _days(24), _days(25), _days(60)

    assert (day.before.events, day.latest.events) == (0, 24_000)
    assert (later.before.events, later.latest.events) == (24_000, 1000)
    assert (much_later.before.start, much_later.latest.start) == (DAY, 2 * DAY)
    assert much_later.whole.events == 36_000


def test_a_quiet_loop_is_looked_at_for_longer() -> None:
    held = _days(100, ENOUGH // 100 - 1)

    assert (held.before.events, held.latest.events) == (0, 100 * (ENOUGH // 100 - 1))


def test_rewards_are_kept_by_hour_for_two_days() -> None:
    held = _days(100).with_window(_window(99 * HOUR + 60, 5, 2.0))

    assert sorted(held.hours) == [n * HOUR for n in range(52, 100)]
    assert held.hours[99 * HOUR] == Rewards(1005, 3.0, 3.0)
    assert held.through == 99 * HOUR + 60 + HOUR


def test_what_was_counted_since_then_is_the_latests() -> None:
    held = _days(1).with_totals(Totals(joined=10, repeated=2)).with_totals(Totals(joined=15, repeated=2, late=3))

    assert (held.latest.joined, held.latest.repeated, held.latest.late) == (15, 2, 3)
    assert held.totals == Totals(joined=15, repeated=2, late=3)
    assert held.with_totals(Totals()).latest.joined == 15  # totals that fell are not counted
    assert Examined().with_totals(Totals(joined=10)).latest == Tally()


def test_what_is_deleted_counts_no_more() -> None:
    held = _days(60)

    less = held.less(2 * DAY, 0)
    assert (less.before, less.latest) == (Tally(), held.latest)
    assert min(less.hours) == 2 * DAY
    assert held.less(3 * DAY, 0).whole == Tally()
    assert held.less(0, 0) == held


def test_an_erasure_begins_anew() -> None:
    held = msgspec.structs.replace(_days(60), at=5.0, standing=Standing(1, 2.0), totals=Totals(7))

    assert held.less(0, 1) == Examined(at=5.0, generation=1, standing=Standing(1, 2.0), totals=Totals(7))


async def test_it_is_kept_and_forgotten() -> None:
    blobs, held = MemoryBlobs(), _days(30)
    await examined.forget(blobs, LOOP, 1)
    assert await examined.load(blobs, LOOP) == (Examined(), None)

    await examined.save(blobs, LOOP, held, None)
    await examined.forget(blobs, LOOP, 0)
    assert (await examined.load(blobs, LOOP))[0] == held
    await examined.forget(blobs, LOOP, 1)
    assert (await examined.load(blobs, LOOP))[0] == Examined(generation=1)


async def test_what_cannot_be_read_is_said() -> None:
    blobs = MemoryBlobs()
    await blobs.put(examined.path(LOOP), b'{"format":2}')

    with pytest.raises(StorageError, match="is of format 2"):
        await examined.load(blobs, LOOP)
