"""Turns the product's patience with storage into less, for a test of a stall, or into more, for those who judge."""

import pytest

from shared.storage.azure import options

pytest.register_assert_rewrite(*(f"tests.faults.{name}" for name in ("audit", "leaps", "leavings", "storm")))


def _wait(monkeypatch: pytest.MonkeyPatch, silence: float, whole: float) -> None:
    """Let this process wait so many seconds for the next byte of storage, and for the whole of a call."""
    for waits in (options.TABLES, options.BLOBS, options.READ):
        monkeypatch.setitem(waits, "read_timeout", silence)
    for limit in ("ROW", "DOCUMENT", "LIST", "BLOB"):
        monkeypatch.setattr(options, limit, whole)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second of silence is too long, and a second for any call."""
    _wait(monkeypatch, 0.5, 1.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of silence may be: what looks at storage while a busy machine does all else must not give up."""
    _wait(monkeypatch, 60.0, 120.0)
