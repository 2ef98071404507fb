"""Turns the product's patience with storage into less of it, so that a test of a stall takes no longer than it must."""

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
