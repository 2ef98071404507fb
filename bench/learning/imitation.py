"""Turns the grocery tutorial into a world in which a rule of the shop's own chooses: what apprentice mode imitates."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import orjson

from bench.learning.course import Taken
from bench.learning.situation import Situation, World, listed
from demo.grocery import GROCERY


def shop(part: int, feature: str) -> World:
    """Visits with the actions in the shop's own order: another product stands first for each value of a feature.

    Args:
        part: of the context, that has the feature.
        feature: what the shop goes by.
    """
    names = list(GROCERY.actions)
    values = sorted({visit.context[part][feature] for visit in GROCERY.visits})
    orders = {value: [*names[n:], *names[:n]] for n, value in enumerate(values)}
    actions = {value: listed({name: GROCERY.actions[name] for name in order}) for value, order in orders.items()}

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
