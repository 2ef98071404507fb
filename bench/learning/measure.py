"""Turns a scenario, a policy and a seed into the figures of one run: Rankloop's, or plain VW's."""

from __future__ import annotations

import random
from itertools import islice
from statistics import fmean
from typing import NamedTuple

from bench.learning import reference
from bench.learning.course import STEP, Course
from bench.learning.packages import Unavailable
from bench.learning.scenario import Figures, Scenario
from bench.learning.scenarios import SCENARIOS
from demo.grocery import GROCERY
from shared.log.records import APPRENTICE


class Run(NamedTuple):
    """One run.

    Attributes:
        scenario: its name.
        row: the policy's place in it.
        seed: of all that is drawn.
        events: how many at most.
        plain: whether plain VW plays.
    """

    scenario: str
    row: int
    seed: int
    events: int
    plain: bool = False


def measure(run: Run) -> Figures | str:
    """The figures of a run, or why its data cannot be had."""
    scenario = SCENARIOS[run.scenario]
    arguments = scenario.rows[run.row].arguments
    situations = islice(scenario.world(random.Random(run.seed)), run.events)
    try:
        if run.plain:
            return scenario.of_rewards(reference.play(arguments, situations, STEP, random.Random(f"plain-{run.seed}")))
        course = Course(arguments, f"{scenario.name}-{run.seed}", scenario.mode)
        taken = course.play(situations)
        course.close()
    except Unavailable as e:
        return str(e)
    return scenario.figures(taken)


def bounds(scenario: Scenario, events: int = 2_000) -> Figures:
    """What a choice that knows nothing earns, and one that knows all: means over some events; one slot's in multi-slot.

    In apprentice mode an action is as good as it imitates.

    Raises:
        Unavailable: its data cannot be fetched.
    """
    if scenario.mode == APPRENTICE:
        return 1 / len(GROCERY.actions), 1.0
    seen = [situation.expected or situation.rewards for situation in islice(scenario.world(random.Random(0)), events)]
    return fmean(fmean(earned.values()) for earned in seen), fmean(max(earned.values()) for earned in seen)
