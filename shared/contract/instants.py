"""Turns instants between seconds since the epoch and the API's spellings of a date-time (contract 1.5)."""

from __future__ import annotations

from datetime import UTC, datetime

UNSET = "0001-01-01T00:00:00"
"""How the API spells an instant that never was."""


def parse(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 date or date-time; UTC where it names no zone.

    Raises:
        ValueError: it is neither, or outside the years 1 to 9999.
    """
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        time = instant.timestamp()
        spell(time)  # which refuses what its zone, or a rounded fraction, has carried beyond the years
        return time
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{text[:64]!r} is no date-time such as 2026-01-31T00:00:00Z") from e


def spell(time: float) -> str:
    """The instant in UTC, to the second or, where it has a fraction, to the microsecond; with `Z`."""
    return datetime.fromtimestamp(time, UTC).replace(tzinfo=None).isoformat() + "Z"
