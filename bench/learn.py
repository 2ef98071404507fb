"""What the tutorials earn as a loop learns them, against a uniform choice and against full knowledge."""

from __future__ import annotations

import asyncio
from statistics import fmean

from bench.player import STEP, Player
from demo.coffee import COFFEE
from demo.grocery import GROCERY
from demo.scenario import Scenario
from shared.loops.service import ServiceConfiguration

COMPARED = 1_000
"""Events at the beginning and at the end of a run whose means are told."""
GOALS = {"grocery": 0.86, "coffee": 0.42}
"""What the last of them earn at least."""


def ends(rewards: list[float]) -> tuple[float, float]:
    """The mean rewards of the first and of the last thousand events."""
    return fmean(rewards[:COMPARED]), fmean(rewards[-COMPARED:])


def show(scenario: Scenario) -> None:
    """Play one tutorial, and print what it earns."""
    first, last = ends(asyncio.run(Player(scenario).play(scenario.events)).rewards)
    exploration = ServiceConfiguration().exploration_percentage
    uniform, ceiling = scenario.uniform, scenario.ceiling(exploration)
    goal = f"goal at least {GOALS[scenario.name]}" + (", and above the first" if scenario.name == "coffee" else "")
    print(f"  {scenario.name}, {scenario.events:,} events: first {COMPARED:,} {first:.3f}, last {COMPARED:,} {last:.3f}"
          f"  ({goal})")  # fmt: skip
    for name, baseline in (("uniform choice", uniform), (f"all known, {exploration:.0%} explored", ceiling)):
        compared = f"/ {name} ({baseline:.3f}):"
        print(f"    {compared:36} first {first / baseline:.2f}x, last {last / baseline:.2f}x")
    if scenario.note:
        print(f"    {scenario.note}")


def main() -> None:
    """Print the mean rewards and the ratios."""
    print(f"Mean reward in process, a new model every {STEP} events (the same figures in every run):")
    for scenario in (GROCERY, COFFEE):
        show(scenario)


if __name__ == "__main__":
    main()
