"""Turns the product's patience with storage into less, for a test of a stall, or into more, for those who judge."""

import pytest

from shared.storage.azure import options

pytest.register_assert_rewrite(*(f"tests.faults.{name}" for name in ("audit", "leaps", "leavings", "storm")))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of silence is too long, and a second for any call."""
    for waits in (options.TABLES, options.BLOBS, options.READ):
        monkeypatch.setitem(waits, "read_timeout", 0.5)
    for limit in ("ROW", "DOCUMENT", "LIST", "BLOB"):
        monkeypatch.setattr(options, limit, 1.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute, in this process alone: what looks at storage while a busy machine does all else must not give up."""
    for waits in (options.TABLES, options.BLOBS, options.READ):
        monkeypatch.setitem(waits, "read_timeout", 60)
    for limit in ("ROW", "DOCUMENT", "LIST", "BLOB"):
        monkeypatch.setattr(options, limit, 120.0)
