from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.durations import parse, spell


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT10M", 600),
        ("PT15S", 15),
        ("PT4H", 14_400),
        ("P2D", 172_800),
        ("P1DT30S", 86_430),
        ("P1DT2H3M4.5S", 93_784.5),
        ("PT0S", 0),
        ("P0D", 0),
        ("PT90M", 5400),
        ("PT3600S", 3600),
        ("PT0.0000001S", 1e-7),
        ("00:10:00", 600),
        ("00:00:15", 15),
        ("0:0:5", 5),
        ("1.00:00:00", 86_400),
        ("1.23:59:59.5", 172_799.5),
        ("24:00:00", 86_400),
    ],
)
def test_both_spellings_are_read(text: str, seconds: float) -> None:
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "P", "PT", "P1DT", "10M", "pt10m", "PT10", "P10M", "PT1.5H", "PT-5S", "-PT5S", "P1Y", "P1M", "P1W", "PT5S ",
        " PT5S", "PT5S\n", "00:10", "10", "00:60:00", "00:00:60", "-00:00:15", "1.00:00", "1:00:00:00", "00:00:1٣",
        "PT٣S", "PT1S1M", "PT0.12345678S", "PT99999999999S", "00:00:15.", "nan", "PT.5S",
    ],
)  # fmt: skip
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse(text)


def test_the_refusal_quotes_the_start_only() -> None:
    with pytest.raises(ValueError) as caught:
        parse("x" * 1000)

    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "PT0S"),
        (15, "PT15S"),
        (600, "PT10M"),
        (3600, "PT1H"),
        (5400, "PT1H30M"),
        (86_400, "P1D"),
        (86_405, "P1DT5S"),
        (28 * 86_400, "P28D"),
        (5.5, "PT5.5S"),
        (93_784.25, "P1DT2H3M4.25S"),
    ],
)
def test_durations_are_spelled_in_iso(seconds: float, text: str) -> None:
    assert spell(seconds) == text


@given(st.integers(0, 2 * 86_400 * 10**7))
def test_a_duration_survives_being_spelled(ticks: int) -> None:
    seconds = ticks / 10**7  # .NET's durations count in tenths of microseconds, and so do ours

    assert parse(spell(seconds)) == pytest.approx(seconds, abs=1e-9)
    assert spell(parse(spell(seconds))) == spell(seconds)


@given(
    days=st.none() | st.integers(0, 99),
    hours=st.integers(0, 23),
    minutes=st.integers(0, 59),
    seconds=st.integers(0, 59),
)
def test_both_spellings_mean_the_same(days: int | None, hours: int, minutes: int, seconds: int) -> None:
    clock = f"{hours:02}:{minutes:02}:{seconds:02}"

    assert parse(f"P{days or 0}DT{hours}H{minutes}M{seconds}S") == parse(clock if days is None else f"{days}.{clock}")
