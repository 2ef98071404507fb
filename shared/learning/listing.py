"""Turns a distribution into the order in which VW lists its actions before it draws, where no costs say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


def _as_requested(distribution: list[float]) -> list[int]:
    return sorted(range(len(distribution)), key=distribution.__getitem__, reverse=True)


def _last_first(distribution: list[float]) -> list[int]:
    return sorted(range(len(distribution) - 1, -1, -1), key=distribution.__getitem__, reverse=True)


LISTINGS: Final[dict[str, Callable[[list[float]], list[int]]]] = {
    "--bag": _as_requested,
    "--cover": _as_requested,
    "--synthcover": _last_first,
}
"""How explorations list the actions that go by their probabilities; all others go by costs (docs/adr/0026). By costs,
equally good actions stand as requested. With `--bag` VW asks all its models before equally probable ones do, and does
not tell what they say."""
