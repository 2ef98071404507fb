"""Turns the grocery tutorial into a world in which a rule of the shop's own chooses: what apprentice mode imitates."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import orjson

from bench.learning.course import Taken
from bench.learning.situation import Situation, World, listed
from demo.grocery import GROCERY

DIETS: Final = {"low_carb": "bbq", "low_sodium": "pasta", "vegan, vegetarian": "hummus"}
"""What suits each shopper's diet; three features of the context tell them apart."""
PLACES: Final = {"west": "pasta", "east": "bbq", "midwest": "veg_platter"}
"""What is shown at each location; one feature among six tells."""


def shop(part: int, feature: str, shown: Mapping[str, str]) -> World:
    """Visits with what the shop itself would show as the first action, and the others behind it.

    Args:
        part: of the context, that has the feature.
        feature: what the shop goes by.
        shown: what it shows, by the value of the feature.
    """
    names = list(GROCERY.actions)
    actions = {
        value: listed({name: GROCERY.actions[name] for name in sorted(names, key=first.__ne__)})
        for value, first in shown.items()
    }

    def world(chance: random.Random) -> Iterator[Situation]:
        while True:
            visit = chance.choice(GROCERY.visits)
            yield Situation(visit.context, actions[visit.context[part][feature]], visit.rewards)

    return world


def best_is_first(taken: Sequence[Taken]) -> list[float]:
    """Whether the action that the model scores best is the shop's own, event by event: 1 or 0."""
    answers = [orjson.loads(each.decision.body)["ranking"] for each in taken]
    return [float(max(ranking, key=lambda entry: entry["probability"]) is ranking[0]) for ranking in answers]


def drawn_is_first(taken: Sequence[Taken]) -> list[float]:
    """Whether the action that was drawn is the shop's own, event by event: 1 or 0."""
    return [float(orjson.loads(b"{%b}" % each.decision.choice)["a"] == 0) for each in taken]
