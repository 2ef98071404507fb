"""Turns an NCRONTAB expression, such as `*/15 * * * * *`, into the instants at which it falls due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from localhost.config import StartError

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    words: Sequence[str] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day-of-week", 0, 6, _DAYS),
)


class Schedule:
    """{second} {minute} {hour} {day} {month} {day-of-week}, where a missing second is 0 and 0 is Sunday.

    An instant must match all fields: day and day-of-week too, unlike in Unix' cron.

    Attributes:
        expression: the text it was made from.
        sub_minute: whether it falls due more than once within each minute; the host does not monitor such schedules.
    """

    def __init__(self, expression: str) -> None:
        """Parse the expression; `StartError` where it is wrong or never falls due."""
        self.expression = expression
        parts = expression.split()
        if len(parts) == 5:
            parts.insert(0, "0")
        if len(parts) != 6:
            raise StartError(f"schedule {expression!r}: NCRONTAB has five or six fields, not {len(parts)}")
        try:
            values = [_parse_field(part, field) for part, field in zip(parts, _FIELDS, strict=True)]
        except ValueError as error:
            raise StartError(f"schedule {expression!r}: {error}") from None
        self._seconds, self._minutes, self._hours, days, months, weekdays = values
        self._days, self._months, self._weekdays = frozenset(days), frozenset(months), frozenset(weekdays)
        # 29 February falls on every weekday within 400 years, so a date that exists comes round.
        if not any(days[0] <= _LONGEST[month - 1] for month in months):
            raise StartError(f"schedule {expression!r}: it never falls due")
        self.sub_minute = parts[1:] == ["*"] * 5 and len(self._seconds) > 1

    def next(self, after: datetime) -> datetime:
        """Return the first instant strictly after the given one, in the same time zone."""
        start = after.replace(microsecond=0) + timedelta(seconds=1)
        moment = self._first_time(start.hour, start.minute, start.second)
        day = start.date()
        if moment is None or not self._falls_on(day):
            moment = time(self._hours[0], self._minutes[0], self._seconds[0])
            day = self._next_day(day)
        return datetime.combine(day, moment, tzinfo=after.tzinfo)

    def _first_time(self, hour: int, minute: int, second: int) -> time | None:
        """Return the first matching time of a day that is not before the given one."""
        for h in self._hours:
            if h > hour:
                return time(h, self._minutes[0], self._seconds[0])
            if h < hour:
                continue
            for m in self._minutes:
                if m > minute:
                    return time(h, m, self._seconds[0])
                later = next((s for s in self._seconds if s >= second), None) if m == minute else None
                if later is not None:
                    return time(h, m, later)
        return None

    def _next_day(self, day: date) -> date:
        while True:
            day += timedelta(days=1)
            while day.month not in self._months:
                # The 28th plus four days lies in the next month, whatever the month.
                day = (day.replace(day=28) + timedelta(days=4)).replace(day=1)
            if self._falls_on(day):
                return day

    def _falls_on(self, day: date) -> bool:
        return day.month in self._months and day.day in self._days and day.isoweekday() % 7 in self._weekdays


def _parse_field(text: str, field: _Field) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        body, slash, step = part.partition("/")
        if slash and not (_is_number(step) and int(step) > 0):
            raise ValueError(f"{part!r} has no valid step in [{field.name}]")
        if body == "*":
            first, last = field.low, field.high
        elif "-" in body:
            left, right = body.split("-", 1)
            # The host's parser takes a range in either direction.
            first, last = sorted((_parse_value(left, field), _parse_value(right, field)))
        else:
            first = _parse_value(body, field)
            last = field.high if slash else first
        found.update(range(first, last + 1, int(step) if slash else 1))
    return tuple(sorted(found))


def _parse_value(text: str, field: _Field) -> int:
    if _is_number(text):
        value = int(text)
        if not field.low <= value <= field.high:
            raise ValueError(f"{value} is not within {field.low}-{field.high} for [{field.name}]")
        return value
    # Any beginning of a name will do, and the first name with it counts.
    matches = [index for index, word in enumerate(field.words) if text and word.startswith(text.lower())]
    if not matches:
        raise ValueError(f"{text!r} is not a value of [{field.name}]")
    return matches[0] + field.low


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
