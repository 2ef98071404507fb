from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.contract.instants import UNSET, parse, spell

T = 1_767_225_600
"""The first moment of 2026."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-01", T),
        ("20260101", T),
        ("2026-01-01T00:00:00", T),
        ("2026-01-01T00:00:00Z", T),
        ("2026-01-01 00:00:00", T),
        ("2026-01-01T00:00", T),
        ("2026-01-01T01:30:00+01:30", T),
        ("2025-12-31T16:00:00-08:00", T),
        ("2026-01-01T00:00:00.000Z", T),
        ("2026-01-01T00:00:00.5Z", T + 0.5),
        ("2022-11-04T00:25:14.2544898Z", 1_667_521_514.254489),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59Z", -1),
        (UNSET, -62_135_596_800),
    ],
)
def test_dates_and_date_times_are_read(text: str, seconds: float) -> None:
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026", "2026-01", "2026-13-01", "2026-02-30", "2026-01-01T25:00:00Z", "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00ZZ", "2026-01-01T00:00:00+25:00", "10000-01-01", "0000-01-01", "-2026-01-01", "1767225600",
        " 2026-01-01", "2026-01-01 ", "\uff12026-01-01", "01/02/2026", "NaN", "\ud800", "x" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_no_date_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no date-time such as") as caught:
        parse(text)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (T, "2026-01-01T00:00:00Z"),
        (T + 0.5, "2026-01-01T00:00:00.500000Z"),
        (T + 1e-6, "2026-01-01T00:00:00.000001Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_instants_are_spelled_in_utc(seconds: float, text: str) -> None:
    assert spell(seconds) == text


@given(st.datetimes(timezones=st.none() | st.timezones()))
def test_an_instant_survives_being_spelled(when: datetime) -> None:
    try:
        seconds = parse(when.isoformat())
    except ValueError:
        assert when.tzinfo is not None  # its UTC may lie outside the calendar
        return
    assert parse(spell(seconds)) == pytest.approx(seconds, abs=1e-4)


@given(
    st.from_regex(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z", fullmatch=True)
)
@example("2026-01-31T00:00:00Z")
def test_a_date_time_comes_back_as_it_was_sent(text: str) -> None:
    if not text.startswith("0000"):
        assert spell(parse(text)) == text


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z"]
)
def test_what_is_read_can_be_spelled(text: str) -> None:
    try:
        seconds = parse(text)
    except ValueError:
        return
    assert spell(seconds).endswith("Z")
