"""Turns a distribution over the rankable actions into the ranking that is answered (contract 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.ranking.sampling import draw


@dataclass(frozen=True, slots=True)
class Choice:
    """What was drawn.

    Attributes:
        order: the rankable actions by index: the chosen one first, then as VW lists them, with the former first one
            where the chosen one stood.
        probabilities: of the actions in `order`, each its own.
    """

    order: list[int]
    probabilities: list[float]


def choose(distribution: Sequence[float], order: Sequence[int], seed: int) -> Choice:
    """Draw one action.

    Args:
        distribution: the probability of each rankable action, by its index; n >= 1 of them.
        order: the same actions as VW lists them, which is the order it draws in.
        seed: of the event, see `sampling.seed`.
    """
    listed = list(order)
    probabilities = [distribution[index] for index in listed]
    chosen = draw(seed, probabilities)
    listed[0], listed[chosen] = listed[chosen], listed[0]
    probabilities[0], probabilities[chosen] = probabilities[chosen], probabilities[0]
    return Choice(listed, probabilities)


def first(count: int) -> Choice:
    """The choice that draws nothing: the first of so many actions for certain, the rest in their order."""
    return Choice(list(range(count)), [1.0] + [0.0] * (count - 1))


def in_request_order(choice: Choice) -> Choice:
    """The same actions as the request listed them, each with its own probability (contract 5.4)."""
    pairs = sorted(zip(choice.order, choice.probabilities, strict=True))
    return Choice([index for index, _ in pairs], [probability for _, probability in pairs])
