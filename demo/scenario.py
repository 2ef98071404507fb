"""Turns the facts of a tutorial into what a simulated user would reward: a list of visits, all equally likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Features = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Visit:
    """One situation in which something is recommended.

    Attributes:
        context: the context features that a rank call carries.
        rewards: what each action earns here, by its id.
    """

    context: Sequence[Features]
    rewards: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A tutorial.

    Attributes:
        name: as the command line spells it.
        actions: the features of each action, by its id.
        visits: every situation, all equally likely.
        events: how many the tutorial plays.
        rate: events a second at which that takes some ten minutes.
        note: what a reader of the curve should know, in one line.
    """

    name: str
    actions: Mapping[str, Features]
    visits: Sequence[Visit]
    events: int
    rate: float
    note: str = ""

    @property
    def uniform(self) -> float:
        """The mean reward of a choice that knows nothing."""
        return fmean(reward for visit in self.visits for reward in visit.rewards.values())

    def ceiling(self, exploration: float) -> float:
        """The mean reward of a loop that knows everything, and still gives this share of its decisions to chance."""
        best = fmean(max(visit.rewards.values()) for visit in self.visits)
        return (1 - exploration) * best + exploration * self.uniform
