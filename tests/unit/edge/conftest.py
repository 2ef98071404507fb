"""An app over storage in memory for each test."""

from __future__ import annotations

import pytest

from tests.unit.edge.inmemory import InMemory


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """One whose default loop has seen nothing yet."""
    return InMemory(monkeypatch)
