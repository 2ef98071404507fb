from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from localhost.config import StartError
from localhost.ncrontab import Schedule

# A busy machine must not fail a property.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# 22 November 2026 is a Sunday.
AFTER = datetime(2026, 11, 22, 6, 30, 15, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("* * * * * *", "2026-11-22T06:30:16"),
        ("*/15 * * * * *", "2026-11-22T06:30:30"),
        ("15 * * * * *", "2026-11-22T06:31:15"),
        ("2/5 * * * * *", "2026-11-22T06:30:17"),
        ("0 */5 * * * *", "2026-11-22T06:35:00"),
        ("*/5 * * * *", "2026-11-22T06:35:00"),
        ("0 0/20 * * * *", "2026-11-22T06:40:00"),
        ("0 0 * * * *", "2026-11-22T07:00:00"),
        ("59 59 23 * * *", "2026-11-22T23:59:59"),
        ("0 30 9 * * Mon-Fri", "2026-11-23T09:30:00"),
        ("0 30 9 * Jan Mon", "2027-01-04T09:30:00"),
        ("0 0 0 1 * *", "2026-12-01T00:00:00"),
        ("0 0 0 31 * *", "2026-12-31T00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 0 29 feb sunday", "2032-02-29T00:00:00"),
        # Both must match, unlike in Unix' cron.
        ("0 0 0 13 * 5", "2027-08-13T00:00:00"),
        ("0 0 6,18 * * *", "2026-11-22T18:00:00"),
        ("0 0 8-6 * * *", "2026-11-22T07:00:00"),
        ("0 0 12 1-7/3 * *", "2026-12-01T12:00:00"),
    ],
)
def test_next(expression: str, expected: str) -> None:
    assert Schedule(expression).next(AFTER) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_an_instant_that_is_due_is_not_its_own_next() -> None:
    schedule = Schedule("0 0 0 * * *")
    midnight = datetime(2027, 1, 1, tzinfo=UTC)

    assert schedule.next(midnight) == midnight + timedelta(days=1)
    assert schedule.next(midnight - timedelta(microseconds=1)) == midnight


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("* * * *", "five or six fields"),
        ("00:00:15", "five or six fields"),
        ("0 60 * * * *", "60 is not within 0-59"),
        ("0 0 0 * * 7", "7 is not within 0-6"),
        ("x * * * * *", "'x' is not a value"),
        ("0 0 0 * Foo *", "'Foo' is not a value"),
        ("*/0 * * * * *", "step"),
        ("*/x * * * * *", "step"),
        ("1,,2 * * * * *", "'' is not a value"),
        ("0 0 0 30 2 *", "never"),
        ("0 0 0 31 4,6,9,11 *", "never"),
    ],
)
def test_refused(expression: str, reason: str) -> None:
    with pytest.raises(StartError, match=reason):
        Schedule(expression)


@pytest.mark.parametrize(
    ("expression", "sub_minute"),
    [
        ("*/15 * * * * *", True),
        ("* * * * * *", True),
        ("0,30 * * * * *", True),
        ("0 * * * * *", False),
        ("*/15 0 * * * *", False),
        ("* * * * *", False),
    ],
)
def test_sub_minute(expression: str, sub_minute: bool) -> None:
    assert Schedule(expression).sub_minute is sub_minute


def parts(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field's text and what it means, found without the parser."""
    values = st.integers(low, high)
    every = st.just(("*", frozenset(range(low, high + 1))))
    single = values.map(lambda v: (str(v), frozenset({v})))
    stepped = st.integers(1, high).map(lambda n: (f"*/{n}", frozenset(range(low, high + 1, n))))
    spans = st.tuples(values, values).map(lambda ab: (f"{ab[0]}-{ab[1]}", frozenset(range(min(ab), max(ab) + 1))))
    lists = st.frozensets(values, min_size=1, max_size=4).map(lambda v: (",".join(map(str, sorted(v))), v))
    return st.one_of(every, single, stepped, spans, lists)


FIELDS = st.tuples(parts(0, 59), parts(0, 59), parts(0, 23), parts(1, 31), parts(1, 12), parts(0, 6))
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def matches(fields: tuple[tuple[str, frozenset[int]], ...], at: datetime) -> bool:
    found = (at.second, at.minute, at.hour, at.day, at.month, at.isoweekday() % 7)
    return all(value in allowed for value, (_, allowed) in zip(found, fields, strict=True))


@UNTIMED
@given(FIELDS, INSTANTS)
def test_what_next_returns_matches_and_nothing_nearby_was_passed_over(
    fields: tuple[tuple[str, frozenset[int]], ...], after: datetime
) -> None:
    try:
        schedule = Schedule(" ".join(text for text, _ in fields))
    except StartError as error:
        assume("never" not in str(error))
        raise

    found = schedule.next(after)

    assert found > after
    assert matches(fields, found)
    # Every second near both ends, and every day between.
    start = after.replace(microsecond=0) + timedelta(seconds=1)
    for second in range(min(200, int((found - start).total_seconds()))):
        assert not matches(fields, start + timedelta(seconds=second))
    for second in range(1, min(200, int((found - start).total_seconds()))):
        assert not matches(fields, found - timedelta(seconds=second))


@UNTIMED
@given(FIELDS, INSTANTS)
def test_no_day_is_passed_over(fields: tuple[tuple[str, frozenset[int]], ...], after: datetime) -> None:
    days = (("0", frozenset({0})), ("0", frozenset({0})), ("0", frozenset({0})), *fields[3:])
    try:
        found = Schedule(" ".join(text for text, _ in days)).next(after)
    except StartError:
        assume(False)

    day = after.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while day < found:
        assert not matches(days, day)
        day += timedelta(days=1)
