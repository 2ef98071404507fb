"""What is measured: a world, the policies that play in it, published figures of theirs, and goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from bench.learning.course import Taken
from bench.learning.imitation import best_is_first, drawn_is_first
from bench.learning.situation import World
from shared.log.records import APPRENTICE, ONLINE

Figures = tuple[float, float]
"""What a run gives: one figure for each of its scenario's two columns."""
Least = tuple[float | None, float | None]
"""The same where there is something to hold them to."""
NONE: Final[Least] = (None, None)


@dataclass(frozen=True, slots=True)
class Row:
    """A policy in a scenario.

    Attributes:
        name: as the table calls it.
        arguments: the learning policy.
        published: figures of the same algorithm.
        goal: what it earns at least.
        rising: whether the second figure must be above the first.
    """

    name: str
    arguments: str
    published: Least = NONE
    goal: Least = NONE
    rising: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A world and the policies that play in it.

    Attributes:
        name: as the command line spells it.
        title: what it is.
        world: its situations.
        events: how many are played; a data set may end before.
        rows: the policies.
        columns: what the two figures are.
        last: how many events the second one is of; 0 for the second half.
        seeds: how many runs each policy has: more where a run is short.
        mode: the loop's learning mode.
        plain: whether plain VW can play it, too.
    """

    name: str
    title: str
    world: World
    events: int
    rows: Sequence[Row]
    columns: tuple[str, str] = ("whole run", "last 1,000")
    last: int = 1_000
    seeds: int = 5
    mode: str = ONLINE
    plain: bool = True

    def figures(self, taken: Sequence[Taken]) -> Figures:
        """The figures of a run."""
        last = self.last or len(taken) // 2
        if self.mode == APPRENTICE:
            return fmean(best_is_first(taken[-last:])), fmean(drawn_is_first(taken[-last:]))
        return self.of_rewards([each.reward for each in taken])

    def of_rewards(self, rewards: Sequence[float]) -> Figures:
        """The figures of a run, from its rewards."""
        return fmean(rewards), fmean(rewards[-(self.last or len(rewards) // 2) :])
