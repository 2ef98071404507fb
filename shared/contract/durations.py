"""Turns durations between seconds and the two spellings of the API: ISO 8601 out, `hh:mm:ss` also in (contract 2)."""

from __future__ import annotations

import re

_ISO = re.compile(
    r"P(?:(?P<days>\d{1,6})D)?(?:T(?=\d)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,9})M)?"
    r"(?:(?P<seconds>\d{1,10}(?:\.\d{1,7})?)S)?)?",
    re.ASCII,
)
_CLOCK = re.compile(
    r"(?:(?P<days>\d{1,6})\.)?(?P<hours>\d{1,2}):(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d(?:\.\d{1,7})?)", re.ASCII
)
_UNITS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}


def parse(text: str) -> float:
    """Seconds of `PT10M`, `P1DT30S`, `00:10:00` or `1.00:00:00`.

    Raises:
        ValueError: it is no duration in either spelling.
    """
    match = _ISO.fullmatch(text) or _CLOCK.fullmatch(text)
    parts = {unit: value for unit, value in match.groupdict().items() if value is not None} if match else {}
    if not parts:
        raise ValueError(f"{text[:64]!r} is no duration such as PT10M or 00:10:00")
    return sum(float(value) * _UNITS[unit] for unit, value in parts.items())


def spell(seconds: float) -> str:
    """The ISO 8601 spelling of so many seconds, whole days apart: `PT10M`, `P1D`, `P1DT5S`."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    date = f"{days:.0f}D" if days else ""
    clock = "".join(f"{value:.0f}{unit}" for value, unit in ((hours, "H"), (minutes, "M")) if value)
    if left or not (date or clock):
        clock += f"{left:.7f}".rstrip("0").rstrip(".") + "S"
    return f"P{date}" + (f"T{clock}" if clock else "")
