"""Turns the draws of events into how often each kind of action was drawn, and how often it should have been.

An action is known by its place in the request, and by its standing: how many were more probable. Both are settled
before the draw, so whichever way the draw is wrong, one of them shows it; and neither tells who the action was.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from shared.health.significance import sample_ratio

CELLS = 8
"""Places or standings that are told apart; the last one stands for all further ones."""


class Draws(msgspec.Struct, frozen=True):
    """Draws, counted by a kind of cell.

    Attributes:
        n: how many.
        drawn: how often each cell was drawn.
        expected: the sum of its logged probabilities.
        squares: see `significance.sample_ratio`.
    """

    n: int = 0
    drawn: list[float] = msgspec.field(default_factory=lambda: [0.0] * CELLS)
    expected: list[float] = msgspec.field(default_factory=lambda: [0.0] * CELLS)
    squares: list[list[float]] = msgspec.field(default_factory=lambda: [[0.0] * CELLS for _ in range(CELLS)])

    @property
    def p(self) -> float:
        """How likely it is that chance alone takes the draws this far from their probabilities."""
        return sample_ratio(np.array(self.drawn), np.array(self.expected), np.array(self.squares))


class SlotDraws(msgspec.Struct, frozen=True):
    """The draws of a slot, by place and by standing; those of single-slot events are of one slot."""

    places: Draws = Draws()
    standings: Draws = Draws()


class Row:
    """The draws of a slot as they are being counted."""

    def __init__(self) -> None:
        self._places: list[list[float]] = []
        self._standings: list[list[float]] = []
        self._place: list[int] = []
        self._standing: list[int] = []

    def add(self, actions: Sequence[int], probabilities: Sequence[float]) -> None:
        """Count a draw.

        Args:
            actions: by their place in the request, from 0; the drawn one first.
            probabilities: of `actions`.
        """
        places = [0.0] * CELLS
        last = CELLS - 1
        for action, probability in zip(actions, probabilities, strict=True):
            places[min(action, last)] += probability
        ranked = sorted(probabilities, reverse=True)
        self._places.append(places)
        self._standings.append(ranked[:last] + [0.0] * (last - len(ranked)) + [sum(ranked[last:])])
        drawn, its = actions[0], probabilities[0]
        better = sum(p > its or (p == its and a < drawn) for a, p in zip(actions, probabilities, strict=True))
        self._place.append(min(drawn, last))
        self._standing.append(min(better, last))

    def counted(self) -> SlotDraws:
        """What was counted."""
        return SlotDraws(_draws(self._place, self._places), _draws(self._standing, self._standings))


def merge(one: SlotDraws, other: SlotDraws) -> SlotDraws:
    """The draws of two runs."""
    return SlotDraws(_sum(one.places, other.places), _sum(one.standings, other.standings))


def _draws(drawn: Sequence[int], rows: Sequence[Sequence[float]]) -> Draws:
    if not rows:
        return Draws()
    probabilities = np.array(rows)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # they are written as 32-bit floats
    return Draws(
        len(drawn),
        np.bincount(drawn, minlength=CELLS).astype(float).tolist(),
        probabilities.sum(axis=0).tolist(),
        (probabilities.T @ probabilities).tolist(),
    )


def _sum(one: Draws, other: Draws) -> Draws:
    return Draws(
        one.n + other.n,
        np.add(one.drawn, other.drawn).tolist(),
        np.add(one.expected, other.expected).tolist(),
        np.add(one.squares, other.squares).tolist(),
    )
