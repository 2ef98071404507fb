from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log.buckets import (
    BUCKET,
    EARLY,
    LONG,
    LONGEST_GRACE,
    SETTINGS_LAG,
    Waits,
    bucket_of,
    day_of,
    days,
    grace,
    iso,
    least_window,
    next_bucket,
    slice_length,
)

T0 = 1_700_000_000
BUCKETS = st.integers(T0 // BUCKET - 500, T0 // BUCKET + 500).map(lambda n: n * BUCKET)
WAITS = st.one_of(st.sampled_from([5.0, 12.0, 15.0, 600.0, 172_800.0]), st.floats(5, 172_800))
HELD = st.builds(
    lambda first, changes: Waits(((0, first), *sorted(changes.items()))),
    WAITS,
    st.dictionaries(BUCKETS, WAITS, max_size=4),
)
NOW = st.floats(T0 - 3000, T0 + 3000)


@pytest.mark.parametrize(
    ("time", "bucket", "following"),
    [(T0, T0, T0), (T0 + 0.000001, T0, T0 + 5), (T0 + 4.999999, T0, T0 + 5), (T0 + 5, T0 + 5, T0 + 5)],
)
def test_a_time_belongs_to_the_bucket_that_began_last(time: float, bucket: int, following: int) -> None:
    assert (bucket_of(time), next_bucket(time)) == (bucket, following)


@pytest.mark.parametrize(
    ("wait", "seconds"), [(5, 4), (12, 4), (15, 5), (60, 20), (269.7, 89.9), (270, 90), (600, 90), (172_800, 90)]
)
def test_grace_follows_the_wait(wait: float, seconds: float) -> None:
    assert grace(wait) == pytest.approx(seconds)


@given(HELD, BUCKETS)
def test_a_wait_holds_from_its_bucket_on(waits: Waits, bucket: int) -> None:
    assert waits.at(bucket) == [wait for since, wait in waits.steps if since == 0 or since <= bucket][-1]


@given(HELD, BUCKETS, st.integers(-SETTINGS_LAG // BUCKET, SETTINGS_LAG // BUCKET))
def test_a_bucket_takes_the_longest_grace_that_any_instance_may_believe_in(waits: Waits, bucket: int, off: int) -> None:
    assert waits.closes(bucket) >= bucket + BUCKET + grace(waits.at(bucket + off * BUCKET))
    assert waits.closes(bucket) <= bucket + BUCKET + LONGEST_GRACE


@given(HELD, NOW)
def test_all_before_the_first_open_bucket_are_closed(waits: Waits, now: float) -> None:
    first_open = waits.closed_before(now)

    assert first_open % BUCKET == 0
    assert waits.closes(first_open) > now
    assert all(waits.closes(first_open - n * BUCKET) <= now for n in range(1, 100))


@given(HELD, NOW, st.floats(0, 1000))
def test_a_closed_bucket_never_opens_again_as_time_goes_on(waits: Waits, now: float, later: float) -> None:
    assert waits.closed_before(now + later) >= waits.closed_before(now)


@given(WAITS, st.lists(st.tuples(st.integers(0, 300), WAITS), min_size=1, max_size=5), NOW)
def test_no_change_opens_a_closed_bucket_or_alters_the_past(
    first: float, changes: list[tuple[int, float]], now: float
) -> None:
    waits = Waits(((0, first),))
    for later, wait in changes:
        now += later
        closed = waits.closed_before(now)
        changed = waits.with_change(next_bucket(now + 60), wait, forget_before=int(now) - 90 * 86_400)

        assert changed.closed_before(now) == closed
        for bucket in range(closed - 1000, bucket_of(now) + 1, BUCKET):
            assert changed.at(bucket) == waits.at(bucket)
        # An instance that has not heard of the change yet closes what it writes no later than the join does.
        for bucket in range(closed, bucket_of(now) + SETTINGS_LAG, BUCKET):
            assert waits.closes(bucket) <= changed.closes(bucket)
        assert changed.at(next_bucket(now + 60)) == wait
        waits = changed


def test_a_change_takes_the_place_of_a_later_one_that_has_not_begun() -> None:
    waits = Waits(((0, 600.0),)).with_change(1000, 15.0, forget_before=0).with_change(990, 30.0, forget_before=0)

    assert waits.steps == ((0, 600.0), (990, 30.0))
    assert waits.at(1000) == 30.0


def test_a_change_that_is_taken_back_before_it_has_begun_leaves_nothing() -> None:
    waits = Waits(((0, 600.0),)).with_change(1000, 15.0, forget_before=0)

    assert waits.with_change(990, 600.0, forget_before=0).steps == ((0, 600.0),)
    assert waits.with_change(1005, 600.0, forget_before=0).steps == ((0, 600.0), (1000, 15.0), (1005, 600.0))


def test_waits_that_no_event_can_need_are_forgotten() -> None:
    waits = Waits(((0, 5.0), (1000, 15.0), (2000, 30.0)))

    assert waits.with_change(3000, 60.0, forget_before=1999).steps == ((1000, 15.0), (2000, 30.0), (3000, 60.0))
    assert waits.with_change(3000, 60.0, forget_before=2000).steps == ((2000, 30.0), (3000, 60.0))
    assert waits.with_change(3000, 60.0, forget_before=9999).steps == ((3000, 60.0),)


def test_a_wait_between_two_near_changes_counts_too() -> None:
    waits = Waits(((0, 5.0), (1000, 600.0), (1005, 5.0)))

    assert waits.closes(1005) == 1005 + BUCKET + 90
    assert waits.closes(1015) == 1015 + BUCKET + 4


@pytest.mark.parametrize(
    ("after", "until", "found"), [(0, 5000, [1000, 2000]), (1000, 5000, [2000]), (999, 2000, [1000]), (2000, 9000, [])]
)
def test_changes_strictly_between(after: int, until: int, found: list[int]) -> None:
    assert list(Waits(((500, 5.0), (1000, 15.0), (2000, 30.0))).changes(after, until)) == found


@given(BUCKETS, st.integers(0, 100_000).map(lambda n: n * BUCKET))
def test_days_cut_a_range_at_midnight_and_nowhere_else(first: int, length: int) -> None:
    parts = list(days(first, first + length))

    assert all(day_of(start) == day == day_of(end - BUCKET) for day, start, end in parts)
    assert all(before[2] == after[1] and after[1] % 86_400 == 0 for before, after in pairwise(parts))
    assert (parts[0][1], parts[-1][2]) == (first, first + length) if length else not parts


def test_times_are_written_in_utc_with_microseconds() -> None:
    assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500000Z"
    assert day_of(1_700_006_399) == "20231114"
    assert day_of(1_700_006_400) == "20231115"


@given(st.floats(60, LONG))
def test_a_row_of_observations_is_read_by_twelve_windows_at_most(wait: float) -> None:
    least = least_window(wait)

    # A window from s on reads the buckets from s - 120 to s + least + wait, to the end of the bucket.
    reads = -(-(EARLY + least + next_bucket(wait)) // least)
    assert least % BUCKET == 0
    assert reads <= 12


@pytest.mark.parametrize(("wait", "least"), [(5, 5), (15, 5), (59, 10), (60, 20), (600, 70), (7200, 670)])
def test_short_waits_make_short_windows(wait: float, least: int) -> None:
    assert least_window(wait) == least


@given(st.floats(LONG + 1, 60 * 86_400))
def test_a_window_that_waits_long_gets_its_mail_from_a_bounded_number_of_slices(wait: float) -> None:
    length = slice_length(wait)

    assert 86_400 % length == 0
    assert wait / length <= 145
    assert length <= max(600, wait / 24)


def test_long_stretches_are_those_that_end_later() -> None:
    waits = Waits(((7, 5.0), (100, LONG), (200, LONG + 5), (300, 5.0), (400, 90_000.0)))

    assert list(waits.long_stretches(0)) == [(200, 300, LONG + 5), (400, float("inf"), 90_000.0)]
    assert list(waits.long_stretches(300)) == [(400, float("inf"), 90_000.0)]
    assert list(Waits(((7, 9000.0),)).long_stretches(0)) == [(0, float("inf"), 9000.0)]
