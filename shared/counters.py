"""Counts what happens in this process, by name: what an operator needs to see and no answer shows."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Numbers that only grow, by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, by: int = 1) -> None:
        """Count one more, or `by` more."""
        self._counts[name] += by

    def __getitem__(self, name: str) -> int:
        """How often this happened."""
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """All counts, by name in order."""
        return dict(sorted(self._counts.items()))
