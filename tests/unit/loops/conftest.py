"""A deployment for each test."""

from __future__ import annotations

import pytest

from shared import freshness
from tests.unit.loops.deployed import Deployment


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """One whose time stands still."""
    made = Deployment()
    monkeypatch.setattr(freshness.Freshness.__init__, "__defaults__", (lambda: made.steady,))
    return made
