"""Turns Personalizer's tutorials, as `make demo` plays them, into worlds."""

from __future__ import annotations

import random
from collections.abc import Iterator

from bench.learning.situation import Situation, World, listed
from demo.scenario import Scenario


def tutorial(scenario: Scenario) -> World:
    """Visits drawn from a tutorial's, all equally likely."""
    actions = listed(scenario.actions)
    situations = [Situation(visit.context, actions, visit.rewards) for visit in scenario.visits]

    def world(chance: random.Random) -> Iterator[Situation]:
        while True:
            yield chance.choice(situations)

    return world
