"""Counts what happens in this process, by name: what an operator needs to see and no answer shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

Listener = Callable[[str, float, str], None]
"""Is told each measurement: what was measured, the value, and its kind."""


class Counters:
    """Numbers that only grow, by name; and measurements, for whoever listens."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._worst: dict[str, float] = {}
        self._listener: Listener | None = None

    def add(self, name: str, by: int = 1) -> None:
        """Count one more, or `by` more."""
        self._counts[name] += by

    def measure(self, name: str, value: float, kind: str = "") -> None:
        """Tell how long, or how large, something was; nothing is kept of it here.

        Args:
            name: of the measure: a key of `telemetry.instruments.DISTRIBUTIONS`.
            value: in the measure's unit.
            kind: which of several it was, where the measure has kinds.
        """
        if self._listener is not None:
            self._listener(name, value, kind)

    def worst(self, name: str, value: float) -> None:
        """Tell how bad something is now; the highest value stands until it is taken."""
        self._worst[name] = max(value, self._worst.get(name, value))

    def take_worst(self) -> Mapping[str, float]:
        """The highest values since this was asked last, by name."""
        taken, self._worst = self._worst, {}
        return taken

    def listen(self, listener: Listener | None) -> None:
        """Have all measurements from now on told to somebody, on the thread that measures; None: to nobody."""
        self._listener = listener

    def __getitem__(self, name: str) -> int:
        """How often this happened."""
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """All counts, by name in order."""
        return dict(sorted(self._counts.items()))
