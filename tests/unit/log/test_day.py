"""A day's sums as blobs: what they hold, how large they are, and what becomes of damaged ones."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
import zstandard

from shared.log.day import DAY, LATE, LENGTH, ActionDay, Damaged, MinuteDay
from shared.log.minutes import COUNTS, SUMS, Part
from shared.storage import StorageError

START = 1_700_006_400
CALLS = ("rank.ok", "reward.ok", "rank.refused")


def full(seed: int) -> MinuteDay:
    """A day of which every minute has every measure, but for those of Apprentice mode, which excludes a holdback."""
    chance = random.Random(seed)
    day = MinuteDay(START, START + DAY, START + DAY, START + DAY)
    for name in (*COUNTS, *CALLS):
        day.columns[name] = np.array([float(chance.randrange(100)) for _ in range(LENGTH)])
    for name in SUMS:
        day.columns[name] = np.array([chance.gauss(30.0, 5.0) for _ in range(LENGTH)])
    for name in ("apprentice", "imitated", "apprenticeRewards", "imitatedRewards"):
        del day.columns[name]
    return day


def test_a_day_comes_back_as_it_was() -> None:
    day = full(1)

    again = MinuteDay.decode(START, day.encode())

    assert (again.start, again.through, again.calls, again.hours) == (START, *3 * [START + DAY])
    assert again.columns.keys() == day.columns.keys()
    for name, column in day.columns.items():
        if name in SUMS:
            np.testing.assert_allclose(again.columns[name], column, rtol=1e-7)
        else:
            np.testing.assert_array_equal(again.columns[name], column)
    assert again.encode() == day.encode()


def test_a_month_of_days_is_below_two_megabytes() -> None:
    assert sum(len(full(n).encode()) for n in range(31)) < 2_000_000


def test_a_quiet_day_is_tiny() -> None:
    day = MinuteDay(START)
    day.add(Part(START + 60, [START], {"events": [1.0], "rewards": [0.5], "squares": [0.0]}))

    assert MinuteDay.decode(START, day.encode()).columns.keys() == {"events", "rewards"}
    assert len(day.encode()) < 250


def test_a_day_takes_its_own_minutes_of_a_part() -> None:
    day = MinuteDay(START)
    minutes = [START - 60, START, START + DAY - 60, START + DAY]
    part = Part(START + DAY + 60, minutes, {"events": [1.0, 2.0, 3.0, 4.0]})
    day.add(part)
    day.add(part)

    assert day.columns["events"].nonzero()[0].tolist() == [0, LENGTH - 1]
    assert day.columns["events"].sum() == 2 * 5


@pytest.mark.parametrize(
    ("before", "left"), [(0, 3), (START, 3), (START + 59, 3), (START + 60, 2), (START + 180, 0), (START + 9 * DAY, 0)]
)
def test_minutes_before_a_time_are_forgotten(before: int, left: int) -> None:
    day = MinuteDay(START)
    for n in range(3):
        day.count(LATE, START + 60 * n + 7, 1)
    day.less(before)

    assert day.columns[LATE].sum() == left


def test_of_a_day_whose_windows_all_ended_before_a_time_nothing_of_theirs_is_left() -> None:
    day = MinuteDay(START, START + 90)
    for name in ("events", "rank.ok", LATE):
        day.count(name, START + 60, 1)
    actions = ActionDay(START, START + 90, {START: {"a": (1, 1.0, 1.0)}})

    day.less(START + 89)
    actions.less(START + 89)
    assert [day.columns[name].sum() for name in ("events", "rank.ok", LATE)] == [1, 1, 1]
    assert actions.hours
    day.less(START + 90)
    actions.less(START + 90)
    assert [day.columns[name].sum() for name in ("events", "rank.ok", LATE)] == [0, 1, 1]
    assert actions.hours == {}


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_a_damaged_day_is_known_to_be(cut: int) -> None:
    with pytest.raises(Damaged):
        MinuteDay.decode(START, full(1).encode()[:cut])
    with pytest.raises(Damaged):
        ActionDay.decode(START, ActionDay(START, 5, {START: {"a": (1, 1.0, 1.0)}}).encode()[: min(cut, 5)])
    with pytest.raises(Damaged):
        MinuteDay.decode(START, zstandard.compress(b'{"through":"'))
    columns = b'{"through":0,"calls":0,"hours":0,"counts":["events"],"sums":[]}'
    with pytest.raises(Damaged, match="1 columns"):
        MinuteDay.decode(START, zstandard.compress(columns + b"\n" + b"\0" * 5759))


def test_a_day_of_a_later_release_is_none_of_ours() -> None:
    held = {"through": 0, "calls": 0, "hours": 0, "counts": [], "sums": [], "format": 2}
    with pytest.raises(StorageError, match="format 2") as failed:
        MinuteDay.decode(START, zstandard.compress(msgspec.json.encode(held) + b"\n"))
    assert not isinstance(failed.value, Damaged)


def test_actions_come_back_as_they_were() -> None:
    part = Part(9, [], {}, {START: {"a": (1, 0.1, 0.01), 'ü/"': (2, -1.0, 1.0)}, START + DAY: {"a": (9, 9.0, 9.0)}})
    day = ActionDay(START)
    day.add(part)
    day.add(part)
    day.through = 9

    again = ActionDay.decode(START, day.encode())

    assert again == day
    assert again.hours == {START: {"a": (2, 0.2, 0.02), 'ü/"': (4, -2.0, 2.0)}}
    day.through = again.through = START + 9 * DAY
    again.less(START + 3599)
    assert again == day
    again.less(START + 3600)
    assert again.hours == {}
